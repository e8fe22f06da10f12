//! The page is read back as text: its cells are compared with the evaluation they come from.

use super::*;
use crate::eval::evaluate;
use crate::eval::groups::Scores;

const NASTY: &str = "<img src=x onerror=alert(1)> & \"co\"";

fn cases() -> Vec<Case> {
    (0..60)
        .map(|i| {
            let age_years = 20.0 + f64::from(i);
            let wave = f64::from(i % 7) * 1.37 - 4.1;
            Case {
                scan: format!("scan-{i}.nii.gz"),
                participant_id: format!("p{i}"),
                age_years,
                predicted_age_years: 0.8 * age_years + 10.0 + wave,
                group_key: format!("g{i}"),
                cohort: if i % 3 == 0 {
                    NASTY.to_owned()
                } else {
                    "ukbb".to_owned()
                },
                sex: ["F", "M"][i as usize % 2].to_owned(),
                ..Case::default()
            }
        })
        .collect()
}

fn report() -> Report {
    let mut cases = cases();
    let correction = BiasCorrection::fit(&cases).unwrap();
    for case in &mut cases {
        case.correct(&correction);
    }
    let curve = |block: f64| BlockCurve {
        train: (0..5)
            .map(|e| [f64::from(e), 12.0 - block - 2.0 * f64::from(e)])
            .collect(),
        validation: (0..5)
            .map(|e| [f64::from(e), 13.0 - block - 2.0 * f64::from(e)])
            .collect(),
    };
    let quality = |scan: &str, qc, reason: &str| ScanQuality {
        scan: scan.to_owned(),
        qc,
        reasons: if reason.is_empty() {
            Vec::new()
        } else {
            vec![reason.to_owned()]
        },
        error: None,
        rejected: None,
    };
    Report {
        title: "demo run".to_owned(),
        synthetic: true,
        recipe: "fast".to_owned(),
        model: "brain-cnn, eigen, local, 4 blocks".to_owned(),
        seed: 71,
        settings: vec![("Epochs".to_owned(), "5".to_owned())],
        cohorts: vec![
            CohortCounts {
                name: "ukbb".to_owned(),
                train: 311,
                validation: 41,
                test: 40,
            },
            CohortCounts {
                name: NASTY.to_owned(),
                train: 100,
                validation: 21,
                test: 20,
            },
        ],
        judged: "test set".to_owned(),
        evaluation: evaluate(&cases, Some(45.0), 1),
        cases,
        correction: Some(correction),
        curves: (0..4).map(|block| curve(f64::from(block))).collect(),
        scans: vec![
            quality("scan-0.nii.gz", Some(QcVerdict::Pass), ""),
            quality(
                "scan-1.nii.gz",
                Some(QcVerdict::Warn),
                "correlation 0.81, expected 0.85",
            ),
            ScanQuality {
                scan: NASTY.to_owned(),
                qc: None,
                reasons: Vec::new(),
                error: Some("label map, not a T1 scan".to_owned()),
                rejected: None,
            },
        ],
        left_out: vec![LeftOut {
            cohort: "ukbb".to_owned(),
            reason: "no age".to_owned(),
            n: 17,
        }],
        pictures: BTreeMap::new(),
        config: Some("[train]\nepochs = 5\n".to_owned()),
    }
}

fn html(report: &Report) -> String {
    page::html(report).unwrap()
}

/// Text of the cells of every table row, tags taken away and entities kept.
fn rows(html: &str) -> Vec<Vec<String>> {
    let row = |row: &str| {
        row.split("</td>")
            .map(text_of)
            .filter(|cell| !cell.is_empty())
            .collect()
    };
    html.split("<tr>")
        .skip(1)
        .filter_map(|part| part.split("</tr>").next())
        .map(row)
        .collect()
}

fn text_of(markup: &str) -> String {
    let texts = markup
        .split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    texts.collect::<String>().trim().to_owned()
}

fn cells(name: &str, scores: &Scores) -> Vec<String> {
    let two = |value: Option<f64>| format!("{:.2}", value.unwrap());
    let plus = |value: Option<f64>| format!("{:+.2}", value.unwrap());
    let [low, high] = scores.mae_ci.unwrap();
    let mark = if scores.n < 10 { " ?" } else { "" };
    vec![
        format!("{name}{mark}"),
        scores.n.to_string(),
        two(scores.mae),
        format!("{low:.2} to {high:.2}"),
        two(scores.rmse),
        plus(scores.bias),
        two(scores.r),
        two(scores.r2),
        plus(scores.bias_slope),
    ]
}

