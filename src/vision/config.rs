//! The config of a classifier: TOML with every key present, as that of a brain network.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::augment::ImageAugmentation;
use super::dataset::{Dataset, LabeledImage, Opened};
use super::source::ImageSamples;
use crate::Error;
use crate::config::train::{
    HeadChoice, TrainSection, parse, refuse_first, to_toml, weights_check, width_check,
};
use crate::engine::classes::{ClassLoss, ClassTarget};
use crate::engine::seed::{Purpose, Seed};
use crate::models::ImageModelConfig;
use crate::nn::weight_penalty::WeightPenalty;
use crate::study::recipe::{StudyConfig, forget_seed_and_place};
use rand::RngExt as _;

/// The seed that holds images out: runs of other seeds watch the same images.
const HOLD_OUT_SEED: Seed = Seed(0);

/// A whole config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// What is trained on.
    pub data: ImageDataConfig,
    /// What is trained.
    pub model: ImageModelConfig,
    /// How it is trained.
    pub train: TrainSection<ClassLoss>,
}

/// The `[data]` part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDataConfig {
    /// Which data set.
    pub dataset: Dataset,
    /// Its folder.
    pub root: PathBuf,
    /// Side of the images that the network sees, pixels.
    pub side: usize,
    /// Training images of each class, held-out ones included; 0: all.
    pub per_class: usize,
    /// Share of the training images that only watch.
    pub validation: f64,
    /// Changes of training images.
    pub augmentation: ImageAugmentation,
}

/// The images of a config.
#[derive(Clone, Debug)]
pub struct ImageSplits {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images to learn from.
    pub training: ImageSamples,
    /// Images to watch.
    pub validation: ImageSamples,
    /// Images that a training never sees.
    pub test: ImageSamples,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl VisionConfig {
    /// Reads a config; see [`crate::config::train::TrainConfig::parse`].
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, origin: &Path, changes: &[String]) -> Result<Self, Error> {
        let config: Self = parse(text, origin, changes)?;
        config.check()?;
        Ok(config)
    }

    /// The config as TOML, every key present.
    ///
    /// # Errors
    /// [`Error::Config`] where a value has no TOML form.
    pub fn to_toml(&self) -> Result<String, Error> {
        to_toml(self)
    }

    fn check(&self) -> Result<(), Error> {
        let Self { data, model, train } = self;
        train.method.check(self)?;
        let norm = model.batch_norm;
        let checks = [
            (
                "data.validation",
                (0.0..1.0).contains(&data.validation),
                "not a share from 0 to below 1",
            ),
            (
                "data.side",
                (1..=4096).contains(&data.side),
                "not from 1 to 4096 pixels",
            ),
            (
                "train.loss",
                train.loss.is_valid(),
                "smoothing is not a share from 0 to below 1",
            ),
            (
                "model.batch_norm",
                (0.0..1.0).contains(&norm.momentum) && norm.epsilon > 0.0,
                "a momentum not from 0 to below 1, or an epsilon not above 0",
            ),
            width_check(model.width),
            weights_check(model.weights),
            (
                "train.penalty",
                !matches!(train.penalty, WeightPenalty::Ocnn { .. })
                    || !model.residual_units().is_empty(),
                "a transformer has no convolution but its first, which OCNN leaves alone",
            ),
            (
                "train.auxiliary.reconstruction",
                train.auxiliary.reconstruction == [0.0; 2] || !model.residual_units().is_empty(),
                "tokens cannot be convolved into an image, expected [0.0, 0.0]",
            ),
        ];
        let heads = HeadChoice {
            inner: model.head,
            last: model.last_head,
        };
        let rest = train.checks().into_iter().chain(data.augmentation.checks());
        let rest = rest.chain(train.checks_of_heads(heads));
        refuse_first(checks.into_iter().chain(rest))?;
        model.check(data.side)?;
        let starts = || model.part_starts(train.regime);
        let n_blocks = train.regime.n_blocks_of(&model.cuts, starts)?;
        train.check_block_factors(n_blocks)
    }

    /// What heads learn, for a number of classes.
    pub fn target(&self, n_classes: usize) -> ClassTarget {
        ClassTarget {
            loss: self.train.loss,
            n_classes,
        }
    }
}

impl StudyConfig for VisionConfig {
    const ERROR_UNIT: &'static str = "%";

    fn parse(text: &str, origin: &Path, changes: &[String]) -> Result<Self, Error> {
        Self::parse(text, origin, changes)
    }

    fn to_toml(&self) -> Result<String, Error> {
        self.to_toml()
    }

    fn seed(&self) -> Seed {
        self.train.seed
    }

    fn with_seed(mut self, seed: Seed) -> Self {
        self.train.seed = seed;
        self
    }

    fn recipe(&self) -> Self {
        let mut same = self.clone();
        let model = &mut same.model;
        forget_seed_and_place(&mut same.train, (&mut model.cuts, &mut model.head));
        same.data.root.clear();
        same
    }
}

