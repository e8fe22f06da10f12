//! `brainage.toml`: where the cohorts are, where the cache is, which config trainings begin with.
//!
//! The file is found upward from the working directory, or named with `--project`. Relative paths in it are relative to
//! its folder. Unknown keys are refused, and every refusal names file, line and key. Nothing here looks at the folders
//! that it names.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use brainage_cohorts::{CoarseAges, Cohort, Criteria, LayoutChoice, Sessions, ValueError};
use serde::Deserialize;
use toml::Spanned;

/// The name under which the file is looked for.
pub const PROJECT_FILE: &str = "brainage.toml";
/// The cache's folder beside the project file, where it names none.
const DEFAULT_CACHE: &str = "cache";

/// A project file, understood.
#[derive(Clone, Debug)]
pub struct Project {
    /// The file.
    pub path: PathBuf,
    /// Its cohorts by name.
    pub cohorts: Vec<Cohort>,
    /// Folder of the cache.
    pub cache_dir: PathBuf,
    /// The training config that runs begin with; `None`: the one inside the program.
    pub train_config: Option<PathBuf>,
}

/// Why there is no project, or not what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A command needs a project file, and there is none.
    #[error("no `{PROJECT_FILE}` in this folder or above: `{}`", from.display())]
    NotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// The file cannot be read.
    #[error("project file cannot be read ({source}): `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file does not say what it should.
    #[error("{message} (line {line}, key `{key}`): `{}`", path.display())]
    Content {
        /// What is wrong.
        message: String,
        /// Line, from 1.
        line: usize,
        /// The key on that line.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// A cohort was asked for that the file does not have.
    #[error("no cohort `{name}` in the project, expected {expected}: `{}`", path.display())]
    UnknownCohort {
        /// As it was asked for.
        name: String,
        /// The names there are.
        expected: String,
        /// The file.
        path: PathBuf,
    },
}

