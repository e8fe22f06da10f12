//! The desktop viewer: slices, masks and predictions of scans.
