//! Fields on regular grids: where their voxels lie, sampling, blurring, distances.
//!
//! Values are stored x-fastest. All fields of this crate that live in template space have voxels of [`STEP_MM`].

/// Side of a voxel of the template-space fields.
pub(crate) const STEP_MM: f32 = 2.0;

/// A grid of 2 mm voxels along the axes of template space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lattice {
    /// Number of voxels along x, y, z.
    pub(crate) shape: [usize; 3],
    /// Template position of the center of voxel 0, mm.
    pub(crate) origin_mm: [f32; 3],
}

impl Lattice {
    /// Number of voxels.
    pub(crate) fn n_voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Template mm → voxel indices.
    pub(crate) fn voxel_from_mm(&self, at_mm: [f32; 3]) -> [f32; 3] {
        std::array::from_fn(|axis| (at_mm[axis] - self.origin_mm[axis]) / STEP_MM)
    }

    /// Calls `f` with index and position (in mm) of every voxel, in storage order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(usize, [f32; 3])) {
        let [nx, ny, nz] = self.shape;
        let at = |axis: usize, i: usize| self.origin_mm[axis] + STEP_MM * i as f32;
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    f(x + nx * (y + ny * z), [at(0, x), at(1, y), at(2, z)]);
                }
            }
        }
    }

    /// The part of a field on a larger lattice that lies on this one; `offset` is this one's voxel 0 in the larger.
    pub(crate) fn cut<T: Copy>(
        &self,
        larger: &[T],
        shape: [usize; 3],
        offset: [usize; 3],
    ) -> Vec<T> {
        let [nx, ny, nz] = self.shape;
        let mut part = Vec::with_capacity(self.n_voxels());
        for z in 0..nz {
            for y in 0..ny {
                let row = offset[0] + shape[0] * (y + offset[1] + shape[1] * (z + offset[2]));
                part.extend_from_slice(&larger[row..row + nx]);
            }
        }
        part
    }
}

/// Trilinear interpolation at a position in voxels; beyond the grid its nearest edge counts.
pub(crate) fn trilinear<const N: usize>(
    values: &[[f32; N]],
    [nx, ny, nz]: [usize; 3],
    at: [f32; 3],
) -> [f32; N] {
    let (x, fx) = cell(at[0], nx);
    let (y, fy) = cell(at[1], ny);
    let (z, fz) = cell(at[2], nz);
    let row = |y: usize, z: usize| {
        let i = x + nx * (y + ny * z);
        let (a, b) = (&values[i], &values[i + 1]);
        std::array::from_fn::<f32, N, _>(|c| a[c] + fx * (b[c] - a[c]))
    };
    let (r00, r10, r01, r11) = (row(y, z), row(y + 1, z), row(y, z + 1), row(y + 1, z + 1));
    std::array::from_fn(|c| {
        let low = r00[c] + fy * (r10[c] - r00[c]);
        let high = r01[c] + fy * (r11[c] - r01[c]);
        low + fz * (high - low)
    })
}

/// The voxel below a position, and how far beyond its center the position is.
fn cell(at: f32, n: usize) -> (usize, f32) {
    let at = at.clamp(0.0, (n - 1) as f32);
    let i = (at as usize).min(n - 2);
    (i, at - i as f32)
}

/// Whether a position in voxels lies within the grid.
pub(crate) fn within(at: [f32; 3], shape: [usize; 3]) -> bool {
    at.iter()
        .zip(shape)
        .all(|(at, n)| *at >= 0.0 && *at <= (n - 1) as f32)
}

/// Sizes of the loops around one axis: outer, along, inner.
pub(crate) fn loops(shape: [usize; 3], axis: usize) -> [usize; 3] {
    [
        shape[axis + 1..].iter().product(),
        shape[axis],
        shape[..axis].iter().product(),
    ]
}

