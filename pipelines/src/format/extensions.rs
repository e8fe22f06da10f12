//! Header extensions, which lie between a NIfTI header and its voxels: counted through, never read.
//!
//! The offset of the voxels decides where these begin, whatever the extensions say; but a damaged one is a sign that
//! something went wrong with the file, and worth a word.
//!
//! # References
//! nifti1.h, "NIFTI-1 header extensions".

use super::fields::Fields;
use super::header::ByteOrder;

/// Sizes are multiples of this.
const UNIT: i32 = 16;

/// What there is to say about the bytes between header and voxels: four that tell whether extensions follow, then each
/// with its size and code.
pub(super) fn warning(gap: &[u8], order: ByteOrder) -> Option<String> {
    if gap.first().is_none_or(|extended| *extended == 0) {
        return None;
    }
    let (mut at, mut count) = (4, 0);
    while gap.len() >= at + 8 {
        let size = Fields { head: gap, order }.i32(at);
        let fits = usize::try_from(size).is_ok_and(|size| size <= gap.len() - at);
        if size < UNIT || size % UNIT != 0 || !fits {
            return Some(format!(
                "header extension {count} has a size of {size}; extensions ignored"
            ));
        }
        at += size as usize;
        count += 1;
    }
    None
}
