//! `left_out.csv` of a run: what the cohorts hold and the training did not use, counted by reason.

use std::collections::BTreeMap;

use brainage_cohorts::CohortIndex;
use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::batch::ScanReport;
use brainage_pipelines::qc::QcVerdict;

use crate::report::LeftOut;
use crate::run::dir::RunDir;

const REFUSED: &str = "refused by preprocessing";
const FAILED: &str = "failed quality control";

/// Writes the table.
///
/// # Errors
/// What the file system answered.
pub fn write(run: &RunDir, rows: &[LeftOut]) -> std::io::Result<()> {
    write_atomically(&run.left_out(), |out| {
        let mut table = csv::Writer::from_writer(out);
        if rows.is_empty() {
            table.write_record(["cohort", "reason", "n"])?;
        }
        for row in rows {
            table.serialize(row)?;
        }
        table.flush()
    })
}

/// Reads the table; nothing where a run of an earlier version has none.
///
/// # Errors
/// Where it is damaged.
pub fn read(run: &RunDir) -> anyhow::Result<Vec<LeftOut>> {
    if !run.left_out().is_file() {
        return Ok(Vec::new());
    }
    let text = fs_err::read(run.left_out())?;
    let rows = csv::Reader::from_reader(text.as_slice())
        .into_deserialize()
        .collect::<Result<Vec<LeftOut>, _>>()?;
    Ok(rows)
}

/// Adds the scans that preprocessing refused, or that failed quality control; those of an earlier start are replaced.
///
/// # Errors
/// What the file system answered, or where the table is damaged.
pub(super) fn add_unusable(
    run: &RunDir,
    index: &CohortIndex,
    reports: &[ScanReport],
) -> anyhow::Result<()> {
    let mut rows = read(run)?;
    rows.retain(|row| row.reason != REFUSED && row.reason != FAILED);
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (row, report) in index.rows.iter().zip(reports) {
        let reason = match report.outcome.entry() {
            None => REFUSED,
            Some(entry) if entry.header.qc.verdict == QcVerdict::Fail => FAILED,
            Some(_) => continue,
        };
        *counts.entry((row.cohort.to_string(), reason)).or_default() += 1;
    }
    rows.extend(counts.into_iter().map(|((cohort, reason), n)| LeftOut {
        cohort,
        reason: reason.to_owned(),
        n,
    }));
    Ok(write(run, &rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_and_an_empty_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path().join("run")).unwrap();
        assert_eq!(read(&run).unwrap(), []);
        for n in [0, 2] {
            let rows: Vec<LeftOut> = (0..n)
                .map(|i| LeftOut {
                    cohort: "ukbb, \"bulk\"".to_owned(),
                    reason: format!("no age, {i}"),
                    n: i + 1,
                })
                .collect();
            write(&run, &rows).unwrap();
            assert_eq!(read(&run).unwrap(), rows);
        }
    }
}