/// Convolves along one axis with a kernel of odd length; the edge voxels go on beyond the grid.
pub(crate) fn convolve(values: &[f32], shape: [usize; 3], axis: usize, kernel: &[f32]) -> Vec<f32> {
    let [outer, n, inner] = loops(shape, axis);
    let radius = kernel.len() / 2;
    let mut out = vec![0.0; values.len()];
    if inner == 1 {
        let mut padded = vec![0.0; n + 2 * radius];
        for (line, target) in values.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            padded[..radius].fill(line[0]);
            padded[radius..radius + n].copy_from_slice(line);
            padded[radius + n..].fill(line[n - 1]);
            for (k, weight) in kernel.iter().enumerate() {
                add_scaled(target, *weight, &padded[k..k + n]);
            }
        }
        return out;
    }
    for o in 0..outer {
        let slab = &values[o * n * inner..(o + 1) * n * inner];
        for i in 0..n {
            let target = &mut out[(o * n + i) * inner..(o * n + i + 1) * inner];
            for (k, weight) in kernel.iter().enumerate() {
                let j = (i + k).saturating_sub(radius).min(n - 1);
                add_scaled(target, *weight, &slab[j * inner..(j + 1) * inner]);
            }
        }
    }
    out
}

fn add_scaled(target: &mut [f32], weight: f32, source: &[f32]) {
    for (t, s) in target.iter_mut().zip(source) {
        *t += weight * s;
    }
}

/// Gaussian blur; `sigma` in voxels.
pub(crate) fn blur(values: &[f32], shape: [usize; 3], sigma: f32) -> Vec<f32> {
    let radius = (3.5 * sigma).ceil() as i32;
    let bell = |i: i32| (-0.5 * (i as f32 / sigma).powi(2)).exp();
    let total: f32 = (-radius..=radius).map(bell).sum();
    let kernel: Vec<f32> = (-radius..=radius).map(|i| bell(i) / total).collect();
    let along_x = convolve(values, shape, 0, &kernel);
    let along_y = convolve(&along_x, shape, 1, &kernel);
    convolve(&along_y, shape, 2, &kernel)
}

/// Distance in voxels to the nearest voxel that is inside.
pub(crate) fn distance(inside: &[bool], shape: [usize; 3]) -> Vec<f32> {
    const FAR: f32 = 1e9;
    let mut squared: Vec<f32> = inside.iter().map(|i| if *i { 0.0 } else { FAR }).collect();
    for axis in 0..3 {
        let [outer, n, inner] = loops(shape, axis);
        let mut line = vec![0.0; n];
        for o in 0..outer {
            for i in 0..inner {
                let at = |k: usize| (o * n + k) * inner + i;
                for (k, value) in line.iter_mut().enumerate() {
                    *value = squared[at(k)];
                }
                for k in 0..n {
                    let reach = line.iter().enumerate().map(|(j, d)| {
                        let step = j as f32 - k as f32;
                        d + step * step
                    });
                    squared[at(k)] = reach.fold(f32::MAX, f32::min);
                }
            }
        }
    }
    squared.into_iter().map(f32::sqrt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trilinear_is_exact_on_a_ramp_and_clamps_beyond_it() {
        let shape = [4, 5, 6];
        let ramp: Vec<[f32; 2]> = (0..120)
            .map(|i| [(i % 4) as f32 + 10.0 * (i / 4 % 5) as f32, (i / 20) as f32])
            .collect();
        let [a, b] = trilinear(&ramp, shape, [1.5, 2.25, 4.5]);
        assert!((a - 24.0).abs() < 1e-5 && (b - 4.5).abs() < 1e-5);
        assert_eq!(trilinear(&ramp, shape, [-3.0, 99.0, 7.0]), [40.0, 5.0]);
        assert!(
            trilinear(&ramp, shape, [f32::NAN; 3])
                .iter()
                .all(|v| v.is_nan())
        );
    }

    #[test]
    fn a_blur_keeps_the_sum_of_what_lies_in_the_middle() {
        let mut point = vec![0.0; 15 * 15 * 15];
        point[7 + 15 * (7 + 15 * 7)] = 1.0;
        let blurred = blur(&point, [15; 3], 1.5);
        let center = blurred[7 + 15 * (7 + 15 * 7)];
        assert!((blurred.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        // (1 / (σ √2π))³
        assert!((center - 0.0188).abs() < 5e-4, "{center}");
    }

    #[test]
    fn a_distance_is_that_to_the_nearest_voxel() {
        let mut inside = vec![false; 7 * 6 * 5];
        inside[1 + 7 * (2 + 6)] = true;
        let distances = distance(&inside, [7, 6, 5]);
        assert_eq!(
            distances[4 + 7 * (6 - 1 + 6 * 3)],
            (9.0_f32 + 9.0 + 4.0).sqrt()
        );
    }
}
