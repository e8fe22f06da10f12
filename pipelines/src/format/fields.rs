//! Numbers and text at byte offsets of a header.

use super::header::ByteOrder;

/// Text of no known encoding, up to the first NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Numbers at byte offsets; past the end there are zeros.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) head: &'a [u8],
    pub(super) order: ByteOrder,
}

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self.head.get(at..).and_then(<[u8]>::first_chunk::<N>);
        found.copied().unwrap_or([0; N])
    }

    /// As [`Self::array`], least significant byte first.
    fn ordered<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = self.array(at);
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    }

    pub(super) fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.ordered(at))
    }

    pub(super) fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.ordered(at))
    }

    pub(super) fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.ordered(at))
    }

    pub(super) fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.ordered(at)))
    }

    pub(super) fn f64(&self, at: usize) -> f64 {
        f64::from_le_bytes(self.ordered(at))
    }
}
