//! The picture by which a person judges a registration: slices of the scan in MNI space with the outline of a brain mask.
//!
//! Rows: axial, coronal, sagittal; columns: from the lower to the upper end of the brain. Left is left: x grows to
//! the right of the picture, z upward; in axial slices y grows upward, in sagittal ones to the right. Where the scan
//! has no data the picture is black. Shown is the scan itself before masking, since what a wrong mask cut off would
//! be missing from the result.

use std::io;

use crate::interpolate::trilinear;
use crate::space::Affine;
use crate::volume::{Mask, Volume};

/// Slices in a row.
const COLUMNS: usize = 5;
/// Where slices lie between the ends of the mask.
const FRACTIONS: [f64; COLUMNS] = [0.15, 0.325, 0.5, 0.675, 0.85];
/// The voxel axes drawn to the right and upward, and the one that slices are stacked along: one row each.
const PLANES: [[usize; 3]; 3] = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];
/// Pixels between slices.
const GAP: usize = 4;
/// Share of the brightest pixels that may be white.
const WHITE_SHARE: f64 = 0.005;
const OUTLINE_RGB: [u8; 3] = [255, 92, 60];

/// A picture in memory, rows from the top.
pub(crate) struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// Draws the scan as `mni_from_scan` places it, on the voxels of `mask`, which lies in MNI space.
///
/// Black where the affine has no inverse.
pub(crate) fn contact_sheet(scan: &Volume, mni_from_scan: &Affine, mask: &Mask) -> Picture {
    let sides = mask.shape().0;
    let cell_width = PLANES
        .iter()
        .map(|[right, ..]| sides[*right])
        .max()
        .unwrap_or_default()
        + GAP;
    let width = COLUMNS * cell_width + GAP;
    let height = PLANES
        .iter()
        .map(|[_, up, _]| sides[*up] + GAP)
        .sum::<usize>()
        + GAP;
    let mut picture = Picture {
        width,
        height,
        rgb: vec![0; 3 * width * height],
    };
    let Some(scan_from_mni) = mni_from_scan.inverse() else {
        return picture;
    };
    let scan_voxel_from_mask_voxel =
        scan.voxel_from_world() * scan_from_mni * mask.world_from_voxel();

    let mut slices = Vec::new();
    let mut top = GAP;
    for plane in PLANES {
        let [right, up, along] = plane;
        let (first, last) = extent(mask, along);
        for (column, fraction) in FRACTIONS.iter().enumerate() {
            let at = (first as f64 + fraction * (last - first) as f64).round() as usize;
            let left = GAP + column * cell_width + (cell_width - GAP - sides[right]) / 2;
            let slice = Slice {
                plane,
                at,
                sides: [sides[right], sides[up]],
                left,
                top,
            };
            slices.push((slice.values(scan, &scan_voxel_from_mask_voxel), slice));
        }
        top += sides[up] + GAP;
    }
    let white = white_level(slices.iter().flat_map(|(values, _)| values));
    for (values, slice) in &slices {
        slice.draw(values, white, mask, &mut picture);
    }
    picture
}

impl Picture {
    /// The picture as a PNG file.
    ///
    /// # Errors
    /// What `out` answers.
    pub(crate) fn write_png(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
        let mut encoder = png::Encoder::new(out, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(())
    }

    fn set(&mut self, x: usize, y: usize, rgb: [u8; 3]) {
        let at = 3 * (x + self.width * y);
        if let Some(pixel) = self.rgb.get_mut(at..at + 3) {
            pixel.copy_from_slice(&rgb);
        }
    }
}

/// One slice and its place in the picture.
struct Slice {
    plane: [usize; 3],
    at: usize,
    /// Pixels to the right and upward.
    sides: [usize; 2],
    left: usize,
    top: usize,
}

impl Slice {
    fn voxel(&self, right: usize, up: usize) -> [usize; 3] {
        let mut voxel = [self.at; 3];
        voxel[self.plane[0]] = right;
        voxel[self.plane[1]] = up;
        voxel
    }

    /// Grey values of the scan, row by row from the bottom; 0 where there are none.
    fn values(&self, scan: &Volume, scan_voxel_from_mask_voxel: &Affine) -> Vec<f32> {
        let [width, height] = self.sides;
        let mut values = Vec::with_capacity(width * height);
        for up in 0..height {
            for right in 0..width {
                let voxel = self.voxel(right, up).map(|i| i as f64);
                let at = scan_voxel_from_mask_voxel.apply(voxel);
                values.push(trilinear(scan.values(), scan.shape(), at).unwrap_or(0.0));
            }
        }
        values
    }

    fn draw(&self, values: &[f32], white: f32, mask: &Mask, picture: &mut Picture) {
        let [width, height] = self.sides;
        for (i, value) in values.iter().enumerate() {
            let (right, up) = (i % width, i / width);
            let grey = (value / white * 255.0).clamp(0.0, 255.0) as u8;
            let rgb = if self.is_outline(mask, right, up) {
                OUTLINE_RGB
            } else {
                [grey; 3]
            };
            picture.set(self.left + right, self.top + height - 1 - up, rgb);
        }
    }

