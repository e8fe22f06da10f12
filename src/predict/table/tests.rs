//! Tables are compared with the rows that went in, and with text written by hand.

use super::comma_separated::{columns, contracted_columns};
use super::*;
use brainage_pipelines::qc::QcVerdict;

fn predicted(scan: &str, n_blocks: usize) -> PredictionRow {
    PredictionRow {
        scan: scan.to_owned(),
        participant_id: Some("sub-01".to_owned()),
        session_id: None,
        age_years: Some(63.2),
        predicted_age_years: Some(f64::from(60.1_f32)),
        gap_years: Some(f64::from(60.1_f32) - 63.2),
        corrected_gap_years: Some(1.0 / 3.0),
        block_ages_years: (0..n_blocks)
            .map(|block| 61.0 - block as f64 / 7.0)
            .collect(),
        qc: Some(QcVerdict::Warn),
        qc_reasons: vec![
            "mask volume 1,912 ml".to_owned(),
            "correlation 0.81".to_owned(),
        ],
        recipe: "fast".to_owned(),
        model: "model.safetensors".to_owned(),
        seconds: Some(2.75),
        low_years: Some(52.5),
        high_years: Some(67.25),
        coverage: Some(0.9),
        head_sd_years: Some(4.5),
        in_training: Some("image".to_owned()),
        warnings: vec!["age 63.2 is outside the training ages".to_owned()],
        ..PredictionRow::default()
    }
}

fn refused(scan: &str) -> PredictionRow {
    PredictionRow {
        scan: scan.to_owned(),
        recipe: "fast".to_owned(),
        model: "model.safetensors".to_owned(),
        error: Some("not a T1 scan, \"label map\"\nfound 12 values".to_owned()),
        ..PredictionRow::default()
    }
}

fn written(rows: &[PredictionRow], n_blocks: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("predictions.csv");
    let mut writer = PredictionWriter::create(&path, TableFormat::Csv, n_blocks).unwrap();
    for row in rows {
        writer.write(row).unwrap();
    }
    writer.finish().unwrap();
    (folder, path)
}

fn error_of(text: &str) -> String {
    parse(text.as_bytes(), Path::new("p.csv"))
        .unwrap_err()
        .to_string()
}

#[test]
fn rows_with_commas_quotes_and_line_ends_read_back_the_same_for_any_number_of_blocks() {
    for n_blocks in 0..=4 {
        let names = [
            "a, \"b\".nii.gz",
            "x\ny.nii",
            "ümlaut.mgz",
            "'; drop",
            "=1+1",
            " space ",
        ];
        let mut rows: Vec<_> = names.iter().map(|name| predicted(name, n_blocks)).collect();
        rows.insert(2, refused("broken\r\n.nii"));
        let (_folder, path) = written(&rows, n_blocks);
        assert_eq!(read_predictions(&path).unwrap(), rows, "{n_blocks} blocks");
    }
}

#[test]
fn the_header_and_a_row_are_those_of_the_contract() {
    let (_folder, path) = written(&[predicted("s.nii", 2), refused("r.nii")], 2);
    let text = fs_err::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "scan,participant_id,session_id,age_years,predicted_age,gap,corrected_gap,block_1,block_2,\
         qc,qc_reasons,recipe,model,seconds,error,predicted_low,predicted_high,coverage,head_sd,tta_sd,models_sd,\
         in_training,warnings"
    );
    assert_eq!(
        lines.next().unwrap(),
        "s.nii,sub-01,,63.2,60.099998474121094,-3.100001525878909,0.3333333333333333,61,\
         60.857142857142854,warn,\"mask volume 1,912 ml; correlation 0.81\",fast,model.safetensors,2.75,,\
         52.5,67.25,0.9,4.5,,,image,age 63.2 is outside the training ages"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("r.nii,,,,,,,,,,,fast,model.safetensors,,\"not a")
    );
}

