//! Who is in which batch, and the batch as a tensor.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use super::augment::{AugmentationConfig, augment};
use super::sampling::Draw;
use crate::Error;
use crate::engine::seed::{Purpose, Seed};

/// Samples that can be loaded one by one.
pub trait SampleSource: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A number that names the sample whatever else is in the set; it keys the sample's random draws.
    fn id(&self, sample: usize) -> u64;

    /// Chronological age, in years.
    fn age_years(&self, sample: usize) -> f64;

    /// Name of the cohort that the sample is from.
    fn cohort(&self, sample: usize) -> &str;

    /// Sides x, y, z of every volume.
    fn sides(&self) -> [usize; 3];

    /// Distance of its voxels along x, y, z, mm.
    fn voxel_size_mm(&self) -> [f64; 3];

    /// The voxels, z fastest.
    ///
    /// # Errors
    /// Where the volume cannot be read.
    fn volume(&self, sample: usize) -> Result<Vec<f32>, Error>;
}

/// Mean and spread of the training ages: networks learn (age − mean) / sd.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeScaling {
    /// Mean age of the training set, years.
    pub mean_years: f64,
    /// Standard deviation of its ages, years.
    pub sd_years: f64,
}

impl AgeScaling {
    /// From the ages of a training set.
    ///
    /// # Errors
    /// [`Error::Data`] where there are fewer than two different ages.
    pub fn of(ages_years: &[f64]) -> Result<Self, Error> {
        let n = ages_years.len() as f64;
        let mean_years = ages_years.iter().sum::<f64>() / n;
        let variance = ages_years
            .iter()
            .map(|age| (age - mean_years).powi(2))
            .sum::<f64>()
            / n;
        let scaling = Self {
            mean_years,
            sd_years: variance.sqrt(),
        };
        if scaling.sd_years.is_finite() && scaling.sd_years > 0.0 {
            Ok(scaling)
        } else {
            let n = ages_years.len();
            Err(Error::Data(format!(
                "{n} training scans without two different ages, nothing can be learned"
            )))
        }
    }

    /// Years → what the network learns.
    pub fn standardize(&self, age_years: f64) -> f32 {
        ((age_years - self.mean_years) / self.sd_years) as f32
    }

    /// What the network says → years.
    pub fn years(&self, standardized: f32) -> f64 {
        f64::from(standardized) * self.sd_years + self.mean_years
    }
}

/// The order of the samples in all epochs of a run; a smaller last batch is kept.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    /// Samples in the set.
    pub n_samples: usize,
    /// Samples in a batch.
    pub batch_size: usize,
    /// Seed of the run.
    pub seed: Seed,
    /// How they are drawn.
    pub draw: Draw,
}

impl BatchPlan {
    /// Steps in an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.n_samples.div_ceil(self.batch_size) as u64
    }

    /// Epoch of a step, and the step's place in it.
    pub fn place(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch(), step % self.steps_per_epoch())
    }

    /// Samples of an epoch, in order.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.draw.order(self.n_samples, self.seed, epoch)
    }
}

/// What a head should say of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// An age in years, or the number of a class.
    pub value: f64,
    /// The other sample of a mixture, if it is one.
    pub mixed: Option<Mixed>,
}

/// The other sample of a mixture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// What a head should say of it.
    pub value: f64,
    /// Its part of the mixture, 0 to 1.
    pub share: f64,
}

impl From<f64> for Truth {
    fn from(value: f64) -> Self {
        Self { value, mixed: None }
    }
}

impl Truth {
    /// The values that should be said with their shares, which add up to 1.
    pub fn parts(self) -> impl Iterator<Item = (f64, f64)> {
        let other = self.mixed.map(|mixed| (mixed.value, mixed.share));
        let share = other.map_or(1.0, |(_, share)| 1.0 - share);
        std::iter::once((self.value, share)).chain(other)
    }
}

/// A batch on its way to the first block.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, channels, x, y, z]`, without a graph; images have depth 1: `[batch, channels, 1, y, x]`.
    pub volumes: Tensor<5>,
    /// Who is in it.
    pub samples: Arc<[u64]>,
    /// What heads should say of them.
    pub truths: Vec<Truth>,
}

