//! Which algorithm to use: what each costs, in multiply-adds that the machine could do meanwhile.
//!
//! The constants are fitted to `brainage bench conv` on processors with AVX2 and with AVX-512, which GEMM alone uses; only
//! ratios matter.

use super::blocks::CHANNELS;
use super::merged::SHORT;
use super::simd::Level;
use super::{Algorithm, Geometry, fft};

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
const MACS_A_CYCLE: f64 = 14.0;
/// Fewest numbers in a kernel for which transforms pay: those of 3×3×3; images with 3×3 kernels were faster without.
const FEWEST_TAPS: usize = 27;
/// Numbers in a vector.
const LANES: usize = 8;
/// What a multiply-add of GEMM costs: its inner loop is shorter of instructions, but factors are copied once more.
const GEMM_MAC: f64 = 0.95;
/// The same with vectors of sixteen.
const WIDE_GEMM_MAC: f64 = 0.55;
/// What it costs to copy a number into the matrix that GEMM multiplies.
const COPY: f64 = 6.0;
/// What it costs to give an output gradient its place among all channels of its position, for weight gradients.
const TRANSPOSE: f64 = 8.0;
/// Numbers that could be copied while a row, however short, is begun.
const BEGIN_ROW: f64 = 8.0;
/// What it costs to join a number of a short row to others, for weight gradients.
const JOIN: f64 = 7.0;
/// How much a direct convolution with one tap costs more than its products: what is packed is used once.
const ONE_TAP: f64 = 1.2;
/// The same for steps along z, where voxels are packed one by one.
const STEPPED: f64 = 1.5;
/// The same for gradients of such inputs, which are also put in their places one by one.
const STEPPED_GRADIENT: f64 = 2.0;
/// Positions that could be multiplied while a plane is begun.
const BEGIN_PLANE: f64 = 4.0;

/// The cheaper algorithm.
pub fn choose(geometry: &Geometry, pass: Pass) -> Algorithm {
    choose_with(gemm_mac(), geometry, pass)
}

/// What a multiply-add of GEMM costs on this machine.
fn gemm_mac() -> f64 {
    if Level::widest().n_lanes() > LANES {
        WIDE_GEMM_MAC
    } else {
        GEMM_MAC
    }
}

fn choose_with(gemm_mac: f64, geometry: &Geometry, pass: Pass) -> Algorithm {
    let mut best = (Algorithm::Direct, f64::INFINITY);
    for algorithm in Algorithm::ALL {
        let cost = cost(algorithm, gemm_mac, geometry, pass);
        if algorithm.supports(geometry) && cost < best.1 {
            best = (algorithm, cost);
        }
    }
    best.0
}

/// Multiply-adds in the time that it takes to write a number of the full output and to read it again.
const FULL_OUTPUT: f64 = 40.0;

