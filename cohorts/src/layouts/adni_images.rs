//! ADNI's images on disk: what a path says of a scan, and which image of a day is used.
//!
//! Reference: the T1 selection of Samper-González et al. 2018, NeuroImage 183:504–521 (section 2.1).

use std::path::Path;

use jiff::civil::Date;

use crate::dates::parse_date;

/// An image as its path has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageName {
    /// PTID, `002_S_0295`.
    pub(super) participant: String,
    /// Description of the series, with underscores.
    pub(super) series: String,
    /// Day of the scan: that of the folder. The stamp in the file's name is that of an upload.
    pub(super) day: Option<Date>,
    /// Number of the series, `S13408`.
    pub(super) series_id: u64,
    /// Number of the image, `I45108`.
    pub(super) image_id: u64,
    /// Whether it is a slice in DICOM format.
    pub(super) is_dicom: bool,
}

impl ImageName {
    /// `…/<PTID>/<series>/<YYYY-MM-DD_hh_mm_ss.f>/<I…>/ADNI_<PTID>_MR_<series>_Br_<stamp>_S<series>_I<image>.nii`.
    pub(super) fn parse(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?;
        let is_dicom = file.strip_suffix(".dcm").is_some();
        let stem = file.strip_suffix(".dcm").or_else(|| {
            let bare = file.strip_suffix(".gz").unwrap_or(file);
            bare.strip_suffix(".nii")
        })?;
        let folders: Vec<_> = path
            .parent()?
            .components()
            .filter_map(|folder| folder.as_os_str().to_str())
            .collect();
        let place = folders.iter().rposition(|folder| is_ptid(folder));
        let participant = match place {
            Some(place) => folders[place].to_owned(),
            None => ptid_in(stem)?,
        };
        let below = place.map_or(&[][..], |place| &folders[place + 1..]);
        let day = below.iter().rev().find_map(|folder| {
            let is_day = folder.get(..10).is_some_and(|day| day.contains('-'));
            is_day.then(|| parse_date(folder))?
        });
        let number = |letter: char, text: &str| text.strip_prefix(letter)?.parse::<u64>().ok();
        let mut parts = stem.rsplit('_');
        let in_name = parts.next().and_then(|part| number('I', part));
        let in_folder = below.last().and_then(|folder| number('I', folder));
        let image_id = in_name.or(in_folder)?;
        let series_id = parts
            .next()
            .and_then(|part| number('S', part))
            .unwrap_or(u64::MAX);
        let series = below
            .first()
            .map_or_else(|| series_in(stem, &participant), |s| (*s).to_owned());
        Some(Self {
            participant,
            series,
            day,
            series_id,
            image_id,
            is_dicom,
        })
    }

    /// Which image of a day is used, smaller first; none for what is no T1 image of a head.
    pub(super) fn rank(&self) -> Option<(Rank, bool, u64, u64)> {
        let series = self.series.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| series.contains(word));
        let other = [
            "mask",
            "localizer",
            "3-plane",
            "3_plane",
            "3plane",
            "calibration",
            "scout",
            "flair",
            "t2",
            "dti",
            "bold",
            "fmri",
            "asl",
            "b1-cal",
            "b1_cal",
            "hippo",
        ];
        if !any(&["mprage", "mp-rage", "mp_rage", "mpr", "spgr", "t1"]) || any(&other) {
            return None;
        }
        let processed = any(&["gradwarp", "b1_correction", "__n3", "n3m", "scaled"]);
        let rank = if !processed {
            Rank::Original
        } else if series.ends_with("scaled") || series.ends_with("scaled_2") {
            Rank::Scaled
        } else if series.ends_with("n3m") {
            Rank::MaskedN3
        } else {
            Rank::OtherProcessed
        };
        // Repeats, and images without correction of distortion, only where there is nothing else.
        let second_choice =
            any(&["repeat", "scaled_2", "mprage_2", "mp-rage_2"]) || series.ends_with("_nd");
        Some((rank, second_choice, self.series_id, self.image_id))
    }
}

