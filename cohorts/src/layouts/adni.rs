//! ADNI: the folder tree of the Image and Data Archive, with the list of images that comes with every download.
//!
//! ```text
//! ADNI/002_S_0295/<series>/2006-04-18_08_20_30.0/I45108/ADNI_002_S_0295_MR_<series>_Br_<stamp>_S13408_I45108.nii
//! ADNI1_Complete_1Yr_1.5T_3_02_2024.csv   "Image Data ID","Subject","Group","Sex","Age","Visit",…,"Acq Date",…
//! ADNIMERGE.csv                           RID, PTID, VISCODE, EXAMDATE, AGE (at baseline), PTGENDER, DX, EXAMDATE_bl, …
//! …_I45108.xml                            subjectAge, subjectSex, researchGroup, imageUID, …
//! ```
//!
//! The visit is the day of the scan, as the folder has it; the stamp in the file's name is that of an upload. The age is
//! that of the image's XML file; else that of ADNIMERGE at baseline plus the time since then; else that of the list,
//! whose whole years stand for the middle of the year. Where two of them differ by more than a year and a half, the scan
//! is refused. The diagnosis is that of the visit nearest to the scan in ADNIMERGE, else the group in the list.
//!
//! Of a visit's images one is used (`adni_visits` has the rules), and the rule that decided is noted. A download cut into
//! several archives is read in place.
//!
//! Reference: Jack et al. 2008, J Magn Reson Imaging 27:685–691; ADNIMERGE dictionary.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::adni_images::{ImageName, Rank};
use super::adni_table::{
    Course, Image, is_image_list, is_merge, read_images, read_merge, read_xml,
};
use super::adni_visits::{Candidate, by_visit, choice_of};
use super::usual_tables::usual_tables;
use crate::criteria::{Refusal, SkipReason};
use crate::delimited::Delimited;
use crate::error::Error;
use crate::files::Walk;
use crate::index::AgeSource;
use crate::layout::{FoundScan, Layout, LayoutFindings, Search};
use crate::participant::{AgeYears, Sex};
use crate::people::Person;

/// The layout.
pub(super) const LAYOUT: Layout = Layout {
    name: "adni",
    expected_scans: "ADNI/<PTID>/<series>/<day>/I<image>/*_S<series>_I<image>.nii",
    walk: Walk {
        skips_folder: |_| false,
        opens_archive: |name| name.contains("ADNI") && !name.to_lowercase().contains("metadata"),
    },
    speaks_for: |path| ImageName::parse(path).is_some(),
    general: false,
    find,
};

/// Ages in two sources may differ by this much: one is in whole years, the other may be that of the visit before.
const AGE_TOLERANCE_YEARS: f64 = 1.5;

/// What the tables say.
#[derive(Default)]
struct Known {
    images: BTreeMap<u64, Image>,
    described: BTreeMap<u64, Image>,
    courses: BTreeMap<String, Course>,
}

/// Finds scans and people.
fn find(search: &Search<'_>) -> Result<LayoutFindings, Error> {
    let mut findings = LayoutFindings::default();
    let known = Known::read(search, &mut findings)?;
    let candidates = search.files.paths.iter().filter_map(|path| {
        let inner = path.strip_prefix(search.root).unwrap_or(path);
        // A root that is itself one participant's folder still names them.
        let name = ImageName::parse(inner).or_else(|| ImageName::parse(path))?;
        name.rank()?;
        Some(known.candidate(name, path))
    });
    let mut ranks = [0_usize; 2];
    for images in by_visit(candidates.collect()) {
        let mut choice = choice_of(&images);
        let session = images.first().map(Candidate::session);
        for (position, Candidate { name, path, .. }) in images.into_iter().enumerate() {
            let person = match position {
                0 if name.is_dicom => Err(SkipReason::NotConverted.into()),
                0 => known.person(&name),
                _ => Err(SkipReason::OtherScanOfSession.into()),
            };
            let is_original = name.rank().is_some_and(|(rank, ..)| rank == Rank::Original);
            if person.is_ok() {
                ranks[usize::from(is_original)] += 1;
            }
            findings.scans.push(FoundScan {
                participant: name.participant,
                session: session.clone(),
                scan: path.clone(),
                person,
                note: if is_original {
                    "original, not processed by the study"
                } else {
                    ""
                },
                choice: choice.take(),
            });
        }
    }
    let [processed, original] = ranks;
    if processed > 0 && original > 0 {
        findings.warnings.push(format!(
            "{processed} processed and {original} original scans are used together; a model can tell them apart"
        ));
    }
    Ok(findings)
}