    /// Whether the voxel is in the mask and one of its neighbours in the plane is not.
    fn is_outline(&self, mask: &Mask, right: usize, up: usize) -> bool {
        let inside = |right, up| mask.get(self.voxel(right, up)) == Some(true);
        let neighbours = [
            (right.wrapping_sub(1), up),
            (right + 1, up),
            (right, up.wrapping_sub(1)),
            (right, up + 1),
        ];
        inside(right, up) && neighbours.iter().any(|(right, up)| !inside(*right, *up))
    }
}

/// First and last voxel of the mask along an axis; 0 and 0 where it is empty.
fn extent(mask: &Mask, axis: usize) -> (usize, usize) {
    let [nx, ny, _] = mask.shape().0;
    let inside = mask
        .values()
        .iter()
        .enumerate()
        .filter(|(_, inside)| **inside);
    inside
        .map(|(i, _)| [i % nx, i / nx % ny, i / nx / ny][axis])
        .fold(None, |ends, at| {
            let (first, last) = ends.unwrap_or((at, at));
            Some((at.min(first), at.max(last)))
        })
        .unwrap_or((0, 0))
}

/// The value that is drawn white; never 0.
fn white_level<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let mut bright: Vec<f32> = values.copied().filter(|value| *value > 0.0).collect();
    if bright.is_empty() {
        return 1.0;
    }
    let rank = ((bright.len() - 1) as f64 * (1.0 - WHITE_SHARE)) as usize;
    *bright.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::VoxelShape;

    const SIDES: [usize; 3] = [20, 24, 22];

    /// A ball of radius 6 voxels in the middle of the grid.
    fn ball() -> Mask {
        let shape = VoxelShape(SIDES);
        let inside = |i: usize| {
            let voxel = [i % 20, i / 20 % 24, i / 480];
            let squares = voxel
                .iter()
                .zip(SIDES)
                .map(|(v, side)| (*v as f64 - side as f64 / 2.0).powi(2));
            squares.sum::<f64>() <= 36.0
        };
        let place = Affine::grid([2.0; 3], [-20.0, -24.0, -22.0]);
        Mask::new((0..shape.n_voxels()).map(inside).collect(), shape, place).unwrap()
    }

    fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (x + picture.width * y);
        [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
    }

    #[test]
    fn right_of_the_head_is_right_in_the_picture_and_the_top_is_up() {
        let mask = ball();
        let [nx, ny, nz] = SIDES;
        // Bright in the right, front, upper corner of the grid.
        let mut scan = mask.map(|_| 0.0);
        for (i, value) in scan.values_mut().iter_mut().enumerate() {
            let [x, y, z] = [i % nx, i / nx % ny, i / nx / ny];
            *value = f32::from(u8::from(x >= 14 && y >= 14 && z >= 17));
        }
        let picture = contact_sheet(&scan, &Affine::identity(), &mask);
        let cell = ny + GAP;
        // Coronal row, last column: the slice at 85 % of y is z up and x to the right.
        let (left, top) = (GAP + 4 * cell + (ny - nx) / 2, 2 * GAP + ny);
        assert_eq!(pixel(&picture, left + nx - 2, top + 1), [255; 3]);
        assert_eq!(pixel(&picture, left + 1, top + 1), [0; 3]);
        assert_eq!(pixel(&picture, left + nx - 2, top + nz - 2), [0; 3]);
    }

    #[test]
    fn the_outline_has_the_diameter_of_the_mask() {
        let mask = ball();
        let picture = contact_sheet(&mask.map(|_| 0.0), &Affine::identity(), &mask);
        let cell = SIDES[1] + GAP;
        let left = GAP + 2 * cell;
        let middle = GAP + SIDES[1] - 1 - SIDES[1] / 2;
        let outline: Vec<usize> = (left..left + cell)
            .filter(|x| pixel(&picture, *x, middle) == OUTLINE_RGB)
            .collect();
        assert_eq!(outline.len(), 2);
        assert_eq!(outline[1] - outline[0], 12);
    }

    #[test]
    fn a_scan_moved_to_mni_is_drawn_where_the_affine_puts_it() {
        let mask = ball();
        let scan = mask.map(|inside| f32::from(u8::from(*inside)));
        let moved = Volume::new(
            scan.values().to_vec(),
            scan.shape(),
            Affine::grid([2.0; 3], [100.0, -24.0, -22.0]),
        )
        .unwrap();
        let mni_from_scan = Affine::grid([1.0; 3], [-120.0, 0.0, 0.0]);
        let here = contact_sheet(&scan, &Affine::identity(), &mask);
        assert!(contact_sheet(&moved, &mni_from_scan, &mask).rgb == here.rgb);
        assert!(contact_sheet(&moved, &Affine::identity(), &mask).rgb != here.rgb);
    }

    #[test]
    fn the_png_holds_the_picture() {
        let mask = ball();
        let scan = mask.map(|inside| f32::from(u8::from(*inside)));
        let picture = contact_sheet(&scan, &Affine::identity(), &mask);
        let mut file = Vec::new();
        picture.write_png(&mut file).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(
            (reader.info().width as usize, reader.info().height as usize),
            (picture.width, picture.height)
        );
        assert!(rgb == picture.rgb);
    }
}
