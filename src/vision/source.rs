//! Batches of images: decoded, changed and normalized when they are asked for.

use burn::tensor::{Device, Tensor, TensorData};

use super::augment::{ImageAugmentation, augmented, plain};
use super::dataset::{LabeledImage, Normalization};
use super::mix::Mixture;
use super::pixels::Pixels;
use crate::Error;
use crate::data::batch::{Batch, BatchSource, EpochDraws, Mixed, Truth};
use crate::engine::seed::Purpose;

/// Images of one data set, shown with the same side.
#[derive(Clone, Debug)]
pub struct ImageSamples {
    /// The images.
    pub images: Vec<LabeledImage>,
    /// Side that networks see, pixels.
    pub side: usize,
    /// What makes colors numbers around 0.
    pub normalization: Normalization,
    /// Changes of training images.
    pub augmentation: ImageAugmentation,
}

impl ImageSamples {
    /// The image of a batch as a network takes it.
    ///
    /// # Shapes
    /// `[3, side, side]`, x fastest.
    fn values(&self, pixels: &Pixels) -> Vec<f32> {
        let Normalization { mean, sd } = self.normalization;
        let plane = |channel: usize| {
            let (mean, sd) = (mean[channel], sd[channel]);
            let values = pixels.rgb.iter().skip(channel).step_by(3);
            values.map(move |value| (f32::from(*value) / 255.0 - mean) / sd)
        };
        (0..3).flat_map(plane).collect()
    }

    fn shown(
        &self,
        (number, member): (usize, usize),
        draws: Option<&EpochDraws<'_>>,
    ) -> Result<Vec<f32>, Error> {
        let image = &self.images[member];
        let pixels = image.pixels()?;
        Ok(self.values(&match draws {
            Some(draws) => {
                let mut rng = draws.stream(Purpose::Augmentation, number, image.id());
                augmented(&pixels, self.side, &self.augmentation, &mut rng)
            }
            None => plain(&pixels, self.side),
        }))
    }
}

impl BatchSource for ImageSamples {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn batch(&self, members: &[usize], draws: Option<EpochDraws<'_>>) -> Result<Batch, Error> {
        let ids: Vec<u64> = members
            .iter()
            .map(|member| self.images[*member].id())
            .collect();
        let class = |number: usize| self.images[members[number]].class as f64;
        let mut shown = Vec::with_capacity(members.len());
        for place in members.iter().copied().enumerate() {
            shown.push(self.shown(place, draws.as_ref())?);
        }
        let mut truths: Vec<Truth> = (0..members.len())
            .map(|number| class(number).into())
            .collect();
        let mut values = Vec::with_capacity(members.len() * 3 * self.side * self.side);
        for (number, image) in shown.iter().enumerate() {
            let mixture = draws.as_ref().and_then(|draws| {
                let mut rng = draws.stream(Purpose::Mixing, number, ids[number]);
                Mixture::draw(&self.augmentation, self.side, &mut rng)
            });
            let start = values.len();
            values.extend(image);
            if let Some(mixture) = mixture.filter(|_| members.len() > 1) {
                let next = (number + 1) % members.len();
                mixture.apply(&mut values[start..], &shown[next], self.side);
                truths[number].mixed = Some(Mixed {
                    value: class(next),
                    share: mixture.share(),
                });
            }
        }
        let dims = [members.len(), 3, 1, self.side, self.side];
        Ok(Batch {
            volumes: Tensor::from_data(TensorData::new(values, dims), &Device::flex()),
            samples: ids.into(),
            truths,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::Seed;
    use crate::vision::augment::Crop;
    use crate::vision::dataset::{Dataset, ImageData};
    use crate::vision::decode::tests::png_file;
    use crate::vision::rand_augment::RandAugment;

    fn samples(folder: &std::path::Path, mixup: f64) -> ImageSamples {
        let image = |class: usize| {
            let pixels = Pixels {
                width: 4,
                height: 4,
                rgb: (0..48).map(|i| (i * 5 + 40 * class) as u8).collect(),
            };
            let path = folder.join(format!("{class}.png"));
            fs_err::write(&path, png_file(&pixels)).unwrap();
            LabeledImage {
                class,
                name: format!("{class}.png"),
                data: ImageData::File(path),
            }
        };
        ImageSamples {
            images: (0..3).map(image).collect(),
            side: 4,
            normalization: Dataset::Cifar10.normalization(),
            augmentation: ImageAugmentation {
                crop: Crop::Padded { pixels: 1 },
                flip: 0.5,
                randaugment: RandAugment {
                    operations: 1,
                    magnitude: 9.0,
                },
                mixup,
                cutmix: 0.0,
            },
        }
    }

    fn draws(epoch: u64) -> EpochDraws<'static> {
        EpochDraws {
            seed: Seed(1),
            epoch,
            repeats: &[],
        }
    }

    fn numbers(batch: &Batch) -> Vec<f32> {
        batch.volumes.to_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_plain_batch_is_the_normalized_image_by_planes_with_its_class() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path(), 0.0);
        let batch = samples.batch(&[2, 0], None).unwrap();
        assert_eq!(batch.volumes.dims(), [2, 3, 1, 4, 4]);
        assert_eq!(batch.truths, [Truth::from(2.0), Truth::from(0.0)]);
        let values = numbers(&batch);
        // Second image, green of pixel 1: byte 4, value 20.
        let green = (20.0 / 255.0 - 0.4822) / 0.1994;
        assert!((values[48 + 16 + 1] - green).abs() < 1e-6, "{}", values[65]);
    }

    #[test]
    fn changes_depend_on_epoch_and_image_and_not_on_the_rest_of_the_batch() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path(), 0.0);
        let batch = |members: &[usize], epoch| {
            numbers(&samples.batch(members, Some(draws(epoch))).unwrap())
        };
        assert_eq!(batch(&[0, 1], 0)[48..], batch(&[1, 2], 0)[..48]);
        assert!((1..6).any(|epoch| batch(&[1], 0) != batch(&[1], epoch)));
    }

    #[test]
    fn mixed_images_say_of_what_they_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let mixing = samples(folder.path(), 0.5);
        let mixed = mixing.batch(&[0, 1, 2], Some(draws(0))).unwrap();
        let pure = samples(folder.path(), 0.0)
            .batch(&[0, 1, 2], Some(draws(0)))
            .unwrap();
        let (mixed_values, pure) = (numbers(&mixed), numbers(&pure));
        for (number, truth) in mixed.truths.iter().enumerate() {
            let next = (number + 1) % 3;
            let part = truth.mixed.unwrap();
            assert_eq!((truth.value, part.value), (number as f64, next as f64));
            for i in 0..48 {
                let expected = (1.0 - part.share) as f32 * pure[48 * number + i]
                    + part.share as f32 * pure[48 * next + i];
                assert!((mixed_values[48 * number + i] - expected).abs() < 1e-5);
            }
        }
        // Alone there is nobody to mix with, and what is only watched is not mixed.
        assert_eq!(
            mixing.batch(&[1], Some(draws(0))).unwrap().truths[0].mixed,
            None
        );
        assert_eq!(mixing.batch(&[0, 1], None).unwrap().truths[0].mixed, None);
    }

    #[test]
    fn an_image_that_is_missing_ends_the_batch_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let samples = samples(folder.path(), 0.0);
        fs_err::remove_file(folder.path().join("1.png")).unwrap();
        let said = samples.batch(&[0, 1], None).unwrap_err().to_string();
        assert!(said.contains("1.png"), "{said}");
    }
}