/// Where batches come from.
pub trait BatchSource: Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads samples; those of a training batch are changed as `draws` says.
    ///
    /// # Errors
    /// Where a sample cannot be read or has another size.
    fn batch(&self, members: &[usize], draws: Option<EpochDraws<'_>>) -> Result<Batch, Error>;
}

/// Names the random changes of the samples of a training batch.
#[derive(Clone, Copy, Debug)]
pub struct EpochDraws<'a> {
    /// Seed of the run.
    pub seed: Seed,
    /// Which epoch.
    pub epoch: u64,
    /// How often each member of the batch came before in the epoch.
    pub repeats: &'a [u64],
}

impl EpochDraws<'_> {
    /// The stream of a member; one that comes again is drawn anew.
    pub fn stream(&self, purpose: Purpose, member: usize, id: u64) -> ChaCha8Rng {
        let Self { seed, epoch, .. } = *self;
        match self.repeats.get(member) {
            None | Some(0) => seed.stream(purpose, &[epoch, id]),
            Some(repeat) => seed.stream(purpose, &[epoch, id, *repeat]),
        }
    }
}

/// Volumes and how those of a training batch are changed.
pub struct Volumes<'a> {
    /// The volumes.
    pub source: &'a dyn SampleSource,
    /// Changes of training volumes.
    pub augmentation: AugmentationConfig,
}

impl BatchSource for Volumes<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn batch(&self, members: &[usize], draws: Option<EpochDraws<'_>>) -> Result<Batch, Error> {
        let augmentation = draws.map(|draws| (&self.augmentation, draws));
        load_batch(self.source, members, augmentation, &Device::flex())
    }
}

/// Loads volumes as a batch; those of training batches are augmented.
fn load_batch(
    source: &dyn SampleSource,
    members: &[usize],
    augmentation: Option<(&AugmentationConfig, EpochDraws<'_>)>,
    device: &Device,
) -> Result<Batch, Error> {
    let sides = source.sides();
    let n_voxels: usize = sides.iter().product();
    let mut voxels = Vec::with_capacity(members.len() * n_voxels);
    for (number, member) in members.iter().enumerate() {
        let mut volume = source.volume(*member)?;
        if volume.len() != n_voxels {
            let found = volume.len();
            return Err(Error::Data(format!(
                "volume of {found} voxels, expected {n_voxels}"
            )));
        }
        if let Some((config, draws)) = &augmentation {
            let id = source.id(*member);
            let mut rng = draws.stream(Purpose::Augmentation, number, id);
            let voxel_size_mm = source.voxel_size_mm();
            volume = augment(volume, sides, voxel_size_mm, config, &mut rng);
        }
        voxels.extend(volume);
    }
    let [x, y, z] = sides;
    Ok(Batch {
        volumes: Tensor::from_data(TensorData::new(voxels, [members.len(), 1, x, y, z]), device),
        samples: members.iter().map(|member| source.id(*member)).collect(),
        truths: members
            .iter()
            .map(|member| source.age_years(*member).into())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_epoch_holds_every_sample_once_in_an_order_of_its_own_seed(n in 1usize..40, seed in any::<u64>()) {
            let plan = BatchPlan { n_samples: n, batch_size: 4, seed: Seed(seed), draw: Draw::Shuffled };
            let mut order = plan.order(3);
            prop_assert_eq!(&order, &plan.order(3));
            order.sort_unstable();
            prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_last_batch_of_an_epoch_counts_as_a_step() {
        let plan = BatchPlan {
            n_samples: 9,
            batch_size: 4,
            seed: Seed(1),
            draw: Draw::Shuffled,
        };
        assert_eq!(plan.steps_per_epoch(), 3);
        assert_eq!((plan.place(2), plan.place(3)), ((0, 2), (1, 0)));
    }

    #[test]
    fn ages_come_back_from_their_standardized_form() {
        let scaling = AgeScaling::of(&[20.0, 40.0, 60.0]).unwrap();
        assert!((scaling.mean_years - 40.0).abs() < 1e-12);
        assert!((scaling.sd_years - (800.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((scaling.years(scaling.standardize(71.5)) - 71.5).abs() < 1e-5);
    }

    #[test]
    fn ages_that_are_all_the_same_are_refused() {
        assert!(AgeScaling::of(&[50.0, 50.0]).is_err());
        assert!(AgeScaling::of(&[]).is_err());
    }
}
