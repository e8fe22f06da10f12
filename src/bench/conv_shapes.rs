//! The convolutions that `bench conv` measures: those of the brain networks and of ResNet-50.

use std::path::Path;

use brainage_kernels::conv3d::Geometry;
use brainage_pipelines::recipe::Recipe;

use crate::Error;
use crate::config::train::{BRAIN_CNN, BRAIN_CNN_SMALL, TrainConfig};
use crate::models::ModelConfig;

/// Images of a CIFAR batch.
const CIFAR_BATCH: usize = 8;
/// Images of an ImageNet batch.
const IMAGENET_BATCH: usize = 2;

/// The networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The published brain CNN at 128³, batch 1.
    BrainCnn,
    /// The small brain CNN on the grid and with the batch of its config.
    BrainCnnSmall,
    /// ResNet-50 for images of 32×32 pixels.
    Resnet50Cifar,
    /// ResNet-50 for images of 224×224 pixels.
    Resnet50Imagenet,
}

/// A brain network with what it is given.
#[derive(Clone, Debug)]
pub struct Brain {
    /// The network and its training.
    pub config: TrainConfig,
    /// Sides of the volumes, voxels.
    pub grid: [usize; 3],
    /// Volumes.
    pub batch: usize,
}

/// One convolution of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels, sides, kernel and stride, such as `16→32 61³ k6`.
    pub name: String,
    /// Its sizes.
    pub geometry: Geometry,
    /// How often the network has it.
    pub count: usize,
    /// Whether images are convolved, that is volumes of depth 1.
    pub is_2d: bool,
}

/// What comes before the stages of a ResNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3×3 convolution of 32×32 pixels, the usual change for small images.
    Cifar,
    /// 7×7 convolution of stride 2 of 224×224 pixels, then a maximum of stride 2.
    Imagenet,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::BrainCnn,
        Self::BrainCnnSmall,
        Self::Resnet50Cifar,
        Self::Resnet50Imagenet,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::BrainCnn => "brain-cnn",
            Self::BrainCnnSmall => "brain-cnn-small",
            Self::Resnet50Cifar => "resnet50-cifar",
            Self::Resnet50Imagenet => "resnet50-imagenet",
        }
    }

    /// What the program trains; `None` for networks that lend their shapes only.
    ///
    /// # Errors
    /// Where a config inside the program is wrong.
    pub fn brain(self) -> Result<Option<Brain>, Error> {
        let parse = |text, name| TrainConfig::parse(text, Path::new(name), &[]);
        Ok(match self {
            Self::BrainCnn => Some(Brain {
                config: parse(BRAIN_CNN, "brain-cnn.toml")?,
                grid: [128; 3],
                batch: 1,
            }),
            Self::BrainCnnSmall => {
                let config = parse(BRAIN_CNN_SMALL, "brain-cnn-small.toml")?;
                let recipe = Recipe::named(&config.data.recipe);
                let recipe = recipe.map_err(|error| Error::Data(error.to_string()))?;
                Some(Brain {
                    grid: recipe.grid.shape.0,
                    batch: config.train.batch_size,
                    config,
                })
            }
            Self::Resnet50Cifar | Self::Resnet50Imagenet => None,
        })
    }

    /// Its different convolutions.
    ///
    /// # Errors
    /// As [`Self::brain`].
    pub fn shapes(self) -> Result<Vec<Shape>, Error> {
        match (self.brain()?, self) {
            (Some(brain), _) => brain_cnn(&brain.config.model, brain.grid, brain.batch),
            (None, Self::Resnet50Cifar) => Ok(resnet50(Stem::Cifar)),
            (None, _) => Ok(resnet50(Stem::Imagenet)),
        }
    }
}

impl Shape {
    fn new(geometry: Geometry, is_2d: bool) -> Self {
        let Geometry {
            in_channels: i,
            out_channels: o,
            input: [x, y, z],
            kernel: [.., k],
            stride: [.., s],
            ..
        } = geometry;
        let sides = match (is_2d, y == z, x == y) {
            (true, true, _) => format!("{z}²"),
            (true, false, _) => format!("{y}×{z}"),
            (false, true, true) => format!("{z}³"),
            (false, ..) => format!("{x}×{y}×{z}"),
        };
        let stride = if s == 1 {
            String::new()
        } else {
            format!(" s{s}")
        };
        Self {
            name: format!("{i}→{o} {sides} k{k}{stride}"),
            geometry,
            count: 1,
            is_2d,
        }
    }

    /// Operations of a direct convolution in 10^9: two for each multiply-add. All three passes have as many.
    pub fn gflop(&self) -> f64 {
        2e-9 * self.geometry.macs() as f64
    }
}