impl ProjectError {
    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => {
                Some("write one with `brainage init`, or name it with --project FILE")
            }
            Self::UnknownCohort { .. } => Some("add a [cohorts.NAME] table to the project file"),
            Self::Content { .. } => Some("`brainage init` writes a file with every key explained"),
            Self::Read { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProject {
    #[serde(default)]
    cohorts: BTreeMap<Spanned<String>, RawCohort>,
    cache: Option<RawCache>,
    train: Option<RawTrain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCohort {
    layout: Spanned<String>,
    root: PathBuf,
    #[serde(default)]
    demographics: Vec<PathBuf>,
    #[serde(default)]
    withdrawals: Vec<PathBuf>,
    include: Option<RawInclude>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInclude {
    age: Option<Spanned<[f64; 2]>>,
    diagnosis: Option<Vec<String>>,
    sites: Option<Vec<String>>,
    sessions: Option<Spanned<String>>,
    #[serde(default)]
    coarse_ages: bool,
    #[serde(default)]
    participants: Vec<PathBuf>,
    #[serde(default)]
    exclude: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCache {
    dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrain {
    config: PathBuf,
}

/// The text of a project file, for refusals that point into it.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Project {
    /// Looks for [`PROJECT_FILE`] in a folder and those above it.
    pub fn find_upward(from: &Path) -> Option<PathBuf> {
        from.ancestors()
            .map(|folder| folder.join(PROJECT_FILE))
            .find(|path| path.is_file())
    }

    /// Reads a project file.
    ///
    /// # Errors
    /// [`ProjectError::Read`], or [`ProjectError::Content`] with line and key.
    pub fn read(path: &Path) -> Result<Self, ProjectError> {
        let text = fs_err::read_to_string(path).map_err(|error| ProjectError::Read {
            path: path.to_path_buf(),
            source: cause(&error),
        })?;
        Self::parse(&text, path)
    }

    /// Parses the text of the project file at `path`, without touching it.
    ///
    /// # Errors
    /// [`ProjectError::Content`] with line and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ProjectError> {
        let source = Source { text, path };
        let raw: RawProject =
            toml::from_str(text).map_err(|error| source.refuse(error.span(), error.message()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let cohorts = raw
            .cohorts
            .into_iter()
            .map(|(name, cohort)| cohort.resolve(name, folder, &source))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            cohorts,
            cache_dir: folder.join(
                raw.cache
                    .map_or_else(|| DEFAULT_CACHE.into(), |cache| cache.dir),
            ),
            train_config: raw.train.map(|train| folder.join(train.config)),
        })
    }

    /// The cohorts with these names, in this order; all of them where no name is given.
    ///
    /// # Errors
    /// [`ProjectError::UnknownCohort`].
    pub fn cohorts_named(&self, names: &[String]) -> Result<Vec<Cohort>, ProjectError> {
        if names.is_empty() {
            return Ok(self.cohorts.clone());
        }
        let found = |name: &String| {
            self.cohorts
                .iter()
                .find(|cohort| cohort.name == *name)
                .cloned()
                .ok_or_else(|| {
                    let known: Vec<_> = self.cohorts.iter().map(|c| c.name.as_str()).collect();
                    ProjectError::UnknownCohort {
                        name: name.clone(),
                        expected: if known.is_empty() {
                            "none (it has no cohorts)".into()
                        } else {
                            known.join(", ")
                        },
                        path: self.path.clone(),
                    }
                })
        };
        names.iter().map(found).collect()
    }
}

impl RawCohort {
    fn resolve(
        self,
        name: Spanned<String>,
        folder: &Path,
        source: &Source<'_>,
    ) -> Result<Cohort, ProjectError> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
            let message = "name of a cohort must consist of letters, digits, `-`, `_` and `.`";
            return Err(source.refuse(Some(name.span()), message));
        }
        let layout = LayoutChoice::parse(self.layout.get_ref())
            .map_err(|error| source.refuse(Some(self.layout.span()), &error.to_string()))?;
        let include = self.include.unwrap_or_default();
        let resolve =
            |paths: Vec<PathBuf>| paths.into_iter().map(|path| folder.join(path)).collect();
        Ok(Cohort {
            name: name.into_inner(),
            layout,
            root: folder.join(self.root),
            demographics: resolve(self.demographics),
            withdrawals: resolve(self.withdrawals),
            criteria: include.resolve(folder, source)?,
        })
    }
}

impl RawInclude {
    fn resolve(self, folder: &Path, source: &Source<'_>) -> Result<Criteria, ProjectError> {
        if let Some(range) = &self.age {
            let [from, to] = *range.get_ref();
            // Not `from > to`: NaN must be refused too.
            if !(from <= to && from >= 0.0) {
                let message = format!("ages [{from}, {to}], expected [youngest, oldest] in years");
                return Err(source.refuse(Some(range.span()), &message));
            }
        }
        let sessions = match &self.sessions {
            None => Sessions::default(),
            Some(word) => word.get_ref().parse().map_err(|error: ValueError| {
                source.refuse(Some(word.span()), &error.to_string())
            })?,
        };
        let resolve =
            |paths: Vec<PathBuf>| paths.into_iter().map(|path| folder.join(path)).collect();
        Ok(Criteria {
            age: self.age.map(Spanned::into_inner),
            diagnosis: self.diagnosis,
            sites: self.sites,
            sessions,
            coarse_ages: if self.coarse_ages {
                CoarseAges::Include
            } else {
                CoarseAges::Exclude
            },
            participants: resolve(self.participants),
            exclude: resolve(self.exclude),
        })
    }
}

impl Source<'_> {
    fn refuse(&self, span: Option<Range<usize>>, message: &str) -> ProjectError {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        let n_before = self
            .text
            .char_indices()
            .filter(|(i, c)| *i < start && *c == '\n')
            .count();
        ProjectError::Content {
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
            line: n_before + 1,
            key: key_of(self.text.lines().nth(n_before).unwrap_or_default()),
            path: self.path.to_path_buf(),
        }
    }
}

/// The key of a line such as `root = "/data"` or `[cohorts.ukbb]`.
fn key_of(line: &str) -> String {
    let line = line.trim();
    match line.strip_prefix('[') {
        Some(header) => header
            .split(']')
            .next()
            .unwrap_or(header)
            .trim_matches('[')
            .to_owned(),
        None => line.split('=').next().unwrap_or(line).trim().to_owned(),
    }
}

/// What the system said, without the path that the refusal names anyway.
fn cause(error: &io::Error) -> io::Error {
    io::Error::from(error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/study/brainage.toml";

    fn refusal(text: &str) -> String {
        Project::parse(text, Path::new(FILE))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn relative_paths_are_relative_to_the_file_and_absolute_ones_stay() {
        let text = "[cohorts.a]\nlayout = 'bids'\nroot = 'raw/a'\ndemographics = ['/data/a.tsv', 'b.tsv']\n\
                    [cache]\ndir = 'fast/cache'\n[train]\nconfig = 'small.toml'\n";
        let project = Project::parse(text, Path::new(FILE)).unwrap();
        assert_eq!(project.cohorts[0].root, Path::new("/study/raw/a"));
        assert_eq!(
            project.cohorts[0].demographics,
            [Path::new("/data/a.tsv"), Path::new("/study/b.tsv")]
        );
        assert_eq!(project.cache_dir, Path::new("/study/fast/cache"));
        assert_eq!(
            project.train_config.as_deref(),
            Some(Path::new("/study/small.toml"))
        );
    }

    #[test]
    fn filters_are_read_and_their_lists_are_relative_to_the_file() {
        let text = "[cohorts.a]\nlayout = 'auto'\nroot = 'a'\n[cohorts.a.include]\nsites = ['Guys']\n\
                    sessions = 'first'\ncoarse_ages = true\nparticipants = ['only.txt']\nexclude = ['/x/out.txt']\n";
        let project = Project::parse(text, Path::new(FILE)).unwrap();
        let cohort = &project.cohorts[0];
        assert_eq!(cohort.layout, LayoutChoice::Auto);
        assert_eq!(cohort.criteria.sites, Some(vec!["Guys".to_owned()]));
        assert_eq!(cohort.criteria.sessions, Sessions::First);
        assert_eq!(cohort.criteria.coarse_ages, CoarseAges::Include);
        assert_eq!(cohort.criteria.participants, [Path::new("/study/only.txt")]);
        assert_eq!(cohort.criteria.exclude, [Path::new("/x/out.txt")]);
    }

    #[test]
    fn layout_and_root_are_enough() {
        let project = Project::parse(
            "[cohorts.a]\nlayout = 'bids'\nroot = 'a'\n",
            Path::new(FILE),
        )
        .unwrap();
        assert_eq!(project.cohorts[0].criteria.age, None);
        assert_eq!(project.cache_dir, Path::new("/study/cache"));
        assert!(project.train_config.is_none());
        assert!(
            Project::parse("", Path::new(FILE))
                .unwrap()
                .cohorts
                .is_empty()
        );
    }

    #[test]
    fn a_refusal_names_file_line_and_key() {
        let cohort = "[cohorts.a]\nlayout = 'bids'\nroot = 'a'\n";
        for (text, line, key) in [
            (format!("{cohort}colour = 3\n"), 4, "colour"),
            (
                "[cohorts.a]\nlayout = 'dicom'\nroot = 'a'\n".to_owned(),
                2,
                "layout",
            ),
            (
                format!("{cohort}[cohorts.a.include]\nsessions = 'last'\n"),
                5,
                "sessions",
            ),
            (
                "[cohorts.a]\nlayout = 'bids'\nroot = 5\n".to_owned(),
                3,
                "root",
            ),
            (
                format!("{cohort}[cohorts.a.include]\nage = [60, 20]\n"),
                5,
                "age",
            ),
            (
                format!("{cohort}[cohorts.a.include]\nages = [20, 60]\n"),
                5,
                "ages",
            ),
            (format!("{cohort}[cash]\ndir = 'x'\n"), 4, "cash"),
            ("[cohorts.a]\nlayout = 'bids'\n".to_owned(), 1, "cohorts.a"),
            (
                "[cohorts.'a b']\nlayout = 'bids'\nroot = 'a'\n".to_owned(),
                1,
                "cohorts.'a b'",
            ),
            ("[cohorts\n".to_owned(), 1, "cohorts"),
        ] {
            let refused = refusal(&text);
            let place = format!("(line {line}, key `{key}`): `{FILE}`");
            assert!(refused.ends_with(&place), "{text}\n{refused}\n{place}");
        }
    }

    #[test]
    fn cohorts_come_in_the_order_asked_and_an_unknown_one_is_refused_with_the_names_there_are() {
        let text =
            "[cohorts.a]\nlayout = 'bids'\nroot = 'a'\n[cohorts.b]\nlayout = 'bids'\nroot = 'b'\n";
        let project = Project::parse(text, Path::new(FILE)).unwrap();
        let names = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            project
                .cohorts_named(&asked)
                .map(|cohorts| cohorts.into_iter().map(|c| c.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["b", "a"]).unwrap(), ["b", "a"]);
        assert_eq!(names(&[]).unwrap(), ["a", "b"]);
        assert!(
            names(&["c"])
                .unwrap_err()
                .to_string()
                .contains("expected a, b")
        );
    }

    #[test]
    fn the_file_is_found_in_a_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs_err::create_dir_all(&deep).unwrap();
        assert!(Project::find_upward(&deep).is_none_or(|found| !found.starts_with(folder.path())));
        let file = folder.path().join(PROJECT_FILE);
        fs_err::write(&file, "").unwrap();
        assert_eq!(Project::find_upward(&deep), Some(file));
    }
}
