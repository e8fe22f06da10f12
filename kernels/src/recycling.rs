//! An allocator that keeps large blocks for their like: a training step asks for the same arrays as the step before, and
//! fresh memory costs a page fault, and the system's zeros, each time.
//!
//! Blocks of less than 256 kB are the system allocator's. Larger ones are rounded up to one of eight sizes between powers
//! of two, on large pages where the system grants them; a freed one waits for the next request of its size. All blocks
//! together, used or waiting, are never more than a quarter above what was in use at once at the most: beyond that, waiting
//! ones are given back.
#![expect(unsafe_code, reason = "an allocator deals in pointers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::large_pages;

/// Smallest block that is kept, bytes.
const LEAST: usize = 256 << 10;
/// Alignment of kept blocks: what the system gives anyway, with zeros that cost nothing before they are touched.
const ALIGN: usize = 16;
/// Waiting blocks, at most.
const MOST_WAITING: usize = 1024;

/// The allocator; a program makes it its `#[global_allocator]`.
pub struct Recycling;

static KEPT: Keeper = Keeper::new();

/// Gives all waiting blocks back to the system, and forgets how much was in use at once.
pub fn give_back() {
    let mut blocks = KEPT.blocks();
    while blocks.n_waiting > 0 {
        blocks.give_back_oldest();
    }
    blocks.most_used = blocks.bytes_used;
}