impl Known {
    fn read(search: &Search<'_>, findings: &mut LayoutFindings) -> Result<Self, Error> {
        let tables = usual_tables(search, |table| is_image_list(table) || is_merge(table));
        let mut known = Self::default();
        for path in &tables {
            let table = Delimited::open(path)?;
            if is_merge(&table) {
                read_merge(path, &mut known.courses)?;
            } else if is_image_list(&table) {
                read_images(path, &mut known.images)?;
            } else {
                return Err(Error::NoAgeColumn {
                    expected: "`Image Data ID`, `Subject` and `Age` (list of images), or `PTID`, `EXAMDATE` and \
                               `AGE` (ADNIMERGE)",
                    found: table.shown_headers(),
                    path: path.clone(),
                });
            }
        }
        let is_xml = |path: &&PathBuf| {
            path.extension()
                .is_some_and(|ext| ext.eq_ignore_ascii_case("xml"))
        };
        let xml = search.files.paths.iter().filter(is_xml);
        known
            .described
            .extend(xml.filter_map(|path| read_xml(path)));
        findings.demographics_used = tables;
        let is_empty =
            known.images.is_empty() && known.courses.is_empty() && known.described.is_empty();
        if is_empty {
            return Err(Error::NoDemographics {
                expected: "the CSV list of the download (`Image Data ID`, `Subject`, `Age`), ADNIMERGE.csv, or the \
                           XML files of the images",
                root: search.root.to_path_buf(),
            });
        }
        Ok(known)
    }

    /// An image with what the tables know of its visit.
    fn candidate<'a>(&'a self, mut name: ImageName, path: &'a PathBuf) -> Candidate<'a> {
        let described = self.described.get(&name.image_id);
        let listed = self.images.get(&name.image_id);
        let either = || [described, listed].into_iter().flatten();
        name.day = name.day.or_else(|| either().find_map(|image| image.day));
        Candidate {
            name,
            path,
            visit: listed.map_or("", |image| image.visit.as_str()),
            field_tesla: either().find_map(|image| image.field_tesla),
        }
    }

    /// Who an image shows.
    fn person(&self, name: &ImageName) -> Result<Person, Refusal> {
        let described = self.described.get(&name.image_id);
        let listed = self.images.get(&name.image_id);
        let course = self.courses.get(&name.participant);
        if described.is_none() && listed.is_none() && course.is_none() {
            return Err(SkipReason::NotInDemographics.into());
        }
        let (age, age_source) = self.age_of(name)?;
        let sexes = [
            described.map(|image| image.sex),
            course.map(|course| course.sex),
            listed.map(|image| image.sex),
        ];
        let known_sex = sexes.into_iter().flatten().find(|&sex| sex != Sex::Unknown);
        let group = |image: Option<&Image>| image.map(|image| image.group.clone());
        let diagnosed = name
            .day
            .and_then(|day| course?.diagnosis_at(day))
            .map(str::to_owned);
        let groups = [diagnosed, group(listed), group(described)];
        Ok(Person {
            age: Ok(age),
            age_source,
            sex: known_sex.unwrap_or_default(),
            site: name
                .participant
                .split('_')
                .next()
                .unwrap_or_default()
                .to_owned(),
            scanner: described.map_or(String::new(), |image| image.scanner.clone()),
            diagnosis: groups
                .into_iter()
                .flatten()
                .find(|group| !group.is_empty())
                .unwrap_or_default(),
            family: String::new(),
            note: String::new(),
        })
    }

