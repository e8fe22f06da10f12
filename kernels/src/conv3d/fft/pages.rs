//! Large arrays on large pages, where the system grants them on request: a first touch then costs one fault each 2 MB
//! instead of each 4 KB, and the stages' long strides find their addresses translated.

#![expect(unsafe_code, reason = "advice to the system about memory")]

use super::lanes::Line;

/// Asks for large pages for an array that nobody has touched yet, such as `vec![0.0; n]` gives: the threads that write
/// it then share the cost of its pages.
pub(super) fn untouched<T>(array: Vec<T>) -> Vec<T> {
    advise(array.as_ptr().cast(), size_of_val(array.as_slice()));
    array
}

/// Lines of zeros.
pub(super) fn lines(len: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(len);
    advise(lines.as_ptr().cast(), len * size_of::<Line>());
    lines.resize(len, Line::ZERO);
    lines
}

/// Asks for large pages. What the system does with it changes no result.
#[cfg(target_os = "linux")]
fn advise(start: *const u8, bytes: usize) {
    const PAGE: usize = 4096;
    const LARGE_PAGE: usize = 2 << 20;
    const MADV_HUGEPAGE: i32 = 14;
    unsafe extern "C" {
        // Of the C library, which the standard library links on every Linux target.
        fn madvise(start: *mut u8, bytes: usize, advice: i32) -> i32;
    }
    let skipped = start.align_offset(PAGE);
    if bytes < 2 * LARGE_PAGE || skipped > bytes {
        return;
    }
    let whole = (bytes - skipped) / PAGE * PAGE;
    // SAFETY: the range lies in one allocation of ours; this advice leaves its contents as they are.
    unsafe { madvise(start.wrapping_add(skipped).cast_mut(), whole, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *const u8, _: usize) {}
