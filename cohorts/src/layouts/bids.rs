//! BIDS data sets: `sub-*/[ses-*/]anat/*_T1w.nii[.gz]` with `participants.tsv`.
//!
//! ```text
//! participants.tsv   participants.json
//! sub-01/anat/sub-01_T1w.nii.gz
//! sub-02/ses-1/anat/sub-02_ses-1_run-1_T1w.nii.gz
//! sub-02/sub-02_sessions.tsv
//! sub-02/ses-1/sub-02_ses-1_scans.tsv
//! ```
//!
//! Ages are those of the scan, else of the visit, else of the participant (`bids_ages`). Units and codes are taken from
//! the JSON file beside a table; a sex in numbers that nothing explains is unknown. Of several T1w images of a visit the
//! one without contrast agent and of no special acquisition is used, then normalized before not, then the lowest run;
//! the rule that decided is noted.
//!
//! Reference: Brain Imaging Data Structure 1.10, "Magnetic Resonance Imaging" and "Data summary files".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bids_ages::Known;
use super::bids_scans::ScanTables;
use crate::ages::AgeUnit;
use crate::criteria::SkipReason;
use crate::demographics::{
    Codebook, ColumnNames, ExpectedTables, SexCodes, USUAL_COLUMNS, read_all_people, read_people,
};
use crate::error::{Error, shown};
use crate::files::{Walk, depth, nifti_stem};
use crate::layout::{Choice, FoundScan, Layout, LayoutFindings, Search, no_archive};
use crate::participant::Sex;
use crate::people::{People, comparable_session};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "bids",
    expected_scans: "sub-*/[ses-*/]anat/*_T1w.nii.gz",
    walk: Walk {
        skips_folder,
        opens_archive: no_archive,
    },
    speaks_for: |path| BidsName::parse(path).is_some_and(|name| name.suffix == "T1w"),
    general: true,
    find,
};

/// Derived data, sources and code are no scans.
pub(crate) fn skips_folder(name: &str) -> bool {
    matches!(name, "derivatives" | "sourcedata" | "code" | "stimuli")
}

/// What a BIDS file name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BidsName {
    pub(crate) subject: String,
    pub(crate) session: Option<String>,
    pub(crate) suffix: String,
    acquisition: String,
    contrast_agent: bool,
    reconstruction: String,
    run: u32,
}

impl BidsName {
    /// Takes `sub-<label>[_<key>-<value>…]_<suffix>.nii[.gz]` apart.
    pub(crate) fn parse(path: &Path) -> Option<Self> {
        let (entities, suffix) = nifti_stem(path)?.rsplit_once('_')?;
        let mut name = Self {
            suffix: suffix.to_owned(),
            ..Self::default()
        };
        for entity in entities.split('_') {
            let (key, value) = entity.split_once('-')?;
            match key {
                "sub" => value.clone_into(&mut name.subject),
                "ses" => name.session = Some(value.to_owned()),
                "acq" => name.acquisition = value.to_lowercase(),
                "ce" => name.contrast_agent = true,
                "rec" => name.reconstruction = value.to_lowercase(),
                "run" => name.run = value.parse().unwrap_or(u32::MAX),
                _ => {}
            }
        }
        (!name.subject.is_empty()).then_some(name)
    }

    /// Smaller is better.
    pub(crate) fn rank(&self) -> (bool, bool, bool, u32) {
        // MP2RAGE: the inversions and the unified image are not what a T1w model was trained on.
        let special = self.acquisition.contains("inv") || self.acquisition.contains("uni");
        (
            self.contrast_agent,
            special,
            self.reconstruction != "norm",
            self.run,
        )
    }
}

/// By which rule the first of these images, sorted by rank, was chosen; none where it is the only one.
pub(crate) fn choice_of(names: &[&BidsName]) -> Option<Choice> {
    let (first, second) = (names.first()?.rank(), names.get(1)?.rank());
    let rule = if first.0 != second.0 {
        "no contrast agent"
    } else if first.1 != second.1 {
        "no MP2RAGE inversion or unified image"
    } else if first.2 != second.2 {
        "normalized (rec-norm)"
    } else if first.3 != second.3 {
        "lowest run"
    } else {
        "first by name"
    };
    Some(Choice {
        rule,
        of: names.len(),
    })
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let Search { root, files, .. } = *search;
    let mut findings = LayoutFindings::default();
    let mut visits = BTreeMap::<_, Vec<(BidsName, &PathBuf)>>::new();
    for path in &files.paths {
        if let Some(name) = BidsName::parse(path).filter(|name| name.suffix == "T1w") {
            visits
                .entry((name.subject.clone(), name.session.clone()))
                .or_default()
                .push((name, path));
        }
    }
    let names = ColumnNames {
        participant: &["participant_id", "subject_id", "participant"],
        ..USUAL_COLUMNS
    };
    let mut codebook = |path: &Path, warnings: &mut Vec<String>| codes_of(path, root, warnings);
    let mut scan_tables = ScanTables::read(files, &names, &mut codebook, &mut findings)?;
    let mut people = read_tables(search, names, scan_tables.has_ages(), &mut findings)?;
    add_sessions(&mut people, &mut scan_tables, search, names, &mut findings)?;
    let scans = visits.iter().flat_map(|((subject, session), images)| {
        let of_visit = (subject.as_str(), session.as_deref());
        images
            .iter()
            .map(move |(_, path)| (of_visit.0, of_visit.1, path.as_path()))
    });
    let known = Known::new(people, scan_tables, scans);
    if !known.has_ages() && !visits.is_empty() {
        findings
            .warnings
            .push("no participant has an age".to_owned());
    }

    for ((subject, session), mut images) in visits {
        images.sort_by(|(a, pa), (b, pb)| a.rank().cmp(&b.rank()).then_with(|| pa.cmp(pb)));
        let names: Vec<_> = images.iter().map(|(name, _)| name).collect();
        let mut choice = choice_of(&names);
        for (position, (_, path)) in images.into_iter().enumerate() {
            let person = match position {
                0 => known.person(&subject, session.as_deref(), path),
                _ => Err(SkipReason::OtherScanOfSession.into()),
            };
            findings.scans.push(FoundScan {
                participant: subject.clone(),
                session: session.clone(),
                scan: path.clone(),
                person,
                note: "",
                choice: choice.take(),
            });
        }
    }
    Ok(findings)
}

