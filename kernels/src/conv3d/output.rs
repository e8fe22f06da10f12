//! Fresh arrays for results.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]

use std::mem::MaybeUninit;

/// An array of `len` numbers.
///
/// # Safety
/// `write` must write every place.
pub(crate) unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(len);
    write(&mut numbers.spare_capacity_mut()[..len]);
    // SAFETY: the caller vouches that `write` has written all of them.
    unsafe { numbers.set_len(len) };
    numbers
}
