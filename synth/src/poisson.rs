//! The velocity whose divergence is given: v = ∇Δ⁻¹g, by cosine transforms.
//!
//! Nothing flows through the faces of the grid (cosines meet them with slope 0). The mean of g, which no such flow
//! can have, is left out.
//!
//! A cosine transform of length n is a real Fourier transform of the same length on reordered samples
//! (Makhoul 1980, IEEE Trans. ASSP 28:27–34); a sine series is a reversed cosine series with alternating signs.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::field::{STEP_MM, loops};

/// Lines that are gathered at once, so that memory is read in runs.
const TILE: usize = 16;

/// Solves on one grid shape.
pub(crate) struct PoissonSolver {
    shape: [usize; 3],
    axes: [Axis; 3],
}

/// Transforms along one axis.
struct Axis {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// e^{−iπk/2n} for k ≤ n/2.
    twiddles: Vec<Complex32>,
    /// Wave numbers πk/(n·h) in 1/mm.
    wave_numbers: Vec<f32>,
}

/// Memory for one line.
struct Line {
    real: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

#[derive(Clone, Copy)]
enum Transform {
    /// Samples → cosine coefficients.
    Cosine,
    /// Cosine coefficients → samples.
    InverseCosine,
    /// Cosine coefficients → samples of (−derivative): each is multiplied by its wave number and taken for a sine's.
    InverseSine,
}

impl PoissonSolver {
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        let mut planner = RealFftPlanner::new();
        let axes = shape.map(|n| Axis {
            forward: planner.plan_fft_forward(n),
            inverse: planner.plan_fft_inverse(n),
            twiddles: (0..=n / 2)
                .map(|k| {
                    let angle = -PI * k as f64 / (2 * n) as f64;
                    Complex32::new(angle.cos() as f32, angle.sin() as f32)
                })
                .collect(),
            wave_numbers: (0..n)
                .map(|k| (PI * k as f64 / (n as f64 * f64::from(STEP_MM))) as f32)
                .collect(),
        });
        Self { shape, axes }
    }

    /// Velocity in mm of which `g` is the divergence.
    ///
    /// # Shapes
    /// `g` and each component of the velocity fill the grid, x-fastest.
    pub(crate) fn velocity(&self, mut g: Vec<f32>) -> [Vec<f32>; 3] {
        for axis in 0..3 {
            self.transform(&mut g, axis, Transform::Cosine);
        }
        self.divide_by_square_of_wave_number(&mut g);
        let mut vz = g.clone();
        self.transform(&mut vz, 2, Transform::InverseSine);
        self.transform(&mut vz, 1, Transform::InverseCosine);
        self.transform(&mut vz, 0, Transform::InverseCosine);
        self.transform(&mut g, 2, Transform::InverseCosine);
        let mut vy = g.clone();
        self.transform(&mut vy, 1, Transform::InverseSine);
        self.transform(&mut vy, 0, Transform::InverseCosine);
        self.transform(&mut g, 1, Transform::InverseCosine);
        self.transform(&mut g, 0, Transform::InverseSine);
        [g, vy, vz]
    }

    fn divide_by_square_of_wave_number(&self, g: &mut [f32]) {
        let [kx, ky, kz] = [0, 1, 2].map(|axis| &self.axes[axis].wave_numbers);
        let rows = g.chunks_exact_mut(self.shape[0]);
        let waves = kz
            .iter()
            .flat_map(|z| ky.iter().map(move |y| y * y + z * z));
        for (row, yz) in rows.zip(waves) {
            for (value, x) in row.iter_mut().zip(kx) {
                let square = x * x + yz;
                *value = if square > 0.0 { *value / square } else { 0.0 };
            }
        }
    }

    fn transform(&self, values: &mut [f32], along: usize, transform: Transform) {
        let axis = &self.axes[along];
        let [outer, n, inner] = loops(self.shape, along);
        let mut line = axis.line();
        if inner == 1 {
            for samples in values.chunks_exact_mut(n) {
                axis.transform(samples, &mut line, transform);
            }
            return;
        }
        let mut tile = vec![0.0; TILE * n];
        for o in 0..outer {
            for first in (0..inner).step_by(TILE) {
                let width = TILE.min(inner - first);
                for i in 0..n {
                    let run = &values[(o * n + i) * inner + first..][..width];
                    for (t, value) in run.iter().enumerate() {
                        tile[t * n + i] = *value;
                    }
                }
                for samples in tile.chunks_exact_mut(n).take(width) {
                    axis.transform(samples, &mut line, transform);
                }
                for i in 0..n {
                    let run = &mut values[(o * n + i) * inner + first..][..width];
                    for (t, value) in run.iter_mut().enumerate() {
                        *value = tile[t * n + i];
                    }
                }
            }
        }
    }
}

