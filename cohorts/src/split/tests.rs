use super::*;
use crate::index::tests::row;
use proptest::prelude::*;

const FRACTIONS: SplitFractions = SplitFractions {
    validation: 0.1,
    test: 0.2,
};

fn index_of(n: usize) -> CohortIndex {
    let rows = (0..n).map(|i| row("ukbb", &(1_000_000 + i).to_string(), 45.0 + (i % 40) as f64));
    CohortIndex {
        rows: rows.collect(),
    }
}

#[test]
fn large_cohorts_come_close_to_the_fractions_in_every_stratum() {
    let mut index = index_of(20_000);
    let summary = assign_splits(&mut index, 7, FRACTIONS).unwrap();
    assert_eq!(summary.strata.len(), 8);
    for (stratum, counts) in &summary.strata {
        // 2 500 groups: the standard deviation of a share of 0.2 is 0.008.
        assert!(
            (counts.test as f64 / 2500.0 - 0.2).abs() < 0.035,
            "{stratum:?} {counts:?}"
        );
        assert!(
            (counts.validation as f64 / 2500.0 - 0.1).abs() < 0.03,
            "{stratum:?} {counts:?}"
        );
    }
    assert_eq!(summary.empty_splits(), []);
    check_leakage(&index).unwrap();
}

#[test]
fn the_split_of_a_key_is_the_same_in_every_version() {
    let parts = ["ukbb:1000223", "camcan:CC110033", "ixi:IXI012"]
        .map(|key| Positions::new(SPLIT_CONTEXT, 1).of(key));
    assert_eq!(
        parts.map(|part| (part * 1000.0).floor()),
        [275.0, 636.0, 501.0]
    );
}

#[test]
fn few_subjects_can_leave_a_split_empty_and_the_summary_says_so() {
    let mut index = index_of(1);
    let summary = assign_splits(&mut index, 1, FRACTIONS).unwrap();
    assert_eq!(summary.empty_splits().len(), 2);
}

#[test]
fn fractions_that_leave_nothing_to_train_on_are_refused() {
    for (validation, test) in [
        (0.5, 0.5),
        (-0.1, 0.2),
        (f64::NAN, 0.1),
        (0.1, f64::INFINITY),
    ] {
        let fractions = SplitFractions { validation, test };
        assert!(
            assign_splits(&mut index_of(1), 1, fractions).is_err(),
            "{fractions:?}"
        );
    }
}

#[test]
fn shared_groups_participants_and_scans_are_found() {
    let check = |change: fn(&mut IndexRow), expected: &str| {
        let mut index = index_of(2);
        index.rows[0].split = Some(Split::Train);
        index.rows[1].split = Some(Split::Test);
        check_leakage(&index).unwrap();
        change(&mut index.rows[1]);
        let message = check_leakage(&index).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        assert!(
            message.ends_with("is in splits train and test, expected one"),
            "{message}"
        );
    };
    check(|row| row.group_key = "ukbb:1000000".to_owned(), "the group");
    check(
        |row| row.participant_id = "1000000".to_owned().try_into().unwrap(),
        "the data",
    );
    check(
        |row| row.scan = "/data/ukbb/1000000.nii.gz".into(),
        "a scan",
    );
}

#[test]
fn protocols_are_read_as_they_are_shown() {
    for text in ["hash", "kfold:5:0", "kfold:5:4", "loco:adni"] {
        assert_eq!(text.parse::<SplitProtocol>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "kfold",
        "kfold:5",
        "kfold:5:5",
        "kfold:1:0",
        "kfold:-1:0",
        "loco:",
        "adni",
    ] {
        assert!(text.parse::<SplitProtocol>().is_err(), "{text}");
    }
}

#[test]
fn every_group_is_tested_on_in_exactly_one_fold() {
    let mut times_tested = vec![0; 3000];
    for fold in 0..5 {
        let mut index = index_of(3000);
        let protocol = SplitProtocol::Fold { n: 5, fold };
        let summary = assign_splits_by(&mut index, 3, FRACTIONS, &protocol).unwrap();
        // 600 expected, standard deviation 22; of the other 2400 a tenth validates, standard deviation 15.
        assert!(
            summary.groups.test.abs_diff(600) < 90,
            "{:?}",
            summary.groups
        );
        assert!(
            summary.groups.validation.abs_diff(240) < 60,
            "{:?}",
            summary.groups
        );
        for (row, times) in index.rows.iter().zip(&mut times_tested) {
            *times += usize::from(row.split == Some(Split::Test));
        }
        check_leakage(&index).unwrap();
    }
    assert!(times_tested.iter().all(|&times| times == 1));
}

#[test]
fn a_cohort_that_is_left_out_is_tested_on_whole_and_no_other_is() {
    let mut index = index_of(1000);
    index
        .rows
        .extend((0..50).map(|i| row("adni", &i.to_string(), 70.0)));
    let protocol = SplitProtocol::LeaveCohortOut("adni".to_owned());
    assign_splits_by(&mut index, 3, FRACTIONS, &protocol).unwrap();
    for row in &index.rows {
        assert_eq!(row.split == Some(Split::Test), row.cohort == *"adni");
    }
    let unknown = SplitProtocol::LeaveCohortOut("adnl".to_owned());
    let error = assign_splits_by(&mut index, 3, FRACTIONS, &unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no scan of cohort `adnl` in the index, expected one of adni, ukbb"
    );
}

proptest! {
    #[test]
    fn scans_of_a_group_stay_together_whatever_the_order_and_whoever_is_added(
        people in proptest::collection::vec((0_u16..60, 0_u16..20, 18.0_f64..90.0), 1..80),
        added in proptest::collection::vec((60_u16..120, 20_u16..40, 0.0_f64..120.0), 0..40),
        seed in any::<u64>(),
        validation in 0.0_f64..0.5,
        test in 0.0_f64..0.49,
    ) {
        let fractions = SplitFractions { validation, test };
        let rows = |people: &[(u16, u16, f64)]| -> Vec<IndexRow> {
            let made = people.iter().map(|&(person, family, age)| {
                let mut row = row("hcp", &person.to_string(), age);
                row.group_key = format!("hcp:family-{family}");
                row
            });
            made.collect()
        };
        let mut first = CohortIndex { rows: rows(&people) };
        assign_splits(&mut first, seed, fractions).unwrap();
        let split_of_group: BTreeMap<_, _> =
            first.rows.iter().map(|row| (row.group_key.clone(), row.split)).collect();
        for row in &first.rows {
            prop_assert_eq!(split_of_group[&row.group_key], row.split);
        }

        let mut more = CohortIndex { rows: rows(&added) };
        more.rows.extend(first.rows.iter().rev().cloned());
        assign_splits(&mut more, seed, fractions).unwrap();
        for row in &more.rows {
            prop_assert!(row.split.is_some());
            if let Some(&split) = split_of_group.get(&row.group_key) {
                prop_assert_eq!(split, row.split);
            }
        }
    }
}
