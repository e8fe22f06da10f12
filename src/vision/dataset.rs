//! Which data sets there are, and what one holds once it is opened: lists of images with classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cifar::{Records, open_cifar10, open_cifar100};
use super::decode::read_image;
use super::folder;
use super::pixels::Pixels;
use crate::Error;

/// The data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
    /// Ten classes, 32×32, see [`super::cifar`].
    Cifar10,
    /// A hundred classes, 32×32, see [`super::cifar`].
    Cifar100,
    /// Two hundred classes, 64×64, see [`super::folder`].
    TinyImagenet,
    /// A thousand classes, see [`super::folder`].
    Imagenet,
    /// Any folder of such a form.
    Folder,
}

/// Mean and standard deviation of red, green and blue over a training set, of values from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Means.
    pub mean: [f32; 3],
    /// Standard deviations.
    pub sd: [f32; 3],
}

/// An image and its class.
#[derive(Clone, Debug)]
pub struct LabeledImage {
    /// Number of the class.
    pub class: usize,
    /// Names the image within its data set, wherever that lies; it keys the image's random draws.
    pub name: String,
    /// Where the image is.
    pub data: ImageData,
}

/// Where an image is.
#[derive(Clone, Debug)]
pub enum ImageData {
    /// In a file of its own.
    File(PathBuf),
    /// A record of a file in memory.
    Record(Arc<Records>, usize),
}

/// What a data set holds.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images to learn from.
    pub training: Vec<LabeledImage>,
    /// Images that a training never sees.
    pub test: Vec<LabeledImage>,
    /// What the user should know, such as files that are missing.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Lists the images below a root; image files are not decoded.
    ///
    /// # Errors
    /// Where files are missing or damaged.
    pub fn open(self, root: &Path) -> Result<Opened, Error> {
        if !root.is_dir() {
            return Err(Error::Data(format!(
                "no folder `{}` (give the folder of the data set with --data, or data.root)",
                root.display()
            )));
        }
        match self {
            Self::Cifar10 => open_cifar10(root),
            Self::Cifar100 => open_cifar100(root),
            Self::TinyImagenet | Self::Imagenet | Self::Folder => folder::open(root),
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
            Self::TinyImagenet => "Tiny ImageNet",
            Self::Imagenet => "ImageNet",
            Self::Folder => "folder",
        }
    }

    /// Of its training set, as they are in use; ImageNet's for any folder.
    pub fn normalization(self) -> Normalization {
        let (mean, sd) = match self {
            Self::Cifar10 => ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
            Self::Cifar100 => ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
            Self::TinyImagenet => ([0.4802, 0.4481, 0.3975], [0.2770, 0.2691, 0.2821]),
            Self::Imagenet | Self::Folder => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        };
        Normalization { mean, sd }
    }
}

impl LabeledImage {
    /// The image, decoded.
    ///
    /// # Errors
    /// Where its file is missing or damaged.
    pub fn pixels(&self) -> Result<Pixels, Error> {
        match &self.data {
            ImageData::File(path) => read_image(path),
            ImageData::Record(records, number) => Ok(records.pixels(*number)),
        }
    }

    /// The same number for the same name in every run.
    pub fn id(&self) -> u64 {
        let hash = blake3::hash(self.name.as_bytes());
        let first = hash.as_bytes().first_chunk::<8>().copied();
        u64::from_le_bytes(first.unwrap_or_default())
    }
}

impl Opened {
    /// Nothing but classes yet.
    pub(super) fn of(classes: Vec<String>) -> Self {
        Self {
            classes,
            ..Self::default()
        }
    }

    /// Refuses a set that nothing can be learned from.
    pub(super) fn check(self, root: &Path, expected: &str) -> Result<Self, Error> {
        let n_classes = self.classes.len();
        if self.training.is_empty() || n_classes < 2 {
            return Err(Error::Data(format!(
                "{} training images of {n_classes} classes, expected images of two classes at least from {expected}: `{}`",
                self.training.len(),
                root.display()
            )));
        }
        Ok(self)
    }
}