// SAFETY: see the keeper's.
unsafe impl GlobalAlloc for Recycling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the keeper asks for.
        unsafe { KEPT.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { KEPT.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { KEPT.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { KEPT.realloc(start, old, new_size) }
    }
}

/// Large blocks, used and waiting.
struct Keeper {
    blocks: Mutex<Blocks>,
}

/// What is known of all large blocks.
struct Blocks {
    waiting: [Block; MOST_WAITING],
    n_waiting: usize,
    bytes_waiting: usize,
    bytes_used: usize,
    most_used: usize,
}

/// A block that waits.
#[derive(Clone, Copy)]
struct Block {
    start: *mut u8,
    size: usize,
}

// SAFETY: a waiting block belongs to nobody but the list.
unsafe impl Send for Blocks {}

impl Keeper {
    /// Keeps nothing yet.
    const fn new() -> Self {
        let none = Block {
            start: std::ptr::null_mut(),
            size: 0,
        };
        Self {
            blocks: Mutex::new(Blocks {
                waiting: [none; MOST_WAITING],
                n_waiting: 0,
                bytes_waiting: 0,
                bytes_used: 0,
                most_used: 0,
            }),
        }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A waiting block of a size, or none; counts it as used either way.
    fn take(&self, size: usize) -> Option<*mut u8> {
        let mut blocks = self.blocks();
        blocks.bytes_used += size;
        blocks.most_used = blocks.most_used.max(blocks.bytes_used);
        let found = blocks.take(size);
        blocks.give_back_surplus();
        found
    }

    /// Says that a block is not used any more.
    fn put(&self, block: Block) {
        let mut blocks = self.blocks();
        blocks.bytes_used = blocks.bytes_used.saturating_sub(block.size);
        blocks.put(block);
        blocks.give_back_surplus();
    }
}

impl Blocks {
    /// The latest of the waiting blocks of a size: its memory is the likeliest to be in a cache.
    fn take(&mut self, size: usize) -> Option<*mut u8> {
        let waiting = &mut self.waiting[..self.n_waiting];
        let at = waiting.iter().rposition(|block| block.size == size)?;
        let start = waiting[at].start;
        waiting.copy_within(at + 1.., at);
        self.n_waiting -= 1;
        self.bytes_waiting -= size;
        Some(start)
    }

    fn put(&mut self, block: Block) {
        if self.n_waiting == MOST_WAITING {
            self.give_back_oldest();
        }
        self.waiting[self.n_waiting] = block;
        self.n_waiting += 1;
        self.bytes_waiting += block.size;
    }

    fn give_back_surplus(&mut self) {
        let most = self.most_used + self.most_used / 4;
        while self.n_waiting > 0 && self.bytes_used + self.bytes_waiting > most {
            self.give_back_oldest();
        }
    }

    fn give_back_oldest(&mut self) {
        let Block { start, size } = self.waiting[0];
        self.waiting.copy_within(1..self.n_waiting, 0);
        self.n_waiting -= 1;
        self.bytes_waiting -= size;
        if let Some(layout) = layout_of(size) {
            // SAFETY: the block came from there with the same layout, and nobody uses it.
            unsafe { System.dealloc(start, layout) };
        }
    }
}

/// The size of the block for a request; `None` for one that is not ours.
fn size_of_block(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if size < LEAST || layout.align() > ALIGN {
        return None;
    }
    // An eighth of the power of two below.
    let step = (1 << size.ilog2()) / 8;
    size.checked_next_multiple_of(step)
}

fn layout_of(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, ALIGN).ok()
}

// SAFETY: each block is handed out to one owner at a time: it is taken off the list under a lock, and put there by its
// owner's `dealloc`. Blocks are at least as large and as aligned as was asked for.
unsafe impl GlobalAlloc for Keeper {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(block) = size_of_block(layout).and_then(layout_of) else {
            // SAFETY: the caller's promises are those that the system asks for.
            return unsafe { System.alloc(layout) };
        };
        match self.take(block.size()) {
            Some(start) => start,
            None => {
                // SAFETY: the size is not 0.
                let start = unsafe { System.alloc(block) };
                large_pages::wanted(start, block.size());
                start
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = size_of_block(layout).and_then(layout_of) else {
            // SAFETY: the caller's promises are those that the system asks for.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let Some(start) = self.take(block.size()) else {
            // SAFETY: the size is not 0.
            let start = unsafe { System.alloc_zeroed(block) };
            large_pages::wanted(start, block.size());
            return start;
        };
        // SAFETY: the block is at least as large.
        unsafe { start.write_bytes(0, layout.size()) };
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        match size_of_block(layout) {
            Some(size) => self.put(Block { start, size }),
            // SAFETY: what is not ours came from the system.
            None => unsafe { System.dealloc(start, layout) },
        }
    }

    unsafe fn realloc(&self, start: *mut u8, old: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for a size that makes a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, old.align()) };
        match (size_of_block(old), size_of_block(new)) {
            // SAFETY: the caller's promises are those that the system asks for.
            (None, None) => unsafe { System.realloc(start, old, new_size) },
            (before, after) if before == after => start,
            _ => {
                // SAFETY: the size is not 0, says the caller.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: both blocks have as many bytes, and the new one is nobody else's.
                    unsafe { moved.copy_from_nonoverlapping(start, old.size().min(new_size)) };
                    // SAFETY: the caller gives the old block up.
                    unsafe { self.dealloc(start, old) };
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a layout")
    }

    fn held(allocator: &Keeper) -> (usize, usize) {
        let blocks = allocator.blocks();
        (blocks.bytes_used, blocks.bytes_waiting)
    }

    #[test]
    fn a_freed_block_is_handed_out_again_for_its_like_and_zeroed_on_request() {
        let allocator = Keeper::new();
        let (large, alike) = (layout((3 << 20) + 5), layout((3 << 20) + 9));
        // SAFETY: used with the layouts that were asked for.
        unsafe {
            let first = allocator.alloc(large);
            first.write_bytes(7, large.size());
            allocator.dealloc(first, large);
            let second = allocator.alloc_zeroed(alike);
            assert_eq!(first, second);
            assert!((0..alike.size()).all(|at| *second.add(at) == 0));
            let third = allocator.alloc(alike);
            assert_ne!(second, third);
            allocator.dealloc(second, alike);
            allocator.dealloc(third, alike);
        }
    }

    #[test]
    fn never_is_more_held_than_a_quarter_above_what_was_used_at_once() {
        let allocator = Keeper::new();
        let sizes: Vec<Layout> = (1..40).map(|i| layout((i * 7 % 13 + 1) << 20)).collect();
        let mut most_used = 0;
        for pair in sizes.windows(2) {
            // SAFETY: used with the layouts that were asked for.
            unsafe {
                let blocks = [allocator.alloc(pair[0]), allocator.alloc(pair[1])];
                most_used = most_used.max(pair[0].size() + pair[1].size());
                for (block, layout) in blocks.into_iter().zip(pair) {
                    let (used, waiting) = held(&allocator);
                    // Sizes are rounded up by an eighth at most.
                    assert!(used + waiting <= (most_used + most_used / 8) * 5 / 4);
                    block.write_bytes(1, layout.size());
                    allocator.dealloc(block, *layout);
                }
            }
        }
        assert_eq!(held(&allocator).0, 0);
    }

    #[test]
    fn small_blocks_are_the_systems() {
        let allocator = Keeper::new();
        let small = layout(1000);
        // SAFETY: used with the layout that was asked for.
        unsafe {
            let block = allocator.alloc(small);
            assert_eq!(held(&allocator), (0, 0));
            allocator.dealloc(block, small);
        }
        assert_eq!(held(&allocator), (0, 0));
    }
}
