//! Which algorithm to use: what each costs, in multiply-adds that the machine could do meanwhile.
//!
//! The constants are fitted to `brainage bench conv` on an AVX2 processor; only ratios matter.

use super::merged::SHORT;
use super::{Algorithm, Geometry, Layout, fft};

/// The three results of a convolution that training asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The values.
    Forward,
    /// The gradient of the input.
    InputGradient,
    /// The gradient of the weights.
    WeightGradient,
}

/// Multiply-adds that a direct convolution does in the time that the transforms take for a counted cycle: about 13 in a
/// real one, and counted cycles leave out some of the waiting for memory.
const MACS_A_CYCLE: f64 = 16.0;
/// Fewest numbers in a kernel for which transforms pay: those of 3×3×3; images with 3×3 kernels were faster without.
const FEWEST_TAPS: usize = 27;
/// Numbers in a vector.
const LANES: usize = 8;
/// What it costs to copy a number into the matrix that GEMM multiplies.
const COPY: f64 = 7.0;
/// The same for weight gradients, whose products wait more for memory.
const COPY_FOR_WEIGHTS: f64 = 11.0;

/// The cheaper algorithm.
pub fn choose(geometry: &Geometry, pass: Pass) -> Algorithm {
    let mut best = (Algorithm::Direct, f64::INFINITY);
    for algorithm in Algorithm::ALL {
        if algorithm.supports(geometry) && cost(algorithm, geometry, pass) < best.1 {
            best = (algorithm, cost(algorithm, geometry, pass));
        }
    }
    best.0
}

/// Multiply-adds in the time that it takes to write a number of the full output and to read it again.
const FULL_OUTPUT: f64 = 40.0;

/// The cheaper algorithm for values that are pooled at once, see [`super::forward_pooled`].
pub fn choose_pooled(geometry: &Geometry) -> Algorithm {
    let pooled_cost = |algorithm| {
        let values = cost(algorithm, geometry, Pass::Forward);
        match algorithm {
            Algorithm::Direct | Algorithm::Fft => values,
            Algorithm::Gemm => values + FULL_OUTPUT * geometry.output_len() as f64,
        }
    };
    Algorithm::ALL
        .into_iter()
        .filter(|algorithm| algorithm.supports(geometry))
        .min_by(|a, b| pooled_cost(*a).total_cmp(&pooled_cost(*b)))
        .unwrap_or(Algorithm::Direct)
}

/// What a pass costs.
fn cost(algorithm: Algorithm, g: &Geometry, pass: Pass) -> f64 {
    let Some(layout) = algorithm.layout() else {
        if g.kernel.iter().product::<usize>() < FEWEST_TAPS {
            return f64::INFINITY;
        }
        return fft::cycles(g, pass) * MACS_A_CYCLE;
    };
    let [x, y, z] = match pass {
        Pass::Forward | Pass::WeightGradient => g.output(),
        // As many as each phase of the stride has.
        Pass::InputGradient => {
            std::array::from_fn(|axis| g.input[axis].div_ceil(g.stride[axis].max(1)))
        }
    };
    let out_channels = match pass {
        Pass::Forward | Pass::WeightGradient => g.out_channels,
        Pass::InputGradient => g.in_channels,
    };
    let whole_vectors = |positions: usize| positions.next_multiple_of(LANES) as f64;
    let copy = match pass {
        Pass::Forward | Pass::InputGradient => COPY,
        Pass::WeightGradient => COPY_FOR_WEIGHTS,
    };
    let joined = |copy: f64| {
        whole_vectors(x * y * z) + copy * (x * y * z) as f64 / out_channels.max(1) as f64
    };
    let positions = match (layout, pass) {
        (Layout::Rows, Pass::WeightGradient) if y * z < SHORT => joined(COPY),
        (Layout::Rows, _) => x as f64 * whole_vectors(y * z),
        (Layout::Columns, _) => joined(copy),
    };
    let products_each = g.macs() as f64 / (x * y * z).max(1) as f64;
    positions * products_each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(channels: [usize; 2], input: [usize; 3]) -> [Algorithm; 3] {
        let geometry = Geometry {
            batch: 4,
            in_channels: channels[0],
            out_channels: channels[1],
            input,
            kernel: [3; 3],
            stride: [1; 3],
            padding: [1; 3],
        };
        [Pass::Forward, Pass::InputGradient, Pass::WeightGradient]
            .map(|pass| choose(&geometry, pass))
    }

    #[test]
    fn large_planes_are_convolved_directly_and_small_ones_with_many_channels_as_matrices() {
        assert_eq!(choices([1, 8], [48, 56, 48]), [Algorithm::Direct; 3]);
        // Transforms take over where there are more channels.
        assert_eq!(choices([16, 32], [12, 14, 12]), [Algorithm::Fft; 3]);
        let small = choices([64, 128], [5, 5, 5]);
        // The direct weight gradient joins small planes itself.
        assert_eq!(small, [Algorithm::Gemm, Algorithm::Gemm, Algorithm::Direct]);
    }

    #[test]
    fn large_kernels_are_convolved_by_fourier_transforms() {
        // The layers of the published network.
        for (channels, side) in [
            ([1, 16], 128),
            ([16, 32], 61),
            ([32, 64], 28),
            ([64, 128], 11),
        ] {
            let geometry = Geometry {
                batch: 1,
                in_channels: channels[0],
                out_channels: channels[1],
                input: [side; 3],
                kernel: [6; 3],
                stride: [1; 3],
                padding: [0; 3],
            };
            assert_eq!(choose(&geometry, Pass::Forward), Algorithm::Fft, "{side}");
        }
    }

    #[test]
    fn an_empty_output_has_an_algorithm() {
        assert_eq!(choices([1, 1], [0; 3]), [Algorithm::Direct; 3]);
    }
}
