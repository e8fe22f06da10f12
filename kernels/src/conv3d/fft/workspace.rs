//! Memory between the stages: lent for one call and kept for the next, since fresh pages cost as much as the transforms.
//!
//! Buffers that come back are kept up to [`KEPT_BYTES`]; beyond that the largest go back to the system. Contents of a
//! buffer are what its last user left: every stage writes all that the next one reads.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use super::lanes::Line;
use crate::large_pages;

/// Most bytes that rest between calls.
const KEPT_BYTES: usize = 512 << 20;

static KEPT: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Lines on loan.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

/// Lines of zeros.
fn zeros(len: usize) -> Vec<Line> {
    let mut lines = large_pages::with_capacity(len);
    lines.resize(len, Line::ZERO);
    lines
}

/// Lends `len` lines.
pub(super) fn lend(len: usize) -> Buffer {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    // The smallest that is large enough; else the largest grows, so that no small ones pile up.
    let at = (0..kept.len()).min_by_key(|at| {
        let size = kept[*at].len();
        if size >= len {
            (0, size)
        } else {
            (1, usize::MAX - size)
        }
    });
    let mut lines = at.map_or_else(Vec::new, |at| kept.swap_remove(at));
    drop(kept);
    if lines.len() < len {
        // Nothing of the old contents is wanted: let go first, so both never stand side by side.
        drop(lines);
        lines = zeros(len);
    }
    Buffer { lines, len }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(std::mem::take(&mut self.lines));
        kept.sort_by_key(Vec::len);
        while kept.iter().map(Vec::len).sum::<usize>() * size_of::<Line>() > KEPT_BYTES {
            kept.pop();
        }
    }
}

impl Deref for Buffer {
    type Target = [Line];
    fn deref(&self) -> &[Line] {
        &self.lines[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.lines[..self.len]
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` lines of this thread's own scratch memory, which stays with the thread.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [Line]) -> R) -> R {
    // Taken out while in use: a nested call would get memory of its own instead of a panic.
    let mut lines = SCRATCH.take();
    if lines.len() < len {
        lines = zeros(len);
    }
    let result = work(&mut lines[..len]);
    SCRATCH.set(lines);
    result
}

thread_local! {
    static VOXELS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` numbers of this thread's own memory for voxels, which stays with the thread.
pub(super) fn with_voxels<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut voxels = VOXELS.take();
    if voxels.len() < len {
        voxels = large_pages::untouched(vec![0.0; len]);
    }
    let result = work(&mut voxels[..len]);
    VOXELS.set(voxels);
    result
}