#[test]
fn every_figure_in_the_table_is_that_of_the_evaluation() {
    let report = report();
    let evaluation = &report.evaluation;
    let rows = rows(&html(&report));
    let escaped = "&lt;img src=x onerror=alert(1)&gt; &amp; &quot;co&quot;";
    let mut expected = vec![cells(
        "age-bias corrected *",
        evaluation.corrected.as_ref().unwrap(),
    )];
    expected.push(cells(escaped, &evaluation.by_cohort[NASTY]));
    expected.push(cells("ukbb", &evaluation.by_cohort["ukbb"]));
    let by_age = evaluation.by_age_bin.iter();
    expected.extend(by_age.map(|(bin, scores)| cells(&bin.to_string(), scores)));
    expected.extend(
        evaluation
            .by_sex
            .iter()
            .map(|(sex, scores)| cells(sex, scores)),
    );
    for row in &expected {
        assert_eq!(
            rows.iter().filter(|found| *found == row).count(),
            1,
            "{row:?}"
        );
    }
    let all = rows
        .iter()
        .find(|row| row[0] == "all" && row.len() == 9)
        .unwrap();
    assert_eq!(all[2], format!("{:.2}", evaluation.mae.unwrap()));
    assert_eq!(all[5], format!("{:+.2}", evaluation.bias().unwrap()));
    assert_eq!(all[8], format!("{:+.2}", evaluation.bias_slope.unwrap()));
    // Nothing else has nine cells.
    assert_eq!(
        rows.iter().filter(|row| row.len() == 9).count(),
        expected.len() + 1
    );
}

#[test]
fn the_headline_has_error_interval_number_and_baseline() {
    let report = report();
    let text = text_of(&html(&report));
    let evaluation = &report.evaluation;
    let [low, high] = evaluation.mae_ci.unwrap();
    let mae = evaluation.mae.unwrap();
    let headline = format!(
        "Mean absolute error {mae:.2} years (95 % CI {low:.2} to {high:.2}) on n = 60 scans of the test set."
    );
    assert!(text.contains(&headline), "{headline}");
    let baseline = evaluation.baseline_mae.unwrap();
    assert!(text.contains(&format!("for everybody: {baseline:.2} years.")));
    assert!(!text.contains("no better than"));
    assert!(text.contains(&format!(
        "MAE: {:.2} years.",
        evaluation.macro_mae().unwrap()
    )));
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let html = html(&report());
    for outside in [
        "http:", "https:", "//", "<script", "<link", "<img", "@import", "url(", "src=\"",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("<svg").count(), 6);
    assert_eq!(html.matches("</svg>").count(), 6);
}

#[test]
fn names_are_escaped_wherever_they_stand() {
    let mut report = report();
    report.title = NASTY.to_owned();
    report.model = NASTY.to_owned();
    report.cases[0].scan = NASTY.to_owned();
    let html = html(&report);
    assert!(!html.contains("<img src=x"));
    assert!(html.contains("<h1>&lt;img src=x onerror=alert(1)&gt;"));
}

#[test]
fn what_was_done_the_splits_and_the_refused_are_named() {
    let rows = rows(&html(&report()));
    let has = |cells: &[&str]| rows.iter().any(|row| row == cells);
    assert!(has(&["Recipe", "fast"]));
    assert!(has(&["Seed", "71"]));
    assert!(has(&["Epochs", "5"]));
    assert!(has(&["ukbb", "311", "41", "40"]));
    assert!(has(&["all", "411", "62", "60"]));
    assert!(has(&[
        "scan-1.nii.gz",
        "warn: correlation 0.81, expected 0.85"
    ]));
    assert!(
        rows.iter()
            .any(|row| row.len() == 2 && row[1] == "label map, not a T1 scan")
    );
    let text = text_of(&html(&report()));
    assert!(text.contains("3 scans: 1 passed, 1 with warnings, 0 failed, 1 refused."));
}

#[test]
fn the_page_says_once_what_it_is_and_that_the_data_are_synthetic_only_where_they_are() {
    let mut report = report();
    assert_eq!(html(&report).matches("not a medical device").count(), 1);
    assert_eq!(html(&report).matches("Synthetic").count(), 1);
    report.synthetic = false;
    assert!(!html(&report).contains("ynthetic"));
}

