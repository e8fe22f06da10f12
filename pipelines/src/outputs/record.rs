//! `STEM_qc.json`: how good a scan is, and what the files beside it were made of.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, CacheKey};
use crate::error::{Error, shown};
use crate::preprocess::Preprocessed;
use crate::qc::Qc;
use crate::recipe::Recipe;
use crate::space::Affine;
use crate::template::Template;

/// What `STEM_qc.json` says.
#[derive(Serialize)]
struct QcFile<'a> {
    scan: String,
    file_hash: String,
    recipe: &'a str,
    recipe_hash: String,
    /// The key in the cache: of all that decides the numbers.
    key: String,
    /// Names of all files that were written, this one included.
    files: Vec<String>,
    #[serde(flatten)]
    qc: &'a Qc,
    warnings: &'a [String],
    mni_from_scan: Affine,
}

/// What tells the outputs of one scan from those of another.
#[derive(Deserialize)]
struct Owner {
    scan: String,
    file_hash: String,
}

/// What tells whether files have to be written again.
#[derive(Deserialize)]
struct Made {
    scan: String,
    key: String,
    files: Vec<String>,
}

/// Whether the file at `qc_path` says that it is of this scan and key, and the files that it names are there.
pub(super) fn is_of(qc_path: &Path, scan: &Path, key: &CacheKey) -> bool {
    let there = fs_err::read(qc_path).ok();
    let made = there.and_then(|there| serde_json::from_slice::<Made>(&there).ok());
    made.is_some_and(|made| {
        made.scan == name_of(scan)
            && made.key == key.to_string()
            && made
                .files
                .iter()
                .all(|name| qc_path.with_file_name(name).is_file())
    })
}

/// Refuses to write over the outputs of another scan.
pub(super) fn check_owner(qc_path: &Path, scan: &Path, result: &Preprocessed) -> Result<(), Error> {
    let there = match fs_err::read(qc_path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("reading earlier outputs", qc_path)(error)),
    };
    // What is no such file at all is no scan's.
    let Ok(owner) = serde_json::from_slice::<Owner>(&there) else {
        return Ok(());
    };
    if owner.scan == name_of(scan) || owner.file_hash == result.file_hash.to_string() {
        return Ok(());
    }
    let problem = format!(
        "it belongs to another scan of the same name, `{}`",
        shown(Path::new(&owner.scan))
    );
    Err(Error::io("writing the outputs", qc_path)(io::Error::new(
        io::ErrorKind::AlreadyExists,
        problem,
    )))
}

/// The scan's whole path, where the system can tell it.
fn name_of(scan: &Path) -> String {
    let whole = fs_err::canonicalize(scan).unwrap_or_else(|_| scan.to_path_buf());
    whole.to_string_lossy().into_owned()
}

/// The content of the file.
pub(super) fn text(
    scan: &Path,
    result: &Preprocessed,
    files: &[PathBuf],
    recipe: &Recipe,
    template: &Template,
) -> io::Result<String> {
    let content = QcFile {
        scan: name_of(scan),
        file_hash: result.file_hash.to_string(),
        recipe: &recipe.name,
        recipe_hash: recipe.hash().to_string(),
        key: Cache::key(result.file_hash, recipe, template).to_string(),
        files: files.iter().map(|file| file_name(file)).collect(),
        qc: &result.qc,
        warnings: &result.warnings,
        mni_from_scan: result.mni_from_scan,
    };
    Ok(serde_json::to_string_pretty(&content)? + "\n")
}

fn file_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
