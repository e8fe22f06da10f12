//! The same image under two names: found by the bytes of the scan files, once preprocessing has read them all.

use std::collections::BTreeMap;

use brainage_cohorts::{CohortIndex, IndexRow};
use brainage_pipelines::batch::ScanReport;

use super::super::{CliError, Printer};

/// Refuses an index in which one image stands in two splits; an image under two participants of one split is only
/// told.
///
/// # Errors
/// Names both scans.
pub(super) fn check_images(
    index: &CohortIndex,
    reports: &[ScanReport],
    printer: &Printer,
) -> anyhow::Result<()> {
    let hash_of = |report: &ScanReport| Some(report.outcome.entry()?.header.file_hash.clone());
    let hashes: Vec<Option<String>> = reports.iter().map(hash_of).collect();
    for [a, b] in pairs_with_same_image(&index.rows, &hashes) {
        let both = format!("`{}` and `{}`", a.scan.display(), b.scan.display());
        if a.split != b.split {
            let message = format!("the same image stands in two splits: {both}");
            let hint = "name one of the participants in a file under `exclude` in the project file";
            return Err(CliError::failed(message, hint).into());
        }
        if (&a.cohort, &a.participant_id) != (&b.cohort, &b.participant_id) {
            printer.warning(&format!("one image under two participants: {both}"));
        }
    }
    Ok(())
}

/// Each row with the first one of the same hash.
fn pairs_with_same_image<'a>(
    rows: &'a [IndexRow],
    hashes: &[Option<String>],
) -> Vec<[&'a IndexRow; 2]> {
    let mut first_with: BTreeMap<&str, &IndexRow> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (row, hash) in rows.iter().zip(hashes) {
        let Some(hash) = hash else { continue };
        match first_with.get(hash.as_str()) {
            Some(first) => pairs.push([*first, row]),
            None => {
                first_with.insert(hash, row);
            }
        }
    }
    pairs
}
