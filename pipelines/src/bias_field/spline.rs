//! Cubic B-splines on a regular lattice of control points, fitted to scattered values.
//!
//! Lee, Wolberg, Shin 1997, IEEE TVCG 3(3): each control point is the weighted mean of what its neighbourhood asks for
//! (eqs. 3–5), and a lattice is refined exactly to one with half the distances (§3.2). On a regular grid the weights
//! of a voxel are products of one factor an axis, so all sums over 4×4×4 control points are taken axis by axis.

use crate::space::VoxelShape;

/// Control points that a cubic spline needs beside its spans.
const MORE_THAN_SPANS: usize = 3;
/// Control points that no value asks anything of stay as they are.
const LEAST_WEIGHT: f64 = 1e-12;
/// The last voxel counts as this share of a voxel before the end, so that it lies in the last span.
const END_SHARE: f64 = 1e-3;

/// Where voxels lie along one axis of the lattice's domain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisPlaces {
    /// Number of voxels.
    pub(super) count: usize,
    /// Place of the first, in voxels of the domain.
    pub(super) start: f64,
    /// Distance of two, in voxels of the domain.
    pub(super) step: f64,
    /// Voxels of the domain: it reaches from the center of the first to that of the last.
    pub(super) domain: usize,
}

/// The four control points around each voxel of an axis, with weights.
#[derive(Clone, Debug)]
pub(super) struct AxisWeights {
    n_points: usize,
    voxels: Vec<(usize, [f64; 4])>,
}

impl AxisWeights {
    /// The weights of the spline itself. Voxels outside the domain have those of its end.
    pub(super) fn new(places: AxisPlaces, n_points: usize) -> Self {
        let spans = (n_points - MORE_THAN_SPANS) as f64;
        let per_voxel = spans / (places.domain.max(2) - 1) as f64;
        let end = spans - END_SHARE * per_voxel;
        let voxel = |i: usize| {
            let at = ((places.start + places.step * i as f64) * per_voxel).clamp(0.0, end);
            let span = at.floor();
            let weights = std::array::from_fn(|a| cubic(at - span - a as f64 + 1.0));
            (span as usize, weights)
        };
        Self {
            n_points,
            voxels: (0..places.count).map(voxel).collect(),
        }
    }

    /// Squares: how much each control point has to do with a voxel.
    fn squared(&self) -> Self {
        self.changed(|weights| weights.map(|w| w * w))
    }

    /// Cubes over the sum of squares: what a voxel's value asks of each control point, times [`Self::squared`].
    fn asking(&self) -> Self {
        self.changed(|weights| {
            let squares: f64 = weights.iter().map(|w| w * w).sum();
            weights.map(|w| w * w * w / squares)
        })
    }

    fn changed(&self, change: impl Fn([f64; 4]) -> [f64; 4]) -> Self {
        let voxels = self.voxels.iter();
        Self {
            n_points: self.n_points,
            voxels: voxels.map(|(first, w)| (*first, change(*w))).collect(),
        }
    }
}

/// The cubic B-spline of a distance in control points.
fn cubic(distance: f64) -> f64 {
    let t = distance.abs();
    if t < 1.0 {
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    } else if t < 2.0 {
        (2.0 - t).powi(3) / 6.0
    } else {
        0.0
    }
}

/// Control points, x fastest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lattice {
    points: Vec<f64>,
    shape: [usize; 3],
}

impl Lattice {
    /// All 0, with so many spans along each axis.
    pub(super) fn flat(spans: usize) -> Self {
        let side = spans + MORE_THAN_SPANS;
        Self {
            points: vec![0.0; side.pow(3)],
            shape: [side; 3],
        }
    }

    /// The weights of voxels along the three axes.
    pub(super) fn weights(&self, places: [AxisPlaces; 3]) -> [AxisWeights; 3] {
        std::array::from_fn(|axis| AxisWeights::new(places[axis], self.shape[axis]))
    }

