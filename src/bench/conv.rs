//! Measures single convolutions: our algorithms and the framework's own, in turns.

use brainage_kernels::conv3d::{self as kernel, Algorithm, Geometry, Pass, choose};
use burn::backend::{Flex, flex::FlexTensor, ops::ModuleOps};
use burn::tensor::TensorData;
use burn::tensor::ops::ConvOptions;
use serde::Serialize;
use std::hint::black_box;

use super::conv_shapes::Shape;
use super::timing::{Effort, Spread, race};

/// Name of the framework's own convolution in rows.
pub const BURN: &str = "burn";
/// Larger convolutions, in 10^9 operations, take the framework many seconds.
const LARGE_FOR_BURN: f64 = 4.0;

/// Which convolutions the framework computes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurnMeasured {
    /// All.
    All,
    /// Those that don't take it long.
    Small,
}

/// How fast one implementation is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// `direct`, `gemm`, `fft` or [`BURN`].
    pub by: &'static str,
    /// Times of a pass.
    #[serde(flatten)]
    pub times: Spread,
    /// 10^9 operations a second, of those that a direct convolution has, at the shortest time.
    pub gflops: f64,
    /// The same as a part of the machine's peak.
    pub peak_share: f64,
}

/// One pass of one convolution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The network.
    pub network: &'static str,
    /// The convolution.
    pub shape: String,
    /// How often the network has it.
    pub count: usize,
    /// Volumes or images.
    pub batch: usize,
    /// `forward`, `input-gradient` or `weight-gradient`.
    pub pass: &'static str,
    /// Operations of a direct convolution, 10^9.
    pub gflop: f64,
    /// What the program uses.
    pub chosen: &'static str,
    /// What was measured: implementations that cannot do the pass, or would take too long, are left out.
    pub speeds: Vec<Speed>,
}

impl Row {
    /// What one implementation does, if it was measured.
    pub fn by(&self, name: &str) -> Option<&Speed> {
        self.speeds.iter().find(|speed| speed.by == name)
    }
}

/// The passes with their names.
const PASSES: [(Pass, &str); 3] = [
    (Pass::Forward, "forward"),
    (Pass::InputGradient, "input-gradient"),
    (Pass::WeightGradient, "weight-gradient"),
];

/// The three passes of a convolution, in the rayon pool that this is called in, whose peak is `peak_gflops`.
pub fn measure(
    network: &'static str,
    shape: &Shape,
    burn: BurnMeasured,
    repeats: usize,
    peak_gflops: f64,
) -> Vec<Row> {
    let operands = Operands::new(shape);
    let with_burn = burn == BurnMeasured::All || shape.gflop() <= LARGE_FOR_BURN;
    let rows = PASSES.into_iter().map(|(pass, name)| {
        let ours = Algorithm::ALL.into_iter();
        let mut by: Vec<&'static str> = Vec::new();
        let mut runs: Vec<Box<dyn FnMut() + '_>> = Vec::new();
        for algorithm in ours.filter(|algorithm| algorithm.supports(&shape.geometry)) {
            let operands = &operands;
            by.push(algorithm.name());
            runs.push(Box::new(move || operands.ours(algorithm, pass)));
        }
        if with_burn {
            by.push(BURN);
            runs.push(Box::new(|| operands.burns(pass)));
        }
        let times = race(&mut runs, Effort::of_repeats(repeats));
        let speeds = by.into_iter().zip(times).map(|(by, times)| {
            let gflops = shape.gflop() / times.min;
            Speed {
                by,
                times,
                gflops,
                peak_share: gflops / peak_gflops,
            }
        });
        Row {
            network,
            shape: shape.name.clone(),
            count: shape.count,
            batch: shape.geometry.batch,
            pass: name,
            gflop: shape.gflop(),
            chosen: choose(&shape.geometry, pass).name(),
            speeds: speeds.collect(),
        }
    });
    rows.collect()
}

/// Noise to be convolved, as slices for our kernels and as tensors for the framework's.
struct Operands {
    geometry: Geometry,
    is_2d: bool,
    input: Vec<f32>,
    weight: Vec<f32>,
    gradient: Vec<f32>,
    tensors: [FlexTensor; 3],
}