fn read_tables(
    search: &Search<'_>,
    names: ColumnNames,
    scans_have_ages: bool,
    findings: &mut LayoutFindings,
) -> Result<People, Error> {
    let Search {
        root,
        tables,
        files,
    } = *search;
    let tables = match tables {
        [] => {
            let named = files
                .paths
                .iter()
                .filter(|path| path.ends_with("participants.tsv"));
            named
                .min_by_key(|path| depth(path, root))
                .into_iter()
                .cloned()
                .collect()
        }
        given => given.to_vec(),
    };
    let sessions_have_ages = files.paths.iter().any(|path| is_sessions_table(path));
    let codebook = |path: &Path, warnings: &mut Vec<String>| {
        read_codebook(&path.with_extension("json"), warnings)
    };
    let expected = ExpectedTables {
        table: "`participants.tsv` with a column `age`",
        age: "`age`",
        ages_elsewhere: scans_have_ages || sessions_have_ages,
    };
    read_all_people(tables, &names, codebook, expected, (root, findings))
}

fn is_sessions_table(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.ends_with("_sessions.tsv") || name == "sessions.tsv"
}

/// Ages at visits, from `sub-*/sub-*_sessions.tsv`.
fn add_sessions(
    people: &mut People,
    scans: &mut ScanTables,
    search: &Search<'_>,
    names: ColumnNames,
    findings: &mut LayoutFindings,
) -> Result<(), Error> {
    let visit_names = ColumnNames {
        participant: names.session,
        session: &[],
        ..names
    };
    for path in search
        .files
        .paths
        .iter()
        .filter(|path| is_sessions_table(path))
    {
        let folder = path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        let Some(subject) = folder.and_then(|name| name.strip_prefix("sub-")) else {
            continue;
        };
        let codebook = codes_of(path, search.root, &mut findings.warnings);
        let table = read_people(path, &visit_names, &codebook, &mut findings.warnings);
        let table = match table {
            Ok(table) => table,
            Err(error @ (Error::NoParticipantColumn { .. } | Error::Table { .. })) => {
                findings.warnings.push(error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut visits = People::default();
        for (session, person) in table.people.into_people() {
            visits.insert(subject, &comparable_session(&session), person);
        }
        visits.fill_from(std::mem::take(people));
        *people = visits;
        scans.add_visits(subject, path, &names)?;
        findings.demographics_used.push(path.clone());
    }
    Ok(())
}

/// What the JSON file beside a table explains, or else that of this kind of table at the root.
fn codes_of(table: &Path, root: &Path, warnings: &mut Vec<String>) -> Codebook {
    let beside = table.with_extension("json");
    if beside.is_file() {
        return read_codebook(&beside, warnings);
    }
    let kind = table.file_stem().and_then(|stem| stem.to_str());
    let kind = kind.and_then(|stem| stem.rsplit('_').next());
    kind.map_or_else(Codebook::default, |kind| {
        read_codebook(&root.join(format!("{kind}.json")), warnings)
    })
}

/// Units and codes of `participants.json`; a file that cannot be understood is passed over with a warning.
fn read_codebook(path: &Path, warnings: &mut Vec<String>) -> Codebook {
    let Ok(text) = fs_err::read_to_string(path) else {
        return Codebook::default();
    };
    let Ok(Value::Object(columns)) = serde_json::from_str(text.trim_start_matches('\u{feff}'))
    else {
        warnings.push(format!("no JSON object, passed over: `{}`", shown(path)));
        return Codebook::default();
    };
    let column = |names: &[&str]| {
        columns
            .iter()
            .find(|(name, _)| names.contains(&name.to_lowercase().as_str()))
    };
    let levels =
        column(&["sex", "gender"]).and_then(|(_, column)| column.get("Levels")?.as_object());
    let mut codebook = Codebook::default();
    for (code, meaning) in levels.into_iter().flatten() {
        if let Some(sex) = meaning.as_str().and_then(sex_in_words) {
            codebook.sex_codes.insert(code.trim().to_lowercase(), sex);
        }
    }
    let unit = column(&["age"]).and_then(|(_, column)| column.get("Units")?.as_str());
    codebook.age_unit = unit.and_then(AgeUnit::parse);
    if let (Some(unit), None) = (unit, codebook.age_unit) {
        warnings.push(format!(
            "unit of age `{unit}` is not known, years are assumed: `{}`",
            shown(path)
        ));
    }
    codebook
}

/// `male`, `Female participant`, `M`.
fn sex_in_words(meaning: &str) -> Option<Sex> {
    let first = meaning
        .split(|c: char| !c.is_alphabetic())
        .find(|word| !word.is_empty())?;
    Sex::from_word(first).filter(|&sex| sex != Sex::Unknown)
}

/// Codes as a list, for layouts that know them.
pub(crate) fn codes<const N: usize>(codes: [(&str, Sex); N]) -> SexCodes {
    codes
        .into_iter()
        .map(|(code, sex)| (code.to_owned(), sex))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_data_set_with_and_without_sessions_is_listed() {
        let tree = Tree::new(
            &[
                "sub-02/anat/sub-02_T1w.nii.gz",
                "sub-10/ses-1/anat/sub-10_ses-1_T1w.nii",
                "sub-10/ses-2/anat/sub-10_ses-2_run-2_T1w.nii.gz",
                "sub-10/ses-2/anat/sub-10_ses-2_run-1_T1w.nii.gz",
                "sub-10/ses-2/anat/sub-10_ses-2_ce-gad_T1w.nii.gz",
                "sub-10/ses-2/anat/sub-10_ses-2_T2w.nii.gz",
                "sub-11/anat/sub-11_T1w.nii.gz",
                "sub-12/anat/sub-12_T1w.nii.gz",
                "derivatives/x/sub-02/anat/sub-02_desc-preproc_T1w.nii.gz",
            ],
            &[
                (
                    "participants.tsv",
                    "participant_id\tage\tsex\nsub-02\t31.5\tF\nsub-10\t40.25\tmale\nsub-11\tn/a\tM\n",
                ),
                (
                    "sub-10/sub-10_sessions.tsv",
                    "session_id\tage\nses-2\t42.5\n",
                ),
            ],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                "02 - 31.5 F sub-02/anat/sub-02_T1w.nii.gz",
                "10 1 40.25 M sub-10/ses-1/anat/sub-10_ses-1_T1w.nii",
                "10 2 42.5 M sub-10/ses-2/anat/sub-10_ses-2_run-1_T1w.nii.gz",
            ]
        );
        assert_eq!(
            skipped(&listing),
            [
                "no_age=1",
                "not_in_demographics=1",
                "other_scan_of_session=2"
            ]
        );
        assert_eq!((listing.participants, listing.scans), (4, 7));
        assert_eq!(listing.rows[1].group_key, listing.rows[2].group_key);
    }

    #[test]
    fn units_and_codes_come_from_the_json_beside_the_table() {
        let tree = Tree::new(
            &["sub-1/anat/sub-1_T1w.nii.gz"],
            &[
                (
                    "participants.tsv",
                    "participant_id\tage\tsex\nsub-1\t126\t1\n",
                ),
                (
                    "participants.json",
                    r#"{"age": {"Units": "months"}, "sex": {"Levels": {"1": "female", "2": "male"}}}"#,
                ),
            ],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["1 - 10.5 F sub-1/anat/sub-1_T1w.nii.gz"]
        );
    }

    #[test]
    fn a_sex_in_numbers_without_explanation_is_unknown_and_said() {
        let tree = Tree::new(
            &["sub-1/anat/sub-1_T1w.nii.gz"],
            &[(
                "participants.tsv",
                "participant_id\tage\tsex\nsub-1\t89.5\t1\n",
            )],
        );
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            ["1 - 89.5 U sub-1/anat/sub-1_T1w.nii.gz"]
        );
        assert!(
            listing.warnings[0].contains("code that nothing explains"),
            "{:?}",
            listing.warnings
        );
    }

    #[test]
    fn a_table_without_ages_is_named_with_its_columns() {
        let tree = Tree::new(
            &["sub-1/anat/sub-1_T1w.nii.gz"],
            &[("participants.tsv", "participant_id\thand\nsub-1\tR\n")],
        );
        let error = tree.list(LAYOUT).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("no age column, expected `age`, found `participant_id`, `hand`: "),
            "{message}"
        );
        assert!(message.ends_with("participants.tsv`"), "{message}");
        assert!(error.hint().is_some());
        fs_err::remove_file(tree.path("participants.tsv")).unwrap();
        assert!(matches!(
            tree.list(LAYOUT),
            Err(Error::NoDemographics { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_file_name_makes_the_parser_panic(name in ".{0,40}") {
            BidsName::parse(Path::new(&format!("{name}_T1w.nii.gz")));
            BidsName::parse(Path::new(&name));
        }
    }
}