impl ImageDataConfig {
    /// Lists the images and holds some of them out. Which ones, their names decide, and nothing else.
    ///
    /// # Errors
    /// Where files are missing or damaged, or nothing is left to train on.
    pub fn open(&self) -> Result<ImageSplits, Error> {
        let Opened {
            classes,
            training,
            test,
            notes,
        } = self.dataset.open(&self.root)?;
        let mut of_class = vec![0; classes.len()];
        let kept = training.into_iter().filter(|image| {
            let n = &mut of_class[image.class];
            *n += 1;
            self.per_class == 0 || *n <= self.per_class
        });
        let (watching, learning): (Vec<_>, Vec<_>) =
            kept.partition(|image| self.is_held_out(image));
        if learning.is_empty() {
            return Err(Error::Data(format!(
                "all {} training images are held out, none is left to learn from",
                watching.len()
            )));
        }
        Ok(ImageSplits {
            classes,
            training: self.samples(learning),
            validation: self.samples(watching),
            test: self.samples(test),
            notes,
        })
    }

    fn is_held_out(&self, image: &LabeledImage) -> bool {
        let mut rng = HOLD_OUT_SEED.stream(Purpose::HoldOut, &[image.id()]);
        rng.random::<f64>() < self.validation
    }

    fn samples(&self, images: Vec<LabeledImage>) -> ImageSamples {
        ImageSamples {
            images,
            side: self.side,
            normalization: self.dataset.normalization(),
            augmentation: self.augmentation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configs that ship.
    pub(crate) fn shipped() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/vision");
        let mut files: Vec<PathBuf> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs_err::read_to_string(path).unwrap())
        };
        files.into_iter().map(read).collect()
    }

    #[test]
    fn the_configs_that_ship_are_whole_and_come_back_from_their_own_toml() {
        let files = shipped();
        assert!(files.len() >= 4);
        for (name, text) in files {
            let config = VisionConfig::parse(&text, Path::new(&name), &[])
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let again = config.to_toml().unwrap();
            assert_eq!(
                VisionConfig::parse(&again, Path::new(&name), &[]).unwrap(),
                config
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        let (name, text) = shipped().remove(0);
        for (change, key) in [
            ("data.validation=1", "data.validation"),
            ("data.side=0", "data.side"),
            ("data.dataset=mnist", "data.dataset"),
            ("data.augmentation.flip=2", "data.augmentation.flip"),
            (
                "train.loss={ cross-entropy = { smoothing = 1.0 } }",
                "train.loss",
            ),
            ("train.epochs=0", "train.epochs"),
            ("model.width=0", "model.width"),
            ("model.stem=patch4", "model.stem"),
            ("model.name=vit-ti", "model.stem"),
            ("model.cuts=[99]", "model.cuts"),
            ("model.depth=3", "model.depth"),
            ("model.head={ augmented = { depth = 0 } }", "model.head"),
            ("model.head={ augmented = { height = 1 } }", "model.head"),
            (
                "train.auxiliary.similarity=1.5",
                "train.auxiliary.similarity",
            ),
            ("train.auxiliary.weight=-1", "train.auxiliary.weight"),
        ] {
            let refused = VisionConfig::parse(&text, Path::new(&name), &[change.to_owned()]);
            let said = refused.unwrap_err().to_string();
            assert!(said.contains(key), "{change}: {said}");
        }
    }

    #[test]
    fn held_out_images_are_the_same_for_every_seed_and_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            let path = folder.path().join("train").join(class);
            fs_err::create_dir_all(&path).unwrap();
            for number in 0..50 {
                fs_err::write(path.join(format!("{number}.png")), b"x").unwrap();
            }
        }
        let (name, text) = shipped().remove(0);
        let open = |changes: &[&str]| {
            let root = format!("data.root={:?}", folder.path());
            let all = ["data.dataset=folder", &root, "data.validation=0.3"];
            let changes: Vec<String> = all.iter().chain(changes).map(|c| (*c).to_owned()).collect();
            let config = VisionConfig::parse(&text, Path::new(&name), &changes).unwrap();
            config.data.open().unwrap()
        };
        let names = |samples: &ImageSamples| -> Vec<String> {
            samples
                .images
                .iter()
                .map(|image| image.name.clone())
                .collect()
        };
        let (one, two) = (open(&["train.seed=1"]), open(&["train.seed=2"]));
        assert_eq!(names(&one.validation), names(&two.validation));
        assert_eq!(one.training.images.len() + one.validation.images.len(), 100);
        // Binomial(100, 0.3): four standard deviations are 18.
        assert!((12..=48).contains(&one.validation.images.len()));
        let few = open(&["data.per_class=10"]);
        assert_eq!(few.training.images.len() + few.validation.images.len(), 20);
    }
}