impl Operands {
    fn new(shape: &Shape) -> Self {
        let g = shape.geometry;
        let lens = [g.input_len(), g.weight_len(), g.output_len()];
        let [input, weight, gradient] = lens.map(noise);
        let dims = [
            ([g.batch, g.in_channels], g.input),
            ([g.out_channels, g.in_channels], g.kernel),
            ([g.batch, g.out_channels], g.output()),
        ];
        let tensor = |values: &[f32], ([a, b], [x, y, z]): ([usize; 2], [usize; 3])| {
            let data = if shape.is_2d {
                TensorData::new(values.to_vec(), [a, b, y, z])
            } else {
                TensorData::new(values.to_vec(), [a, b, x, y, z])
            };
            FlexTensor::from_data(data)
        };
        Self {
            geometry: g,
            is_2d: shape.is_2d,
            tensors: [
                tensor(&input, dims[0]),
                tensor(&weight, dims[1]),
                tensor(&gradient, dims[2]),
            ],
            input,
            weight,
            gradient,
        }
    }

    fn ours(&self, algorithm: Algorithm, pass: Pass) {
        let (g, input, weight) = (&self.geometry, &self.input, &self.weight);
        black_box(match pass {
            Pass::Forward => kernel::forward(algorithm, g, input, weight, None),
            Pass::InputGradient => kernel::input_gradient(algorithm, g, &self.gradient, weight),
            Pass::WeightGradient => kernel::weight_gradient(algorithm, g, input, &self.gradient),
        });
    }

    fn burns(&self, pass: Pass) {
        let [x, w, gradient] = self.tensors.clone();
        let Geometry {
            stride: [sx, sy, sz],
            padding: [px, py, pz],
            ..
        } = self.geometry;
        black_box(if self.is_2d {
            let options = ConvOptions::new([sy, sz], [py, pz], [1; 2], 1);
            match pass {
                Pass::Forward => Flex::conv2d(x, w, None, options),
                Pass::InputGradient => Flex::conv2d_x_backward(x, w, gradient, options),
                Pass::WeightGradient => Flex::conv2d_weight_backward(x, w, gradient, options),
            }
        } else {
            let options = ConvOptions::new([sx, sy, sz], [px, py, pz], [1; 3], 1);
            match pass {
                Pass::Forward => Flex::conv3d(x, w, None, options),
                Pass::InputGradient => Flex::conv3d_x_backward(x, w, gradient, options),
                Pass::WeightGradient => Flex::conv3d_weight_backward(x, w, gradient, options),
            }
        });
    }
}

/// Numbers between −1 and 1 without a pattern that a kernel could profit from (Knuth's linear congruences).
fn noise(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let draws = (0..len).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    draws.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::conv_shapes::{Stem, resnet50};

    #[test]
    fn the_framework_and_our_kernels_compute_the_same_convolution() {
        // Otherwise their times could not be compared; the stem of ImageNet has stride and padding.
        let mut shape = resnet50(Stem::Imagenet).swap_remove(0);
        shape.geometry.batch = 1;
        shape.geometry.input = [1, 20, 18];
        let operands = Operands::new(&shape);
        let [x, w, _] = operands.tensors.clone();
        let options = ConvOptions::new([2, 2], [3, 3], [1; 2], 1);
        let theirs = Flex::conv2d(x, w, None, options);
        let (g, input) = (&shape.geometry, &operands.input);
        let ours = kernel::forward(Algorithm::Gemm, g, input, &operands.weight, None);
        let theirs = theirs.as_slice::<f32>().unwrap();
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_row_has_every_implementation_that_can_do_it() {
        let mut shape = resnet50(Stem::Imagenet).swap_remove(0);
        shape.geometry.batch = 1;
        shape.geometry.input = [1, 20, 18];
        let rows = measure("test", &shape, BurnMeasured::Small, 1, 1.0);
        assert_eq!(
            rows.iter().map(|row| row.pass).collect::<Vec<_>>(),
            PASSES.map(|(_, name)| name)
        );
        for row in rows {
            // Stride 2 is not for Fourier transforms.
            let by: Vec<_> = row.speeds.iter().map(|speed| speed.by).collect();
            assert_eq!(by, ["direct", "gemm", BURN]);
            assert!(row.by(row.chosen).is_some());
        }
    }
}
