//! The passes themselves: stages in order, each spread over the threads of the caller's pool.
//!
//! ```text
//! for each slab of the input:              voxels → columns, once (`planes`)
//!   for each group of tiles and channels:
//!     for each block of columns:           along x, products, back along x (`columns`)
//!     for each channel:                    columns → voxels, or pooled voxels (`planes`, `pool`)
//! ```
//!
//! Each task writes a chunk of its own and sums in a fixed order, so results don't depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::{self, Correlate, Field, Input, Weights};
use super::lanes::{LANES, Line, Path};
use super::plan::{Budget, Part, Sizes, Tiling};
use super::planes::{self, Piece, Strides, ToColumns, ToPlanes};
use super::workspace::{self, Buffer};

/// The kernels as one pass sees them.
#[derive(Clone, Copy)]
pub(super) struct Kernels<'a> {
    pub(super) weight: &'a [f32],
    /// Distance between kernels of neighboring output channels, and of input channels, in kernels.
    pub(super) strides: [usize; 2],
    /// Correlation, as networks mean it; else convolution, which is its transpose.
    pub(super) conjugate: bool,
}

/// One pass with its sizes, tiles and budget.
pub(super) struct Pass<'a> {
    pub(super) path: Path,
    pub(super) sizes: &'a Sizes,
    pub(super) tiling: &'a Tiling,
    pub(super) budget: Budget,
}

/// Columns of a group's outputs: `[block][tile][channel][valid plane]`.
pub(super) struct Outputs<'a> {
    pub(super) columns: &'a [Line],
    pub(super) part: &'a Part,
    pub(super) channels: Range<usize>,
    /// First wanted place in y and z.
    pub(super) origin: [usize; 2],
}

/// A slab's input after the first stage.
struct Slab {
    lines: Buffer,
    images: usize,
    planes: Range<usize>,
    first_sample: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(path: Path, sizes: &'a Sizes, tiling: &'a Tiling) -> Self {
        Self {
            path,
            sizes,
            tiling,
            budget: Budget::new(sizes, tiling),
        }
    }

    fn whole(&self) -> Part {
        Part {
            samples: 0..self.sizes.batch,
            bands: 0..self.tiling.count[0],
        }
    }

