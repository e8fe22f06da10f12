//! The ways in which cohorts lie on disk, as one table of layouts.
//!
//! A layout is one file in `layouts` that ends in a `LAYOUT`, and one line in [`layouts::ALL`]: how its folders and
//! archives are walked, which files speak for it, and how scans and people are found among them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::criteria::Refusal;
use crate::error::{Error, ValueError};
use crate::files::{Files, Walk};
use crate::layouts;
use crate::people::Person;

/// How a cohort lies on disk.
#[derive(Clone, Copy)]
pub struct Layout {
    /// The word in the project file.
    pub(crate) name: &'static str,
    /// Where scans are looked for, to say when there are none.
    pub(crate) expected_scans: &'static str,
    /// What is entered.
    pub(crate) walk: Walk,
    /// Whether a file, by its path below the root, shows that the folder has this layout.
    pub(crate) speaks_for: fn(&Path) -> bool,
    /// Whether other layouts are special cases of this one, and go before it.
    pub(crate) general: bool,
    /// Finds scans and people.
    pub(crate) find: fn(&Search<'_>) -> Result<LayoutFindings, Error>,
}

impl Layout {
    /// All layouts there are, special ones before general ones.
    pub fn all() -> &'static [Self] {
        layouts::ALL
    }

    /// The word in the project file.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Reads the word.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(name: &str) -> Result<Self, ValueError> {
        let found = Self::all().iter().find(|layout| layout.name == name);
        found.copied().ok_or_else(|| ValueError {
            what: "layout",
            found: name.to_owned(),
            expected: layouts::NAMES,
        })
    }
}

impl FromStr for Layout {
    type Err = ValueError;

    fn from_str(name: &str) -> Result<Self, ValueError> {
        Self::parse(name)
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Layout {}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layout").field(&self.name).finish()
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// Which layout a cohort has, as the project file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutChoice {
    /// `auto`: recognized from the files in the folder.
    Auto,
    /// Named.
    Named(Layout),
}

impl LayoutChoice {
    /// The word in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Named(layout) => layout.name,
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// If it is neither `auto` nor a layout.
    pub fn parse(name: &str) -> Result<Self, ValueError> {
        match name {
            "auto" => Ok(Self::Auto),
            name => Layout::parse(name).map(Self::Named),
        }
    }
}

impl fmt::Display for LayoutChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Layout> for LayoutChoice {
    fn from(layout: Layout) -> Self {
        Self::Named(layout)
    }
}

/// Where a layout looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    /// The cohort's folder, absolute.
    pub(crate) root: &'a Path,
    /// Tables that the project file names; none: those with usual names are looked for.
    pub(crate) tables: &'a [PathBuf],
    /// What is below the root.
    pub(crate) files: &'a Files,
}

/// A scan and what its layout knows about it.
#[derive(Clone, Debug)]
pub(crate) struct FoundScan {
    pub(crate) participant: String,
    pub(crate) session: Option<String>,
    pub(crate) scan: PathBuf,
    /// Who it shows, or why it cannot be used.
    pub(crate) person: Result<Person, Refusal>,
    pub(crate) note: &'static str,
    /// By which rule it was chosen, where the visit has several images.
    pub(crate) choice: Option<Choice>,
}

/// One image was chosen of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What decided between the first and the second choice, e.g. "lowest run".
    pub(crate) rule: &'static str,
    /// How many images the visit has.
    pub(crate) of: usize,
}

/// What a layout finds in its folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayoutFindings {
    pub(crate) scans: Vec<FoundScan>,
    /// Rows of a table without a scan.
    pub(crate) without_scan: Vec<String>,
    pub(crate) demographics_used: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

/// Enters no archive.
pub(crate) fn no_archive(_name: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_by_the_name_they_are_shown_with() {
        for &layout in Layout::all() {
            assert_eq!(Layout::parse(layout.name()), Ok(layout));
            assert!(layouts::NAMES.contains(layout.name()), "{layout}");
            assert_eq!(LayoutChoice::parse(layout.name()), Ok(layout.into()));
        }
        assert_eq!(LayoutChoice::parse("auto"), Ok(LayoutChoice::Auto));
        let message = Layout::parse("dicom").unwrap_err().to_string();
        assert!(
            message.starts_with("layout is `dicom`, expected auto, "),
            "{message}"
        );
    }

    #[test]
    fn general_layouts_stand_after_special_ones() {
        let general: Vec<bool> = Layout::all().iter().map(|layout| layout.general).collect();
        assert!(general.is_sorted());
    }
}
