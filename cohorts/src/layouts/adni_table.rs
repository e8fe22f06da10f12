//! ADNI's tables: the list of images of a download, ADNIMERGE, and the XML file of each image.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;

use super::adni_images::is_ptid;
use crate::ages::{AgeUnit, ParsedAge, parse_age};
use crate::criteria::SkipReason;
use crate::dates::{parse_date, years_between};
use crate::delimited::{Delimited, cell};
use crate::error::Error;
use crate::participant::Sex;

/// A diagnosis holds for scans that are at most this many days away.
const LONGEST_LAG_DAYS: i32 = 180;
/// Larger files are no description of an image.
const LARGEST_XML: u64 = 1 << 20;

const IMAGE_ID: [&str; 3] = ["image_data_id", "image_id", "imageuid"];
const SUBJECT: [&str; 3] = ["subject", "subject_id", "ptid"];

/// A table with one row for each image, from the collection or from the search.
pub(super) fn is_image_list(table: &Delimited) -> bool {
    table.column(&IMAGE_ID).is_some() && table.column(&SUBJECT).is_some()
}

/// ADNIMERGE, or a table cut from it.
pub(super) fn is_merge(table: &Delimited) -> bool {
    let has = |name| table.column(&[name]).is_some();
    has("ptid") && has("examdate") && has("age")
}

/// What a table or an XML file says about one image.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) age: Option<ParsedAge>,
    /// The text of an age that is none.
    pub(super) bad_age: Option<String>,
    pub(super) sex: Sex,
    pub(super) group: String,
    pub(super) day: Option<Date>,
    pub(super) scanner: String,
    /// Code of the visit, such as `m06`.
    pub(super) visit: String,
    pub(super) field_tesla: Option<f64>,
}

/// Adds the rows of a list of images, by the number of the image.
pub(super) fn read_images(path: &Path, images: &mut BTreeMap<u64, Image>) -> Result<(), Error> {
    let mut table = Delimited::open(path)?;
    let id = table.column(&IMAGE_ID);
    let [age, sex, group, day] = [
        table.column(&["age"]),
        table.column(&["sex", "gender"]),
        table.column(&["group", "research_group", "dx_group"]),
        table.column(&["acq_date", "study_date", "acquisition_date"]),
    ];
    let visit = table.column(&["visit", "viscode"]);
    let protocol = table.column(&["imaging_protocol", "field_strength"]);
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let Some(number) = image_number(&cell(&record, id)) else {
            continue;
        };
        let image = images.entry(number).or_default();
        image.set_age(&cell(&record, age));
        image.sex = Sex::from_word(&cell(&record, sex)).unwrap_or_default();
        image.group = diagnosis_of(&cell(&record, group));
        image.day = parse_date(&cell(&record, day));
        image.visit = cell(&record, visit).trim().to_lowercase();
        image.field_tesla = field_strength(&cell(&record, protocol));
    }
    Ok(())
}

impl Image {
    fn set_age(&mut self, text: &str) {
        match parse_age(text, AgeUnit::Years, false) {
            Ok(age) => self.age = Some(age),
            Err(refusal) if refusal.reason == SkipReason::BadAge => {
                self.bad_age = Some(text.to_owned());
            }
            Err(_missing) => {}
        }
    }
}

/// `1.5`, `3 Tesla`, or the field strength in a protocol such as `Flip Angle=8.0;Field Strength=1.5;TE=3.6`.
fn field_strength(text: &str) -> Option<f64> {
    let entry = text.split(';').find_map(|entry| {
        let (name, value) = entry.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("field strength")
            .then_some(value)
    });
    let number = entry.unwrap_or(text).trim();
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = number.get(..end.unwrap_or(number.len()))?;
    number.parse().ok().filter(|tesla| *tesla > 0.0)
}

/// `I45108`, `D45108` or `45108` → 45108.
fn image_number(text: &str) -> Option<u64> {
    text.trim()
        .trim_start_matches(['I', 'D', 'i', 'd'])
        .parse()
        .ok()
}

/// One word for one diagnosis: ADNIMERGE says Dementia where the list of images says AD.
fn diagnosis_of(text: &str) -> String {
    match text.trim() {
        "Dementia" => "AD",
        "NL" | "Normal" => "CN",
        "-4" | "-1" | "NA" | "Unknown" => "",
        other => other,
    }
    .to_owned()
}

/// What ADNIMERGE says about one participant.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    baseline: Option<(Date, f64)>,
    pub(super) sex: Sex,
    /// Days of visits with the diagnosis made there.
    diagnoses: Vec<(Date, String)>,
}

/// Adds the rows of ADNIMERGE. `AGE` is the age at baseline on every row.
pub(super) fn read_merge(path: &Path, courses: &mut BTreeMap<String, Course>) -> Result<(), Error> {
    let mut table = Delimited::open(path)?;
    let names = [
        "ptid",
        "age",
        "examdate",
        "examdate_bl",
        "viscode",
        "dx",
        "ptgender",
    ];
    let columns = names.map(|name| table.column(&[name]));
    let mut record = csv::ByteRecord::new();
    while table.read_row(&mut record)? {
        let [ptid, age, exam, baseline, viscode, diagnosis, sex] =
            columns.map(|column| cell(&record, column));
        if !is_ptid(&ptid) {
            continue;
        }
        let course = courses.entry(ptid.into_owned()).or_default();
        let exam = parse_date(&exam);
        let first = parse_date(&baseline).or(exam.filter(|_| viscode == "bl"));
        if let (Some(day), Ok(parsed)) = (first, parse_age(&age, AgeUnit::Years, false)) {
            course.baseline.get_or_insert((day, parsed.age.years()));
        }
        if course.sex == Sex::Unknown {
            course.sex = Sex::from_word(&sex).unwrap_or_default();
        }
        let diagnosis = diagnosis_of(&diagnosis);
        if let Some(day) = exam.filter(|_| !diagnosis.is_empty()) {
            course.diagnoses.push((day, diagnosis));
        }
    }
    Ok(())
}