/// The cheaper algorithm for values that are pooled at once, see [`super::forward_pooled`].
pub fn choose_pooled(geometry: &Geometry) -> Algorithm {
    let pooled_cost = |algorithm| {
        let values = cost(algorithm, gemm_mac(), geometry, Pass::Forward);
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
fn cost(algorithm: Algorithm, gemm_mac: f64, g: &Geometry, pass: Pass) -> f64 {
    match algorithm {
        Algorithm::Direct => direct(g, pass),
        Algorithm::Gemm => gemm(gemm_mac, g, pass),
        Algorithm::Fft if g.kernel.iter().product::<usize>() < FEWEST_TAPS => f64::INFINITY,
        Algorithm::Fft => fft::cycles(g, pass) * MACS_A_CYCLE,
    }
}

/// Products with whole vectors of positions and whole groups of output channels.
fn direct(g: &Geometry, pass: Pass) -> f64 {
    // The gradient of the input is a convolution of its own, in phases if the stride has several.
    let ([x, y, z], out_channels) = match pass {
        Pass::Forward | Pass::WeightGradient => (g.output(), g.out_channels),
        Pass::InputGradient => {
            let phase = |axis: usize| g.input[axis].div_ceil(g.stride[axis].max(1));
            (std::array::from_fn(phase), g.in_channels)
        }
    };
    let in_channels = g.in_channels + g.out_channels - out_channels;
    let vectors = |positions: usize| positions.next_multiple_of(LANES) as f64;
    let positions = if pass == Pass::WeightGradient && y * z < SHORT {
        vectors(x * y * z) + JOIN * (x * y * z) as f64 / out_channels.max(1) as f64
    } else {
        x as f64 * (vectors(y * z) + BEGIN_PLANE)
    };
    let n_taps = g.kernel.iter().product::<usize>();
    let products = g.batch * out_channels.next_multiple_of(CHANNELS) * in_channels * n_taps;
    let one_tap = if n_taps == 1 { ONE_TAP } else { 1.0 };
    let stepped = match pass {
        _ if g.stride[2] <= 1 => 1.0,
        Pass::Forward | Pass::WeightGradient => STEPPED,
        Pass::InputGradient => STEPPED_GRADIENT,
    };
    positions * products as f64 * one_tap * stepped
}

/// Products, and what the matrix costs, of which each number meets all channels on the other side.
fn gemm(gemm_mac: f64, g: &Geometry, pass: Pass) -> f64 {
    let one_tap = g.kernel == [1; 3] && g.stride == [1; 3] && g.padding == [0; 3];
    let copy = if one_tap { 0.0 } else { COPY };
    // The matrix is one of the output's gradient where that of the input is asked for.
    let (met, row) = match pass {
        Pass::Forward | Pass::WeightGradient => (g.out_channels, g.output()[2]),
        Pass::InputGradient => (g.in_channels, g.input[2]),
    };
    let mut copy = copy * (1.0 + BEGIN_ROW / row.max(1) as f64) / met.max(1) as f64;
    if pass == Pass::WeightGradient {
        let n_taps: usize = g.kernel.iter().product();
        copy += TRANSPOSE / (g.in_channels * n_taps).max(1) as f64;
    }
    g.macs() as f64 * (gemm_mac + copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For values, gradient of the input, gradient of the weights; a kernel as long in every axis that the input has.
    fn choices(channels: [usize; 2], input: [usize; 3], kernel: usize) -> [Algorithm; 3] {
        let kernel = input.map(|side| if side == 1 { 1 } else { kernel });
        let geometry = Geometry {
            batch: 4,
            in_channels: channels[0],
            out_channels: channels[1],
            input,
            kernel,
            stride: [1; 3],
            padding: kernel.map(|side| side / 2),
        };
        [Pass::Forward, Pass::InputGradient, Pass::WeightGradient]
            .map(|pass| choose_with(GEMM_MAC, &geometry, pass))
    }

    #[test]
    fn few_channels_are_convolved_directly_but_a_gradient_of_one_channel_by_fourier_transforms() {
        let [values, of_input, of_weights] = choices([1, 8], [48, 56, 48], 3);
        assert_eq!([values, of_weights], [Algorithm::Direct; 2]);
        assert_eq!(of_input, Algorithm::Fft);
        assert_eq!(choices([64, 64], [1, 32, 32], 3), [Algorithm::Direct; 3]);
    }

    #[test]
    fn volumes_with_more_channels_are_convolved_by_fourier_transforms() {
        assert_eq!(choices([16, 32], [12, 14, 12], 3), [Algorithm::Fft; 3]);
    }

    #[test]
    fn one_tap_is_a_product_of_matrices() {
        assert_eq!(choices([64, 256], [1, 32, 32], 1), [Algorithm::Gemm; 3]);
        assert_eq!(choices([512, 64], [4, 5, 4], 1), [Algorithm::Gemm; 3]);
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
            let chosen = choose_with(GEMM_MAC, &geometry, Pass::Forward);
            assert_eq!(chosen, Algorithm::Fft, "{side}");
        }
    }

    #[test]
    fn images_with_many_channels_are_convolved_by_matrices_where_vectors_are_long() {
        for (width, side) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
            let geometry = Geometry {
                batch: 32,
                in_channels: width,
                out_channels: width,
                input: [1, side, side],
                kernel: [1, 3, 3],
                stride: [1; 3],
                padding: [0, 1, 1],
            };
            for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
                let chosen = choose_with(WIDE_GEMM_MAC, &geometry, pass);
                assert_eq!(chosen, Algorithm::Gemm, "{width} {pass:?}");
            }
        }
    }

    #[test]
    fn an_empty_output_has_an_algorithm() {
        assert_eq!(choices([1, 1], [0; 3], 3), [Algorithm::Direct; 3]);
    }
}
