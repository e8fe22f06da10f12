//! The weights of the networks: named kernels, read from a safetensors file of f16 numbers.

use half::f16;
use safetensors::{Dtype, SafeTensors};

/// A file of weights, taken apart.
pub(super) struct Weights<'a> {
    tensors: SafeTensors<'a>,
}

/// Numbers of one convolution.
///
/// # Shapes
/// `numbers` is `[out, in, z, y, x]` for a convolution and `[in, out, z, y, x]` for a transposed one: our volumes have x
/// fastest, so the axes of the kernels, which the file keeps as `[.., x, y, z]`, are turned around.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kernels {
    pub(super) numbers: Vec<f32>,
    /// The first two sides of the shape.
    pub(super) channels: [usize; 2],
    /// Voxels along a side of a kernel.
    pub(super) side: usize,
}

impl<'a> Weights<'a> {
    /// Takes the file apart; fails with what is wrong with it.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(file).map_err(|error| error.to_string())?;
        Ok(Self { tensors })
    }

    /// The kernels of this name, whose shape must be `[channels.., side, side, side]`.
    pub(super) fn kernels(
        &self,
        name: &str,
        channels: [usize; 2],
        side: usize,
    ) -> Result<Kernels, String> {
        let shape = [channels[0], channels[1], side, side, side];
        let stored = self.numbers(&format!("{name}.weight"), &shape)?;
        let n_taps = side.pow(3);
        let turned =
            |tap: usize| (tap % side * side + tap / side % side) * side + tap / (side * side);
        let numbers = (0..stored.len())
            .map(|i| stored[i / n_taps * n_taps + turned(i % n_taps)])
            .collect();
        Ok(Kernels {
            numbers,
            channels,
            side,
        })
    }

    /// The numbers of the bias of this name.
    pub(super) fn bias(&self, name: &str, channels: usize) -> Result<Vec<f32>, String> {
        self.numbers(&format!("{name}.bias"), &[channels])
    }

    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|error| format!("{error}: `{name}`"))?;
        if tensor.dtype() != Dtype::F16 || tensor.shape() != shape {
            let (kind, found) = (tensor.dtype(), tensor.shape());
            return Err(format!(
                "`{name}` is {kind:?} of shape {found:?}, expected F16 of shape {shape:?}"
            ));
        }
        let (pairs, _) = tensor.data().as_chunks::<2>();
        Ok(pairs
            .iter()
            .map(|pair| f16::from_le_bytes(*pair).to_f32())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn file() -> Vec<u8> {
        let numbers: Vec<u8> = (0..16_u8)
            .flat_map(|i| f16::from_f32(f32::from(i)).to_le_bytes())
            .collect();
        let view = TensorView::new(Dtype::F16, vec![2, 1, 2, 2, 2], &numbers).unwrap();
        safetensors::serialize([("a.weight", view)], None).unwrap()
    }

    #[test]
    fn kernels_are_turned_to_x_fastest() {
        let file = file();
        let found = Weights::read(&file)
            .unwrap()
            .kernels("a", [2, 1], 2)
            .unwrap();
        // Number 4x + 2y + z of the file is x + 2y + 4z here.
        let one = [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0];
        let both: Vec<f32> = one.iter().copied().chain(one.map(|v| v + 8.0)).collect();
        assert_eq!(found.numbers, both);
    }

    #[test]
    fn missing_kernels_and_other_shapes_are_named() {
        let file = file();
        let weights = Weights::read(&file).unwrap();
        let missing = weights.kernels("b", [2, 1], 2).unwrap_err();
        assert!(missing.contains("`b.weight`"), "{missing}");
        let other = weights.kernels("a", [1, 2], 2).unwrap_err();
        assert!(
            other.contains("expected F16 of shape [1, 2, 2, 2, 2]"),
            "{other}"
        );
        assert!(Weights::read(&file[..40]).is_err());
    }
}