impl Course {
    /// Age on a day: that at baseline and the time since then.
    pub(super) fn age_at(&self, day: Date) -> Option<f64> {
        let (baseline, age) = self.baseline?;
        Some(crate::ages::rounded(age + years_between(baseline, day)?))
    }

    /// The diagnosis of the nearest visit within half a year.
    pub(super) fn diagnosis_at(&self, day: Date) -> Option<&str> {
        let lag = |visit: Date| {
            visit
                .since(day)
                .map_or(i32::MAX, |lag| lag.get_days().abs())
        };
        let visits = self
            .diagnoses
            .iter()
            .map(|(visit, name)| (lag(*visit), *visit, name));
        let (days, _, name) = visits.min()?;
        (days <= LONGEST_LAG_DAYS).then_some(name.as_str())
    }
}

/// Reads the XML file of an image, where it is one.
pub(super) fn read_xml(path: &Path) -> Option<(u64, Image)> {
    if fs_err::metadata(path).ok()?.len() > LARGEST_XML {
        return None;
    }
    let bytes = fs_err::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let number = image_number(element(&text, "imageUID")?)?;
    let value = |name| element(&text, name).unwrap_or_default();
    let mut image = Image {
        sex: Sex::from_word(value("subjectSex")).unwrap_or_default(),
        group: diagnosis_of(value("researchGroup")),
        day: parse_date(value("dateAcquired")),
        ..Image::default()
    };
    image.set_age(value("subjectAge"));
    let term = |name| protocol_term(&text, name).unwrap_or_default();
    image.field_tesla = field_strength(term("Field Strength"));
    let mut words = vec![
        term("Manufacturer").to_owned(),
        term("Mfg Model").to_owned(),
    ];
    words.extend(image.field_tesla.map(|tesla| format!("{tesla}T")));
    words.retain(|word| !word.is_empty());
    image.scanner = words.join(" ");
    Some((number, image))
}

/// The text of the first element of this name, whatever its namespace prefix and attributes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices(name).find_map(|(at, _)| {
        let before = text.get(..at)?.chars().next_back()?;
        let rest = text.get(at + name.len()..)?;
        let attributes_end = rest.find('>')?;
        let is_start = matches!(before, '<' | ':')
            && rest.starts_with(['>', ' '])
            && !rest.get(..attributes_end)?.ends_with('/');
        let content = rest.get(attributes_end + 1..)?;
        let end = content.find("</")?;
        is_start.then(|| content.get(..end).map(str::trim))?
    })
}

/// The text of `<protocol term="…">`.
fn protocol_term<'a>(text: &'a str, term: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("term=\"{term}\">"))?;
    rest.split("</").next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<idaxs xmlns="http://ida.loni.usc.edu" xmlns:ns="x"><project><subject>
<subjectIdentifier>002_S_0295</subjectIdentifier><ns:researchGroup>CN</ns:researchGroup>
<subjectSex>M</subjectSex><study><subjectAge>84.7425</subjectAge><series>
<dateAcquired>2006-04-18 08:20:30.0</dateAcquired><imageUID>45108</imageUID>
<protocol term="Manufacturer">GE MEDICAL SYSTEMS</protocol><protocol term="Mfg Model">SIGNA EXCITE</protocol>
<protocol term="Field Strength">1.5</protocol></series></study></subject></project></idaxs>"#;

    #[test]
    fn the_xml_of_an_image_gives_the_age_at_the_scan_and_the_scanner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ADNI_002_S_0295_I45108.xml");
        fs_err::write(&path, XML).unwrap();
        let (number, image) = read_xml(&path).unwrap();
        assert_eq!(number, 45108);
        assert_eq!(image.age.unwrap().age.years(), 84.7425);
        assert_eq!((image.sex, image.group.as_str()), (Sex::Male, "CN"));
        assert_eq!(image.day, Some(Date::constant(2006, 4, 18)));
        assert_eq!(image.scanner, "GE MEDICAL SYSTEMS SIGNA EXCITE 1.5T");
    }

    #[test]
    fn a_field_strength_is_read_alone_and_out_of_a_protocol() {
        assert_eq!(field_strength("1.5"), Some(1.5));
        assert_eq!(field_strength("3 Tesla MRI"), Some(3.0));
        let protocol = "Acquisition Plane=SAGITTAL;Field Strength=3.0;TE=3.6";
        assert_eq!(field_strength(protocol), Some(3.0));
        for nothing in ["", "MRI", "Flip Angle=8.0", "-4"] {
            assert_eq!(field_strength(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn numbers_of_images_are_one_whatever_stands_before_them() {
        for text in ["I45108", "45108", " D45108 "] {
            assert_eq!(image_number(text), Some(45108));
        }
        assert_eq!(image_number("S13408"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,80}", inner in "[<>a-zA-Z:/ =\"]{0,60}") {
            element(&text, "a");
            element(&inner, "a");
            protocol_term(&inner, "a");
            image_number(&text);
        }
    }
}
