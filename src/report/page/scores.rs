//! The figures of the page as a table.

use std::fmt::Display;

use maud::{Markup, html};

use super::{named, number, signed};
use crate::eval::groups::{FEW_CASES, Scores};
use crate::report::Report;

/// The table of figures, and what it takes sentences to say.
pub(super) fn section(report: &Report) -> Markup {
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
                    @if evaluation.by_site.len() > 1 {
                        (group_rows("by site", &evaluation.by_site))
                    }
                }
            } }
            p.quiet {
                "MAE, RMSE and gap in years; the interval is a bootstrap over families or participants. "
                "“?” marks groups of fewer than " (FEW_CASES) " scans: too few to read anything from. "
                @if let Some(macro_mae) = evaluation.macro_mae() {
                    "Mean of the age bins' MAE: " (format!("{macro_mae:.2}")) " years."
                }
            }
            (more(report))
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

/// Intervals, repeat scans and sites.
fn more(report: &Report) -> Markup {
    let evaluation = &report.evaluation;
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    html! {
        @if let Some(coverage) = &evaluation.coverage {
            p {
                "Calibrated intervals that should hold " (percent(coverage.stated)) " of ages hold "
                strong { (percent(coverage.covered)) }
                @if let Some([low, high]) = coverage.covered_ci {
                    " (95 % CI " (percent(low)) " to " (percent(high)) ")"
                }
                " of " (coverage.n) "; their mean width is " (format!("{:.1}", coverage.mean_width_years)) " years. "
                "The promise is for people like those of the validation set."
            }
        }
        @if let Some(retest) = &evaluation.retest {
            p {
                "Repeat scans of " (retest.n) " participants within 90 days: ICC(2,1) "
                (number(retest.icc_predicted)) " of the predicted ages and " (number(retest.icc_gap)) " of the gaps, mean "
                "difference " (number(Some(retest.mean_absolute_difference_years))) " years, standard deviation within a person "
                (number(Some(retest.within_person_sd_years))) " years: smaller changes than "
                (number(Some(retest.smallest_detectable_change_years))) " years are no changes."
            }
        }
        @if let Some(effect) = &evaluation.site_effect {
            p {
                (effect.n_sites) " sites account for " (percent(effect.eta_squared)) " of the variance of the gaps once a "
                "common line on age is taken out (F(" (effect.degrees_of_freedom[0]) ", " (effect.degrees_of_freedom[1])
                ") = " (format!("{:.1}", effect.f)) ")."
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
