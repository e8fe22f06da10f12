//! The page: what it says, in the order in which it is read.

mod scans;
mod scores;

use std::io;

use brainage_pipelines::qc::QcVerdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::figures::{self, MAX_POINTS};
use crate::eval::groups::FEW_CASES;

/// Nothing may be fetched and nothing run, whatever a name in the tables may hold; pictures are part of the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The whole page.
///
/// # Errors
/// A figure that cannot be drawn.
pub(super) fn html(report: &Report) -> io::Result<String> {
    let figures = figures_section(report)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width";
                title { (report.title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                h1 { (report.title) }
                (headline(report))
                (what_was_done(report))
                (figures)
                (scores::section(report))
                (scans::quality(&report.scans))
                (scans::left_out(&report.left_out))
                (scans::worst_cases(report))
                (config(report))
                p.quiet {
                    "This is research software, not a medical device, and not for diagnosis or treatment. The page names "
                    "scans and ages of participants: treat it as you treat their data."
                }
            }
        }
    };
    Ok(page.into_string())
}

fn headline(report: &Report) -> Markup {
    let evaluation = &report.evaluation;
    let worse = evaluation
        .mae
        .zip(evaluation.baseline_mae)
        .is_some_and(|(mae, base)| mae >= base);
    html! {
        @if report.synthetic {
            p.note {
                strong { "Synthetic data. " }
                "The heads were made by a program from a template. The figures show that the software works and say "
                "nothing about real brains."
            }
        }
        p.headline {
            @match evaluation.mae {
                Some(mae) => {
                    "Mean absolute error " strong { (format!("{mae:.2}")) " years" }
                    @if let Some([low, high]) = evaluation.mae_ci {
                        " (95 % CI " (format!("{low:.2}")) " to " (format!("{high:.2}")) ")"
                    }
                    " on n = " (evaluation.n) " scans of the " (report.judged) "."
                }
                None => { "No scan of the " (report.judged) " could be judged." }
            }
        }
        @if let Some(baseline_mae) = evaluation.baseline_mae {
            p {
                "Predicting the mean age of the training set for everybody: "
                (format!("{baseline_mae:.2}")) " years."
            }
        }
        @if worse {
            p.note { "The model is no better than predicting the mean age: it has learned nothing of use." }
        }
        @if evaluation.n > 0 && evaluation.n < FEW_CASES {
            p.note { "Fewer than " (FEW_CASES) " scans were judged: too few to read anything from." }
        }
    }
}

fn what_was_done(report: &Report) -> Markup {
    let total = |n: fn(&super::CohortCounts) -> usize| report.cohorts.iter().map(n).sum::<usize>();
    html! {
        section {
            h2 { "What was done" }
            div.scroll { table {
                tbody {
                    tr { td { "Model" } td.text { (report.model) } }
                    tr { td { "Recipe" } td.text { (report.recipe) } }
                    tr { td { "Seed" } td.text { (report.seed) } }
                    @for (name, value) in &report.settings {
                        tr { td { (name) } td.text { (value) } }
                    }
                }
            } }
            @if !report.cohorts.is_empty() {
                div.scroll { table {
                    thead { tr {
                        th { "Scans" } th { "training" } th { "validation" } th { "test" }
                    } }
                    tbody {
                        @for cohort in &report.cohorts {
                            tr {
                                td { (cohort.name) }
                                td { (cohort.train) } td { (cohort.validation) } td { (cohort.test) }
                            }
                        }
                        @if report.cohorts.len() > 1 {
                            tr {
                                td { "all" }
                                td { (total(|c| c.train)) }
                                td { (total(|c| c.validation)) }
                                td { (total(|c| c.test)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn figures_section(report: &Report) -> io::Result<Markup> {
    let cases = &report.cases;
    let thinned = cases.len() > MAX_POINTS;
    let scatter = figures::scatter(cases)?;
    let gap_by_age = figures::gap_by_age(cases, &report.evaluation)?;
    let corrected = figures::corrected_gap_by_age(cases)?;
    let bland_altman = figures::bland_altman(cases)?;
    let histogram = figures::gap_histogram(cases)?;
    let curves = match report.curves.as_slice() {
        [] => None,
        curves => Some(figures::loss_curves(curves)?),
    };
    Ok(html! {
        @if !cases.is_empty() {
            section {
                h2 { "Predicted age and gap" }
                div.figures {
                    figure {
                        (PreEscaped(scatter))
                        figcaption { "Predicted against chronological age; dashed: both agree." }
                    }
                    figure {
                        (PreEscaped(gap_by_age))
                        figcaption { "Gap by age; black bars: mean gap of each ten years of age." }
                    }
                    @if let Some(corrected) = corrected {
                        figure {
                            (PreEscaped(corrected))
                            figcaption { "The same after age-bias correction, which uses the known age." }
                        }
                    }
                    figure {
                        (PreEscaped(bland_altman))
                        figcaption {
                            "Bland–Altman: difference against mean of both ages; lines: mean difference and the limits "
                            "within which 95 % lie (1.96 standard deviations)."
                        }
                    }
                    figure {
                        (PreEscaped(histogram))
                        figcaption { "Gaps of each cohort, in steps of two years." }
                    }
                }
                p {
                    @for (index, cohort) in figures::cohorts(cases).into_iter().enumerate() {
                        @let (mark, color) = figures::cohort_mark(index);
                        span.key { span style={ "color:" (color) } { (mark) } " " (named(cohort)) }
                    }
                }
                @if thinned {
                    p.quiet { "The figures show an even selection of the " (cases.len()) " scans." }
                }
            }
        }
        @if let Some(curves) = curves {
            section {
                h2 { "Training" }
                figure {
                    (PreEscaped(curves))
                    figcaption {
                        "Mean absolute error of each block's head. Solid: training scans; dashed: validation scans; "
                        "the number at the end of a line is the block."
                    }
                }
                p {
                    @for block in 0..report.curves.len() {
                        span.key { span style={ "color:" (figures::css_color(block)) } { "▬" } " block " (block + 1) }
                    }
                }
            }
        }
    })
}

fn config(report: &Report) -> Markup {
    html! {
        @if let Some(config) = &report.config {
            section {
                h2 { "Config" }
                details {
                    summary { "Every setting of the training, as the run folder keeps it" }
                    pre { (config) }
                }
            }
        }
    }
}

fn named(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

fn verdict(qc: Option<QcVerdict>) -> &'static str {
    match qc {
        Some(QcVerdict::Pass) => "pass",
        Some(QcVerdict::Warn) => "warn",
        Some(QcVerdict::Fail) => "fail",
        None => "–",
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

fn signed(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:+.2}"))
}
