//! Penalties that keep dense weights near orthogonal ones: the rivals of factors with orthonormal bases.
//!
//! A penalty looks at the layers of a block and at nothing else, so it goes with every regime.

mod ocnn;
mod srip;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::layer::Layer;
use crate::engine::seed::{Purpose, Seed};

/// `train.penalty`: what is minimized of weights besides the penalty on bases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WeightPenalty {
    /// Nothing.
    #[default]
    None,
    /// How far convolutions are from orthogonal ones: Wang et al., "Orthogonal Convolutional Neural Networks" (CVPR 2020,
    /// arXiv 1911.12207), section 3; see `ocnn::distance`. Convolutions of units, but the first of the network.
    Ocnn {
        /// Factor; the published recipe for a ResNet-50 has 0.5.
        weight: f64,
    },
    /// The square of the spectral norm of WᵀW − I: Bansal, Chen & Wang, "Can We Gain More from Orthogonality Regularizations
    /// in Training Deep CNNs?" (NeurIPS 2018, arXiv 1810.09102), section 2.2; see `srip::spectral_norm`. All layers,
    /// heads included.
    Srip {
        /// Factor; the published code begins with 0.01 on small images and 1e-6 on ImageNet.
        weight: f64,
        /// Whether it falls in steps to 0 over the training, as published, see [`SRIP_FALLS`].
        #[serde(default)]
        falls: bool,
    },
}

/// Shares of the training after which the factor of SRIP is the published one times this: epochs 20, 50, 70 and 120 of 200.
pub const SRIP_FALLS: [(f64, f64); 4] = [(0.1, 1e-3), (0.25, 1e-4), (0.35, 1e-6), (0.6, 0.0)];

/// The layers of a block, and what names the draws of a step.
pub struct Penalized<'a> {
    /// Layers of the units, from the input on.
    pub of_units: Vec<Layer<'a>>,
    /// Layers of the heads.
    pub of_heads: Vec<Layer<'a>>,
    /// Number of the block's first unit in the network.
    pub first_unit: usize,
    /// Seed of the run.
    pub seed: Seed,
    /// Step of the run.
    pub step: u64,
    /// Share of the training that is over, 0 to 1.
    pub done: f64,
}

impl WeightPenalty {
    /// Whether its factor can be.
    pub fn is_valid(self) -> bool {
        match self {
            Self::None => true,
            Self::Ocnn { weight } | Self::Srip { weight, .. } => {
                weight.is_finite() && weight >= 0.0
            }
        }
    }

    /// The penalty on a block, factor included; `None` where there is nothing to be penalized.
    pub fn of(self, block: &Penalized<'_>) -> Option<Tensor<1>> {
        let (weight, terms): (f64, Vec<Tensor<1>>) = match self {
            Self::None => return None,
            Self::Ocnn { weight } => {
                let n_skipped = usize::from(block.first_unit == 0);
                let layers = block.of_units.iter().skip(n_skipped);
                let distances = layers.filter_map(|layer| {
                    let shape = layer.convolution()?;
                    Some(ocnn::distance(layer.weight().compose(), shape))
                });
                (weight, distances.collect())
            }
            Self::Srip { weight, falls } => {
                let passed = |(share, _): &&(f64, f64)| falls && block.done >= *share;
                let fallen = SRIP_FALLS.iter().rfind(passed);
                let weight = weight * fallen.map_or(1.0, |(_, factor)| *factor);
                if weight == 0.0 {
                    return None;
                }
                let layers = block.of_units.iter().chain(&block.of_heads).enumerate();
                let squares = layers.map(|(number, layer)| {
                    let key = [block.step, block.first_unit as u64, number as u64];
                    let mut rng = block.seed.stream(Purpose::PowerIteration, &key);
                    srip::spectral_norm(layer.weight().compose(), &mut rng).square()
                });
                (weight, squares.collect())
            }
        };
        let sum = terms.into_iter().reduce(|sum, term| sum + term)?;
        Some(sum * weight)
    }
}

/// The smaller of WWᵀ − I and WᵀW − I.
fn smaller_gram_error(matrix: Tensor<2>) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    let identity = Tensor::<2>::eye(rows.min(columns), &matrix.device());
    let transposed = matrix.clone().transpose();
    let gram = if rows <= columns {
        matrix.matmul(transposed)
    } else {
        transposed.matmul(matrix)
    };
    gram - identity
}

/// Added below roots, whose slope at 0 is infinite: far below the square of anything that is to be minimized.
const BELOW_ROOT: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::conv3d::{Conv3d, Conv3dShape, Extent};
    use crate::nn::linear::Linear;
    use crate::nn::weight::WeightForm;
    use burn::tensor::Device;

    fn value(penalty: WeightPenalty, first_unit: usize, step: u64) -> Option<f32> {
        value_after(penalty, first_unit, step, 0.0)
    }

    fn value_after(penalty: WeightPenalty, first_unit: usize, step: u64, done: f64) -> Option<f32> {
        let device = Device::flex();
        let mut rng = Seed(3).stream(Purpose::Initialization, &[0]);
        let shape = |channels| Conv3dShape::even(Extent::Image, channels, 3, 1, 1);
        let [one, two] = [[3, 4], [4, 6]]
            .map(|channels| Conv3d::new(shape(channels), WeightForm::Dense, &mut rng, &device));
        let head = Linear::new(6, 2, WeightForm::Dense, &mut rng, &device);
        let block = Penalized {
            of_units: vec![Layer::Convolution(&one), Layer::Convolution(&two)],
            of_heads: vec![Layer::Linear(&head)],
            first_unit,
            seed: Seed(1),
            step,
            done,
        };
        Some(penalty.of(&block)?.into_scalar())
    }

    #[test]
    fn orthogonal_convolutions_leave_the_first_layer_of_the_network_alone() {
        let ocnn = WeightPenalty::Ocnn { weight: 1.0 };
        let (first, later) = (value(ocnn, 0, 0).unwrap(), value(ocnn, 1, 0).unwrap());
        assert!(first > 0.0 && later > first, "{first} {later}");
    }

    #[test]
    fn the_factor_multiplies_and_none_is_nothing() {
        assert_eq!(value(WeightPenalty::None, 0, 0), None);
        let of = |weight| value(srip(weight, false), 0, 5).unwrap();
        assert!((of(0.5) - 0.5 * of(1.0)).abs() < 1e-5 * of(1.0));
    }

    fn srip(weight: f64, falls: bool) -> WeightPenalty {
        WeightPenalty::Srip { weight, falls }
    }

    #[test]
    fn the_factor_of_srip_falls_in_steps_to_nothing_where_it_is_to() {
        let after = |done| value_after(srip(1.0, true), 0, 5, done);
        let whole = after(0.0).unwrap();
        for (done, factor) in [(0.09, 1.0), (0.1, 1e-3), (0.3, 1e-4), (0.5, 1e-6)] {
            let found = after(done).unwrap();
            assert!(
                (found / whole - factor).abs() < 1e-4 * factor,
                "{done}: {found}"
            );
        }
        assert_eq!(after(0.6), None);
        assert_eq!(value_after(srip(1.0, false), 0, 5, 0.9), Some(whole));
    }

    #[test]
    fn power_iteration_draws_anew_at_each_step_and_the_same_at_the_same() {
        let at = |step| value(srip(1.0, false), 0, step).unwrap();
        assert_eq!(at(4), at(4));
        assert_ne!(at(4), at(5));
    }
}