impl Axis {
    fn line(&self) -> Line {
        let scratch = self
            .forward
            .get_scratch_len()
            .max(self.inverse.get_scratch_len());
        Line {
            real: self.forward.make_input_vec(),
            spectrum: self.forward.make_output_vec(),
            scratch: vec![Complex32::default(); scratch],
        }
    }

    fn transform(&self, samples: &mut [f32], line: &mut Line, transform: Transform) {
        match transform {
            Transform::Cosine => self.cosine(samples, line),
            Transform::InverseCosine => self.inverse_cosine(samples, line),
            Transform::InverseSine => {
                for (value, k) in samples.iter_mut().zip(&self.wave_numbers) {
                    *value *= k;
                }
                // The coefficient of k becomes that of n − k; that of 0 has no partner and is 0.
                samples[1..].reverse();
                self.inverse_cosine(samples, line);
                for value in samples.iter_mut().skip(1).step_by(2) {
                    *value = -*value;
                }
            }
        }
    }

    fn cosine(&self, samples: &mut [f32], line: &mut Line) {
        let n = samples.len();
        for (i, pair) in samples.chunks(2).enumerate() {
            line.real[i] = pair[0];
            if let Some(odd) = pair.get(1) {
                line.real[n - 1 - i] = *odd;
            }
        }
        let done = self.forward.process_with_scratch(
            &mut line.real,
            &mut line.spectrum,
            &mut line.scratch,
        );
        debug_assert!(done.is_ok(), "all lengths are the plan's own");
        for (k, (w, v)) in self.twiddles.iter().zip(&line.spectrum).enumerate() {
            let turned = w * v;
            if k > 0 {
                samples[n - k] = -turned.im;
            }
            samples[k] = turned.re;
        }
    }

    fn inverse_cosine(&self, samples: &mut [f32], line: &mut Line) {
        let n = samples.len();
        let scale = 1.0 / n as f32;
        for (k, (w, v)) in self.twiddles.iter().zip(&mut line.spectrum).enumerate() {
            let partner = if k == 0 { 0.0 } else { samples[n - k] };
            *v = w.conj() * Complex32::new(samples[k], -partner) * scale;
        }
        // Real by construction, up to rounding.
        line.spectrum[0].im = 0.0;
        if n.is_multiple_of(2) {
            line.spectrum[n / 2].im = 0.0;
        }
        let done = self.inverse.process_with_scratch(
            &mut line.spectrum,
            &mut line.real,
            &mut line.scratch,
        );
        debug_assert!(done.is_ok(), "all lengths are the plan's own");
        for (i, pair) in samples.chunks_mut(2).enumerate() {
            pair[0] = line.real[i];
            if let Some(odd) = pair.get_mut(1) {
                *odd = line.real[n - 1 - i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_of_the_velocity_is_what_was_asked_for() {
        let shape = [24, 27, 20];
        let mut g = Vec::new();
        for z in 0..20 {
            for y in 0..27 {
                for x in 0..24 {
                    let square = [x - 11, y - 14, z - 9].map(|d: i32| (d * d) as f32);
                    g.push((-square.iter().sum::<f32>() / 18.0).exp());
                }
            }
        }
        let mean = g.iter().sum::<f32>() / g.len() as f32;
        let v = PoissonSolver::new(shape).velocity(g.clone());
        let at = |x: usize, y: usize, z: usize| x + 24 * (y + 27 * z);
        for (x, y, z) in [(11, 14, 9), (14, 12, 9), (8, 17, 12), (18, 20, 5)] {
            // Fourth-order central differences.
            let slope = |c: usize, step: usize| {
                let i = at(x, y, z);
                let v = &v[c];
                (8.0 * (v[i + step] - v[i - step]) - (v[i + 2 * step] - v[i - 2 * step])) / 24.0
            };
            let divergence = slope(0, 1) + slope(1, 24) + slope(2, 24 * 27);
            let expected = g[at(x, y, z)] - mean;
            assert!(
                (divergence - expected).abs() < 0.02,
                "{divergence} {expected}"
            );
        }
    }

    #[test]
    fn an_inverse_cosine_transform_undoes_the_transform() {
        for n in [8, 9, 15, 20] {
            let solver = PoissonSolver::new([n, 4, 3]);
            let values: Vec<f32> = (0..n * 12).map(|i| ((i * 37) % 17) as f32).collect();
            for axis in 0..3 {
                let mut there = values.clone();
                solver.transform(&mut there, axis, Transform::Cosine);
                solver.transform(&mut there, axis, Transform::InverseCosine);
                let error = there.iter().zip(&values).map(|(a, b)| (a - b).abs());
                assert!(error.fold(0.0, f32::max) < 1e-4, "{n}");
            }
        }
    }
}
