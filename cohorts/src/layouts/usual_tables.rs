//! Tables that a layout knows by their columns, wherever a download put them.

use std::path::PathBuf;

use crate::delimited::Delimited;
use crate::files::depth;
use crate::layout::Search;

/// The tables that the project file names; otherwise those at the root, up to two folders below it or beside it that
/// `knows` accepts. What cannot be read as a table is passed over, unless it was named.
pub(super) fn usual_tables(search: &Search<'_>, knows: fn(&Delimited) -> bool) -> Vec<PathBuf> {
    if !search.tables.is_empty() {
        return search.tables.to_vec();
    }
    let is_near = |path: &&PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default().to_lowercase();
        matches!(extension.as_str(), "csv" | "tsv" | "tab" | "txt")
            && (depth(path, search.root) <= 3 || !path.starts_with(search.root))
    };
    let near = search.files.paths.iter().filter(is_near);
    let known = near.filter(|path| Delimited::open(path).is_ok_and(|table| knows(&table)));
    known.cloned().collect()
}
