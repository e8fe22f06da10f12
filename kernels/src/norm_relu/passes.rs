//! What is done with the numbers of some channels of one sample, in the widest instructions.

use std::mem::MaybeUninit;

use crate::batch_norm::Channels;
use crate::conv3d::simd::{Kernel, Simd};
use crate::sums::sums;

/// `(x − mean) · scale + shift`.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) mean: f32,
    pub(super) scale: f32,
    pub(super) shift: f32,
}

impl Line {
    pub(super) fn of(of: Channels<'_>, channel: usize) -> Self {
        Self {
            mean: of.mean[channel],
            scale: of.gamma[channel] / of.deviation(channel),
            shift: of.beta[channel],
        }
    }

    /// Always in the same way, so that a gradient sees the value that was handed on.
    #[inline(always)]
    pub(super) fn at(self, x: f32) -> f32 {
        (x - self.mean) * self.scale + self.shift
    }
}

/// What the gradient of a channel's input takes off that of its values, and the gradients of scale and shift.
#[derive(Clone, Copy)]
pub(super) struct Slope {
    pub(super) constant: f32,
    pub(super) per_unit: f32,
    pub(super) of_gamma: f32,
    pub(super) of_beta: f32,
}

#[inline(always)]
fn rectified(x: f32) -> f32 {
    // `max` would hide NaN.
    if x < 0.0 { 0.0 } else { x }
}

/// Adds sums over the voxels of each channel: of the voxels, or, with their means, of the squares of their distance.
pub(super) struct Centered<'a> {
    pub(super) x: &'a [f32],
    pub(super) voxels: usize,
    pub(super) means: Option<&'a [f32]>,
    pub(super) totals: &'a mut [f64],
}

impl Kernel for Centered<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.x.chunks_exact(self.voxels.max(1)).zip(self.totals);
        match self.means {
            None => {
                for (x, total) in channels {
                    let [sum] = sums(x.len(), |at| [f64::from(x[at])]);
                    *total += sum;
                }
            }
            Some(means) => {
                for ((x, total), mean) in channels.zip(means) {
                    let [sum] = sums(x.len(), |at| {
                        let centered = f64::from(x[at] - mean);
                        [centered * centered]
                    });
                    *total += sum;
                }
            }
        }
    }
}

pub(super) struct Values<'a> {
    pub(super) x: &'a [f32],
    pub(super) shortcut: Option<&'a [f32]>,
    pub(super) to: &'a mut [MaybeUninit<f32>],
    pub(super) lines: &'a [Line],
    pub(super) voxels: usize,
    pub(super) relu: bool,
}

impl Kernel for Values<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let voxels = self.voxels.max(1);
        let channels = self
            .to
            .chunks_exact_mut(voxels)
            .zip(self.x.chunks_exact(voxels));
        let Some(shortcut) = self.shortcut else {
            for ((to, x), line) in channels.zip(self.lines) {
                let places = to.iter_mut().zip(x);
                if self.relu {
                    places.for_each(|(to, x)| _ = to.write(rectified(line.at(*x))));
                } else {
                    places.for_each(|(to, x)| _ = to.write(line.at(*x)));
                }
            }
            return;
        };
        let channels = channels.zip(shortcut.chunks_exact(voxels)).zip(self.lines);
        for (((to, x), shortcut), line) in channels {
            let places = to.iter_mut().zip(x.iter().zip(shortcut));
            if self.relu {
                places.for_each(|(to, (x, s))| _ = to.write(rectified(line.at(*x) + s)));
            } else {
                places.for_each(|(to, (x, s))| _ = to.write(line.at(*x) + s));
            }
        }
    }
}

/// Adds sums over the voxels of each channel: of the gradient, where ReLU lets it through, and of its products with the
/// centered voxels.
pub(super) struct Products<'a> {
    pub(super) g: &'a [f32],
    pub(super) x: &'a [f32],
    /// The values, where they are more than the normalized input.
    pub(super) y: Option<&'a [f32]>,
    /// Takes what ReLU lets through.
    pub(super) masked: Option<&'a mut [MaybeUninit<f32>]>,
    pub(super) lines: &'a [Line],
    pub(super) voxels: usize,
    pub(super) relu: bool,
    pub(super) totals: &'a mut [[f64; 2]],
}

impl Kernel for Products<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        let through = |g: f32, y: f32| if y <= 0.0 { 0.0 } else { g };
        for (number, line) in self.lines.iter().enumerate() {
            let run = number * self.voxels..(number + 1) * self.voxels;
            let (g, x) = (&self.g[run.clone()], &self.x[run.clone()]);
            let y = self.y.map(|y| &y[run.clone()]);
            let masked = self.masked.as_mut().map(|masked| &mut masked[run]);
            let terms = |g: f32, x: f32| [f64::from(g), f64::from(g) * f64::from(x - line.mean)];
            let n = g.len();
            let [of_g, of_products] = match (self.relu, y, masked) {
                (true, Some(y), Some(masked)) => sums(n, |at| {
                    let g = through(g[at], y[at]);
                    masked[at].write(g);
                    terms(g, x[at])
                }),
                (false, _, Some(masked)) => sums(n, |at| {
                    masked[at].write(g[at]);
                    terms(g[at], x[at])
                }),
                (true, ..) => sums(n, |at| terms(through(g[at], line.at(x[at])), x[at])),
                (false, _, None) => sums(n, |at| terms(g[at], x[at])),
            };
            self.totals[number][0] += of_g;
            self.totals[number][1] += of_products;
        }
    }
}

pub(super) struct InputGradient<'a> {
    pub(super) g: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) to: &'a mut [MaybeUninit<f32>],
    pub(super) lines: &'a [Line],
    pub(super) slopes: &'a [Slope],
    pub(super) voxels: usize,
    pub(super) relu: bool,
}

impl Kernel for InputGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let voxels = self.voxels.max(1);
        let channels = (self.to.chunks_exact_mut(voxels))
            .zip(self.g.chunks_exact(voxels).zip(self.x.chunks_exact(voxels)))
            .zip(self.lines.iter().zip(self.slopes));
        for ((to, (g, x)), (line, slope)) in channels {
            let of = |g: f32, x: f32| {
                (g - slope.constant - (x - line.mean) * slope.per_unit) * line.scale
            };
            let places = to.iter_mut().zip(g.iter().zip(x));
            if self.relu {
                for (to, (g, x)) in places {
                    let g = if line.at(*x) <= 0.0 { 0.0 } else { *g };
                    to.write(of(g, *x));
                }
            } else {
                for (to, (g, x)) in places {
                    to.write(of(*g, *x));
                }
            }
        }
    }
}
