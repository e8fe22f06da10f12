//! ADNI's images by visit, and which of a visit is used.
//!
//! Images of one day are of one visit. In ADNI 1 many were scanned at 1.5 T and, days or weeks later, at 3 T for one and
//! the same visit; the list of images then has the same code for both days. Of them the image at the study's main field
//! strength is used: 1.5 T until 2009 (ADNI 1), 3 T from 2010 on (ADNI GO and later). Then that which the study
//! processed furthest, then no repeat, then the lowest series.
//!
//! Reference: Jack et al. 2008, J Magn Reson Imaging 27:685–691; Jack et al. 2010, Alzheimers Dement 6:212–220.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;

use super::adni_images::{ImageName, Rank};
use crate::layout::Choice;

/// Days of one visit are at most this far from the first.
const LONGEST_VISIT_DAYS: i32 = 120;
/// The first year in which 3 T is the main field strength.
const FIRST_YEAR_AT_3T: i16 = 2010;

/// An image on disk, with what tables know of it.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: ImageName,
    pub(super) path: &'a PathBuf,
    /// Code of the visit in the list of images, such as `m06`; may be empty.
    pub(super) visit: &'a str,
    /// Field strength, where a table or XML file says it.
    pub(super) field_tesla: Option<f64>,
}

/// What decides, smaller first.
type Order = (bool, u8, (Rank, bool, u64, u64));

impl Candidate<'_> {
    /// The visit's name in the index: the day, or where none is known the image.
    pub(super) fn session(&self) -> String {
        let image = || format!("I{}", self.name.image_id);
        self.name.day.map_or_else(image, |day| day.to_string())
    }

    fn order(&self) -> Order {
        let last = (Rank::Original, true, u64::MAX, u64::MAX);
        let rank = self.name.rank().unwrap_or(last);
        (self.name.is_dicom, self.field_order(), rank)
    }

    fn field_order(&self) -> u8 {
        let main_is_3t = self
            .name
            .day
            .is_some_and(|day| day.year() >= FIRST_YEAR_AT_3T);
        match self.field_tesla {
            None => 1,
            Some(tesla) => u8::from((tesla > 2.0) != main_is_3t) * 2,
        }
    }
}

/// Images by participant and visit. Each visit's images are in the order of preference; slices of a DICOM series count
/// as one.
pub(super) fn by_visit<'a>(images: Vec<Candidate<'a>>) -> Vec<Vec<Candidate<'a>>> {
    let mut days: BTreeMap<(String, String), Vec<Candidate<'a>>> = BTreeMap::new();
    for image in images {
        let key = (image.name.participant.clone(), image.session());
        days.entry(key).or_default().push(image);
    }
    // Days come in order, so the open visit of a code is the latest.
    let mut visits: Vec<Vec<Candidate<'a>>> = Vec::new();
    let mut open: BTreeMap<(String, &'a str), (Date, usize)> = BTreeMap::new();
    for ((participant, _), images) in days {
        let code = images.iter().map(|image| image.visit);
        let code = code.filter(|code| !code.is_empty()).min();
        let day = images.first().and_then(|image| image.name.day);
        let (Some(code), Some(day)) = (code, day) else {
            visits.push(images);
            continue;
        };
        let key = (participant, code);
        let known = open.get(&key).filter(|(first, _)| {
            let apart = day.since(*first).map_or(i32::MAX, |span| span.get_days());
            apart <= LONGEST_VISIT_DAYS
        });
        if let Some(place) = known.map(|(_, place)| *place) {
            visits[place].extend(images);
        } else {
            open.insert(key, (day, visits.len()));
            visits.push(images);
        }
    }
    for images in &mut visits {
        images.sort_by(|a, b| a.order().cmp(&b.order()).then_with(|| a.path.cmp(b.path)));
        images.dedup_by(|a, b| a.name.is_dicom && a.name.image_id == b.name.image_id);
    }
    visits
}

