//! What layers are given, some rows of it: for methods that look at a trained network.

use std::collections::BTreeMap;

use burn::module::ParamId;
use burn::tensor::Tensor;
use rand::RngExt as _;

use super::conv3d::{Conv3d, Conv3dShape};
use super::linear::Linear;
use crate::engine::seed::{Purpose, Seed};

/// Places that are looked at in each member of a batch, where a layer has several.
const PLACES_A_MEMBER: usize = 32;
/// Most rows that are kept of a layer.
const MOST_ROWS: usize = 4096;

/// What a layer was given, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeenRows<'a> {
    /// `[rows, columns]`.
    pub values: &'a [f32],
    /// As many as the layer's matrix has.
    pub n_columns: usize,
}

/// Rows of what layers were given, by the layers' matrices.
#[derive(Debug)]
pub struct Observer {
    seed: Seed,
    rows: BTreeMap<ParamId, (usize, Vec<f32>)>,
}

impl Observer {
    /// Has seen nothing yet; the seed decides which places are looked at.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            rows: BTreeMap::new(),
        }
    }

    /// What the layer with this matrix was given.
    pub fn rows(&self, matrix: ParamId) -> Option<SeenRows<'_>> {
        let (n_columns, values) = self.rows.get(&matrix)?;
        Some(SeenRows {
            values,
            n_columns: *n_columns,
        })
    }

    /// Looks at what a convolution is given: at random places of its output, the voxels under the kernel.
    ///
    /// # Shapes
    /// `input` is `[batch, in, x, y, z]`.
    pub fn see_convolution(&mut self, convolution: &Conv3d, input: &Tensor<5>) {
        let shape = convolution.shape();
        let dims = input.dims();
        let sides = [dims[2], dims[3], dims[4]];
        let sides_after: Option<Vec<usize>> = (0..3)
            .map(|axis| shape.output_side(axis, sides[axis]))
            .collect();
        let (Some(id), Some(after)) = (convolution.weight.id(), sides_after) else {
            return;
        };
        let Ok(values) = input.clone().into_data().try_into_vec::<f32>() else {
            return;
        };
        let n_columns = shape.in_channels * shape.kernel.iter().product::<usize>();
        let number = self.rows.len() as u64;
        let (_, rows) = self.rows.entry(id).or_insert((n_columns, Vec::new()));
        let mut rng = self
            .seed
            .stream(Purpose::Calibration, &[number, rows.len() as u64]);
        let n_places = after.iter().product::<usize>().min(PLACES_A_MEMBER);
        for member in values.chunks(values.len() / dims[0].max(1)) {
            for _ in 0..n_places {
                if rows.len() >= MOST_ROWS * n_columns {
                    return;
                }
                let at = std::array::from_fn(|axis| rng.random_range(0..after[axis]));
                extend_by_patch(rows, member, sides, &shape, at);
            }
        }
    }

    /// Looks at what a linear layer is given.
    ///
    /// # Shapes
    /// `input` is `[rows, inputs]`.
    pub fn see_linear(&mut self, linear: &Linear, input: &Tensor<2>) {
        let (Some(id), [_, n_columns]) = (linear.weight.id(), input.dims()) else {
            return;
        };
        let Ok(values) = input.clone().into_data().try_into_vec::<f32>() else {
            return;
        };
        let (_, rows) = self.rows.entry(id).or_insert((n_columns, Vec::new()));
        let room = (MOST_ROWS * n_columns).saturating_sub(rows.len());
        rows.extend(values.into_iter().take(room));
    }
}

/// The voxels of one member under the kernel whose output stands at a place, in the order of the kernel; 0 beyond the border.
fn extend_by_patch(
    rows: &mut Vec<f32>,
    member: &[f32],
    sides: [usize; 3],
    shape: &Conv3dShape,
    at: [usize; 3],
) {
    let [x, y, z] = sides;
    let along = |axis: usize, offset: usize| {
        let place = at[axis] * shape.stride[axis] + offset;
        let place = place.checked_sub(shape.padding[axis])?;
        (place < sides[axis]).then_some(place)
    };
    for channel in 0..shape.in_channels {
        for i in 0..shape.kernel[0] {
            for j in 0..shape.kernel[1] {
                for k in 0..shape.kernel[2] {
                    let place = along(0, i).zip(along(1, j)).zip(along(2, k));
                    rows.push(place.map_or(0.0, |((i, j), k)| {
                        member[((channel * x + i) * y + j) * z + k]
                    }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::conv3d::Extent;
    use crate::nn::weight::WeightForm;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn a_matrix_times_the_rows_that_were_seen_is_what_the_convolution_gives() {
        // One place: the kernel covers the input with its padding, so the only output is known.
        let device = Device::flex();
        let mut rng = Seed(1).stream(Purpose::Initialization, &[0]);
        let shape = Conv3dShape::even(Extent::Image, [2, 3], 5, 1, 1);
        let convolution = Conv3d::new(shape, WeightForm::Dense, &mut rng, &device);
        let values: Vec<f32> = (0..18).map(|i| (i as f32 * 0.9).sin()).collect();
        let input = Tensor::from_data(TensorData::new(values, [1, 2, 1, 3, 3]), &device);
        let mut observer = Observer::new(Seed(1));
        observer.see_convolution(&convolution, &input);
        let given: Vec<f32> = convolution
            .forward(input)
            .into_data()
            .try_into_vec()
            .unwrap();
        let seen = observer.rows(convolution.weight.id().unwrap()).unwrap();
        assert_eq!((seen.n_columns, seen.values.len()), (50, 50));
        let matrix: Vec<f32> = convolution
            .weight
            .compose()
            .into_data()
            .try_into_vec()
            .unwrap();
        for (row, given) in matrix.chunks(50).zip(given) {
            let found: f32 = row.iter().zip(seen.values).map(|(w, x)| w * x).sum();
            assert!((found - given).abs() < 1e-4, "{found} {given}");
        }
    }
}
