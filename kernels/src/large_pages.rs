//! Large arrays on large pages, where the system grants them on request: a first touch then costs one fault each 2 MB
//! instead of each 4 KB, and long strides find their addresses translated. Where it declines, nothing is lost.

#![expect(unsafe_code, reason = "advice to the system about memory")]

/// Asks for large pages for an array that nobody has touched yet, such as `vec![0.0; n]` gives: the threads that write
/// it then share the cost of its pages.
pub(crate) fn untouched<T>(array: Vec<T>) -> Vec<T> {
    advise(array.as_ptr().cast(), size_of_val(array.as_slice()));
    array
}

/// An empty array with room for `len` elements.
pub(crate) fn with_capacity<T>(len: usize) -> Vec<T> {
    let array: Vec<T> = Vec::with_capacity(len);
    advise(array.as_ptr().cast(), len * size_of::<T>());
    array
}

#[cfg(target_os = "linux")]
fn advise(start: *const u8, bytes: usize) {
    const PAGE: usize = 4096;
    const LARGE_PAGE: usize = 2 << 20;
    let skipped = start.align_offset(PAGE);
    if bytes < 2 * LARGE_PAGE || skipped > bytes {
        return;
    }
    let whole = (bytes - skipped) / PAGE * PAGE;
    let start = start.wrapping_add(skipped).cast_mut();
    // SAFETY: the range lies in one allocation of ours; this advice leaves its contents as they are.
    let _declined = unsafe { libc::madvise(start.cast(), whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *const u8, _: usize) {}
