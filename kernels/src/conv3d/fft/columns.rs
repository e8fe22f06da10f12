//! Columns of spectra: the transform along x, the products, and the transform back, for eight frequencies of y and z.
//!
//! All that belongs to one block of columns is done by one thread and never leaves its scratch memory: spectra of the
//! input, spectra of the kernels, their products. What is read and written is still voxels along x, which is shorter than
//! a spectrum wherever a kernel is smaller than a tile or outputs are fewer than points.

#![expect(
    clippy::inline_always,
    reason = "the work must end up inside the function that has the vector instructions"
)]

use std::ops::Range;

use super::codelet::LARGEST;
use super::lanes::{Kernel, Lanes, Line};
use super::plan::{Budget, Part, Sizes, Tiling};
use super::product::{Matrix, product};
use super::transform::{Gather, Spread, gather, spread};

/// Images after [`super::planes::ToColumns`]: `[unit][block][image of the unit][plane]`.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) lines: &'a [Line],
    pub(super) blocks: usize,
    /// Images of a unit.
    pub(super) images: usize,
    pub(super) planes: usize,
}

impl<'a> Field<'a> {
    /// All planes of one image.
    #[inline(always)]
    fn column(self, image: usize, block: usize) -> &'a [Line] {
        let unit = image / self.images * self.blocks + block;
        &self.lines[(unit * self.images + image % self.images) * self.planes..][..self.planes]
    }
}

/// Part of the input in work: which tiles, and where their columns are.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) sizes: &'a Sizes,
    pub(super) tiling: &'a Tiling,
    /// Images `[sample of the slab][tile in y and z][channel]`.
    pub(super) field: Field<'a>,
    /// First sample of the field.
    pub(super) first_sample: usize,
    /// First plane of the field, as a plane of the input.
    pub(super) first_plane: usize,
    /// Tiles to work on.
    pub(super) part: &'a Part,
}

impl<'a> Input<'a> {
    /// Transforms all tiles of the part along x; tile `t` of channel `i` goes to line `place(t, i)`, frequencies `stride`
    /// lines apart.
    #[inline(always)]
    fn transform<S: Lanes>(
        &self,
        block: usize,
        target: &mut [Line],
        stride: usize,
        place: impl Fn(usize, usize) -> usize,
    ) {
        let (yz, ci) = (self.tiling.tiles_yz(), self.sizes.in_channels);
        let side = self.tiling.side[0];
        let mut padded = [Line::ZERO; LARGEST];
        for (tile, (sample, band)) in self.tiles().enumerate() {
            let begin = (band * self.tiling.valid[0]) as isize - self.sizes.padding[0];
            let start = begin - self.first_plane as isize;
            for image in 0..yz * ci {
                let (at, channel) = (image / ci, image % ci);
                let column = |image| {
                    let first = (sample - self.first_sample) * yz * ci;
                    self.field.column(first + image, block)
                };
                if image + 1 < yz * ci {
                    prefetch::<S>(column(image + 1), start, side);
                }
                spread::<S>(
                    side,
                    Spread {
                        source: window(column(image), start, &mut padded[..side]),
                        target,
                        start: place(tile * yz + at, channel),
                        stride,
                    },
                );
            }
        }
    }

    /// Sample and band, in the order of the tiles.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + 'a {
        let part = self.part;
        part.samples
            .clone()
            .flat_map(|sample| part.bands.clone().map(move |band| (sample, band)))
    }
}

/// As many lines of a column as `padded` has, from `start` on, with zeros outside.
#[inline(always)]
fn window<'a>(column: &'a [Line], start: isize, padded: &'a mut [Line]) -> &'a [Line] {
    let side = padded.len();
    if let Ok(start) = usize::try_from(start)
        && let Some(whole) = column.get(start..start + side)
    {
        return whole;
    }
    for (line, at) in padded.iter_mut().zip(start..) {
        let inside = usize::try_from(at).ok().and_then(|at| column.get(at));
        *line = *inside.unwrap_or(&Line::ZERO);
    }
    padded
}

