//! What `index --check` reads of the scans themselves: their headers, in parallel, and on request all their bytes.

use std::collections::BTreeMap;
use std::path::Path;

use brainage_cohorts::{CohortListing, IndexRow};
use brainage_pipelines::batch::content_hash;
use brainage_pipelines::format::{ReadOptions, read_header};
use rayon::prelude::*;
use serde::Serialize;

use super::{CliError, Context};

/// Examples that are named.
const N_EXAMPLES: usize = 3;

/// What is wrong with the indexed scans of a cohort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ImageCheck {
    /// Scans whose header was read.
    pub(super) headers: usize,
    /// Those that cannot be read.
    pub(super) unreadable_headers: usize,
    /// Why, of some of them.
    pub(super) unreadable_examples: Vec<String>,
    /// Pairs of scans with the same bytes under two participants; none where bytes were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) same_images: Option<Vec<[String; 2]>>,
}

/// Reads the headers of all indexed scans of a cohort, and with `bytes` all of them whole.
///
/// # Errors
/// Where Ctrl-C came first.
pub(super) fn check_images(
    listing: &CohortListing,
    bytes: bool,
    context: &Context,
) -> anyhow::Result<ImageCheck> {
    let n = Some(listing.rows.len() as u64);
    let progress = context.printer.progress("headers", "scans", n);
    let wrong = |row: &IndexRow| {
        if context.stop.is_set() {
            return None;
        }
        let header = read_header(&row.scan);
        progress.advance(1);
        header.err().map(|error| error.to_string())
    };
    let unreadable: Vec<String> = listing.rows.par_iter().filter_map(wrong).collect();
    drop(progress);
    let same_images = bytes.then(|| same_images(&listing.rows, context));
    if context.stop.is_set() {
        return Err(CliError::failed("stopped before the last scan", "begin again").into());
    }
    Ok(ImageCheck {
        headers: listing.rows.len(),
        unreadable_headers: unreadable.len(),
        unreadable_examples: unreadable.into_iter().take(N_EXAMPLES).collect(),
        same_images,
    })
}

/// Pairs of scans of different participants that are the same file.
fn same_images(rows: &[IndexRow], context: &Context) -> Vec<[String; 2]> {
    let progress = context
        .printer
        .progress("compare", "scans", Some(rows.len() as u64));
    let hash = |row: &IndexRow| {
        let hash =
            (!context.stop.is_set()).then(|| content_hash(&row.scan, ReadOptions::default()));
        progress.advance(1);
        hash.flatten()
    };
    let hashes: Vec<Option<blake3::Hash>> = rows.par_iter().map(hash).collect();
    let mut first_with: BTreeMap<[u8; 32], &IndexRow> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (row, hash) in rows.iter().zip(hashes) {
        let Some(hash) = hash else { continue };
        let first = *first_with.entry(*hash.as_bytes()).or_insert(row);
        if first.participant_id != row.participant_id {
            let shown = |scan: &Path| scan.display().to_string();
            pairs.push([shown(&first.scan), shown(&row.scan)]);
        }
    }
    pairs
}

impl ImageCheck {
    /// Lines for the terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "  {} headers read, {} unreadable",
            self.headers, self.unreadable_headers
        )];
        let examples = self.unreadable_examples.iter();
        lines.extend(examples.map(|example| format!("    such as {example}")));
        for [first, second] in self.same_images.iter().flatten() {
            lines.push(format!(
                "  the same image under two participants: `{first}` and `{second}`"
            ));
        }
        lines
    }
}
