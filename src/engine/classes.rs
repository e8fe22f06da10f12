//! Classes as what heads learn to say: cross-entropy with label smoothing, mixtures of two classes included.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::data::batch::Truth;

/// `train.loss` of a classifier: what is minimized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClassLoss {
    /// Cross-entropy.
    CrossEntropy {
        /// Share of each label that is spread over all classes (Szegedy et al., CVPR 2016, section 7); 0: none.
        smoothing: f64,
    },
}

impl ClassLoss {
    /// Whether its numbers can be.
    pub fn is_valid(self) -> bool {
        let Self::CrossEntropy { smoothing } = self;
        (0.0..1.0).contains(&smoothing)
    }
}

/// What heads of a classifier say: one logit for each class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassTarget {
    /// What is minimized.
    pub loss: ClassLoss,
    /// How many classes there are.
    pub n_classes: usize,
}

impl ClassTarget {
    /// Shares of all classes, which sum to 1 for each sample.
    ///
    /// # Shapes
    /// `[batch, n_classes]`.
    pub fn labels(&self, truths: &[Truth], device: &Device) -> Tensor<2> {
        let ClassLoss::CrossEntropy { smoothing } = self.loss;
        let n = self.n_classes;
        let mut values = vec![(smoothing / n as f64) as f32; truths.len() * n];
        for (row, truth) in values.chunks_mut(n.max(1)).zip(truths) {
            for (class, share) in truth.parts() {
                if let Some(value) = row.get_mut(class as usize) {
                    *value += ((1.0 - smoothing) * share) as f32;
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [truths.len(), n]), device)
    }

    /// Cross-entropy of shares, a mean over the batch.
    ///
    /// # Shapes
    /// Both `[batch, n_classes]`.
    pub fn loss(outputs: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
        -(labels * log_softmax(outputs, 1)).sum_dim(1).mean()
    }

    /// The number of the likeliest class for each member; the first of several.
    ///
    /// # Shapes
    /// `outputs` is `[batch, n_classes]`.
    pub fn estimates(outputs: Tensor<2>) -> Vec<f64> {
        let [_, n] = outputs.dims();
        let values = outputs.into_data().try_into_vec::<f32>();
        let values = values.unwrap_or_default();
        let likeliest = |row: &[f32]| {
            let mut best = 0;
            for (class, value) in row.iter().enumerate() {
                if *value > row[best] {
                    best = class;
                }
            }
            best as f64
        };
        values.chunks(n.max(1)).map(likeliest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::Mixed;
    use crate::engine::target::Metric;

    fn target(smoothing: f64) -> ClassTarget {
        ClassTarget {
            loss: ClassLoss::CrossEntropy { smoothing },
            n_classes: 4,
        }
    }

    fn loss(smoothing: f64, outputs: [f32; 4], truth: Truth) -> f64 {
        let device = Device::flex();
        let outputs = Tensor::from_data(TensorData::new(outputs.to_vec(), [1, 4]), &device);
        let labels = target(smoothing).labels(&[truth], &device);
        f64::from(ClassTarget::loss(outputs, labels).into_scalar::<f32>())
    }

    #[test]
    fn the_loss_is_the_cross_entropy_of_the_textbook() {
        // Softmax of ln 1, ln 2, ln 3, ln 4 is 0.1, 0.2, 0.3, 0.4.
        let outputs = [1.0_f32, 2.0, 3.0, 4.0].map(f32::ln);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(loss(0.0, outputs, 2.0.into()), -(0.3_f64.ln())));
        let mean = -[0.1_f64, 0.2, 0.3, 0.4].map(f64::ln).iter().sum::<f64>() / 4.0;
        let expected = 0.9 * -(0.3_f64.ln()) + 0.1 * mean;
        assert!(near(loss(0.1, outputs, 2.0.into()), expected));
        let half = Truth {
            value: 0.0,
            mixed: Some(Mixed {
                value: 3.0,
                share: 0.25,
            }),
        };
        let expected = -0.75 * 0.1_f64.ln() - 0.25 * 0.4_f64.ln();
        assert!(near(loss(0.0, outputs, half), expected));
    }

    #[test]
    fn the_error_counts_estimates_of_another_class_and_parts_of_mixtures() {
        let outputs = Tensor::from_data([[0.1_f32, 0.9, 0.0], [2.0, 2.0, 1.0]], &Device::flex());
        assert_eq!(ClassTarget::estimates(outputs), [1.0, 0.0]);
        let wrong = |estimate, truth| Metric::WrongPercent.error(estimate, truth);
        assert_eq!(
            (wrong(1.0, 1.0.into()), wrong(1.0, 0.0.into())),
            (0.0, 100.0)
        );
        let mixed = Truth {
            value: 1.0,
            mixed: Some(Mixed {
                value: 0.0,
                share: 0.25,
            }),
        };
        assert_eq!(wrong(1.0, mixed), 25.0);
        assert_eq!(wrong(2.0, mixed), 100.0);
    }

    #[test]
    fn smoothing_is_a_share_below_1() {
        let valid = |smoothing| ClassLoss::CrossEntropy { smoothing }.is_valid();
        assert!(valid(0.0) && valid(0.1) && !valid(1.0) && !valid(-0.1) && !valid(f64::NAN));
    }
}