#[test]
fn the_largest_gaps_come_first() {
    let report = report();
    let rows = rows(&html(&report));
    let gaps: Vec<f64> = rows
        .iter()
        .filter(|row| row.len() == 7)
        .map(|row| row[5].parse().unwrap())
        .collect();
    let mut expected: Vec<f64> = report
        .cases
        .iter()
        .map(|case| case.gap_years().abs())
        .collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(gaps.len(), 10);
    for (gap, expected) in gaps.iter().zip(expected) {
        assert!((gap.abs() - expected).abs() < 0.005_001);
    }
}

#[test]
fn a_model_worse_than_the_mean_age_is_called_so() {
    let mut report = report();
    report.evaluation.baseline_mae = Some(1.0);
    assert!(html(&report).contains("no better than predicting the mean age"));
}

#[test]
fn a_report_without_cases_or_with_numbers_that_are_none_is_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let mut report = report();
    report.cases = Vec::new();
    report.curves = vec![BlockCurve::default()];
    report.scans = Vec::new();
    report.evaluation = evaluate(&[], None, 1);
    write_report(&path, &report).unwrap();
    assert!(
        fs_err::read_to_string(&path)
            .unwrap()
            .contains("No scan of the test set")
    );

    report.cases = cases();
    report.cases[0].predicted_age_years = f64::NAN;
    report.cases[1].age_years = f64::INFINITY;
    report.cases.truncate(2);
    report.evaluation = evaluate(&report.cases, None, 1);
    report.curves = vec![BlockCurve {
        train: vec![[1.0, f64::NAN]],
        validation: vec![[1.0, 3.0]],
    }];
    write_report(&path, &report).unwrap();
}

#[test]
fn many_points_are_thinned_and_the_page_says_so() {
    let mut report = report();
    report.cases = cases().into_iter().cycle().take(20_000).collect();
    let html = html(&report);
    assert!(html.contains("an even selection of the 20000 scans"));
    assert!(html.len() < 3_000_000, "{}", html.len());
}

#[test]
fn what_the_index_left_out_is_counted_with_its_reason_and_the_config_is_there() {
    let html = html(&report());
    assert!(rows(&html).contains(&vec![
        "ukbb".to_owned(),
        "17".to_owned(),
        "no age".to_owned()
    ]));
    assert!(html.contains("<pre>[train]\nepochs = 5\n</pre>"));
}

#[test]
fn what_a_person_rejected_since_is_named_and_counted() {
    let mut report = report();
    assert!(!html(&report).contains("rejected"));
    let reason = "rejected in review: moved";
    report.scans[0].rejected = Some(reason.to_owned());
    let html = html(&report);
    assert!(
        html.contains("1 of them a person has rejected since; the figures hold it all the same.")
    );
    let row = vec!["scan-0.nii.gz".to_owned(), reason.to_owned()];
    assert!(rows(&html).contains(&row));
}

#[test]
fn the_largest_gaps_are_shown_with_their_pictures_inside_the_page() {
    let mut report = report();
    assert!(!html(&report).contains("<img "));
    let worst = largest_gaps(&report.cases)[0].scan.clone();
    report.pictures.insert(worst.clone(), b"PNG".to_vec());
    let html = html(&report);
    assert_eq!(html.matches("<img ").count(), 1);
    // "PNG" in base64.
    assert!(html.contains("data:image/png;base64,UE5H"), "{worst}");
    assert!(html.contains("img-src data:"));
}

#[test]
fn the_page_has_every_figure_with_a_title_for_those_who_cannot_see_it() {
    let html = html(&report());
    for title in [
        "Predicted against chronological age",
        "Brain-age gap against chronological age",
        "Corrected brain-age gap against chronological age",
        "Difference against mean of predicted and chronological age",
        "Distribution of the gap in each cohort",
        "Mean absolute error of each block while training",
    ] {
        assert_eq!(
            html.matches(&format!("aria-label=\"{title}\"")).count(),
            1,
            "{title}"
        );
    }
}

#[test]
fn a_row_of_the_table_gives_the_quality_of_its_scan() {
    let row = PredictionRow {
        scan: "a.nii".to_owned(),
        qc: Some(QcVerdict::Fail),
        qc_reasons: vec!["mask too small".to_owned()],
        ..PredictionRow::default()
    };
    let quality = ScanQuality::from(&row);
    assert_eq!(
        (quality.scan.as_str(), quality.qc),
        ("a.nii", Some(QcVerdict::Fail))
    );
    assert_eq!(quality.reasons, ["mask too small"]);
}
