//! How one pass is cut: sides of the tiles, and how many tiles and channels are in work at once.
//!
//! Sides are chosen by counting: estimated cycles of all transforms and products for each candidate, the cheapest wins.
//! Nothing here depends on the number of threads, so neither do the results.

use super::codelet::{LARGEST, SIDES};
use super::lanes::{LANES, Line};

/// Most bytes of transformed input, and of transformed output, in work at once. The first is read once a group of
/// outputs and may lie in main memory; the second is written and read back at once and should stay in the last cache.
const INPUT_BYTES: usize = 96 << 20;
const OUTPUT_BYTES: usize = 24 << 20;
/// Most bytes of one thread's scratch memory that the spectra of the input, and those of the kernels, may take.
const SCRATCH_INPUT_BYTES: usize = 4 << 20;
const SCRATCH_KERNEL_BYTES: usize = 64 << 10;

/// Sizes of a convolution of stride 1, or of the gradient of its input, which is one too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) input: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) output: [usize; 3],
    /// Zeros before the input; negative where the output begins inside the input.
    pub(super) padding: [isize; 3],
}

/// Sides of the tiles of one pass and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Points of the transforms.
    pub(super) side: [usize; 3],
    /// Outputs of a tile.
    pub(super) valid: [usize; 3],
    /// Tiles along each axis.
    pub(super) count: [usize; 3],
    pub(super) kernel: [usize; 3],
}

/// Which of the three computations a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Tiles of the input times the kernels' spectra: forward, and gradient of the input.
    Correlate,
    /// Tiles of the input times tiles of the output's gradient.
    Weights,
}

impl Tiling {
    /// The cheapest tiling by [`Tiling::cycles`]; `None` if a kernel is too large for any tile or the output is empty.
    pub(super) fn choose(sizes: &Sizes, kind: Kind) -> Option<Self> {
        let candidates: Vec<Vec<usize>> = (0..3)
            .map(|axis| candidates(sizes.output[axis], sizes.kernel[axis], axis == 2))
            .collect();
        let mut best: Option<(f64, Self)> = None;
        for x in &candidates[0] {
            for y in &candidates[1] {
                for z in &candidates[2] {
                    let tiling = Self::new(sizes, [*x, *y, *z]);
                    let cycles = tiling.cycles(sizes, kind);
                    if best.is_none_or(|(least, _)| cycles < least) {
                        best = Some((cycles, tiling));
                    }
                }
            }
        }
        best.map(|(_, tiling)| tiling)
    }

    /// Tiles of given sides, each at least as large as the kernel; the last one even.
    pub(super) fn new(sizes: &Sizes, side: [usize; 3]) -> Self {
        let valid: [usize; 3] = std::array::from_fn(|axis| side[axis] + 1 - sizes.kernel[axis]);
        Self {
            side,
            valid,
            count: std::array::from_fn(|axis| sizes.output[axis].div_ceil(valid[axis])),
            kernel: sizes.kernel,
        }
    }

    /// Lines of a row's spectrum: a real signal's second half is the mirror of its first.
    pub(super) fn half(&self) -> usize {
        self.side[2] / 2 + 1
    }

    /// Blocks of columns, [`LANES`] columns each; a column is all of x at one frequency of y and z.
    pub(super) fn blocks(&self) -> usize {
        (self.side[1] * self.half()).div_ceil(LANES)
    }

    /// Tiles side by side in y and z.
    pub(super) fn tiles_yz(&self) -> usize {
        self.count[1] * self.count[2]
    }

    /// Place in y and z of one of [`Self::tiles_yz`] tiles.
    pub(super) fn place_yz(&self, tile: usize) -> [usize; 2] {
        [tile / self.count[2], tile % self.count[2]]
    }

    /// What values come back multiplied by.
    pub(super) fn gain(&self) -> f32 {
        // Real transforms leave out ½ each time: twice on the way in, once more on the way back; see `real`.
        4.0 * self.side.iter().product::<usize>() as f32
    }

    /// Estimated processor cycles of a pass on one core.
    pub(super) fn cycles(&self, sizes: &Sizes, kind: Kind) -> f64 {
        let [nx, ny, _] = self.side;
        let blocks = self.blocks() as f64;
        let (ci, co) = (sizes.in_channels as f64, sizes.out_channels as f64);
        let batch = sizes.batch as f64;
        let yz = self.tiles_yz() as f64;
        let tiles = batch * yz * self.count[0] as f64;
        let planes_in =
            batch * yz * ci * sizes.input[0].min(sizes.output[0] + self.kernel[0] - 1) as f64;
        let planes_out = batch * yz * co * sizes.output[0] as f64;
        let planes_kernel = ci * co * self.kernel[0] as f64;
        let rows_kernel = self.kernel[1];
        let planes = planes_in * self.plane_cycles(ny)
            + planes_out * self.plane_cycles(self.valid[1])
            + planes_kernel * self.plane_cycles(rows_kernel);
        let columns = blocks * transform_cycles(nx) * (tiles * (ci + co) + ci * co);
        // Four multiply-adds for each complex product, two a cycle at best; each result is loaded or stored once.
        let products = match kind {
            Kind::Correlate => tiles * co * (ci * 2.4 + 4.0),
            Kind::Weights => co * ci * (tiles * 2.4 + 4.0),
        };
        // Columns of the first stage and of the last one are written and read back through the outer caches.
        let lines = blocks * (planes_in + planes_out + planes_kernel);
        planes + columns + blocks * nx as f64 * products + 16.0 * lines
    }

