//! The page: what it says, in the order in which it is read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;

use brainage_pipelines::qc::QcVerdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{self, MAX_POINTS};
use super::{Report, ScanQuality};
use crate::eval::Case;
use crate::eval::groups::{FEW_CASES, Scores};

/// Scans with the largest gaps that are named.
const N_WORST: usize = 10;

/// Refused or failed scans that are named.
const MAX_NAMED: usize = 200;

/// Nothing may be fetched and nothing run, whatever a name in the tables may hold.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

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
                (scores_section(report))
                (quality(&report.scans))
                (worst_cases(report))
                p.quiet {
                    "This is research software, not a medical device. The page names scans and ages of participants: "
                    "treat it as you treat their data."
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

fn scores_section(report: &Report) -> Markup {
    let evaluation = &report.evaluation;
    let all = evaluation.overall();
    html! {
        section {
            h2 { "Figures" }
            div.scroll { table {
                thead { tr {
                    th { "" } th { "n" } th { "MAE" } th { "95 % CI" } th { "RMSE" } th { "mean gap" }
                    th { "r" } th { "R²" } th { "slope of gap" }
                } }
                tbody {
                    (score_row(&"all", &all))
                    @if let Some(corrected) = &evaluation.corrected {
                        (score_row(&"age-bias corrected *", corrected))
                    }
                    (group_rows("by cohort", &evaluation.by_cohort))
                    (group_rows("by age (years)", &evaluation.by_age_bin))
                    (group_rows("by sex", &evaluation.by_sex))
                }
            } }
            p.quiet {
                "MAE, RMSE and gap in years; the interval is a bootstrap over families or participants. "
                "“?” marks groups of fewer than " (FEW_CASES) " scans: too few to read anything from. "
                @if let Some(macro_mae) = evaluation.macro_mae() {
                    "Mean of the age bins' MAE: " (format!("{macro_mae:.2}")) " years."
                }
            }
            @if evaluation.corrected.is_some() {
                p.quiet {
                    "* The correction uses the known age: these figures describe corrected gaps and are no measure of "
                    "accuracy."
                    @if let Some(fit) = &report.correction {
                        @let [youngest, oldest] = fit.age_range_years;
                        " It was fitted on " (fit.n) " validation participants aged "
                        (format!("{youngest:.1}")) " to " (format!("{oldest:.1}")) "."
                    }
                }
            }
        }
    }
}

fn group_rows<'a, K: Display + 'a>(
    title: &str,
    groups: impl IntoIterator<Item = (&'a K, &'a Scores)>,
) -> Markup {
    html! {
        tr { th colspan="9" { (title) } }
        @for (key, scores) in groups { (score_row(key, scores)) }
    }
}

fn score_row(name: &dyn Display, scores: &Scores) -> Markup {
    let interval = scores
        .mae_ci
        .map(|[low, high]| format!("{low:.2} to {high:.2}"));
    html! {
        tr {
            td { (named(&name.to_string())) @if scores.n < FEW_CASES { " ?" } }
            td { (scores.n) }
            td { (number(scores.mae)) }
            td { (interval.as_deref().unwrap_or("–")) }
            td { (number(scores.rmse)) }
            td { (signed(scores.bias)) }
            td { (number(scores.r)) }
            td { (number(scores.r2)) }
            td { (signed(scores.bias_slope)) }
        }
    }
}

fn quality(scans: &[ScanQuality]) -> Markup {
    let refused: Vec<&ScanQuality> = scans.iter().filter(|scan| scan.error.is_some()).collect();
    let of = |verdict| {
        scans
            .iter()
            .filter(move |scan| scan.error.is_none() && scan.qc == Some(verdict))
    };
    let noticed: Vec<&ScanQuality> = of(QcVerdict::Fail).chain(of(QcVerdict::Warn)).collect();
    let unknown = scans
        .iter()
        .filter(|scan| scan.error.is_none() && scan.qc.is_none())
        .count();
    html! {
        section {
            h2 { "Quality of the scans" }
            @if scans.is_empty() { p { "Not recorded." } } @else {
                p {
                    (scans.len()) " scans: " (of(QcVerdict::Pass).count()) " passed, "
                    (of(QcVerdict::Warn).count()) " with warnings, "
                    (of(QcVerdict::Fail).count()) " failed, " (refused.len()) " refused"
                    @if unknown > 0 { ", " (unknown) " not checked" } "."
                }
            }
            (named_scans("Refused", &refused, |scan| scan.error.clone().unwrap_or_default()))
            (named_scans("Failed or with warnings", &noticed, |scan| {
                let verdict = verdict(scan.qc);
                match scan.reasons.as_slice() {
                    [] => verdict.to_owned(),
                    reasons => format!("{verdict}: {}", reasons.join("; ")),
                }
            }))
        }
    }
}

fn named_scans(
    title: &str,
    scans: &[&ScanQuality],
    reason: impl Fn(&ScanQuality) -> String,
) -> Markup {
    html! {
        @if !scans.is_empty() {
            div.scroll { table {
                thead { tr { th.text { (title) } th.text { "Reason" } } }
                tbody {
                    @for scan in scans.iter().take(MAX_NAMED) {
                        tr { td.text { (scan.scan) } td.text { (reason(scan)) } }
                    }
                }
            } }
            @if scans.len() > MAX_NAMED { p.quiet { "and " (scans.len() - MAX_NAMED) " more" } }
        }
    }
}

fn worst_cases(report: &Report) -> Markup {
    let mut worst: Vec<&Case> = report.cases.iter().collect();
    // The sort is stable: equal gaps stay in the order of the cases.
    worst.sort_by(|a, b| b.gap_years().abs().total_cmp(&a.gap_years().abs()));
    let quality: BTreeMap<&str, Option<QcVerdict>> = report
        .scans
        .iter()
        .map(|scan| (scan.scan.as_str(), scan.qc))
        .collect();
    html! {
        @if !worst.is_empty() {
            section {
                h2 { "Largest gaps" }
                p { "Look at these first: a large gap is more often a bad scan or a wrong age than an unusual brain." }
                div.scroll { table {
                    thead { tr {
                        th.text { "Scan" } th.text { "Participant" } th.text { "Cohort" }
                        th { "age" } th { "predicted" } th { "gap" } th { "QC" }
                    } }
                    tbody {
                        @for case in worst.into_iter().take(N_WORST) {
                            tr {
                                td.text { (case.scan) }
                                td.text { (case.participant_id) }
                                td.text { (case.cohort) }
                                td { (number(Some(case.age_years))) }
                                td { (number(Some(case.predicted_age_years))) }
                                td { (signed(Some(case.gap_years()))) }
                                td { (verdict(quality.get(case.scan.as_str()).copied().flatten())) }
                            }
                        }
                    }
                } }
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
