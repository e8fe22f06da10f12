//! A NIfTI-1 file written byte by byte, for tests that open a scan.

use std::path::Path;

use brainage_pipelines::atomic::write_atomically;

/// Writes a float32 scan on RAS+ axes of 1 mm; voxel `[x, y, z]` holds `1 + x + 10·y + 100·z`.
pub(crate) fn write(path: &Path, shape: [usize; 3]) {
    let mut bytes = vec![0u8; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (i, n) in [3, shape[0], shape[1], shape[2], 1, 1, 1, 1]
        .into_iter()
        .enumerate()
    {
        put(40 + 2 * i, &(n as i16).to_le_bytes());
        put(76 + 4 * i, &1f32.to_le_bytes());
    }
    put(70, &16i16.to_le_bytes());
    put(72, &32i16.to_le_bytes());
    put(108, &352f32.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[2]);
    put(254, &1i16.to_le_bytes());
    for row in 0..3 {
        put(280 + 20 * row, &1f32.to_le_bytes());
    }
    put(344, b"n+1\0");
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            for x in 0..shape[0] {
                bytes.extend(((1 + x + 10 * y + 100 * z) as f32).to_le_bytes());
            }
        }
    }
    write_atomically(path, |file| file.write_all(&bytes)).unwrap();
}