#[test]
fn missing_columns_are_named_and_a_hole_between_the_blocks_is_one() {
    let error = error_of("scan,age_years,predicted_age,gap,block_1,block_3,qc,qc_reasons,recipe\n");
    let missing = "participant_id, session_id, corrected_gap, block_2, model, seconds, error";
    assert_eq!(
        error,
        format!("columns {missing} are missing (line 1): `p.csv`")
    );
    assert!(error_of("").contains("columns scan, "));
}

#[test]
fn a_wrong_field_is_named_with_its_line_even_after_line_ends_in_quotes() {
    let header = contracted_columns(0).join(",");
    let row = "\"a\nb\",,,,,,,,,,,,";
    let check = |second: &str, expected: &str| {
        assert_eq!(error_of(&format!("{header}\n{row}\n{second}\n")), expected);
    };
    check(
        "c,,,sixty,,,,,,,,,",
        "age_years: found \"sixty\", expected a number, or nothing (line 4): `p.csv`",
    );
    check(
        "c,,,,NaN,,,,,,,,",
        "predicted_age: found \"NaN\", expected a number, or nothing (line 4): `p.csv`",
    );
    check(
        "c,,,,,,,good,,,,,",
        "qc: found \"good\", expected pass, warn, fail, or nothing (line 4): `p.csv`",
    );
    check("c,,", "found 3 fields, expected 13 (line 4): `p.csv`");
    assert_eq!(
        error_of(&format!("{header},gap\n")),
        "column gap is there twice (line 1): `p.csv`"
    );
    let blocks = contracted_columns(2).join(",");
    assert_eq!(
        error_of(&format!("{blocks}\nc,,,,,,,61.5,,,,,,,\n")),
        "found 1 block ages, expected 2 or none (line 2): `p.csv`"
    );
}

#[test]
fn columns_may_stand_in_any_order_after_a_byte_order_mark_and_beside_others() {
    let mut names = contracted_columns(1);
    names.reverse();
    names.push("remark".to_owned());
    let text = format!(
        "\u{feff}{}\r\n,2.5,m,r,,pass,61.5,,,62.5,,s,p,a.nii,hello\r\n",
        names.join(",")
    );
    let (n_blocks, rows) = parse(text.as_bytes(), Path::new("p.csv")).unwrap();
    assert_eq!(n_blocks, 1);
    assert_eq!(rows[0].scan, "a.nii");
    assert_eq!(rows[0].predicted_age_years, Some(62.5));
    assert_eq!(rows[0].block_ages_years, [61.5]);
    assert_eq!(rows[0].qc, Some(QcVerdict::Pass));
}

#[test]
fn until_it_is_finished_the_old_table_stays_and_the_rows_are_in_the_partial_one() {
    let (_folder, path) = written(&[predicted("old.nii", 1)], 1);
    let mut writer = PredictionWriter::create(&path, TableFormat::Csv, 1).unwrap();
    writer.write(&predicted("new.nii", 1)).unwrap();
    assert_eq!(read_predictions(&path).unwrap()[0].scan, "old.nii");
    assert_eq!(
        read_predictions(&partial_path(&path)).unwrap()[0].scan,
        "new.nii"
    );
    writer.finish().unwrap();
    assert_eq!(read_predictions(&path).unwrap()[0].scan, "new.nii");
    assert!(!partial_path(&path).exists());
}

#[test]
fn a_table_that_was_cut_anywhere_is_taken_up_at_its_last_whole_row() {
    let rows = [
        refused("a\n.nii"),
        predicted("b.nii", 2),
        refused("c.nii"),
        predicted("d.nii", 2),
    ];
    let (_folder, path) = written(&rows, 2);
    let bytes = fs_err::read(&path).unwrap();
    for length in 0..=bytes.len() {
        fs_err::write(partial_path(&path), &bytes[..length]).unwrap();
        let (mut writer, done) = PredictionWriter::resume(&path, TableFormat::Csv, 2).unwrap();
        assert_eq!(done, rows[..done.len()]);
        rows[done.len()..]
            .iter()
            .for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), bytes, "cut at {length}");
    }
}

