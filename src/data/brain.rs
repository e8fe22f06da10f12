//! Cache entries with ages: what a brain network is trained on.

use std::path::PathBuf;

use brainage_pipelines::cache::CacheEntry;

use super::batch::SampleSource;
use crate::Error;

/// A scan in the cache and the age of its participant.
#[derive(Clone, Debug)]
pub struct BrainSample {
    /// The scan.
    pub scan: PathBuf,
    /// Its volume in the cache.
    pub entry: CacheEntry,
    /// Chronological age, years.
    pub age_years: f64,
    /// Name of its cohort.
    pub cohort: String,
}

/// Samples of one recipe; voxels are read when they are asked for, so memory does not grow with the cohort.
#[derive(Clone, Debug, Default)]
pub struct BrainSamples {
    samples: Vec<BrainSample>,
    sides: [usize; 3],
    voxel_size_mm: [f64; 3],
}

impl BrainSamples {
    /// All samples must be on one grid: `sides` and distances of voxels along x, y, z.
    pub fn new(samples: Vec<BrainSample>, sides: [usize; 3], voxel_size_mm: [f64; 3]) -> Self {
        Self {
            samples,
            sides,
            voxel_size_mm,
        }
    }

    /// The samples.
    pub fn samples(&self) -> &[BrainSample] {
        &self.samples
    }
}

impl SampleSource for BrainSamples {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn id(&self, sample: usize) -> u64 {
        sample_id(&self.samples[sample].entry)
    }

    fn age_years(&self, sample: usize) -> f64 {
        self.samples[sample].age_years
    }

    fn cohort(&self, sample: usize) -> &str {
        &self.samples[sample].cohort
    }

    fn sides(&self) -> [usize; 3] {
        self.sides
    }

    fn voxel_size_mm(&self) -> [f64; 3] {
        self.voxel_size_mm
    }

    fn volume(&self, sample: usize) -> Result<Vec<f32>, Error> {
        network_input(&self.samples[sample].entry)
    }
}

/// The first 64 bits of the entry's key: the same scan through the same recipe has the same id in every run.
fn sample_id(entry: &CacheEntry) -> u64 {
    let digits = entry.header.key.get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// The voxels of an entry as networks take them.
///
/// # Shapes
/// Sides x, y, z as in the entry's header, z fastest (entries have x fastest).
///
/// # Errors
/// Where the entry cannot be read or is damaged.
pub fn network_input(entry: &CacheEntry) -> Result<Vec<f32>, Error> {
    let values = entry.values_f32_z_fastest();
    values.map_err(|error| Error::Data(error.to_string()))
}