    /// Correlates (or convolves) and hands each group's columns to `emit`, groups in order.
    pub(super) fn correlate(
        &self,
        input: &[f32],
        kernels: Kernels<'_>,
        mut emit: impl FnMut(&Outputs<'_>),
    ) {
        let (tiling, blocks) = (self.tiling, self.tiling.blocks());
        let kernel_columns = self.kernels(kernels);
        let origin = if kernels.conjugate {
            [0; 2]
        } else {
            [1, 2].map(|axis| tiling.side[axis] - tiling.valid[axis])
        };
        for slab_part in self.whole().split(self.budget.slab) {
            let slab = self.slab(input, &slab_part);
            for part in slab_part.split(self.budget.group) {
                let tiles = part.tiles(tiling);
                for channels in
                    super::plan::pieces(0..self.sizes.out_channels, self.budget.channels)
                {
                    let chunk = tiles * channels.len() * tiling.valid[0];
                    let mut columns = workspace::lend(blocks * chunk);
                    let scratch = columns::scratch_lines(self.sizes, tiling, &self.budget, tiles);
                    columns
                        .par_chunks_mut(chunk)
                        .enumerate()
                        .for_each(|(block, target)| {
                            workspace::with_scratch(scratch, |scratch| {
                                self.path.call(Correlate {
                                    input: self.input(&slab, &part),
                                    kernels: kernel_columns.field(blocks, tiling.kernel[0]),
                                    channels: channels.clone(),
                                    step: self.budget.step,
                                    conjugate: kernels.conjugate,
                                    block,
                                    target,
                                    scratch,
                                });
                            });
                        });
                    emit(&Outputs {
                        columns: &columns,
                        part: &part,
                        channels,
                        origin,
                    });
                }
            }
        }
    }

    /// The gradient of the kernels, `[out][in][x][y][z]`.
    pub(super) fn weights(&self, input: &[f32], output_gradient: &[f32]) -> Vec<f32> {
        let (tiling, blocks) = (self.tiling, self.tiling.blocks());
        let [kx, ky, kz] = tiling.kernel;
        let (ci, co) = (self.sizes.in_channels, self.sizes.out_channels);
        let chunk = co * ci * kx;
        let mut sums = workspace::lend(blocks * chunk);
        let mut add = false;
        for slab_part in self.whole().split(self.budget.slab) {
            let slab = self.slab(input, &slab_part);
            for part in slab_part.split(self.budget.group) {
                for channels in super::plan::pieces(0..co, self.budget.channels) {
                    let gradient = self.gradient(output_gradient, &part, &channels);
                    let tiles = part.tiles(tiling);
                    let scratch = columns::scratch_lines(self.sizes, tiling, &self.budget, tiles);
                    sums.par_chunks_mut(chunk)
                        .enumerate()
                        .for_each(|(block, target)| {
                            workspace::with_scratch(scratch, |scratch| {
                                self.path.call(Weights {
                                    input: self.input(&slab, &part),
                                    gradient: gradient.field(blocks, gradient.planes.len()),
                                    channels: channels.clone(),
                                    step: self.budget.step,
                                    add,
                                    block,
                                    target,
                                    scratch,
                                });
                            });
                        });
                }
                add = true;
            }
        }
        let taps = kx * ky * kz;
        let mut result = vec![0.0; co * ci * taps];
        result
            .par_chunks_mut(LANES * taps)
            .enumerate()
            .for_each(|(unit, target)| {
                let pieces: Vec<Piece> = (0..target.len() / taps)
                    .map(|image| Piece {
                        source: (unit * LANES + image) * kx,
                        target: image * taps,
                        extent: tiling.kernel,
                    })
                    .collect();
                workspace::with_scratch(planes::scratch_lines(tiling), |scratch| {
                    self.path.call(ToPlanes {
                        tiling,
                        columns: &sums,
                        block_stride: chunk,
                        pieces: &pieces,
                        origin: [0; 2],
                        plane_stride: ky * kz,
                        row_stride: kz,
                        bias: 0.0,
                        target,
                        scratch,
                    });
                });
            });
        result
    }

    /// Transforms one channel of a group back to voxels: bands `bands` of sample `sample` into `target`, which begins
    /// with the first plane of the first band and has the output's rows.
    pub(super) fn to_voxels(
        &self,
        outputs: &Outputs<'_>,
        [sample, channel]: [usize; 2],
        bands: Range<usize>,
        bias: f32,
        target: &mut [f32],
    ) {
        let (tiling, part) = (self.tiling, outputs.part);
        let (valid, [ox, oy, oz]) = (tiling.valid, self.sizes.output);
        let yz = tiling.tiles_yz();
        let channels = outputs.channels.len();
        let pieces: Vec<Piece> = bands
            .clone()
            .flat_map(|band| (0..yz).map(move |at| (band, at)))
            .map(|(band, at)| {
                let [ty, tz] = tiling.place_yz(at);
                let [x, y, z] = [band * valid[0], ty * valid[1], tz * valid[2]];
                let tile =
                    (sample - part.samples.start) * part.bands.len() + band - part.bands.start;
                let image = (tile * yz + at) * channels + channel - outputs.channels.start;
                Piece {
                    source: image * valid[0],
                    target: ((x - bands.start * valid[0]) * oy + y) * oz + z,
                    extent: [
                        valid[0].min(ox - x),
                        valid[1].min(oy - y),
                        valid[2].min(oz - z),
                    ],
                }
            })
            .collect();
        workspace::with_scratch(planes::scratch_lines(tiling), |scratch| {
            self.path.call(ToPlanes {
                tiling,
                columns: outputs.columns,
                block_stride: part.tiles(tiling) * channels * valid[0],
                pieces: &pieces,
                origin: outputs.origin,
                plane_stride: oy * oz,
                row_stride: oz,
                bias,
                target,
                scratch,
            });
        });
    }

    fn input<'b>(&'b self, slab: &'b Slab, part: &'b Part) -> Input<'b> {
        Input {
            sizes: self.sizes,
            tiling: self.tiling,
            field: slab.field(self.tiling.blocks(), slab.planes.len()),
            first_sample: slab.first_sample,
            first_plane: slab.planes.start,
            part,
        }
    }

    /// First stage for the input of some tiles.
    fn slab(&self, input: &[f32], part: &Part) -> Slab {
        let (sizes, tiling) = (self.sizes, self.tiling);
        let [nx, ny, nz] = sizes.input;
        let begin = (part.bands.start * tiling.valid[0]) as isize - sizes.padding[0];
        let end = begin + ((part.bands.len() - 1) * tiling.valid[0] + tiling.side[0]) as isize;
        // At least one plane, so that no size is zero; tiles that lie outside ignore it.
        let first = begin.clamp(0, nx as isize - 1) as usize;
        let planes = first..end.clamp(first as isize + 1, nx as isize) as usize;
        let window = |axis: usize, at: usize| {
            let start = (at * tiling.valid[axis]) as isize - sizes.padding[axis];
            let length = sizes.input[axis] as isize;
            let from = start.clamp(0, length);
            let to = (start + tiling.side[axis] as isize).clamp(from, length);
            (
                from as usize,
                (from - start).max(0) as usize,
                (to - from) as usize,
            )
        };
        let lines = self.images(
            [part.samples.len(), sizes.in_channels],
            planes.len(),
            |sample, at, channel| {
                let [ty, tz] = tiling.place_yz(at);
                let ((y, row, rows), (z, cell, cells)) = (window(1, ty), window(2, tz));
                let image = (part.samples.start + sample) * sizes.in_channels + channel;
                View {
                    voxels: input
                        .get(((image * nx + planes.start) * ny + y) * nz + z..)
                        .unwrap_or(&[]),
                    rows: row..row + rows,
                    cells: cell..cell + cells,
                }
            },
            Strides {
                image: nx * ny * nz,
                plane: ny * nz,
                row: nz,
            },
        );
        Slab {
            images: unit_images(sizes.in_channels, planes.len()),
            lines,
            planes,
            first_sample: part.samples.start,
        }
    }

    /// First stage for the output's gradient of some tiles and channels: tiles don't overlap and are padded to their side.
    fn gradient(&self, gradient: &[f32], part: &Part, channels: &Range<usize>) -> Slab {
        let (sizes, tiling) = (self.sizes, self.tiling);
        let [ox, oy, oz] = sizes.output;
        let valid = tiling.valid;
        let planes = part.bands.start * valid[0]..(part.bands.end * valid[0]).min(ox);
        let lines = self.images(
            [part.samples.len(), channels.len()],
            planes.len(),
            |sample, at, channel| {
                let [ty, tz] = tiling.place_yz(at);
                let [y, z] = [ty * valid[1], tz * valid[2]];
                let image =
                    (part.samples.start + sample) * sizes.out_channels + channels.start + channel;
                View {
                    voxels: gradient
                        .get(((image * ox + planes.start) * oy + y) * oz + z..)
                        .unwrap_or(&[]),
                    rows: 0..valid[1].min(oy - y),
                    cells: 0..valid[2].min(oz - z),
                }
            },
            Strides {
                image: ox * oy * oz,
                plane: oy * oz,
                row: oz,
            },
        );
        Slab {
            images: unit_images(channels.len(), planes.len()),
            lines,
            planes,
            first_sample: part.samples.start,
        }
    }

    /// First stage for images `[sample][tile in y and z][channel]`.
    fn images<'b>(
        &self,
        [samples, channels]: [usize; 2],
        planes: usize,
        view: impl Fn(usize, usize, usize) -> View<'b> + Sync,
        strides: Strides,
    ) -> Buffer {
        let (yz, blocks) = (self.tiling.tiles_yz(), self.tiling.blocks());
        let images = unit_images(channels, planes);
        let mut lines = workspace::lend(samples * yz * channels * blocks * planes);
        lines
            .par_chunks_mut(blocks * images * planes)
            .enumerate()
            .for_each(|(unit, columns)| {
                let first = unit * images;
                let (tile, channel) = (first / channels, first % channels);
                let View {
                    voxels,
                    rows,
                    cells,
                } = view(tile / yz, tile % yz, channel);
                workspace::with_scratch(planes::scratch_lines(self.tiling), |scratch| {
                    self.path.call(ToColumns {
                        tiling: self.tiling,
                        voxels,
                        strides,
                        images,
                        planes,
                        rows,
                        cells,
                        columns,
                        scratch,
                    });
                });
            });
        lines
    }

    /// First stage for the kernels: images `[out][in]`.
    fn kernels(&self, kernels: Kernels<'_>) -> Slab {
        let (sizes, tiling) = (self.sizes, self.tiling);
        let [kx, ky, kz] = tiling.kernel;
        let taps = kx * ky * kz;
        let images = kernel_images(sizes.in_channels);
        let blocks = tiling.blocks();
        let mut lines = workspace::lend(sizes.out_channels * sizes.in_channels * blocks * kx);
        lines
            .par_chunks_mut(blocks * images * kx)
            .enumerate()
            .for_each(|(unit, columns)| {
                let first = unit * images;
                let (o, i) = (first / sizes.in_channels, first % sizes.in_channels);
                let at = (o * kernels.strides[0] + i * kernels.strides[1]) * taps;
                workspace::with_scratch(planes::scratch_lines(tiling), |scratch| {
                    self.path.call(ToColumns {
                        tiling,
                        voxels: kernels.weight.get(at..).unwrap_or(&[]),
                        strides: Strides {
                            image: kernels.strides[1] * taps,
                            plane: ky * kz,
                            row: kz,
                        },
                        images,
                        planes: kx,
                        rows: 0..ky,
                        cells: 0..kz,
                        columns,
                        scratch,
                    });
                });
            });
        Slab {
            lines,
            images,
            planes: 0..kx,
            first_sample: 0,
        }
    }

    /// Most bytes between the stages at once, without what threads keep as scratch, and one thread's scratch.
    pub(super) fn workspace_bytes(&self) -> usize {
        let (sizes, tiling, budget) = (self.sizes, self.tiling, &self.budget);
        let blocks = tiling.blocks();
        let yz = tiling.tiles_yz();
        let of = |part: &Part, channels: usize, planes: usize| {
            part.samples.len() * yz * channels * blocks * planes
        };
        let kernels = sizes.out_channels * sizes.in_channels * blocks * tiling.kernel[0];
        let slabs = self.whole().split(budget.slab);
        let slab = slabs.iter().map(|part| {
            let planes =
                (part.bands.len() * tiling.valid[0] + tiling.kernel[0] - 1).min(sizes.input[0]);
            of(part, sizes.in_channels, planes)
        });
        let groups: Vec<Part> = slabs
            .iter()
            .flat_map(|slab| slab.split(budget.group))
            .collect();
        let group = groups.iter().map(|part| {
            let planes = part.bands.len() * tiling.valid[0];
            of(part, budget.channels, planes)
        });
        let tiles = groups.iter().map(|part| part.tiles(tiling)).max();
        let scratch = columns::scratch_lines(sizes, tiling, budget, tiles.unwrap_or(0));
        // For the gradient of the kernels, too: its sums are as large as the kernels' columns are elsewhere.
        (kernels + slab.max().unwrap_or(0) + group.max().unwrap_or(0) + scratch) * size_of::<Line>()
    }
}

impl Slab {
    fn field(&self, blocks: usize, planes: usize) -> Field<'_> {
        Field {
            lines: &self.lines,
            blocks,
            images: self.images,
            planes,
        }
    }
}

/// What one tile sees of an image.
struct View<'a> {
    voxels: &'a [f32],
    rows: Range<usize>,
    cells: Range<usize>,
}

/// Kernels that are stored together, so that they are read in runs that the processor sees coming.
fn kernel_images(channels: usize) -> usize {
    (1..=16.min(channels))
        .rfind(|images| channels.is_multiple_of(*images))
        .unwrap_or(1)
}

/// Images that share lanes: a divisor of the channels that leaves few of eight lanes empty.
fn unit_images(channels: usize, planes: usize) -> usize {
    let empty = |images: usize| {
        let used = images * planes;
        (used.next_multiple_of(LANES) - used) as f64 / used as f64
    };
    (1..=LANES.min(channels))
        .filter(|images| channels.is_multiple_of(*images))
        .min_by(|a, b| {
            // Few images a unit keep its columns in the cache, so more must be worth it.
            let cost = |images: usize| empty(images) + 0.01 * images as f64;
            cost(*a).total_cmp(&cost(*b))
        })
        .unwrap_or(1)
}