#[test]
fn resuming_takes_over_a_whole_table_and_refuses_one_with_other_blocks() {
    let (_folder, path) = written(&[predicted("a.nii", 3)], 3);
    let (mut writer, done) = PredictionWriter::resume(&path, TableFormat::Csv, 3).unwrap();
    assert_eq!(done, [predicted("a.nii", 3)]);
    writer.write(&refused("b.nii")).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_predictions(&path).unwrap().len(), 2);
    let error = PredictionWriter::resume(&path, TableFormat::Csv, 4).unwrap_err();
    assert!(
        matches!(
            error,
            TableError::OtherBlocks {
                found: 3,
                expected: 4,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_is_no_number_and_a_wrong_number_of_block_ages_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.csv");
    let mut writer = PredictionWriter::create(&path, TableFormat::Csv, 2).unwrap();
    let mut row = predicted("a.nii", 2);
    row.predicted_age_years = Some(f64::NAN);
    let error = writer.write(&row).unwrap_err().to_string();
    assert!(error.starts_with("predicted_age: found \"NaN\", expected a finite number (line 2)"));
    assert!(writer.write(&predicted("a.nii", 3)).is_err());
    writer.finish().unwrap();
    assert_eq!(read_predictions(&path).unwrap(), []);
}

#[test]
fn json_lines_hold_the_rows_and_are_taken_up_where_they_were_cut() {
    let rows = [
        refused("a\n.nii"),
        predicted("b.nii", 2),
        predicted("c.nii", 2),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.jsonl");
    assert_eq!(TableFormat::of_name(&path), TableFormat::Jsonl);
    let mut writer = PredictionWriter::create(&path, TableFormat::Jsonl, 2).unwrap();
    for row in &rows {
        writer.write(row).unwrap();
    }
    writer.finish().unwrap();
    let bytes = fs_err::read(&path).unwrap();
    assert_eq!(read_predictions(&path).unwrap(), rows);
    let second = bytes.split(|byte| *byte == b'\n').nth(1).unwrap();
    let object: serde_json::Value = serde_json::from_slice(second).unwrap();
    assert_eq!(object["predicted_age"], f64::from(60.1_f32));
    assert_eq!(object["blocks"].as_array().unwrap().len(), 2);
    for length in 0..=bytes.len() {
        fs_err::write(partial_path(&path), &bytes[..length]).unwrap();
        let (mut writer, done) = PredictionWriter::resume(&path, TableFormat::Jsonl, 2).unwrap();
        rows[done.len()..]
            .iter()
            .for_each(|row| writer.write(row).unwrap());
        writer.finish().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), bytes, "cut at {length}");
    }
}

#[test]
fn an_unfinished_table_of_another_format_is_refused() {
    let (_folder, path) = written(&[predicted("a.nii", 1)], 1);
    let error = PredictionWriter::resume(&path, TableFormat::Jsonl, 1).unwrap_err();
    assert!(matches!(error, TableError::OtherFormat { .. }), "{error}");
}

#[test]
fn an_unfinished_table_of_an_earlier_version_gains_the_later_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.csv");
    let early = format!(
        "{}\na.nii,,,,60.5,,,60.5,pass,,r,m,1,\n",
        contracted_columns(1).join(",")
    );
    fs_err::write(partial_path(&path), early).unwrap();
    let (writer, done) = PredictionWriter::resume(&path, TableFormat::Csv, 1).unwrap();
    assert_eq!(done[0].predicted_age_years, Some(60.5));
    writer.finish().unwrap();
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.starts_with(&columns(1).join(",")), "{text}");
    assert_eq!(read_predictions(&path).unwrap(), done);
}

#[test]
fn a_missing_table_is_an_error_that_names_it() {
    let error = read_predictions(Path::new("/nowhere/predictions.csv"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere/predictions.csv"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let mut text = columns(1).join(",").into_bytes();
        text.push(b'\n');
        text.extend(&bytes);
        parse(&text, Path::new("p.csv")).ok();
        parse(&bytes, Path::new("p.csv")).ok();
    }
}