    /// Cycles for the two transforms of one plane with so many rows.
    fn plane_cycles(&self, rows: usize) -> f64 {
        let z = self.side[2];
        let rows = rows as f64 * (transform_cycles(z / 2) + 6.0 * z as f64);
        let columns = self.half() as f64 * transform_cycles(self.side[1]);
        (rows + columns + 60.0 * self.blocks() as f64) / LANES as f64
    }
}

/// For each number of tiles the smallest side that does.
fn candidates(output: usize, kernel: usize, even: bool) -> Vec<usize> {
    let mut sides: Vec<usize> = Vec::new();
    let mut fewest = usize::MAX;
    let of_axis: &[usize] = if even {
        &[2, 4, 6, 8, 10, 12, 16, 18, 20, 24, 30, 32, 36, 40]
    } else {
        &SIDES
    };
    for side in of_axis {
        if *side < kernel || output == 0 || kernel == 0 {
            continue;
        }
        let count = output.div_ceil(side + 1 - kernel);
        if count < fewest {
            fewest = count;
            sides.push(*side);
        }
    }
    sides
}

/// Cycles of a complex transform of eight signals.
fn transform_cycles(side: usize) -> f64 {
    let side = side as f64;
    20.0 + side * (3.0 + 1.5 * side.log2())
}

/// Whether any tile is large enough.
pub(super) fn fits(kernel: [usize; 3]) -> bool {
    // A tile of the largest side should still give a few outputs for each point that overlaps.
    kernel.iter().all(|side| (1..=LARGEST / 3).contains(side))
}

/// Samples and bands (tiles of one x) that are in work together: either bands of one sample, or whole samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) samples: std::ops::Range<usize>,
    pub(super) bands: std::ops::Range<usize>,
}

impl Part {
    /// Tiles in this part.
    pub(super) fn tiles(&self, tiling: &Tiling) -> usize {
        self.samples.len() * self.bands.len() * tiling.tiles_yz()
    }

    /// Cuts into parts of at most `limit` bands, as equal as can be.
    pub(super) fn split(&self, limit: usize) -> Vec<Self> {
        let limit = limit.max(1);
        if self.bands.len() > limit {
            let each_sample = self.samples.clone();
            return each_sample
                .flat_map(|sample| {
                    pieces(self.bands.clone(), limit).map(move |bands| Self {
                        samples: sample..sample + 1,
                        bands,
                    })
                })
                .collect();
        }
        let samples = (limit / self.bands.len().max(1)).max(1);
        pieces(self.samples.clone(), samples)
            .map(|samples| Self {
                samples,
                bands: self.bands.clone(),
            })
            .collect()
    }
}

/// Cuts a range into pieces of at most `limit`, as equal as can be.
pub(super) fn pieces(
    range: std::ops::Range<usize>,
    limit: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = range.len().div_ceil(limit.max(1));
    (0..count).map(move |i| {
        range.start + range.len() * i / count..range.start + range.len() * (i + 1) / count
    })
}

/// How much of a pass is in work at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Bands whose input is transformed together.
    pub(super) slab: usize,
    /// Bands whose outputs are transformed together; divides a slab.
    pub(super) group: usize,
    /// Output channels of a group.
    pub(super) channels: usize,
    /// Output channels whose spectra a thread holds at a time.
    pub(super) step: usize,
}

impl Budget {
    pub(super) fn new(sizes: &Sizes, tiling: &Tiling) -> Self {
        let line = size_of::<Line>();
        let (ci, co) = (sizes.in_channels.max(1), sizes.out_channels.max(1));
        let planes = tiling.tiles_yz() * tiling.blocks() * tiling.valid[0] * line;
        let slab = INPUT_BYTES / (planes * ci);
        let by_scratch =
            SCRATCH_INPUT_BYTES / (tiling.tiles_yz() * ci * tiling.side[0] * line).max(1);
        let group = (OUTPUT_BYTES / (planes * co))
            .min(by_scratch)
            .clamp(1, slab.max(1));
        let channels = (OUTPUT_BYTES / (planes * group)).clamp(1, co);
        let step = SCRATCH_KERNEL_BYTES / (ci * tiling.side[0] * line);
        Self {
            slab: slab.max(1),
            group,
            channels: co.div_ceil(co.div_ceil(channels)),
            step: step.clamp(2.min(channels), channels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(channels: [usize; 2], input: usize) -> Sizes {
        Sizes {
            batch: 1,
            in_channels: channels[0],
            out_channels: channels[1],
            input: [input; 3],
            kernel: [6; 3],
            output: [input - 5; 3],
            padding: [0; 3],
        }
    }

    #[test]
    fn layers_of_the_published_network_get_the_tiles_that_fit_them() {
        for (channels, input, side) in [([1, 16], 128, 36), ([16, 32], 61, 24), ([32, 64], 28, 18)]
        {
            let tiling = Tiling::choose(&layer(channels, input), Kind::Correlate).unwrap();
            assert_eq!(tiling.side, [side; 3]);
        }
    }

    #[test]
    fn parts_cover_every_sample_and_band_once_in_order() {
        for (samples, bands, limit) in [(1, 5, 2), (3, 4, 2), (7, 3, 6), (2, 1, 1), (5, 1, 9)] {
            let whole = Part {
                samples: 0..samples,
                bands: 0..bands,
            };
            let covered: Vec<(usize, usize)> = whole
                .split(limit)
                .into_iter()
                .flat_map(|part| {
                    part.samples
                        .flat_map(move |sample| part.bands.clone().map(move |band| (sample, band)))
                })
                .collect();
            let expected: Vec<(usize, usize)> = (0..samples)
                .flat_map(|sample| (0..bands).map(move |band| (sample, band)))
                .collect();
            assert_eq!(covered, expected);
        }
    }
}
