//! A small picture of a preprocessed volume: one axial, one coronal and one sagittal slice through its middle.
//!
//! For lists in which a person looks at many volumes; [`crate::outputs`] draws the picture by which one scan is judged.
//! Left is left: x grows to the right of the picture, z upward; in the axial slice y grows upward, in the sagittal one to the
//! right.

use std::io;

use crate::volume::Volume;

/// The axes to the right and upward, and the one across the slice.
const PLANES: [[usize; 3]; 3] = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];
/// Share of the brain's voxels that may be black or white at either end.
const CLIPPED: f64 = 0.01;

/// The slices side by side as a gray PNG; a voxel is a pixel, and voxels of value 0 (outside the brain) are black.
///
/// # Errors
/// Where the picture cannot be encoded.
pub fn middle_slices_png(volume: &Volume) -> io::Result<Vec<u8>> {
    let sides = volume.shape().0;
    let width: usize = PLANES.iter().map(|[right, ..]| sides[*right]).sum();
    let height = PLANES
        .iter()
        .map(|[_, up, _]| sides[*up])
        .max()
        .unwrap_or(0);
    let [low, high] = window(volume.values());
    let mut gray = vec![0_u8; width * height];
    let mut left = 0;
    for [right, up, across] in PLANES {
        let top = (height - sides[up]) / 2;
        for row in 0..sides[up] {
            for column in 0..sides[right] {
                let mut at = [0; 3];
                (at[right], at[up], at[across]) = (column, row, sides[across] / 2);
                let value = volume.get(at).unwrap_or(0.0);
                let pixel = (top + sides[up] - 1 - row) * width + left + column;
                if value != 0.0 {
                    // The darkest of the brain stays apart from the background.
                    let share = (value - low) / (high - low);
                    gray[pixel] = (24.0 + 231.0 * share).clamp(24.0, 255.0) as u8;
                }
            }
        }
        left += sides[right];
    }
    let mut png = Vec::new();
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let mut encoder = png::Encoder::new(&mut png, side(width)?, side(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&gray)?;
    writer.finish()?;
    Ok(png)
}

/// The values that become black and white.
fn window(values: &[f32]) -> [f32; 2] {
    let mut brain: Vec<f32> = values.iter().copied().filter(|v| *v != 0.0).collect();
    brain.sort_unstable_by(f32::total_cmp);
    let last = brain.len().saturating_sub(1);
    let at = |share: f64| brain.get((share * last as f64).round() as usize).copied();
    let (low, high) = (at(CLIPPED), at(1.0 - CLIPPED));
    let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(1.0));
    if high > low {
        [low, high]
    } else {
        [low, low + 1.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Affine, VoxelShape};

    fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
        let mut reader = png::Decoder::new(io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut gray = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut gray).unwrap();
        (info.width as usize, info.height as usize, gray)
    }

    #[test]
    fn a_bright_voxel_on_the_right_is_on_the_right_of_the_axial_and_coronal_slices() {
        let shape = VoxelShape([6, 7, 8]);
        let mut values = vec![0.0; shape.n_voxels()];
        // x = 5 is the right side (RAS+); y = 3 and z = 4 lie in the middle slices.
        values[shape.offset([5, 3, 4])] = 9.0;
        values[shape.offset([2, 3, 4])] = -1.0;
        let volume = Volume::new(values, shape, Affine::identity()).unwrap();
        let (width, height, gray) = decode(&middle_slices_png(&volume).unwrap());
        assert_eq!((width, height), (6 + 6 + 7, 8));
        let lit: Vec<[usize; 2]> = (0..gray.len())
            .filter(|at| gray[*at] == 255)
            .map(|at| [at % width, at / width])
            .collect();
        // Axial: column 5 of 6, row 3 from the bottom of 7; coronal: column 5 of the second six, row 4 from the bottom of 8.
        // The sagittal slice through x = 3 holds neither.
        assert_eq!(lit, [[5, 3], [11, 3]]);
        let dim: Vec<usize> = (0..gray.len()).filter(|at| gray[*at] == 24).collect();
        assert_eq!(dim.len(), 2, "the brain's darkest is not black");
    }
}
