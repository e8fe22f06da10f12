//! Measures how fast images come out of the real loader: read, decoded, changed, normalized and put into batches.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use serde::Serialize;

use super::timing::{Spread, in_turns};
use crate::Error;
use crate::data::batch::BatchPlan;
use crate::data::loader::{Loader, Loading};
use crate::data::sampling::Draw;
use crate::vision::config::VisionConfig;
use crate::vision::source::ImageSamples;

/// The config whose changes images of Tiny ImageNet get.
const TINY_IMAGENET: &str =
    include_str!("../../configs/vision/tiny-imagenet-resnet50-enn-local.toml");
/// The same for CIFAR-10.
const CIFAR10: &str = include_str!("../../configs/vision/cifar10-resnet50-enn-local.toml");
/// Rounds that fill the system's cache of files before any time counts.
const WARM_UP_ROUNDS: usize = 1;

/// A data set on disk, in its official layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// JPEG files of 64×64 pixels.
    TinyImagenet,
    /// Records of 32×32 pixels.
    Cifar10,
}

/// How fast a data set is loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Stable name for machines, such as `tiny-imagenet/loading`.
    pub name: String,
    /// The data set.
    pub dataset: &'static str,
    /// Images of its training set that are there.
    pub images_there: usize,
    /// Images in a batch.
    pub batch: usize,
    /// Images that each time stands for.
    pub images: usize,
    /// Their times.
    #[serde(flatten)]
    pub times: Spread,
    /// Images a second, at the median time.
    pub images_per_second: f64,
}

impl Files {
    fn name(self) -> &'static str {
        match self {
            Self::TinyImagenet => "tiny-imagenet",
            Self::Cifar10 => "cifar10",
        }
    }

    fn config(self, root: PathBuf) -> Result<VisionConfig, Error> {
        let (text, name) = match self {
            Self::TinyImagenet => (TINY_IMAGENET, "tiny-imagenet-resnet50-enn-local.toml"),
            Self::Cifar10 => (CIFAR10, "cifar10-resnet50-enn-local.toml"),
        };
        let mut config = VisionConfig::parse(text, Path::new(name), &[])?;
        config.data.root = root;
        Ok(config)
    }
}

/// Loads at least `n_images` training images in batches, again and again, as a training does: by the loader's own threads,
/// changed as the data set's config says. Where fewer are there, they come several times, each time changed anew.
///
/// # Errors
/// Where the data set is not usable or an image cannot be read.
pub fn measure(
    files: Files,
    root: PathBuf,
    (n_images, batch): (usize, usize),
    repeats: usize,
) -> Result<Row, Error> {
    let config = files.config(root)?;
    let images = config.data.open()?.training;
    let plan = BatchPlan {
        n_samples: images.images.len(),
        batch_size: batch,
        seed: config.train.seed,
        draw: Draw::Shuffled,
    };
    let mut images_of_round = 0;
    let spreads = in_turns(WARM_UP_ROUNDS, repeats, || {
        let (n, seconds) = load(&images, &plan, n_images)?;
        images_of_round = n;
        Ok::<_, Error>(vec![seconds])
    })?;
    let times = spreads.into_iter().next();
    let times = times.ok_or_else(|| Error::Data("nothing was measured".into()))?;
    Ok(Row {
        name: format!("{}/loading", files.name()),
        dataset: files.name(),
        images_there: images.images.len(),
        batch,
        images: images_of_round,
        images_per_second: images_of_round as f64 / times.seconds,
        times,
    })
}

/// Images that were loaded, at least `n_images`, and seconds.
fn load(images: &ImageSamples, plan: &BatchPlan, n_images: usize) -> Result<(usize, f64), Error> {
    // An epoch may end with a smaller batch, so that steps are taken until there are enough.
    let most_steps = n_images as u64;
    let clock = Instant::now();
    thread::scope(|scope| {
        let loading = Loading {
            source: images,
            plan,
        };
        let mut loader = Loader::start(scope, loading, 0..most_steps)?;
        let mut n = 0;
        while n < n_images {
            n += loader.next_batch()?.samples.len();
        }
        Ok((n, clock.elapsed().as_secs_f64()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::decode::tests::png_file;
    use crate::vision::pixels::Pixels;

    #[test]
    fn few_images_come_several_times_until_there_are_enough() {
        let root = tempfile::tempdir().unwrap();
        for class in ["n01", "n02"] {
            let folder = root.path().join("train").join(class).join("images");
            fs_err::create_dir_all(&folder).unwrap();
            for number in 0..3 {
                let pixels = Pixels {
                    width: 64,
                    height: 64,
                    rgb: (0..3 * 64 * 64).map(|i| (i * 7 + number) as u8).collect(),
                };
                let path = folder.join(format!("{class}_{number}.png"));
                fs_err::write(path, png_file(&pixels)).unwrap();
            }
        }
        let root = root.path().to_path_buf();
        let row = measure(Files::TinyImagenet, root, (20, 4), 2).unwrap();
        assert!((20..24).contains(&row.images), "{}", row.images);
        assert!(row.images_there <= 6 && row.times.repeats == 2);
        assert!(row.images_per_second > 0.0);
        assert_eq!(row.name, "tiny-imagenet/loading");
    }
}
