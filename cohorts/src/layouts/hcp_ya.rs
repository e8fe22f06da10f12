//! HCP Young Adult (S1200): one folder a participant, structural package preprocessed or not, packed or not.
//!
//! ```text
//! <any>/100307/T1w/T1w_acpc_dc_restore.nii.gz                                used: whole head, corrected
//! <any>/100307/unprocessed/3T/T1w_MPR1/100307_3T_T1w_MPR1.nii.gz             used where the first is missing
//! <any>/100307/T1w/T1w_acpc_dc_restore_brain.nii.gz                          never: only the brain
//! <any>/100307_3T_Structural_preproc.zip                                     its members count as files
//! <any>/HCP_Retest/100307/…                                                  visit `retest` of the same participant
//! unrestricted_….csv or HCP_YA_subjects_….csv                                Subject, Gender, Age (a range)
//! RESTRICTED_….csv                                                           Subject, Age_in_Yrs, Family_ID, …
//! ```
//!
//! `Age_in_Yrs` are completed years, so one half is added. The open table has ranges only (`26-30`, `36+`): such scans
//! are left out unless coarse ages are asked for. Where a table knows parents, people who share one are one family;
//! the key of a family is a hash, since its identifiers are restricted.
//!
//! Reference: Van Essen et al. 2013, NeuroImage 80:62–79; HCP S1200 release reference manual.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::usual_tables::usual_tables;
use crate::ages::is_missing;
use crate::criteria::{Refusal, SkipReason};
use crate::delimited::{Delimited, cell};
use crate::demographics::{Codebook, ColumnNames, USUAL_COLUMNS, read_people};
use crate::error::{Error, shown};
use crate::files::Walk;
use crate::index::AgeSource;
use crate::layout::{FoundScan, Layout, LayoutFindings, Search};
use crate::participant::AgeYears;
use crate::people::{People, Person};

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "hcp-ya",
    expected_scans: "<id>/T1w/T1w_acpc_dc_restore.nii.gz or <id>_3T_Structural_preproc.zip",
    walk: Walk {
        skips_folder: |name| {
            matches!(
                name,
                "MNINonLinear" | "Results" | "Native" | "fsaverage_LR32k"
            )
        },
        opens_archive: |name| {
            is_id(name.get(..6).unwrap_or_default()) && name.contains("_Structural_")
        },
    },
    speaks_for: |path| candidate(path).is_some(),
    general: false,
    find,
};

/// The one scanner of the study.
const SCANNER: &str = "Siemens Connectome Skyra 3T";
const SITE: &str = "WashU";
/// The middle of a range of the open table is at most this far from an age in it, years.
const HALF_RANGE_YEARS: f64 = 2.5;

const OPEN_COLUMNS: ColumnNames = ColumnNames {
    participant: &["subject"],
    session: &[],
    age: &["age"],
    family: &[],
    ..USUAL_COLUMNS
};
const RESTRICTED_COLUMNS: ColumnNames = ColumnNames {
    age: &["age_in_yrs"],
    ..OPEN_COLUMNS
};

/// What kind of image a file is; the smallest of a visit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    FirstRaw,
    SecondRaw,
    BrainOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Visit {
    Test,
    Retest,
}

