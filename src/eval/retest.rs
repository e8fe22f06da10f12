//! Repeat scans: does the same brain get the same age twice?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Case;

/// Ages of two scans that count as one visit and its repetition lie no further apart: 90 days.
pub const RETEST_YEARS: f64 = 0.25;

/// Agreement of first and second scans.
///
/// # References
/// Intraclass correlation ICC(2,1), absolute agreement: Shrout & Fleiss 1979, Psychol Bull 86:420. Smallest detectable
/// change: de Vet et al. 2006, J Clin Epidemiol 59:1033.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retest {
    /// Participants with two scans within [`RETEST_YEARS`].
    pub n: usize,
    /// ICC(2,1) of the predicted ages; grows with the range of ages among the participants.
    pub icc_predicted: Option<f64>,
    /// ICC(2,1) of the gaps.
    pub icc_gap: Option<f64>,
    /// Mean of |second − first gap|, years.
    pub mean_absolute_difference_years: f64,
    /// Standard deviation within a person, √(mean difference² / 2), years.
    pub within_person_sd_years: f64,
    /// A change that is larger than what repetition alone makes in 95 of 100: 1.96 · √2 · that, years.
    pub smallest_detectable_change_years: f64,
}

impl Retest {
    /// Of the participants who were scanned twice; `None` where there are none.
    pub(super) fn of(cases: &[Case]) -> Option<Self> {
        let pairs = pairs(cases);
        let n = pairs.len();
        if n == 0 {
            return None;
        }
        let column = |value: fn(&Case) -> f64| -> Vec<[f64; 2]> {
            pairs.iter().map(|pair| pair.map(value)).collect()
        };
        let gaps = column(Case::gap_years);
        let differences: Vec<f64> = gaps.iter().map(|[a, b]| b - a).collect();
        let squares: f64 = differences.iter().map(|d| d * d).sum();
        let within = (squares / n as f64 / 2.0).sqrt();
        Some(Self {
            n,
            icc_predicted: icc_2_1(&column(|case| case.predicted_age_years)),
            icc_gap: icc_2_1(&gaps),
            mean_absolute_difference_years: differences.iter().map(|d| d.abs()).sum::<f64>()
                / n as f64,
            within_person_sd_years: within,
            smallest_detectable_change_years: 1.96 * 2.0_f64.sqrt() * within,
        })
    }
}

/// Each participant's first scan with the next one that is near enough in age.
fn pairs(cases: &[Case]) -> Vec<[&Case; 2]> {
    let mut by_participant: BTreeMap<[&str; 2], Vec<&Case>> = BTreeMap::new();
    for case in cases.iter().filter(|case| !case.participant_id.is_empty()) {
        let key = [case.cohort.as_str(), case.participant_id.as_str()];
        by_participant.entry(key).or_default().push(case);
    }
    by_participant
        .into_values()
        .filter_map(first_pair)
        .collect()
}

fn first_pair(mut scans: Vec<&Case>) -> Option<[&Case; 2]> {
    scans.sort_by(|a, b| {
        let by_age = a.age_years.total_cmp(&b.age_years);
        by_age.then_with(|| a.scan.cmp(&b.scan))
    });
    let mut neighbours = scans.windows(2);
    let two = neighbours.find(|two| two[1].age_years - two[0].age_years <= RETEST_YEARS)?;
    Some([two[0], two[1]])
}

/// ICC(2,1) of `rows` targets measured `K` times each: two-way random effects, absolute agreement, single measurement.
/// `None` for fewer than two rows, or where nothing varies.
fn icc_2_1<const K: usize>(rows: &[[f64; K]]) -> Option<f64> {
    let (n, k) = (rows.len() as f64, K as f64);
    if rows.len() < 2 || K < 2 {
        return None;
    }
    let grand = rows.iter().flatten().sum::<f64>() / (n * k);
    let row_mean = |row: &[f64; K]| row.iter().sum::<f64>() / k;
    let column_mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / n;
    let of_rows = k * rows
        .iter()
        .map(|row| (row_mean(row) - grand).powi(2))
        .sum::<f64>();
    let of_columns = n
        * (0..K)
            .map(|c| (column_mean(c) - grand).powi(2))
            .sum::<f64>();
    let total: f64 = rows.iter().flatten().map(|v| (v - grand).powi(2)).sum();
    let between = of_rows / (n - 1.0);
    let judges = of_columns / (k - 1.0);
    let error = (total - of_rows - of_columns) / ((n - 1.0) * (k - 1.0));
    let icc = (between - error) / (between + (k - 1.0) * error + k * (judges - error) / n);
    icc.is_finite().then_some(icc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intraclass_correlation_is_the_published_one() {
        // Shrout & Fleiss 1979, table 2 and table 4: six targets, four judges, ICC(2,1) = 0.29.
        let ratings = [
            [9.0, 2.0, 5.0, 8.0],
            [6.0, 1.0, 3.0, 2.0],
            [8.0, 4.0, 6.0, 8.0],
            [7.0, 1.0, 2.0, 6.0],
            [10.0, 5.0, 6.0, 9.0],
            [6.0, 2.0, 4.0, 7.0],
        ];
        assert!((icc_2_1(&ratings).unwrap() - 0.29).abs() < 0.005);
        assert_eq!(icc_2_1(&[[1.0, 1.0]]), None);
        assert_eq!(icc_2_1(&[[1.0, 1.0], [1.0, 1.0]]), None);
    }

    fn case(id: &str, scan: &str, age_years: f64, gap: f64) -> Case {
        Case {
            scan: scan.to_owned(),
            participant_id: id.to_owned(),
            age_years,
            predicted_age_years: age_years + gap,
            ..Case::default()
        }
    }

    #[test]
    fn only_scans_of_one_person_within_90_days_are_a_repetition() {
        let cases = [
            case("a", "a2", 50.1, 3.0),
            case("a", "a1", 50.0, 1.0),
            case("b", "b1", 60.0, 0.0),
            case("b", "b2", 61.0, 5.0),
            case("c", "c1", 70.0, 0.0),
            case("", "x1", 70.0, 0.0),
            case("", "x2", 70.0, 0.0),
            case("d", "d1", 30.0, -1.0),
            case("d", "d2", 30.0, -5.0),
        ];
        let retest = Retest::of(&cases).unwrap();
        assert_eq!(retest.n, 2);
        // Differences of gaps 2 and −4.
        assert!((retest.mean_absolute_difference_years - 3.0).abs() < 1e-9);
        let within = (20.0_f64 / 2.0 / 2.0).sqrt();
        assert!((retest.within_person_sd_years - within).abs() < 1e-9);
        let change = retest.smallest_detectable_change_years;
        assert!((change - 1.96 * 2.0_f64.sqrt() * within).abs() < 1e-9);
        assert_eq!(Retest::of(&cases[2..5]), None);
    }
}
