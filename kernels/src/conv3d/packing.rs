//! Tiles of the output, and where the inner loops find the packed inputs of a tile.

use super::correlation::Correlation;
use std::cell::RefCell;
use std::ops::Range;

/// Products that one block of input channels adds to an output: inputs of that many taps for one block of positions stay
/// in the innermost cache.
const TAPS_AT_ONCE: usize = 288;
/// Numbers in a packed buffer, if a single row of outputs needs no more: about half of a second-level cache.
pub(crate) const BUFFER: usize = 56 << 10;

/// Outputs that are computed at once: `xs` of a tile.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) tile: Tile,
    /// Counted from the tile's first.
    pub(crate) xs: Range<usize>,
}

/// A run of outputs.
pub(crate) struct Segment<'a> {
    /// Where each tap's numbers begin in the packed inputs.
    pub(crate) offsets: &'a Offsets,
    /// Where the run begins in the tile's outputs.
    pub(crate) position: usize,
    pub(crate) len: usize,
}

/// Where each tap's numbers begin in a packed buffer: `[input channel of the block][tap]`.
#[derive(Default)]
pub(crate) struct Offsets {
    taps: Vec<usize>,
    furthest: usize,
}

impl Offsets {
    pub(crate) fn new(taps: Vec<usize>) -> Self {
        let furthest = taps.iter().copied().max().unwrap_or(0);
        Self { taps, furthest }
    }

    /// The first offsets, and a number that none of them exceeds.
    pub(crate) fn first(&self, n: usize) -> (&[usize], usize) {
        (&self.taps[..n], self.furthest)
    }
}

/// A box of outputs, all z long and contiguous in each channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) nx: usize,
    pub(crate) ny: usize,
}

/// The most of `n` that fit, cut so that the last part is not much smaller than the others; at least one.
pub(crate) fn part_that_fits(n: usize, fits: impl Fn(usize) -> bool) -> usize {
    let most = (2..=n).take_while(|n| fits(*n)).last().unwrap_or(1);
    n.div_ceil(n.div_ceil(most))
}

impl Tile {
    /// The tile in steps of `step` x.
    pub(crate) fn steps(self, step: usize) -> impl Iterator<Item = Step> {
        let starts = (0..self.nx).step_by(step);
        starts.map(move |x| Step {
            tile: self,
            xs: x..self.nx.min(x + step),
        })
    }
}

/// All tiles of an output, in memory's order.
pub(crate) fn tiles([ox, oy, _]: [usize; 3], [nx, ny]: [usize; 2]) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for x in (0..ox).step_by(nx) {
        for y in (0..oy).step_by(ny) {
            tiles.push(Tile {
                x,
                y,
                nx: nx.min(ox - x),
                ny: ny.min(oy - y),
            });
        }
    }
    tiles
}

/// Input channels to pack together.
pub(crate) fn channel_block(c: &Correlation) -> usize {
    let most = (TAPS_AT_ONCE / c.n_taps()).clamp(1, c.in_channels);
    c.in_channels.div_ceil(c.in_channels.div_ceil(most))
}

thread_local! {
    /// Kept from call to call, since fresh pages cost more than the packing.
    static WORKSPACE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's workspace: `len` numbers of any value that begin on a cache line. `work` must not wait for
/// other tasks of the pool: one of them might ask for the same workspace.
pub(crate) fn with_workspace<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    const LINE: usize = 16;
    WORKSPACE.with_borrow_mut(|numbers| {
        if numbers.len() < len + LINE {
            numbers.resize(len + LINE, 0.0);
        }
        let start = numbers.as_ptr().align_offset(4 * LINE).min(LINE);
        work(&mut numbers[start..start + len])
    })
}