    /// The best age there is, unless two contradict each other.
    fn age_of(&self, name: &ImageName) -> Result<(AgeYears, AgeSource), Refusal> {
        let course = self.courses.get(&name.participant);
        let computed = name.day.and_then(|day| course?.age_at(day));
        let mut ages = Vec::new();
        if let Some(parsed) = self
            .described
            .get(&name.image_id)
            .and_then(|image| image.age)
        {
            ages.push((parsed.age.years(), parsed.source, "in the XML file"));
        }
        if let Some(years) = computed {
            ages.push((years, AgeSource::BaselinePlusInterval, "from ADNIMERGE"));
        }
        let listed = self.images.get(&name.image_id);
        if let Some(parsed) = listed.and_then(|image| image.age) {
            let (years, source) = match parsed.source {
                AgeSource::ReportedWholeYears => {
                    (parsed.age.years() + 0.5, AgeSource::WholeYearsMid)
                }
                source => (parsed.age.years(), source),
            };
            ages.push((years, source, "in the list"));
        }
        let Some(&(best, source, origin)) = ages.first() else {
            let text = listed.and_then(|image| image.bad_age.as_ref());
            return Err(match text {
                Some(text) => Refusal::new(
                    SkipReason::BadAge,
                    format!("age is `{}`", text.escape_debug()),
                ),
                None => SkipReason::NoAge.into(),
            });
        };
        let other = ages
            .iter()
            .find(|(years, ..)| (years - best).abs() > AGE_TOLERANCE_YEARS);
        if let Some((years, _, other_origin)) = other {
            let detail = format!("{best} {origin}, {years} {other_origin}");
            return Err(Refusal::new(SkipReason::AgeConflict, detail));
        }
        let bad = |_outside| Refusal::new(SkipReason::BadAge, format!("{best} {origin}"));
        Ok((AgeYears::new(best).map_err(bad)?, source))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, skipped};
    use super::*;
    use crate::archive::tests::stored;

    const LIST: (&str, &str) = (
        "ADNI1_Complete_1Yr_1.5T_3_02_2024.csv",
        "\"Image Data ID\",\"Subject\",\"Group\",\"Sex\",\"Age\",\"Visit\",\"Modality\",\"Description\",\"Type\",\
         \"Acq Date\",\"Format\",\"Downloaded\"\n\
         \"I45108\",\"002_S_0295\",\"CN\",\"M\",\"84\",\"sc\",\"MRI\",\"MPR; GradWarp; B1 Correction; N3; Scaled\",\
         \"Processed\",\"4/18/2006\",\"NiFTI\",\"3/02/2024\"\n\
         \"957990\",\"116_S_6119\",\"MCI\",\"F\",\"70\",\"4\",\"MRI\",\"Accelerated Sagittal MPRAGE\",\"Original\",\
         \"1/29/2018\",\"NiFTI\",\"3/02/2024\"\n\
         \"I50000\",\"003_S_0907\",\"AD\",\"F\",\"60\",\"m12\",\"MRI\",\"MPR\",\"Processed\",\"5/2/2007\",\"NiFTI\",\"\"\n",
    );
    const MERGE: (&str, &str) = (
        "ADNIMERGE_23Dec2025.csv",
        "\"RID\",\"PTID\",\"VISCODE\",\"SITE\",\"COLPROT\",\"EXAMDATE\",\"DX_bl\",\"AGE\",\"PTGENDER\",\"DX\",\"EXAMDATE_bl\"\n\
         \"295\",\"002_S_0295\",\"bl\",\"107\",\"ADNI1\",\"2006-04-20\",\"CN\",\"84.8\",\"Male\",\"CN\",\"2006-04-20\"\n\
         \"295\",\"002_S_0295\",\"m12\",\"107\",\"ADNI1\",\"2007-05-24\",\"CN\",\"84.8\",\"Male\",\"Dementia\",\"2006-04-20\"\n\
         \"907\",\"003_S_0907\",\"bl\",\"108\",\"ADNI1\",\"2006-05-02\",\"AD\",\"87.5\",\"Female\",\"Dementia\",\"2006-05-02\"\n",
    );

    fn scan(ptid: &str, series: &str, day: &str, ids: (u32, u32)) -> String {
        let (s, i) = ids;
        format!(
            "ADNI/{ptid}/{series}/{day}_08_20_30.0/I{i}/ADNI_{ptid}_MR_{series}_Br_20190319113623975_S{s}_I{i}.nii"
        )
    }