/// Asks for the lines of [`window`].
#[inline(always)]
fn prefetch<S: Lanes>(column: &[Line], start: isize, side: usize) {
    let start = usize::try_from(start).unwrap_or(0).min(column.len());
    for line in column[start..].iter().take(side) {
        S::prefetch(line);
    }
}

/// An odd number of lines: at a stride that is a power of two all frequencies would compete for the same few cache lines.
fn odd(lines: usize) -> usize {
    lines | 1
}

/// Scratch lines that one thread needs for [`Correlate`] or [`Weights`].
pub(super) fn scratch_lines(
    sizes: &Sizes,
    tiling: &Tiling,
    budget: &Budget,
    tiles: usize,
) -> usize {
    let (ci, step) = (sizes.in_channels, budget.step);
    tiling.side[0] * (odd(tiles * ci) + odd(step * ci) + odd(tiles * step))
}

/// Products of tiles and kernels for one block of columns.
pub(super) struct Correlate<'a> {
    pub(super) input: Input<'a>,
    /// Images `[out][in]`.
    pub(super) kernels: Field<'a>,
    /// Output channels to compute.
    pub(super) channels: Range<usize>,
    /// Output channels at a time.
    pub(super) step: usize,
    /// Whether kernels are conjugated: a correlation; else a convolution, whose wanted outputs come last in a tile.
    pub(super) conjugate: bool,
    pub(super) block: usize,
    /// `[tile][channel of this call][valid plane]`
    pub(super) target: &'a mut [Line],
    pub(super) scratch: &'a mut [Line],
}

impl Kernel for Correlate<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let tiling = self.input.tiling;
        let (side, valid) = (tiling.side[0], tiling.valid[0]);
        let ci = self.input.sizes.in_channels;
        let tiles = self.input.part.tiles(tiling);
        let (x_stride, k_stride) = (odd(tiles * ci), odd(self.step * ci));
        let y_stride = odd(tiles * self.step);
        let (spectra, rest) = self.scratch.split_at_mut(side * x_stride);
        let (kernels, rest) = rest.split_at_mut(side * k_stride);
        let products = &mut rest[..side * y_stride];
        let mut padded = [Line::ZERO; LARGEST];
        self.input
            .transform::<S>(self.block, spectra, x_stride, |tile, i| tile * ci + i);
        for first in self.channels.clone().step_by(self.step) {
            let step = self.step.min(self.channels.end - first);
            let column = |image| self.kernels.column(first * ci + image, self.block);
            for image in 0..step * ci {
                if image + 1 < step * ci {
                    prefetch::<S>(column(image + 1), 0, side);
                }
                // What lies beyond the kernel in `padded` is zero and stays so.
                let taps = column(image);
                padded[..taps.len()].copy_from_slice(taps);
                spread::<S>(
                    side,
                    Spread {
                        source: &padded[..side],
                        target: kernels,
                        start: image,
                        stride: k_stride,
                    },
                );
            }
            for k in 0..side {
                let left = Matrix {
                    lines: &spectra[k * x_stride..],
                    rows: tiles,
                    len: ci,
                };
                let right = Matrix {
                    lines: &kernels[k * k_stride..],
                    rows: step,
                    len: ci,
                };
                let target = &mut products[k * y_stride..][..y_stride];
                if self.conjugate {
                    product::<S, true>(left, right, target, step);
                } else {
                    product::<S, false>(left, right, target, step);
                }
            }
            let origin = if self.conjugate { 0 } else { side - valid };
            let target = |at: usize| {
                let (tile, channel) = (at / step, first + at % step - self.channels.start);
                (tile * self.channels.len() + channel) * valid
            };
            for at in 0..tiles * step {
                if let Some(next) = self.target.get(target(at + 1)..) {
                    prefetch::<S>(next, 0, valid);
                }
                gather::<S>(
                    side,
                    Gather {
                        source: products,
                        start: at,
                        stride: y_stride,
                        target: &mut self.target[target(at)..][..valid],
                        origin,
                    },
                );
            }
        }
    }
}

