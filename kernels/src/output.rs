//! Fresh arrays for results.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]

use std::mem::MaybeUninit;

use crate::large_pages;

/// An array of `len` numbers.
///
/// # Safety
/// `write` must write every place.
pub(crate) unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = large_pages::with_capacity(len);
    write(&mut numbers.spare_capacity_mut()[..len]);
    // SAFETY: the caller vouches that `write` has written all of them.
    unsafe { numbers.set_len(len) };
    numbers
}

/// Numbers as places to write numbers to.
///
/// # Safety
/// Only numbers may be written to them.
pub(crate) unsafe fn places(numbers: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    let (start, len) = (numbers.as_mut_ptr().cast(), numbers.len());
    // SAFETY: the same memory, borrowed for as long; the caller vouches that it will hold numbers.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}
