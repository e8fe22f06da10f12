//! A flat folder of scans with their ages.
//!
//! ```text
//! synthetic_00001.nii.gz
//! ages.csv                   scan,participant_id,age_years,sex
//! ```

use std::path::{Path, PathBuf};

use super::{Written, table, write_text};
use crate::error::Error;
use crate::population::Sex;

pub(crate) fn id(subject: usize) -> String {
    format!("synthetic_{:05}", subject + 1)
}

pub(crate) fn scan(root: &Path, id: &str) -> PathBuf {
    root.join(format!("{id}.nii.gz"))
}

pub(crate) fn write_tables(root: &Path, written: &[Written<'_>]) -> Result<Vec<PathBuf>, Error> {
    let rows = written.iter().map(
        |Written {
             participant: p,
             scan,
             ..
         }| {
            let sex = match p.sex {
                Sex::Female => "F",
                Sex::Male => "M",
            };
            let name = scan.file_name().unwrap_or_default().to_string_lossy();
            format!("{name},{},{:.2},{sex}", p.id, p.age_years)
        },
    );
    let text = table("scan,participant_id,age_years,sex", rows);
    Ok(vec![write_text(root.join("ages.csv"), &text)?])
}
