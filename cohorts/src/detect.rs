//! Which layout a folder has, told from the names of its files.

use std::path::Path;

use crate::error::{Error, shown};
use crate::files::Files;
use crate::layout::Layout;

/// A layout, and what of each layout was seen.
#[derive(Clone, Debug)]
pub(crate) struct Recognized {
    pub(crate) layout: Layout,
    pub(crate) seen: Vec<String>,
}

/// Takes the special layout that files speak for, or else the first general one.
///
/// # Errors
/// If no file speaks for any layout, or files speak for several special ones.
pub(crate) fn detect(root: &Path, files: &Files) -> Result<Recognized, Error> {
    let mut candidates = Vec::new();
    let mut seen = Vec::new();
    for &layout in Layout::all() {
        let inner = |path: &Path| (layout.speaks_for)(path.strip_prefix(root).unwrap_or(path));
        let mut speaking = files.paths.iter().filter(|path| inner(path));
        let Some(first) = speaking.next() else {
            continue;
        };
        let n = 1 + speaking.count();
        let example = shown(first.strip_prefix(root).unwrap_or(first));
        seen.push(format!("{layout}: {n} files such as `{example}`"));
        candidates.push(layout);
    }
    let special: Vec<_> = candidates.iter().filter(|layout| !layout.general).collect();
    match (special.as_slice(), candidates.first()) {
        (&[&layout], _) | (&[], Some(&layout)) => Ok(Recognized { layout, seen }),
        (&[], None) => Err(Error::LayoutUnknown {
            root: root.to_path_buf(),
        }),
        _ => Err(Error::LayoutAmbiguous {
            seen: seen.join("; "),
            root: root.to_path_buf(),
        }),
    }
}
