//! Normalized correlation between template points and a scan, with its exact gradient.

use nalgebra::{Matrix3, SMatrix};

use super::lbfgs::{Params, maximize};
use super::level::{Level, PointMap};
use super::reference::Points;
use crate::space::Affine;

/// Scale of the linear parameters: a step of 1 moves points 100 mm from the origin by 1 mm.
const LINEAR_SCALE: f64 = 0.01;
/// Deviations below this are no picture.
const LEAST_DEVIATION: f64 = 1e-6;

/// How one scan at one resolution compares with the template.
pub(super) struct Comparison<'a> {
    points: &'a Points,
    level: &'a Level,
    /// Value and slope of the scan at each point; kept to save allocations.
    samples: Vec<(f32, [f32; 3])>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(points: &'a Points, level: &'a Level) -> Self {
        Self {
            points,
            level,
            samples: Vec::with_capacity(points.at.len()),
        }
    }

    /// The correlation of the template with the scan under `scan_from_mni`, −1 to 1; 0 where the scan is constant.
    ///
    /// What lies outside the scan's field of view counts as 0, so that losing the brain costs.
    pub(super) fn correlation(&self, scan_from_mni: Affine) -> f64 {
        let map = PointMap::new(self.level.padded_from_world() * scan_from_mni);
        let (mut sum, mut sum_squares, mut sum_products) = (0.0, 0.0, 0.0);
        for (point, reference) in self.points.at.iter().zip(&self.points.value) {
            let value = f64::from(self.level.value(map.apply(*point)));
            sum += value;
            sum_squares += value * value;
            sum_products += value * f64::from(*reference);
        }
        let count = self.points.at.len() as f64;
        let variance = sum_squares / count - (sum / count).powi(2);
        let deviation = variance.max(0.0).sqrt();
        if deviation > LEAST_DEVIATION {
            sum_products / count / deviation
        } else {
            0.0
        }
    }

    /// Improves `scan_from_mni` by at most `max_steps` steps; returns it with its correlation.
    pub(super) fn improve(&mut self, scan_from_mni: Affine, max_steps: usize) -> (Affine, f64) {
        let objective = |params: &Params| self.value_and_gradient(scan_from_mni, params);
        let (params, correlation) = maximize(objective, max_steps, 1e-6);
        (scan_from_mni * correction(&params), correlation)
    }

    /// The correlation under `scan_from_mni · (I + Δ)` and its derivatives by the twelve numbers of Δ.
    fn value_and_gradient(&mut self, scan_from_mni: Affine, params: &Params) -> (f64, Params) {
        let padded_from_world = self.level.padded_from_world();
        let map = PointMap::new(padded_from_world * scan_from_mni * correction(params));
        let count = self.points.at.len() as f64;
        self.samples.clear();
        let (mut sum, mut sum_squares, mut sum_products) = (0.0, 0.0, 0.0);
        for (point, reference) in self.points.at.iter().zip(&self.points.value) {
            let sample = self.level.value_and_gradient(map.apply(*point));
            let value = f64::from(sample.0);
            sum += value;
            sum_squares += value * value;
            sum_products += value * f64::from(*reference);
            self.samples.push(sample);
        }
        let mean = sum / count;
        let deviation = (sum_squares / count - mean * mean).max(0.0).sqrt();
        if deviation <= LEAST_DEVIATION {
            return (0.0, [0.0; 12]);
        }
        let correlation = sum_products / count / deviation;
        // ∂c/∂wᵢ = (tᵢ − c·ŵᵢ) / (N·σ) with ŵ = (w − mean) / σ.
        let scale = (1.0 / (count * deviation)) as f32;
        let slope = (correlation / deviation) as f32;
        let mut sums = SMatrix::<f64, 3, 4>::zeros();
        let references = self.points.at.iter().zip(&self.points.value);
        for ((point, reference), (value, gradient)) in references.zip(&self.samples) {
            let weight = scale * (reference - slope * (value - mean as f32));
            for (r, along) in gradient.iter().enumerate() {
                let pull = f64::from(weight * along);
                sums[(r, 0)] += pull * f64::from(point[0]);
                sums[(r, 1)] += pull * f64::from(point[1]);
                sums[(r, 2)] += pull * f64::from(point[2]);
                sums[(r, 3)] += pull;
            }
        }
        let voxel_from_mni: Matrix3<f64> = padded_from_world.linear() * scan_from_mni.linear();
        let by_matrix = voxel_from_mni.transpose() * sums;
        let by_param = std::array::from_fn(|i| by_matrix[(i / 4, i % 4)] * param_scale(i));
        (correlation, by_param)
    }
}

/// I + Δ for the twelve numbers, row by row.
fn correction(params: &Params) -> Affine {
    Affine::from_rows(std::array::from_fn(|r| {
        std::array::from_fn(|c| params[4 * r + c] * param_scale(c) + f64::from(u8::from(r == c)))
    }))
}

fn param_scale(i: usize) -> f64 {
    if i % 4 == 3 { 1.0 } else { LINEAR_SCALE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::VoxelShape;
    use crate::volume::Volume;

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let shape = VoxelShape([20, 20, 20]);
        let affine = Affine::grid([4.0; 3], [-38.0; 3]);
        let at = |i: usize| affine.apply([i % 20, i / 20 % 20, i / 400].map(|v| v as f64));
        let bumps = |[x, y, z]: [f64; 3]| {
            ((x / 14.0).sin() + (y / 11.0).cos() * (z / 17.0).sin() + 2.0) as f32
        };
        let values = (0..8000).map(|i| bumps(at(i))).collect();
        let level = Level::new(&Volume::new(values, shape, affine).unwrap());
        let inner: Vec<[f64; 3]> = (0..8000)
            .map(at)
            .filter(|p| p.iter().all(|v| v.abs() < 25.0))
            .collect();
        let value: Vec<f32> = inner
            .iter()
            .map(|[x, y, z]| bumps([x + 3.0, *y, z - 2.0]) - 2.0)
            .collect();
        let mean = value.iter().sum::<f32>() / value.len() as f32;
        let deviation =
            (value.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / value.len() as f32).sqrt();
        let points = Points {
            at: inner.iter().map(|p| p.map(|v| v as f32)).collect(),
            value: value.iter().map(|v| (v - mean) / deviation).collect(),
        };
        let mut comparison = Comparison::new(&points, &level);
        let start = Affine::from_rows([
            [0.95, 0.05, 0.0, 0.7],
            [-0.04, 1.02, 0.0, 0.3],
            [0.0, 0.1, 1.0, 0.9],
        ]);
        let (_, gradient) = comparison.value_and_gradient(start, &[0.0; 12]);
        for i in 0..12 {
            let mut ahead = [0.0; 12];
            ahead[i] = 0.02;
            let behind = ahead.map(|v| -v);
            let difference = comparison.value_and_gradient(start, &ahead).0
                - comparison.value_and_gradient(start, &behind).0;
            let slope = difference / 0.04;
            assert!(
                (slope - gradient[i]).abs() < 2e-3 * (1.0 + slope.abs()),
                "{i}: {slope} {}",
                gradient[i]
            );
        }
    }
}
