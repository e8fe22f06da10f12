//! Tiles of the output, and what a packing of the inputs for one tile offers the inner loops.

use super::correlation::Correlation;
use super::simd::Level;
use std::cell::RefCell;

/// Products that one block of input channels adds to an output: inputs of that many taps for one block of positions stay
/// in the innermost cache.
const TAPS_AT_ONCE: usize = 288;
/// Numbers in a packed buffer, if a single row of outputs needs no more: about half of a second-level cache.
pub(crate) const BUFFER: usize = 48 << 10;

/// A packing: where the inputs of one tile lie, so that the inputs of any tap are contiguous in the position.
pub(crate) trait Packing: Sync {
    /// Input channels that are packed together.
    fn channel_block(&self) -> usize;
    /// `[nx, ny]` of the tiles; more than one x only with whole planes.
    fn tile(&self) -> [usize; 2];
    /// Numbers in the buffer, with what the inner loops may read beyond.
    fn buffer_len(&self) -> usize;
    fn offsets(&self) -> &Offsets;
    fn segments(&self, tile: &Tile) -> Segments;
    /// Packs input channels of one sample, at most a block.
    fn pack(&self, level: Level, channels: &[f32], tile: &Tile, buffer: &mut [f32]);
}

/// Where each tap's numbers begin in a packed buffer: `[input channel of the block][tap]`.
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

/// A tile's positions: `count` runs of `len`, one after the other in the output and `step` apart in the packed inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    pub(crate) count: usize,
    pub(crate) step: usize,
    pub(crate) len: usize,
}

/// A box of outputs, all z long and contiguous in each channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) nx: usize,
    pub(crate) ny: usize,
}

/// The largest tile that fits, cut so that the last is not much smaller than the others.
pub(crate) fn tile_that_fits(
    [ox, oy, _]: [usize; 3],
    fits: impl Fn(usize, usize) -> bool,
) -> [usize; 2] {
    let largest = |n: usize, fits: &dyn Fn(usize) -> bool| {
        let most = (2..=n).take_while(|n| fits(*n)).last().unwrap_or(1);
        n.div_ceil(n.div_ceil(most))
    };
    if fits(1, oy) {
        [largest(ox, &|nx| fits(nx, oy)), oy]
    } else {
        [1, largest(oy, &|ny| fits(1, ny))]
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
