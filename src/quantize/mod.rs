//! Post-training quantization: fewer bits a weight, from a trained network and some of its inputs.
//!
//! A network that looks ([`Pass::Observing`]) leaves of each layer some rows of what it was given; every layer is then
//! quantized by itself, on what the network with its full weights gave it. Layers that say the answer stay as they are, as
//! in the published tables.

pub mod comq;
pub mod table;

use std::collections::BTreeMap;

use burn::module::{Module as _, ModuleMapper, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

use crate::engine::seed::Seed;
use crate::models::{Block, Network};
use crate::nn::observer::Observer;
use crate::nn::pass::Pass;
use comq::{ComqParams, Inputs, quantize};

/// Sweeps over each row, as published: 3 to 4.
pub const SWEEPS: usize = 4;

/// A quantized network with what it came to.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The same function, nearly.
    pub network: Network,
    /// How many matrices were quantized.
    pub n_matrices: usize,
    /// Weights that were quantized.
    pub n_weights: usize,
    /// What the quantized matrices leave of what the layers give, by squares over all layers: 0 is nothing, 1 all.
    pub relative_error: f64,
}

/// What the layers of a folded network are given for some batches of inputs.
pub fn observe(
    network: &Network,
    batches: impl IntoIterator<Item = Tensor<5>>,
    seed: Seed,
) -> Observer {
    let mut pass = Pass::Observing(Observer::new(seed));
    for inputs in batches {
        network
            .blocks
            .iter()
            .fold(inputs, |features, block| block.forward(features, &mut pass));
    }
    match pass {
        Pass::Observing(observer) => observer,
        Pass::Inference | Pass::Training(_) => Observer::new(seed),
    }
}

/// A folded network with each layer of its units quantized on what it was given.
pub fn quantized(network: &Network, observer: &Observer, params: ComqParams) -> Quantized {
    let mut matrices = BTreeMap::new();
    let (mut n_weights, mut left, mut whole) = (0, 0.0, 0.0);
    let layers = network.blocks.iter().flat_map(Block::unit_layers);
    for layer in layers {
        let Some((id, seen)) = layer
            .weight()
            .id()
            .and_then(|id| Some((id, observer.rows(id)?)))
        else {
            continue;
        };
        let [_, n_columns] = layer.weight().compose().dims();
        let Ok(matrix) = layer.weight().compose().into_data().try_into_vec::<f32>() else {
            continue;
        };
        let inputs = Inputs::from_rows(seen.values, seen.n_columns);
        let quantized = quantize(&matrix, &inputs, params);
        let nothing = vec![0.0; n_columns];
        for (w, q) in matrix.chunks(n_columns).zip(quantized.chunks(n_columns)) {
            left += inputs.error(w, q);
            whole += inputs.error(w, &nothing);
        }
        n_weights += quantized.len();
        matrices.insert(id, quantized);
    }
    let n_matrices = matrices.len();
    let mut replacement = Replacement { matrices };
    let blocks = network.blocks.iter().cloned();
    Quantized {
        network: Network {
            blocks: blocks.map(|block| block.map(&mut replacement)).collect(),
        },
        n_matrices,
        n_weights,
        relative_error: if whole > 0.0 { left / whole } else { 0.0 },
    }
}

/// Puts other numbers into some parameters.
struct Replacement {
    matrices: BTreeMap<ParamId, Vec<f32>>,
}

impl ModuleMapper for Replacement {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.matrices.remove(&param.id) else {
            return param;
        };
        param.map(|old| Tensor::from_data(TensorData::new(values, old.dims()), &old.device()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::models::Regime;
    use burn::tensor::Device;

    pub(super) fn network() -> (Network, Tensor<5>) {
        let changes = [
            "model.weights=dense".to_owned(),
            "model.width=0.5".to_owned(),
        ];
        let config = TrainConfig::parse(BRAIN_CNN_SMALL, "small.toml".as_ref(), &changes).unwrap();
        let device = Device::flex();
        let network = Network::new(&config.model, 1, Regime::Backprop, Seed(3), &device).unwrap();
        let values: Vec<f32> = (0..8 * 20 * 20 * 20)
            .map(|i| (i as f32 * 0.11).sin())
            .collect();
        let inputs = Tensor::from_data(TensorData::new(values, [8, 1, 20, 20, 20]), &device);
        (network.fold(), inputs)
    }

    fn features(network: &Network, inputs: &Tensor<5>) -> Vec<f32> {
        let features = network.forward_features(inputs.clone());
        features.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn looking_changes_nothing_and_sees_each_layer_of_the_units() {
        let (network, inputs) = network();
        let observer = observe(&network, [inputs.clone()], Seed(1));
        let mut pass = Pass::Observing(Observer::new(Seed(1)));
        let looked = network.blocks[0].forward(inputs.clone(), &mut pass);
        let plain = network.blocks[0].forward(inputs, &mut Pass::Inference);
        // Convolution and maximum are one step of inference, and two where the input is looked at.
        looked
            .into_data()
            .assert_approx_eq::<f32>(&plain.into_data(), burn::tensor::Tolerance::relative(1e-4));
        let layers = network.blocks.iter().flat_map(Block::unit_layers);
        for layer in layers {
            assert!(observer.rows(layer.weight().id().unwrap()).is_some());
        }
    }

    #[test]
    fn fewer_bits_leave_more_and_coordinate_descent_leaves_less_than_rounding() {
        let (network, inputs) = network();
        let observer = observe(&network, [inputs.clone()], Seed(1));
        let of = |bits, sweeps| quantized(&network, &observer, ComqParams { bits, sweeps });
        let errors = [2, 4, 8].map(|bits| of(bits, SWEEPS).relative_error);
        assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
        for bits in [2, 3, 4] {
            assert!(of(bits, SWEEPS).relative_error < of(bits, 0).relative_error);
        }
        let eight = of(8, SWEEPS);
        assert_eq!(eight.n_matrices, 4);
        let (whole, few) = (
            features(&network, &inputs),
            features(&eight.network, &inputs),
        );
        let length =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
        let left = length(&mut whole.iter().zip(&few).map(|(a, b)| a - b));
        // A step is 1/255 of a row's range, which is some six standard deviations: 0.7 % noise in each of four layers.
        let share = left / length(&mut whole.into_iter());
        assert!(share > 0.0 && share < 0.1, "{share}");
    }
}