/// The stages' convolutions of a brain network; those of heads are left out.
///
/// # Errors
/// [`Error::Config`] where the grid is too small for the network.
pub fn brain_cnn(model: &ModelConfig, grid: [usize; 3], batch: usize) -> Result<Vec<Shape>, Error> {
    let inputs = std::iter::once(grid).chain(model.feature_sides(grid)?);
    let channels = model.channels();
    let in_channels = std::iter::once(1).chain(channels.iter().copied());
    let stages = model.stages.iter().zip(channels.iter().zip(in_channels));
    let shapes = stages
        .zip(inputs)
        .map(|((stage, (out_channels, in_channels)), input)| {
            let convolution = stage.convolution(in_channels, *out_channels);
            let geometry = Geometry {
                batch,
                in_channels,
                out_channels: *out_channels,
                input,
                kernel: convolution.kernel,
                stride: convolution.stride,
                padding: convolution.padding,
            };
            Shape::new(geometry, false)
        });
    Ok(shapes.collect())
}

/// The different convolutions of ResNet-50 (He et al. 2016, CVPR), stride in the 3×3 convolutions as is usual today.
pub fn resnet50(stem: Stem) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut add = |batch, [from, to]: [usize; 2], side: usize, kernel: usize, stride: usize| {
        let padding = kernel / 2;
        let geometry = Geometry {
            batch,
            in_channels: from,
            out_channels: to,
            input: [1, side, side],
            kernel: [1, kernel, kernel],
            stride: [1, stride, stride],
            padding: [0, padding, padding],
        };
        let known = |shape: &&mut Shape| shape.geometry == geometry;
        match shapes.iter_mut().find(known) {
            Some(shape) => shape.count += 1,
            None => shapes.push(Shape::new(geometry, true)),
        }
    };
    let (batch, mut side) = match stem {
        Stem::Cifar => {
            add(CIFAR_BATCH, [3, 64], 32, 3, 1);
            (CIFAR_BATCH, 32)
        }
        Stem::Imagenet => {
            add(IMAGENET_BATCH, [3, 64], 224, 7, 2);
            (IMAGENET_BATCH, 56)
        }
    };
    let mut channels = 64;
    for (n_blocks, width, first_stride) in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)] {
        for block in 0..n_blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            add(batch, [channels, width], side, 1, 1);
            add(batch, [width, width], side, 3, stride);
            if block == 0 {
                add(batch, [channels, 4 * width], side, 1, stride);
            }
            side /= stride;
            channels = 4 * width;
            add(batch, [width, channels], side, 1, 1);
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gmacs_each(shapes: &[Shape]) -> f64 {
        let macs = |shape: &Shape| shape.count * shape.geometry.macs() / shape.geometry.batch;
        1e-9 * shapes.iter().map(macs).sum::<usize>() as f64
    }

    #[test]
    fn the_published_brain_network_has_its_four_convolutions() {
        let shapes = Network::BrainCnn.shapes().unwrap();
        let found: Vec<_> = shapes
            .iter()
            .map(|shape| {
                let gflop = (shape.gflop() * 100.0).round() / 100.0;
                (shape.name.as_str(), shape.geometry.weight_len(), gflop)
            })
            .collect();
        // By hand: 2·out·in·6³·side³ of the outputs' sides 123, 56, 23 and 6.
        let expected = [
            ("1→16 128³ k6", 3_456, 12.86),
            ("16→32 61³ k6", 110_592, 38.84),
            ("32→64 28³ k6", 442_368, 10.76),
            ("64→128 11³ k6", 1_769_472, 0.76),
        ];
        assert_eq!(found, expected);
        assert_eq!(shapes[1].geometry.output(), [56; 3]);
    }

    #[test]
    fn resnet_50_has_53_convolutions_with_the_published_multiply_adds() {
        // He et al. say 3.8·10⁹ with the stride in the first 1×1 convolution; in the 3×3 one it is 4.09 (torchvision),
        // of which the last dense layer has 0.002.
        let shapes = resnet50(Stem::Imagenet);
        assert_eq!(shapes.iter().map(|shape| shape.count).sum::<usize>(), 53);
        assert!(
            (gmacs_each(&shapes) - 4.087).abs() < 0.001,
            "{}",
            gmacs_each(&shapes)
        );
        let weights = |shape: &Shape| shape.count * shape.geometry.weight_len();
        // 25 557 032 parameters less 2 049 000 of the dense layer and 53 120 of normalization.
        assert_eq!(shapes.iter().map(weights).sum::<usize>(), 23_454_912);

        let small = resnet50(Stem::Cifar);
        assert_eq!(small.iter().map(|shape| shape.count).sum::<usize>(), 53);
        // The stages see 32/56 of each side, (32/56)² · 3.969; the stem adds 0.002.
        assert!(
            (gmacs_each(&small) - 1.298).abs() < 0.001,
            "{}",
            gmacs_each(&small)
        );
    }

    #[test]
    fn shapes_are_listed_once_and_named_apart() {
        for stem in [Stem::Cifar, Stem::Imagenet] {
            let shapes = resnet50(stem);
            for (at, shape) in shapes.iter().enumerate() {
                assert!(
                    shapes[..at].iter().all(|other| other.name != shape.name),
                    "{}",
                    shape.name
                );
            }
        }
        assert!(resnet50(Stem::Imagenet)[0].name == "3→64 224² k7 s2");
    }
}