fn is_id(name: &str) -> bool {
    name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a path says: whose scan, which visit, which kind of file.
fn candidate(path: &Path) -> Option<(String, Visit, Kind)> {
    let name = path.file_name()?.to_str()?;
    let kind = match name.strip_suffix(".gz").unwrap_or(name) {
        "T1w_acpc_dc_restore.nii" => Kind::Head,
        "T1w_acpc_dc_restore_brain.nii" => Kind::BrainOnly,
        raw if raw.ends_with("_3T_T1w_MPR1.nii") => Kind::FirstRaw,
        raw if raw.ends_with("_3T_T1w_MPR2.nii") => Kind::SecondRaw,
        _ => return None,
    };
    let folders = path.parent()?.components();
    let folders: Vec<_> = folders
        .filter_map(|folder| folder.as_os_str().to_str())
        .collect();
    let marked = |folder: &&&str| folder.to_lowercase().contains("retest");
    let visit = if folders.iter().any(|folder| marked(&folder)) {
        Visit::Retest
    } else {
        Visit::Test
    };
    let id = folders.iter().rev().find_map(|folder| {
        let id = folder.split('_').next().unwrap_or_default();
        let alone = folder.len() == 6 || folder.to_lowercase().ends_with("retest");
        (is_id(id) && alone).then(|| id.to_owned())
    })?;
    Some((id, visit, kind))
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let mut visits: BTreeMap<(String, Visit), Vec<(Kind, &PathBuf)>> = BTreeMap::new();
    for path in &search.files.paths {
        let inner = path.strip_prefix(search.root).unwrap_or(path);
        // A root that is itself a retest or one participant's folder still says so.
        let named = candidate(inner).or_else(|| candidate(path));
        if let Some((id, visit, kind)) = named {
            visits.entry((id, visit)).or_default().push((kind, path));
        }
    }
    let mut findings = LayoutFindings::default();
    let known = Known::read(search, &mut findings)?;
    let mut kinds = [0_usize; 2];
    for ((id, visit), mut images) in visits {
        images.sort_unstable();
        let images = images.into_iter().scan(None, |used, (kind, path)| {
            let first = used.is_none();
            let twice = *used.get_or_insert(kind) == kind;
            Some((kind, path, first, twice))
        });
        for (kind, path, first, twice) in images {
            let person = match kind {
                _ if !first && !twice => continue,
                _ if !first => Err(SkipReason::OtherScanOfSession.into()),
                Kind::BrainOnly => Err(SkipReason::BrainExtractedOnly.into()),
                _ => known.person(&id, visit),
            };
            if person.is_ok() {
                kinds[usize::from(kind != Kind::Head)] += 1;
            }
            findings.scans.push(FoundScan {
                participant: id.clone(),
                session: (visit == Visit::Retest).then(|| "retest".to_owned()),
                scan: path.clone(),
                person,
                note: if kind == Kind::Head {
                    ""
                } else {
                    "unprocessed, T1w_acpc_dc_restore is missing"
                },
                choice: None,
            });
        }
    }
    let [preprocessed, raw] = kinds;
    if preprocessed > 0 && raw > 0 {
        findings.warnings.push(format!(
            "{preprocessed} preprocessed and {raw} unprocessed scans are used together; a model can tell them apart"
        ));
    }
    Ok(findings)
}

/// What the tables say.
struct Known {
    open: People,
    restricted: People,
    families: BTreeMap<String, String>,
}

impl Known {
    fn read(search: &Search<'_>, findings: &mut LayoutFindings) -> Result<Self, Error> {
        let mut known = Self {
            open: People::default(),
            restricted: People::default(),
            families: BTreeMap::new(),
        };
        let tables = usual_tables(search, |table| {
            table.column(&["subject"]).is_some() && table.column(&["age", "age_in_yrs"]).is_some()
        });
        let mut without_age = None;
        let mut n_with_age = 0;
        for path in &tables {
            let codebook = Codebook::default();
            let has_years = Delimited::open(path)?
                .column(RESTRICTED_COLUMNS.age)
                .is_some();
            let (columns, people) = if has_years {
                (RESTRICTED_COLUMNS, &mut known.restricted)
            } else {
                (OPEN_COLUMNS, &mut known.open)
            };
            let table = read_people(path, &columns, &codebook, &mut findings.warnings)?;
            people.fill_from(table.people);
            known.families.extend(read_families(path)?);
            if table.has_age {
                n_with_age += 1;
            } else {
                without_age.get_or_insert((table.shown_headers, path.clone()));
            }
        }
        if n_with_age == 0 {
            let expected = "`Age_in_Yrs` (restricted table) or `Age` (open table)";
            return Err(match without_age {
                Some((found, path)) => Error::NoAgeColumn {
                    expected,
                    found,
                    path,
                },
                None => Error::NoDemographics {
                    expected: "`RESTRICTED_….csv` with `Subject` and `Age_in_Yrs`",
                    root: search.root.to_path_buf(),
                },
            });
        }
        if known.families.is_empty() {
            findings.warnings.push(format!(
                "no table has `Family_ID`, so twins and siblings may come into different splits: `{}`",
                shown(search.root)
            ));
        }
        findings.demographics_used = tables;
        Ok(known)
    }

    /// Who someone was. The exact age must lie in the range that the open table gives.
    fn person(&self, id: &str, visit: Visit) -> Result<Person, Refusal> {
        let person = match (self.restricted.find(id, None), self.open.find(id, None)) {
            (Ok(restricted), Ok(open)) => {
                let mut person = restricted.in_the_middle_of_the_year();
                if let (Ok(exact), Ok(coarse)) = (&person.age, &open.age) {
                    let (exact, coarse) = (exact.years(), coarse.years());
                    let fits = match open.age_source {
                        AgeSource::BinMid => (exact - coarse).abs() <= HALF_RANGE_YEARS,
                        AgeSource::Capped => exact >= coarse,
                        _ => (exact - coarse).abs() <= 1.0,
                    };
                    if !fits {
                        let detail = format!("{exact} in `Age_in_Yrs`, about {coarse} in `Age`");
                        return Err(Refusal::new(SkipReason::AgeConflict, detail));
                    }
                }
                person.fill_from(open);
                Ok(person)
            }
            (Ok(restricted), Err(_)) => Ok(restricted.in_the_middle_of_the_year()),
            (Err(_), open) => open,
        };
        let mut person = person?;
        SITE.clone_into(&mut person.site);
        SCANNER.clone_into(&mut person.scanner);
        person.family = self.families.get(id).cloned().unwrap_or_default();
        if visit == Visit::Retest {
            "age at the first visit, the retest was up to 11 months later"
                .clone_into(&mut person.note);
        }
        Ok(person)
    }
}

impl Person {
    /// Completed years stand for the middle of the year that they begin.
    fn in_the_middle_of_the_year(mut self) -> Self {
        if let (Ok(age), AgeSource::ReportedWholeYears) = (&self.age, self.age_source) {
            self.age =
                AgeYears::new(age.years() + 0.5).map_err(|_outside| SkipReason::BadAge.into());
            self.age_source = AgeSource::WholeYearsMid;
        }
        self
    }
}

/// Families by participant: all who are linked through a family, a mother or a father of the table.
fn read_families(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    const LINKS: [&str; 3] = ["family_id", "mother_id", "father_id"];
    let mut table = Delimited::open(path)?;
    let subject = table.column(&["subject"]);
    let columns = LINKS.map(|name| table.column(&[name]));
    let mut links: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut subjects = Vec::new();
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let id = cell(&record, subject).into_owned();
        let named = LINKS.iter().zip(columns).filter_map(|(name, column)| {
            let link = cell(&record, Some(column?));
            (!is_missing(&link)).then(|| format!("{name}:{link}"))
        });
        let named: Vec<_> = named.collect();
        if !named.is_empty() && !id.is_empty() {
            for link in named {
                links.entry(link).or_default().push(subjects.len());
            }
            subjects.push(id);
        }
    }
    // Everyone points at someone of the same family with a smaller number, in the end at the first of them.
    let mut first: Vec<usize> = (0..subjects.len()).collect();
    let root = |first: &[usize], mut member: usize| {
        while first[member] != member {
            member = first[member];
        }
        member
    };
    for members in links.values() {
        for pair in members.windows(2) {
            let (a, b) = (root(&first, pair[0]), root(&first, pair[1]));
            first[a.max(b)] = a.min(b);
        }
    }
    let mut smallest_link: BTreeMap<usize, &String> = BTreeMap::new();
    for (link, members) in &links {
        smallest_link
            .entry(root(&first, members[0]))
            .or_insert(link);
    }
    let keys = subjects.iter().enumerate().filter_map(|(member, id)| {
        let link = smallest_link.get(&root(&first, member))?;
        let hash = blake3::derive_key("brainage 2026 key of a family", link.as_bytes());
        let key = format!("{:016x}", u64::from_be_bytes(*hash.first_chunk()?));
        Some((id.clone(), key))
    });
    Ok(keys.collect())
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;
    use crate::archive::tests::stored;
    use crate::criteria::CoarseAges;
    use crate::layouts::tree::cohort;
    use crate::list_cohort;
    use proptest::prelude::*;

    const OPEN: (&str, &str) = (
        "unrestricted_someone_3_1_2024_9_5_1.csv",
        "Subject,Release,Acquisition,Gender,Age,3T_Full_MR_Compl\n\
         100307,Q1,Q01,F,26-30,true\n100408,Q3,Q03,M,31-35,true\n101006,S500,Q06,F,36+,true\n101107,S500,Q06,M,22-25,true\n",
    );
    const RESTRICTED: (&str, &str) = (
        "RESTRICTED_someone_3_1_2024_9_5_1.csv",
        "Subject,Age_in_Yrs,ZygositySR,Family_ID,Mother_ID,Father_ID\n\
         100307,27,NotMZ,51488_81149,51488,81149\n100408,33,MZ,51730_81345,51730,81345\n\
         101006,36,NotTwin,51488_82000,51488,82000\n101107,29,NotTwin,52925_82248,52925,82248\n",
    );

    fn head(id: &str) -> String {
        format!("HCP_1200/{id}/T1w/T1w_acpc_dc_restore.nii.gz")
    }

    #[test]
    fn with_the_restricted_table_ages_are_whole_years_and_half_siblings_are_one_family() {
        let scans = ["100307", "100408", "101006", "101107", "102000"].map(head);
        let scans: Vec<_> = scans.iter().map(String::as_str).collect();
        let tree = Tree::new(&scans, &[OPEN, RESTRICTED]);
        let listing = tree.list(LAYOUT).unwrap();
        let expected = [
            ("100307", "27.5 F"),
            ("100408", "33.5 M"),
            ("101006", "36.5 F"),
        ];
        let expected = expected.map(|(id, rest)| format!("{id} - {rest} {}", head(id)));
        assert_eq!(tree.rows(&listing), expected);
        assert_eq!(
            skipped(&listing),
            ["age_conflict=1", "not_in_demographics=1"]
        );
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(
            example.ends_with("(29.5 in `Age_in_Yrs`, about 24 in `Age`)"),
            "{example}"
        );
        let [a, b, c] = &listing.rows[..] else {
            panic!()
        };
        assert_eq!(a.group_key, c.group_key);
        assert_ne!(a.group_key, b.group_key);
        assert!(
            !a.group_key.contains("51488"),
            "restricted: {}",
            a.group_key
        );
        assert_eq!(a.age_source, AgeSource::WholeYearsMid);
        assert_eq!(listing.warnings, Vec::<String>::new());
    }

    #[test]
    fn with_the_open_table_alone_ages_are_ranges_and_left_out_unless_asked_for() {
        let scans = [head("100307"), head("101006")];
        let tree = Tree::new(&[&scans[0], &scans[1]], &[OPEN]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(skipped(&listing), ["age_binned=1", "age_capped=1"]);
        assert!(
            listing.warnings[0].contains("Family_ID"),
            "{:?}",
            listing.warnings
        );
        let mut asked = cohort(LAYOUT, &tree.path(""));
        asked.criteria.coarse_ages = CoarseAges::Include;
        let listing = list_cohort(&asked).unwrap();
        let expected = [
            format!("100307 - 28.5 F {}", head("100307")),
            format!("101006 - 36 F {}", head("101006")),
        ];
        assert_eq!(tree.rows(&listing), expected);
    }

    #[test]
    fn retests_packed_and_unprocessed_scans_are_found_and_brains_are_not_used() {
        let tree = Tree::new(
            &[
                "HCP_1200/100307/T1w/T1w_acpc_dc_restore.nii.gz",
                "HCP_1200/100307/T1w/T1w_acpc_dc_restore_1.25.nii.gz",
                "HCP_1200/100307/T1w/T1w_acpc_dc_restore_brain.nii.gz",
                "HCP_1200/100307/MNINonLinear/T1w_acpc_dc_restore.nii.gz",
                "HCP_Retest/100307/T1w/T1w_acpc_dc_restore.nii.gz",
                "HCP_1200/100408/unprocessed/3T/T1w_MPR2/100408_3T_T1w_MPR2.nii.gz",
                "HCP_1200/100408/unprocessed/3T/T1w_MPR1/100408_3T_T1w_MPR1.nii.gz",
                "HCP_1200/101107/T1w/T1w_acpc_dc_restore_brain.nii.gz",
            ],
            &[OPEN, RESTRICTED],
        );
        let packed = stored(&[("101006/T1w/T1w_acpc_dc_restore.nii.gz", b"x")]);
        fs_err::write(tree.path("101006_3T_Structural_preproc.zip"), packed).unwrap();
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                "100307 - 27.5 F HCP_1200/100307/T1w/T1w_acpc_dc_restore.nii.gz",
                "100307 retest 27.5 F HCP_Retest/100307/T1w/T1w_acpc_dc_restore.nii.gz",
                "100408 - 33.5 M HCP_1200/100408/unprocessed/3T/T1w_MPR1/100408_3T_T1w_MPR1.nii.gz",
                "101006 - 36.5 F 101006_3T_Structural_preproc.zip/101006/T1w/T1w_acpc_dc_restore.nii.gz",
            ]
        );
        assert_eq!(listing.rows[0].group_key, listing.rows[1].group_key);
        assert_eq!(skipped(&listing), ["brain_extracted_only=1"]);
        assert!(listing.warnings[0].starts_with("3 preprocessed and 1 unprocessed"));
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(folder in ".{0,30}", name in ".{0,20}") {
            candidate(Path::new(&format!("{folder}/T1w_acpc_dc_restore.nii.gz")));
            candidate(Path::new(&format!("{folder}/{name}_3T_T1w_MPR1.nii.gz")));
            (LAYOUT.walk.opens_archive)(&name);
        }
    }
}