    #[test]
    fn a_download_with_its_list_and_adnimerge_is_listed_at_the_age_of_each_scan() {
        let scaled = "MPR__GradWarp__B1_Correction__N3__Scaled";
        let first = scan("002_S_0295", scaled, "2006-04-18", (13408, 45108));
        let repeat = scan(
            "002_S_0295",
            &format!("{scaled}_2"),
            "2006-04-18",
            (13407, 45109),
        );
        let original = scan("002_S_0295", "MP-RAGE", "2006-04-18", (13406, 13722));
        let later = scan("002_S_0295", scaled, "2007-05-25", (32678, 64551));
        let other = scan(
            "116_S_6119",
            "Accelerated_Sagittal_MPRAGE",
            "2018-01-29",
            (654_321, 957_990),
        );
        let wrong = scan("003_S_0907", scaled, "2007-05-02", (5, 50000));
        let stranger = scan("004_S_0001", scaled, "2007-05-02", (6, 60000));
        let flair = scan(
            "116_S_6119",
            "Sagittal_3D_FLAIR",
            "2018-01-29",
            (1, 957_991),
        );
        let scans = [
            &first, &repeat, &original, &later, &other, &wrong, &stranger, &flair,
        ];
        let tree = Tree::new(&scans.map(String::as_str), &[LIST, MERGE]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [
                // Two days before the baseline, and 400 days after it.
                format!("002_S_0295 2006-04-18 84.7945 M {first}"),
                format!("002_S_0295 2007-05-25 85.8951 M {later}"),
                format!("116_S_6119 2018-01-29 70.5 F {other}"),
            ]
        );
        let diagnoses: Vec<_> = listing
            .rows
            .iter()
            .map(|row| row.diagnosis.as_str())
            .collect();
        assert_eq!(diagnoses, ["CN", "AD", "MCI"]);
        let sources = listing.rows.iter().map(|row| row.age_source);
        let [interval, middle] = [AgeSource::BaselinePlusInterval, AgeSource::WholeYearsMid];
        assert_eq!(sources.collect::<Vec<_>>(), [interval, interval, middle]);
        assert_eq!(
            (listing.rows[0].site.as_str(), listing.rows[2].site.as_str()),
            ("002", "116")
        );
        assert_eq!(
            skipped(&listing),
            [
                "age_conflict=1",
                "not_in_demographics=1",
                "other_scan_of_session=2"
            ]
        );
        let example = &listing.skipped_examples["age_conflict"][0];
        assert!(
            example.ends_with("(88.4993 from ADNIMERGE, 60.5 in the list)"),
            "{example}"
        );
        assert!(
            listing.warnings[0].starts_with("2 processed and 1 original"),
            "{:?}",
            listing.warnings
        );
    }

    #[test]
    fn the_age_in_an_images_own_file_goes_before_all_others() {
        let first = scan(
            "002_S_0295",
            "MPR__GradWarp__N3m",
            "2006-04-18",
            (13408, 45108),
        );
        let xml = (
            "ADNI/ADNI_002_S_0295_S13408_I45108.xml",
            "<idaxs:x><subjectAge>84.7425</subjectAge><subjectSex>M</subjectSex><imageUID>45108</imageUID></idaxs:x>",
        );
        let tree = Tree::new(&[&first], &[LIST, xml]);
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [format!("002_S_0295 2006-04-18 84.7425 M {first}")]
        );
        assert_eq!(listing.rows[0].age_source, AgeSource::ReportedDecimal);
    }

    #[test]
    fn dicom_series_count_once_and_archives_are_read_in_place() {
        let slice = |n: u32| {
            let folder = "ADNI/003_S_0907/MP-RAGE/2007-05-02_08_20_30.0/I50000";
            format!("{folder}/ADNI_003_S_0907_MR_MP-RAGE__br_raw_2007_{n}_S5_I50000.dcm")
        };
        let tree = Tree::new(&[&slice(1), &slice(2), &slice(3)], &[LIST]);
        let member = scan(
            "002_S_0295",
            "MPR__GradWarp__N3m",
            "2006-04-18",
            (13408, 45108),
        );
        fs_err::write(tree.path("ADNI1_1.zip"), stored(&[(&member, b"x")])).unwrap();
        let listing = tree.list(LAYOUT).unwrap();
        assert_eq!(
            tree.rows(&listing),
            [format!("002_S_0295 2006-04-18 84.5 M ADNI1_1.zip/{member}")]
        );
        assert_eq!(
            (skipped(&listing), listing.scans),
            (vec!["not_converted=1".to_owned()], 2)
        );
    }

    #[test]
    fn without_any_table_the_message_says_which_there_are() {
        let first = scan(
            "002_S_0295",
            "MPR__GradWarp__N3m",
            "2006-04-18",
            (13408, 45108),
        );
        let error = Tree::new(&[&first], &[]).list(LAYOUT).unwrap_err();
        assert!(error.to_string().contains("ADNIMERGE.csv"), "{error}");
    }
}