    pub(super) fn add(&mut self, other: &[f64]) {
        self.points
            .iter_mut()
            .zip(other)
            .for_each(|(point, more)| *point += more);
    }

    /// The same spline with twice the spans.
    pub(super) fn refined(&self) -> Self {
        let (mut points, mut shape) = (self.points.clone(), self.shape);
        for axis in 0..3 {
            let inner: usize = shape[..axis].iter().product();
            let (old, new) = (shape[axis], 2 * shape[axis] - MORE_THAN_SPANS);
            let mut refined = Vec::with_capacity(points.len() / old * new);
            for block in points.chunks_exact(inner * old) {
                let at = |k: usize, i: usize| block[k * inner + i];
                for k in 0..new {
                    let p = k / 2;
                    refined.extend((0..inner).map(|i| {
                        if k % 2 == 0 {
                            f64::midpoint(at(p, i), at(p + 1, i))
                        } else {
                            (at(p, i) + 6.0 * at(p + 1, i) + at(p + 2, i)) / 8.0
                        }
                    }));
                }
            }
            points = refined;
            shape[axis] = new;
        }
        Self { points, shape }
    }

    /// The spline's values, row by row along x; `take` is given y, z and the row.
    pub(super) fn rows(
        &self,
        weights: &[AxisWeights; 3],
        mut take: impl FnMut(usize, usize, &[f64]),
    ) {
        let [nx, ny, _] = self.shape;
        let (mut slice, mut line) = (vec![0.0; nx * ny], vec![0.0; nx]);
        let mut row = vec![0.0; weights[0].voxels.len()];
        for (z, (first, w)) in weights[2].voxels.iter().enumerate() {
            mix(&self.points[first * nx * ny..], nx * ny, w, &mut slice);
            for (y, (first, w)) in weights[1].voxels.iter().enumerate() {
                mix(&slice[first * nx..], nx, w, &mut line);
                for (value, (first, w)) in row.iter_mut().zip(&weights[0].voxels) {
                    let points = line[*first..].iter().zip(w);
                    *value = points.map(|(point, w)| point * w).sum();
                }
                take(y, z, &row);
            }
        }
    }
}

/// The weighted sum of four runs that lie one after the other.
fn mix(runs: &[f64], length: usize, weights: &[f64; 4], sum: &mut [f64]) {
    sum.fill(0.0);
    for (run, w) in runs.chunks_exact(length).zip(weights) {
        sum.iter_mut()
            .zip(run)
            .for_each(|(sum, value)| *sum += w * value);
    }
}

/// Fits lattices of one size to values at the same voxels again and again.
pub(super) struct Fit {
    asking: [AxisWeights; 3],
    /// Over the sum of squared weights at each control point; 0 where no voxel reaches it.
    per_weight: Vec<f64>,
    shape: VoxelShape,
}

impl Fit {
    /// `known` says which voxels of the grid of the weights have a value.
    pub(super) fn new(weights: &[AxisWeights; 3], known: &[bool]) -> Self {
        let shape = VoxelShape(std::array::from_fn(|axis| weights[axis].voxels.len()));
        let ones: Vec<f64> = known.iter().map(|k| f64::from(u8::from(*k))).collect();
        let squared = weights.each_ref().map(AxisWeights::squared);
        let per_weight = contract(&ones, shape, &squared)
            .into_iter()
            .map(|sum| if sum > LEAST_WEIGHT { 1.0 / sum } else { 0.0 })
            .collect();
        Self {
            asking: weights.each_ref().map(AxisWeights::asking),
            per_weight,
            shape,
        }
    }

    /// The control points that come nearest to `values`, which are 0 where there is none.
    pub(super) fn fit(&self, values: &[f64]) -> Vec<f64> {
        let mut points = contract(values, self.shape, &self.asking);
        points
            .iter_mut()
            .zip(&self.per_weight)
            .for_each(|(point, per_weight)| *point *= per_weight);
        points
    }
}