/// By which rule the first image of a visit was chosen; none where it is the only one.
pub(super) fn choice_of(images: &[Candidate<'_>]) -> Option<Choice> {
    let (first, second) = (images.first()?.order(), images.get(1)?.order());
    let (field, rank) = (first.1 != second.1, first.2.0 != second.2.0);
    let rule = if first.0 != second.0 {
        "converted from DICOM"
    } else if field && images[0].field_tesla.is_some_and(|tesla| tesla > 2.0) {
        "3 T, the main field strength from 2010 on"
    } else if field {
        "1.5 T, the main field strength of ADNI 1"
    } else if rank {
        "processed furthest by the study"
    } else if first.2.1 != second.2.1 {
        "no repeat, corrected for distortion"
    } else if first.2.2 != second.2.2 {
        "lowest series"
    } else {
        "lowest image number"
    };
    Some(Choice {
        rule,
        of: images.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn path(series: &str, day: &str, (s, i): (u32, u32)) -> PathBuf {
        let folder = format!("ADNI/002_S_0295/{series}/{day}_08_20_30.0/I{i}");
        Path::new(&folder).join(format!("ADNI_002_S_0295_MR_{series}_Br_1_S{s}_I{i}.nii"))
    }

    fn candidate<'a>(path: &'a PathBuf, visit: &'a str, field_tesla: Option<f64>) -> Candidate<'a> {
        let name = ImageName::parse(path).unwrap();
        Candidate {
            name,
            path,
            visit,
            field_tesla,
        }
    }

    #[test]
    fn days_of_one_visit_are_one_and_its_main_field_strength_is_used() {
        let scaled = "MPR__GradWarp__B1_Correction__N3__Scaled";
        let low = path(scaled, "2006-10-02", (10, 100));
        let high = path(scaled, "2006-10-20", (9, 90));
        let year_later = path(scaled, "2007-10-02", (11, 110));
        let images = vec![
            candidate(&high, "m06", Some(3.0)),
            candidate(&low, "m06", Some(1.5)),
            candidate(&year_later, "m06", Some(3.0)),
        ];
        let visits = by_visit(images);
        let used: Vec<_> = visits.iter().map(|images| images[0].path).collect();
        assert_eq!(used, [&low, &year_later]);
        let choice = choice_of(&visits[0]).unwrap();
        assert_eq!(
            (choice.of, choice.rule),
            (2, "1.5 T, the main field strength of ADNI 1")
        );
        assert_eq!(choice_of(&visits[1]), None);
    }

    #[test]
    fn from_2010_on_3_t_goes_first_and_days_without_a_code_are_visits_of_their_own() {
        let low = path("MP-RAGE", "2011-03-01", (1, 10));
        let high = path("MP-RAGE", "2011-03-01", (2, 20));
        let other = path("MP-RAGE", "2011-03-20", (3, 30));
        let images = vec![
            candidate(&low, "", Some(1.5)),
            candidate(&high, "", Some(3.0)),
            candidate(&other, "", None),
        ];
        let visits = by_visit(images);
        let used: Vec<_> = visits.iter().map(|images| images[0].path).collect();
        assert_eq!(used, [&high, &other]);
        let choice = choice_of(&visits[0]).unwrap();
        assert_eq!(choice.rule, "3 T, the main field strength from 2010 on");
    }

    #[test]
    fn of_several_processed_versions_the_furthest_is_used_and_the_rule_is_said() {
        let rule_of = |first: (&str, u32), second: (&str, u32)| {
            let [first, second] = [first, second]
                .map(|(series, number)| path(series, "2006-10-02", (number, number)));
            let images = vec![candidate(&second, "", None), candidate(&first, "", None)];
            let visits = by_visit(images);
            assert_eq!(visits[0][0].path, &first);
            choice_of(&visits[0]).unwrap().rule
        };
        let scaled = "MPR__GradWarp__B1_Correction__N3__Scaled";
        let further = "processed furthest by the study";
        assert_eq!(rule_of((scaled, 9), ("MPR__GradWarp__N3m", 2)), further);
        assert_eq!(rule_of(("MPR__GradWarp__N3m", 9), ("MP-RAGE", 2)), further);
        let twice = format!("{scaled}_2");
        assert_eq!(
            rule_of((scaled, 9), (&twice, 2)),
            "no repeat, corrected for distortion"
        );
        assert_eq!(rule_of((scaled, 2), (scaled, 9)), "lowest series");
    }
}