/// Products of tiles of the input and of the output's gradient, summed over tiles, for one block of columns.
pub(super) struct Weights<'a> {
    pub(super) input: Input<'a>,
    /// Images `[sample of the part][tile in y and z][channel of this call]`; planes are those of the part's bands.
    pub(super) gradient: Field<'a>,
    /// Output channels to compute.
    pub(super) channels: Range<usize>,
    /// Output channels at a time.
    pub(super) step: usize,
    /// Whether to add to what the target holds.
    pub(super) add: bool,
    pub(super) block: usize,
    /// `[out][in][plane of the kernel]`
    pub(super) target: &'a mut [Line],
    pub(super) scratch: &'a mut [Line],
}

impl Kernel for Weights<'_> {
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let tiling = self.input.tiling;
        let side = tiling.side[0];
        let ci = self.input.sizes.in_channels;
        let tiles = self.input.part.tiles(tiling);
        let (x_stride, g_stride) = (odd(tiles * ci), odd(tiles * self.step));
        let w_stride = odd(self.step * ci);
        let (spectra, rest) = self.scratch.split_at_mut(side * x_stride);
        let (gradients, rest) = rest.split_at_mut(side * g_stride);
        let products = &mut rest[..side * w_stride];
        self.input
            .transform::<S>(self.block, spectra, x_stride, |tile, i| i * tiles + tile);
        for first in self.channels.clone().step_by(self.step) {
            let step = self.step.min(self.channels.end - first);
            for channel in 0..step {
                let place = first - self.channels.start + channel;
                transform_gradient::<S>(
                    &self.input,
                    |tile| {
                        let image = tile * self.channels.len() + place;
                        self.gradient.column(image, self.block)
                    },
                    gradients,
                    [channel * tiles, g_stride],
                );
            }
            for k in 0..side {
                product::<S, true>(
                    Matrix {
                        lines: &spectra[k * x_stride..],
                        rows: ci,
                        len: tiles,
                    },
                    Matrix {
                        lines: &gradients[k * g_stride..],
                        rows: step,
                        len: tiles,
                    },
                    &mut products[k * w_stride..][..w_stride],
                    step,
                );
            }
            let planes = tiling.kernel[0];
            let mut sums = [Line::ZERO; LARGEST];
            for image in 0..step * ci {
                let (channel, i) = (image / ci, image % ci);
                let place = ((first + channel) * ci + i) * planes;
                if let Some(next) = self.target.get(place + planes..) {
                    prefetch::<S>(next, 0, planes);
                }
                gather::<S>(
                    side,
                    Gather {
                        source: products,
                        start: i * step + channel,
                        stride: w_stride,
                        target: &mut sums[..planes],
                        origin: 0,
                    },
                );
                let target = &mut self.target[place..][..planes];
                put(target, &sums, self.add);
            }
        }
    }
}

/// Transforms one channel of the output's gradient along x, all tiles of the part; `image` gives the planes of the
/// `n`-th tile in y and z, samples after each other.
#[inline(always)]
fn transform_gradient<'a, S: Lanes>(
    input: &Input<'_>,
    image: impl Fn(usize) -> &'a [Line],
    target: &mut [Line],
    [first, stride]: [usize; 2],
) {
    let (valid, side) = (input.tiling.valid[0], input.tiling.side[0]);
    let (yz, part) = (input.tiling.tiles_yz(), input.part);
    let mut padded = [Line::ZERO; LARGEST];
    for (tile, (sample, band)) in input.tiles().enumerate() {
        for at in 0..yz {
            let planes = image((sample - part.samples.start) * yz + at);
            let start = (band - part.bands.start) * valid;
            let planes = &planes[start..(start + valid).min(planes.len())];
            spread::<S>(
                side,
                Spread {
                    source: window(planes, 0, &mut padded[..side]),
                    target,
                    start: first + tile * yz + at,
                    stride,
                },
            );
        }
    }
}

/// Stores sums, or adds them to what is there.
#[inline(always)]
fn put(target: &mut [Line], sums: &[Line], add: bool) {
    for (target, sum) in target.iter_mut().zip(sums) {
        if !add {
            *target = *sum;
            continue;
        }
        for (target, sum) in target
            .0
            .as_flattened_mut()
            .iter_mut()
            .zip(sum.0.as_flattened())
        {
            *target += sum;
        }
    }
}