/// Sums of values over voxels, weighted for each control point, axis by axis.
fn contract(values: &[f64], shape: VoxelShape, weights: &[AxisWeights; 3]) -> Vec<f64> {
    let [nx, ny, _] = shape.0;
    let [px, py, pz] = weights.each_ref().map(|axis| axis.n_points);
    let mut points = vec![0.0; px * py * pz];
    let (mut slice, mut line) = (vec![0.0; px * py], vec![0.0; px]);
    let slices = values.chunks_exact(nx * ny).zip(&weights[2].voxels);
    for (slice_values, (first_z, wz)) in slices {
        slice.fill(0.0);
        let rows = slice_values.chunks_exact(nx).zip(&weights[1].voxels);
        for (row, (first_y, wy)) in rows {
            line.fill(0.0);
            for (value, (first_x, wx)) in row.iter().zip(&weights[0].voxels) {
                let targets = line[*first_x..].iter_mut().zip(wx);
                targets.for_each(|(sum, w)| *sum += w * value);
            }
            spread(&line, wy, &mut slice[first_y * px..]);
        }
        spread(&slice, wz, &mut points[first_z * px * py..]);
    }
    points
}

/// Adds a run, weighted, to each of four runs that lie one after the other.
fn spread(run: &[f64], weights: &[f64; 4], sums: &mut [f64]) {
    for (sum, w) in sums.chunks_exact_mut(run.len()).zip(weights) {
        sum.iter_mut()
            .zip(run)
            .for_each(|(sum, value)| *sum += w * value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [usize; 3] = [17, 12, 15];

    fn places() -> [AxisPlaces; 3] {
        SIDES.map(|count| AxisPlaces {
            count,
            start: 0.0,
            step: 1.0,
            domain: count,
        })
    }

    fn values(f: impl Fn([f64; 3]) -> f64) -> Vec<f64> {
        let [nx, ny, nz] = SIDES;
        let at = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)];
        (0..nx * ny * nz)
            .map(|i| {
                f(std::array::from_fn(|axis| {
                    at(i)[axis] as f64 / SIDES[axis] as f64
                }))
            })
            .collect()
    }

    fn evaluated(lattice: &Lattice, places: [AxisPlaces; 3]) -> Vec<f64> {
        let mut found = Vec::new();
        lattice.rows(&lattice.weights(places), |_, _, row| {
            found.extend_from_slice(row);
        });
        found
    }

    fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f64::max)
    }

    /// Fits what is left again and again, as N4 does.
    fn fitted(target: &[f64], spans: usize, rounds: usize) -> Lattice {
        let mut lattice = Lattice::flat(spans);
        let fit = Fit::new(&lattice.weights(places()), &vec![true; target.len()]);
        for _ in 0..rounds {
            let now = evaluated(&lattice, places());
            let left: Vec<f64> = target.iter().zip(&now).map(|(t, n)| t - n).collect();
            lattice.add(&fit.fit(&left));
        }
        lattice
    }

    #[test]
    fn equal_control_points_make_a_constant() {
        let mut lattice = Lattice::flat(2);
        lattice.add(&[3.5; 125]);
        let found = evaluated(&lattice, places());
        assert!(found.iter().all(|value| (value - 3.5).abs() < 1e-12));
    }

    #[test]
    fn a_cubic_polynomial_is_a_spline() {
        // Control points of 1, t, t², t³ on whole knots (Schoenberg; ξ is where a basis function has its middle).
        let powers = [
            |_: f64| 1.0,
            |xi: f64| xi,
            |xi: f64| xi * xi - 1.0 / 3.0,
            |xi: f64| xi * xi * xi - xi,
        ];
        let (lattice, per_voxel) = (
            Lattice::flat(2),
            SIDES.map(|side| 2.0 / (side as f64 - 1.0)),
        );
        for [i, j, k] in [[3, 0, 0], [0, 3, 1], [2, 1, 3], [1, 2, 2]] {
            let mut polynomial = lattice.clone();
            let point = |at: usize| {
                let xi = [at % 5, at / 5 % 5, at / 25].map(|at| at as f64 - 1.0);
                powers[i](xi[0]) * powers[j](xi[1]) * powers[k](xi[2])
            };
            polynomial.add(&(0..125).map(point).collect::<Vec<_>>());
            let found = evaluated(&polynomial, places());
            let [nx, ny, nz] = SIDES;
            // The last voxel of an axis lies a little inside the end, see END_SHARE.
            for at in [[0, 0, 0], [3, 7, 9], [nx - 2, ny - 2, nz - 2]] {
                let t: [f64; 3] = std::array::from_fn(|axis| at[axis] as f64 * per_voxel[axis]);
                let expected = t[0].powi(i as i32) * t[1].powi(j as i32) * t[2].powi(k as i32);
                let value = found[at[0] + nx * (at[1] + ny * at[2])];
                assert!((value - expected).abs() < 1e-12, "{value} {expected}");
            }
        }
    }

    #[test]
    fn repeated_fits_reproduce_a_cubic_polynomial() {
        let target = values(|[x, y, z]| {
            0.4 - x + 1.5 * x * x * x + y * y - 0.7 * y * y * y * x + z * (1.0 - z) * (0.3 + z)
        });
        let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A fit averages over neighbourhoods, so the first leaves much; what is left goes to 0.
        let left = [1, 30, 1000].map(|rounds| {
            let found = evaluated(&fitted(&target, 1, rounds), places());
            let left: Vec<f64> = target.iter().zip(&found).map(|(t, f)| t - f).collect();
            size(&left) / size(&target)
        });
        assert!(left[1] < 0.5 * left[0], "{left:?}");
        assert!(left[2] < 0.02 && left[2] < 0.1 * left[1], "{left:?}");
    }

    #[test]
    fn a_refined_lattice_is_the_same_spline() {
        let coarse = fitted(&values(|[x, y, z]| (3.0 * x).sin() + y * z), 2, 3);
        let fine = coarse.refined();
        assert_eq!((coarse.shape, fine.shape), ([5; 3], [7; 3]));
        let difference =
            largest_difference(&evaluated(&coarse, places()), &evaluated(&fine, places()));
        // The last voxel lies END_SHARE of a voxel inside the end, at either refinement.
        assert!(difference < 1e-12, "{difference}");
    }

    #[test]
    fn a_finer_grid_over_the_same_domain_gives_the_values_between() {
        let lattice = fitted(&values(|[x, y, z]| x * x - y + 0.5 * z), 2, 3);
        let [nx, ny, _] = SIDES;
        let coarse = evaluated(&lattice, places());
        let finer = places().map(|axis| AxisPlaces {
            count: 2 * axis.count,
            start: -0.5,
            step: 0.5,
            ..axis
        });
        let fine = evaluated(&lattice, finer);
        let (c, f) = ([5, 7, 9], [11, 15, 19]);
        let difference =
            coarse[c[0] + nx * (c[1] + ny * c[2])] - fine[f[0] + 2 * nx * (f[1] + 2 * ny * f[2])];
        assert!(difference.abs() < 1e-12, "{difference}");
    }

    #[test]
    fn control_points_without_values_around_them_are_left_alone() {
        let lattice = Lattice::flat(8);
        let known: Vec<bool> = values(|[x, ..]| x).iter().map(|x| *x < 0.2).collect();
        let target: Vec<f64> = known.iter().map(|k| f64::from(u8::from(*k))).collect();
        let points = Fit::new(&lattice.weights(places()), &known).fit(&target);
        assert_eq!(points.len(), 11 * 11 * 11);
        assert_eq!(points[10], 0.0);
        assert!(points[0] > 0.0);
    }
}
