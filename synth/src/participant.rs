//! Who takes part: age, sex, dates; and the head that belongs to them.

use brainage_pipelines::{Volume, VoxelShape};
use jiff::ToSpan as _;
use jiff::civil::Date;
use rand::RngExt as _;

use crate::atlas::atlas;
use crate::error::Error;
use crate::morph::morph;
use crate::population::{REGION_NAMES, Sex, draw_person};
use crate::regions::SULCAL;
use crate::render::render;
use crate::scanner::Scanner;
use crate::stream::{HeadKey, Stage};

/// A synthetic participant at a visit, as the demographics describe one.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthParticipant {
    /// Identifier in the words of the layout.
    pub id: String,
    /// Age at the scan, to the day.
    pub age_years: f64,
    /// Sex.
    pub sex: Sex,
    /// Number of the head, as in its key.
    pub(crate) subject: u64,
    /// Month of birth.
    pub(crate) birth: Date,
    /// Day of the scan.
    pub(crate) visit: Date,
}

/// What a head was made from, for tests and plots; never an input of a model.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) brain_age_years: f64,
    pub(crate) icv_ml: f64,
    /// Volumes that were aimed at, as `volumes_percent`.
    pub(crate) asked_percent: Vec<f64>,
    /// Volumes of the driven regions and of sulcal fluid, in percent of ICV.
    pub(crate) volumes_percent: Vec<f64>,
}

/// Column names of [`Truth::volumes_percent`].
pub(crate) fn volume_names() -> impl Iterator<Item = &'static str> {
    REGION_NAMES.into_iter().chain(["sulcal_fluid"])
}

impl SynthParticipant {
    /// Draws the participant; `id` is filled in by the layout.
    pub(crate) fn draw(key: HeadKey, age_years: [f64; 2]) -> Self {
        let mut rng = key.stream(Stage::Participant);
        let [low, high] = age_years;
        let wanted = low + (high - low) * rng.random::<f64>();
        let sex = if rng.random_bool(0.5) {
            Sex::Female
        } else {
            Sex::Male
        };
        let about = Date::constant(2015, 1, 1).saturating_add(rng.random_range(0..2500).days());
        let born = about.saturating_sub(((wanted * 365.25) as i64).days());
        // Registries give the month of birth; its middle is what ages are computed from.
        let birth = Date::constant(born.year(), born.month(), 15);
        let (first, last) = ((low * 365.25).ceil() as i64, (high * 365.25).floor() as i64);
        let days = ((wanted * 365.25).round() as i64).clamp(first, last.max(first));
        let visit = birth.saturating_add(days.days());
        let age_years = days as f64 / 365.25;
        Self {
            id: String::new(),
            age_years,
            sex,
            subject: key.subject,
            birth,
            visit,
        }
    }

    /// The same participant this many days after the first visit.
    pub(crate) fn after_days(&self, days: i64) -> Self {
        Self {
            age_years: self.age_years + days as f64 / 365.25,
            visit: self.visit.saturating_add(days.days()),
            ..self.clone()
        }
    }

    /// Age in completed months.
    pub(crate) fn whole_months(&self) -> i64 {
        (self.age_years * 12.0).floor() as i64
    }

    /// Age in completed years.
    pub(crate) fn whole_years(&self) -> i64 {
        self.age_years.floor() as i64
    }

    /// Makes the participant's head.
    pub(crate) fn head(
        &self,
        (key, spread): (HeadKey, f64),
        scanner: &Scanner,
        voxel_size_mm: f64,
    ) -> Result<(Volume, Truth), Error> {
        let atlas = atlas()?;
        let person = draw_person(
            self.age_years,
            self.sex,
            spread,
            &mut key.stream(Stage::Anatomy),
        );
        let morph = morph(atlas, &person, key);
        let image = render(atlas, (&person, &morph), key, scanner, voxel_size_mm);
        let percent = |volumes_ml: &[f64]| {
            let total: f64 = volumes_ml.iter().sum();
            volumes_ml[..=SULCAL]
                .iter()
                .map(|volume| 100.0 * volume / total)
                .collect()
        };
        let truth = Truth {
            brain_age_years: person.brain_age_years,
            icv_ml: person.icv_ml,
            asked_percent: percent(&morph.targets_ml),
            volumes_percent: percent(&morph.volumes_ml),
        };
        let volume = Volume::new(
            image.values,
            VoxelShape(image.shape),
            image.world_from_voxel,
        )
        .map_err(|problem| Error::TissueMaps {
            problem: problem.to_string(),
        })?;
        Ok((volume, truth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanner::CAMCAN;

    #[test]
    fn ages_follow_from_the_dates_and_lie_in_the_range() {
        for subject in 0..500 {
            let drawn = SynthParticipant::draw(HeadKey::of(9, subject), [45.0, 82.0]);
            let days = f64::from((drawn.visit - drawn.birth).get_days());
            assert!((days / 365.25 - drawn.age_years).abs() < 1e-9);
            assert!((45.0..=82.0).contains(&drawn.age_years));
        }
    }

    #[test]
    fn ventricles_and_fluid_grow_with_age_in_the_scans_truth() {
        let heads: Vec<(f64, Truth)> = (0..8)
            .map(|subject| {
                let key = HeadKey::of(2, subject);
                let person = SynthParticipant::draw(key, [20.0, 85.0]);
                (
                    person.age_years,
                    person.head((key, 0.5), &CAMCAN, 4.0).unwrap().1,
                )
            })
            .collect();
        let ages: Vec<f64> = heads.iter().map(|head| head.0).collect();
        let column = |r: usize| {
            heads
                .iter()
                .map(|h| h.1.volumes_percent[r])
                .collect::<Vec<_>>()
        };
        assert!(
            spearman(&ages, &column(0)) > 0.6,
            "{ages:?} {:?}",
            column(0)
        );
        assert!(
            spearman(&ages, &column(SULCAL)) > 0.6,
            "{ages:?} {:?}",
            column(SULCAL)
        );
        assert!(
            spearman(&ages, &column(2)) < -0.6,
            "{ages:?} {:?}",
            column(2)
        );
    }

    fn spearman(a: &[f64], b: &[f64]) -> f64 {
        let ranks = |values: &[f64]| -> Vec<f64> {
            values
                .iter()
                .map(|v| values.iter().filter(|o| *o < v).count() as f64)
                .collect()
        };
        let (a, b) = (ranks(a), ranks(b));
        let n = a.len() as f64;
        let squares: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
        1.0 - 6.0 * squares / (n * (n * n - 1.0))
    }
}