/// How far an image was processed by the study, the first choice first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Corrected and scaled by the phantom.
    Scaled,
    /// Corrected, masked N3.
    MaskedN3,
    /// Corrected otherwise.
    OtherProcessed,
    /// As the scanner made it.
    Original,
}

/// `002_S_0295`.
pub(super) fn is_ptid(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('_');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(parts, (Some(site), Some("S"), Some(number), None)
        if site.len() == 3 && (4..=5).contains(&number.len()) && digits(site) && digits(number))
}

/// The PTID in `ADNI_002_S_0295_MR_…`.
fn ptid_in(stem: &str) -> Option<String> {
    let parts: Vec<_> = stem.split('_').collect();
    let candidates = parts.windows(3).map(|three| three.join("_"));
    candidates.into_iter().find(|candidate| is_ptid(candidate))
}

/// The series in `ADNI_002_S_0295_MR_<series>_Br_…`.
fn series_in(stem: &str, participant: &str) -> String {
    let after = stem
        .split_once(participant)
        .map_or(stem, |(_, after)| after);
    let series = after.trim_start_matches("_MR_");
    series.split("_Br_").next().unwrap_or(series).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCALED: &str = "ADNI/002_S_0295/MPR__GradWarp__B1_Correction__N3__Scaled/2006-04-18_08_20_30.0/I45108/\
        ADNI_002_S_0295_MR_MPR__GradWarp__B1_Correction__N3__Scaled_Br_20070319113623975_S13408_I45108.nii";

    #[test]
    fn the_day_is_that_of_the_folder_and_not_that_of_the_upload() {
        let image = ImageName::parse(Path::new(SCALED)).unwrap();
        assert_eq!(image.participant, "002_S_0295");
        assert_eq!(image.day, Some(Date::constant(2006, 4, 18)));
        assert_eq!((image.series_id, image.image_id), (13408, 45108));
        assert_eq!(image.rank(), Some((Rank::Scaled, false, 13408, 45108)));
    }

    #[test]
    fn a_file_alone_still_names_its_participant_and_image() {
        let name = SCALED.rsplit('/').next().unwrap();
        let image = ImageName::parse(Path::new(name)).unwrap();
        assert_eq!(
            (image.participant.as_str(), image.day),
            ("002_S_0295", None)
        );
        assert_eq!(image.series, "MPR__GradWarp__B1_Correction__N3__Scaled");
    }

    #[test]
    fn scaled_images_go_first_and_masks_and_localizers_are_none() {
        let rank = |series: &str| {
            let path = format!("ADNI/002_S_0295/{series}/2006-04-18_08_20_30.0/I7/x_S5_I7.nii");
            ImageName::parse(Path::new(&path)).unwrap().rank()
        };
        let ordered = [
            "MPR__GradWarp__B1_Correction__N3__Scaled",
            "MPR__GradWarp__B1_Correction__N3__Scaled_2",
            "MPR__GradWarp__N3m",
            "MPR__GradWarp__B1_Correction",
            "MP-RAGE",
            "MP-RAGE_REPEAT",
        ];
        let ranks: Vec<_> = ordered.iter().map(|series| rank(series).unwrap()).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(rank("Accelerated_Sagittal_MPRAGE") < rank("Accelerated_Sagittal_MPRAGE_ND"));
        for series in [
            "3-plane_localizer",
            "Axial_T2_Star",
            "MPR__N3__Scaled__brainmask",
            "Axial_PD-T2_TSE",
        ] {
            assert_eq!(rank(series), None, "{series}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic(path in ".{0,60}", name in "[0-9A-Z_./-]{0,40}") {
            ImageName::parse(Path::new(&format!("{path}.nii"))).map(|image| image.rank());
            ImageName::parse(Path::new(&format!("002_S_0295/{name}/{path}_S1_I2.dcm"))).map(|image| image.rank());
        }
    }
}
