//! Fresh arrays for results.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]

use std::mem::MaybeUninit;

/// An array of `len` numbers.
///
/// # Safety
/// `write` must write every place.
pub(crate) unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(len);
    #[cfg(target_os = "linux")]
    ask_for_large_pages(numbers.spare_capacity_mut());
    write(&mut numbers.spare_capacity_mut()[..len]);
    // SAFETY: the caller vouches that `write` has written all of them.
    unsafe { numbers.set_len(len) };
    numbers
}

/// First touching a page costs several times what writing it does; large pages are 512 times fewer. Where the kernel
/// declines, nothing is lost.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(numbers: &mut [MaybeUninit<f32>]) {
    const LARGE_PAGE: usize = 2 << 20;
    let bytes = size_of_val(numbers);
    if bytes < 4 * LARGE_PAGE {
        return;
    }
    let skip = numbers.as_ptr().align_offset(LARGE_PAGE);
    let len = bytes.saturating_sub(4 * skip) / LARGE_PAGE * LARGE_PAGE;
    let start = numbers.as_mut_ptr().wrapping_add(skip);
    // SAFETY: the range lies inside the array, and the advice changes no contents.
    let _declined = unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
}
