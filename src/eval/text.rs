//! [`Evaluation`] as a table for the terminal.

use std::fmt::Display;

use super::Evaluation;
use super::groups::{FEW_CASES, Scores};

/// Columns: name, n, MAE with interval, RMSE, mean gap, r, R², bias slope.
pub(super) fn table(evaluation: &Evaluation) -> String {
    let mut lines = vec![heading()];
    lines.push(row("all", &evaluation.overall()));
    if let Some(corrected) = &evaluation.corrected {
        lines.push(row("age-bias corrected*", corrected));
    }
    push_groups(&mut lines, "by cohort", &evaluation.by_cohort);
    push_groups(&mut lines, "by age (years)", &evaluation.by_age_bin);
    push_groups(&mut lines, "by sex", &evaluation.by_sex);
    if evaluation.by_site.len() > 1 {
        push_groups(&mut lines, "by site", &evaluation.by_site);
    }
    lines.push(String::new());
    if let Some(baseline_mae) = evaluation.baseline_mae {
        lines.push(format!(
            "predicting the training set's mean age: MAE {baseline_mae:.2} years"
        ));
    }
    if let Some(macro_mae) = evaluation.macro_mae() {
        lines.push(format!("mean of the age bins' MAE: {macro_mae:.2} years"));
    }
    lines.extend(more(evaluation));
    lines.push(
        "MAE, RMSE, gap in years; 95 % interval by bootstrap over families or participants"
            .to_owned(),
    );
    if evaluation.corrected.is_some() {
        lines.push(
            "* uses the known age: describes corrected gaps, is no measure of accuracy".to_owned(),
        );
    }
    if has_few(evaluation) {
        lines.push(format!(
            "? fewer than {FEW_CASES} scans: too few to read anything from"
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What is said in sentences: intervals, repeat scans, sites.
fn more(evaluation: &Evaluation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(coverage) = &evaluation.coverage {
        let interval = coverage.covered_ci.map_or_else(String::new, |[low, high]| {
            format!(" [{:.0}, {:.0}]", 100.0 * low, 100.0 * high)
        });
        lines.push(format!(
            "intervals of {:.0} %: {:.0}{interval} % of {} ages inside, mean width {:.1} years",
            100.0 * coverage.stated,
            100.0 * coverage.covered,
            coverage.n,
            coverage.mean_width_years
        ));
    }
    if let Some(retest) = &evaluation.retest {
        lines.push(format!(
            "repeat scans within 90 days, {} people: ICC(2,1) {}, of the gaps {}",
            retest.n,
            number(retest.icc_predicted, false),
            number(retest.icc_gap, false),
        ));
        lines.push(format!(
            "  mean difference {:.2}, within a person sd {:.2}, detectable change {:.2} years",
            retest.mean_absolute_difference_years,
            retest.within_person_sd_years,
            retest.smallest_detectable_change_years
        ));
    }
    if let Some(effect) = &evaluation.site_effect {
        lines.push(format!(
            "{} sites: η² {:.3} of the gaps with age taken out, F({}, {}) = {:.1}",
            effect.n_sites,
            effect.eta_squared,
            effect.degrees_of_freedom[0],
            effect.degrees_of_freedom[1],
            effect.f
        ));
    }
    lines
}

fn heading() -> String {
    let [name, n, mae, interval] = ["", "n", "MAE", "[95 % CI]"];
    let [rmse, gap, r, r2, slope] = ["RMSE", "gap", "r", "R²", "slope"];
    format!("{name:<20}{n:>7}{mae:>7} {interval:<15}{rmse:>7}{gap:>7}{r:>6}{r2:>8}{slope:>7}")
}

fn push_groups<'a, K: Display + 'a>(
    lines: &mut Vec<String>,
    title: &str,
    groups: impl IntoIterator<Item = (&'a K, &'a Scores)>,
) {
    lines.push(title.to_owned());
    for (key, scores) in groups {
        let key = key.to_string();
        let mark = if scores.n < FEW_CASES { " ?" } else { "" };
        let name = if key.is_empty() { "unknown" } else { &key };
        lines.push(row(&format!("  {}{mark}", shortened(name, 15)), scores));
    }
}

fn row(name: &str, scores: &Scores) -> String {
    let interval = match scores.mae_ci {
        Some([low, high]) => format!("[{low:.2}, {high:.2}]"),
        None => "–".to_owned(),
    };
    let [mae, rmse] = [scores.mae, scores.rmse].map(|value| number(value, false));
    let [bias, slope] = [scores.bias, scores.bias_slope].map(|value| number(value, true));
    let [r, r2] = [scores.r, scores.r2].map(|value| number(value, false));
    let n = scores.n;
    format!("{name:<20}{n:>7}{mae:>7} {interval:<15}{rmse:>7}{bias:>7}{r:>6}{r2:>8}{slope:>7}")
}

fn number(value: Option<f64>, signed: bool) -> String {
    match value {
        Some(value) if signed => format!("{value:+.2}"),
        Some(value) => format!("{value:.2}"),
        None => "–".to_owned(),
    }
}

/// Cut to `width` characters, so that the columns stay in line.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn has_few(evaluation: &Evaluation) -> bool {
    let groups = evaluation
        .by_cohort
        .values()
        .chain(evaluation.by_age_bin.values());
    groups
        .chain(evaluation.by_sex.values())
        .any(|scores| scores.n < FEW_CASES)
}

#[cfg(test)]
mod tests {
    use crate::eval::{Case, evaluate};

    fn cases(cohort: &str) -> Vec<Case> {
        (0..12)
            .map(|i| {
                let age_years = 30.0 + 2.0 * f64::from(i);
                Case {
                    scan: String::new(),
                    participant_id: format!("p{i}"),
                    age_years,
                    predicted_age_years: age_years + if i % 2 == 0 { 2.0 } else { -2.0 },
                    corrected_age_years: None,
                    group_key: format!("p{i}"),
                    cohort: cohort.to_owned(),
                    sex: if i < 3 { "F".to_owned() } else { String::new() },
                    ..Case::default()
                }
            })
            .collect()
    }

    #[test]
    fn the_table_stays_in_its_columns() {
        let text = evaluate(&cases("a cohort with a long name"), Some(41.0), 1).to_text();
        let width = |line: &str| line.chars().count();
        assert!(text.lines().all(|line| width(line) <= 88), "{text}");
        assert!(
            text.contains("all                      12   2.00 [2.00, 2.00]      2.00  +0.00"),
            "{text}"
        );
        assert!(
            text.contains("  a cohort with …        12   2.00"),
            "{text}"
        );
        assert!(text.contains("  30-39 ?                 5"), "{text}");
        assert!(text.contains("  unknown ?               9"), "{text}");
        assert!(
            text.contains("training set's mean age: MAE 6.00 years"),
            "{text}"
        );
    }

    #[test]
    fn an_r2_far_below_zero_does_not_touch_its_neighbour() {
        let mut wrong = cases("ukbb");
        for case in &mut wrong {
            case.predicted_age_years += 67.0;
        }
        let text = evaluate(&wrong, None, 1).to_text();
        let all = text.lines().find(|line| line.starts_with("all")).unwrap();
        // Name, n, MAE, two ends of the interval, RMSE, gap, r, R², slope.
        assert_eq!(all.split_whitespace().count(), 10, "{text}");
        // SSE = 12 · (67² + 2²), SST = 4 · 143: 1 − 53,916 / 572.
        assert!(all.contains(" -93.26 "), "{text}");
    }

    #[test]
    fn missing_figures_are_dashes() {
        let text = evaluate(&cases("ukbb")[..1], None, 1).to_text();
        assert!(
            text.contains(
                "all                       1   2.00 –                 2.00  +2.00     –       –      –"
            ),
            "{text}"
        );
        assert!(!text.contains("training set"));
    }
}
