//! An image as 8-bit colors, and what moves its pixels: crops, mirrors, scaling, affine maps.

/// Red, green and blue of each pixel, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `3 · width · height` values.
    pub rgb: Vec<u8>,
}

/// A part of an image; it may begin outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Left and upper edge, pixels.
    pub left: f64,
    /// See `left`.
    pub top: f64,
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
}

impl Pixels {
    /// From planes of red, green and blue, each by rows, as CIFAR stores them.
    pub fn from_planes(width: usize, height: usize, planes: &[u8]) -> Self {
        let n = width * height;
        let at = |i: usize| [0, 1, 2].map(|plane| planes.get(plane * n + i).copied().unwrap_or(0));
        Self {
            width,
            height,
            rgb: (0..n).flat_map(at).collect(),
        }
    }

    /// The color at a place; `outside` where there is none.
    pub fn at(&self, x: isize, y: isize, outside: [u8; 3]) -> [u8; 3] {
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        if !inside {
            return outside;
        }
        let start = 3 * (y as usize * self.width + x as usize);
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }

    /// The left side on the right.
    pub fn mirrored(&self) -> Self {
        let rows = self.rgb.chunks_exact(3 * self.width.max(1));
        let rgb = rows.flat_map(|row| row.chunks_exact(3).rev().flatten().copied());
        Self {
            rgb: rgb.collect(),
            ..*self
        }
    }

    /// A window of whole pixels; what lies outside of the image is black.
    pub fn cropped(&self, left: isize, top: isize, width: usize, height: usize) -> Self {
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            for x in 0..width {
                rgb.extend(self.at(left + x as isize, top + y as isize, [0; 3]));
            }
        }
        Self { width, height, rgb }
    }

    /// A window within the image, scaled to a size by a triangle filter that covers at least a pixel of the source and one
    /// of the result (bilinear interpolation; where the result is smaller, with averaging).
    pub fn scaled(&self, window: Window, width: usize, height: usize) -> Self {
        let of_rows = Taps::new(window.top, window.height, height, self.height);
        let of_columns = Taps::new(window.left, window.width, width, self.width);
        // Columns first, for the rows that are needed at all.
        let mut narrow = vec![0.0_f32; 3 * width * self.height];
        let rows = of_rows.first()..of_rows.end();
        for y in rows {
            let row = &self.rgb[3 * y * self.width..][..3 * self.width];
            let target = &mut narrow[3 * y * width..][..3 * width];
            for (pixel, (start, weights)) in target.chunks_exact_mut(3).zip(of_columns.iter()) {
                for (source, weight) in row[3 * start..].chunks_exact(3).zip(weights) {
                    for (sum, value) in pixel.iter_mut().zip(source) {
                        *sum += weight * f32::from(*value);
                    }
                }
            }
        }
        let mut rgb = Vec::with_capacity(3 * width * height);
        let mut sums = vec![0.0_f32; 3 * width];
        for (start, weights) in of_rows.iter() {
            sums.fill(0.0);
            for (row, weight) in narrow[3 * start * width..]
                .chunks_exact(3 * width)
                .zip(weights)
            {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += weight * value;
                }
            }
            rgb.extend(sums.iter().map(|sum| sum.round().clamp(0.0, 255.0) as u8));
        }
        Self { width, height, rgb }
    }

    /// The middle square, scaled so that its side is `side`, after the shorter side of the image was scaled to
    /// `side / share`.
    pub fn center(&self, side: usize, share: f64) -> Self {
        if self.width == side && self.height == side {
            return self.clone();
        }
        let kept = share * self.width.min(self.height) as f64;
        let window = Window {
            left: 0.5 * (self.width as f64 - kept),
            top: 0.5 * (self.height as f64 - kept),
            width: kept,
            height: kept,
        };
        self.scaled(window, side, side)
    }

    /// Takes each pixel from where an affine map says: source = map · (x, y, 1), about the middle, nearest pixel.
    pub fn mapped(&self, map: [[f64; 3]; 2], outside: [u8; 3]) -> Self {
        let (cx, cy) = (
            0.5 * (self.width as f64 - 1.0),
            0.5 * (self.height as f64 - 1.0),
        );
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let (dx, dy) = (x as f64 - cx, y as f64 - cy);
                let place = map.map(|[a, b, c]| a * dx + b * dy + c);
                let (sx, sy) = ((place[0] + cx).round(), (place[1] + cy).round());
                rgb.extend(self.at(sx as isize, sy as isize, outside));
            }
        }
        Self { rgb, ..*self }
    }
}

/// Which pixels of a line each pixel of the result is made of.
struct Taps(Vec<(usize, Vec<f32>)>);

impl Taps {
    fn new(from: f64, length: f64, n: usize, n_source: usize) -> Self {
        let scale = length / n as f64;
        let reach = scale.max(1.0);
        let tap = |i: usize| {
            let middle = from + (i as f64 + 0.5) * scale - 0.5;
            let last = n_source.saturating_sub(1) as f64;
            let first = (middle - reach).ceil().clamp(0.0, last) as usize;
            let end = (middle + reach).floor().clamp(0.0, last) as usize;
            let weight = |j: usize| (1.0 - (j as f64 - middle).abs() / reach).max(0.0);
            let mut weights: Vec<f64> = (first..=end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            if sum <= 0.0 {
                // Outside of the image: its edge.
                let even = 1.0 / weights.len() as f64;
                weights.fill(even);
            } else {
                for weight in &mut weights {
                    *weight /= sum;
                }
            }
            (first, weights.into_iter().map(|w| w as f32).collect())
        };
        Self((0..n).map(tap).collect())
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.0
            .iter()
            .map(|(start, weights)| (*start, weights.as_slice()))
    }

    fn first(&self) -> usize {
        self.0.iter().map(|(start, _)| *start).min().unwrap_or(0)
    }

    fn end(&self) -> usize {
        let ends = self.0.iter().map(|(start, weights)| start + weights.len());
        ends.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Pixels {
        let at = |i: usize| {
            let (x, y) = (i % width, i / width);
            [10 * x as u8, 20 * y as u8, (x + y) as u8]
        };
        Pixels {
            width,
            height,
            rgb: (0..width * height).flat_map(at).collect(),
        }
    }

    #[test]
    fn planes_become_pixels_and_mirrors_undo_themselves() {
        let planes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let pixels = Pixels::from_planes(2, 2, &planes);
        assert_eq!(pixels.rgb, [1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]);
        assert_eq!(pixels.mirrored().at(0, 0, [0; 3]), [2, 6, 10]);
        assert_eq!(pixels.mirrored().mirrored(), pixels);
    }

    #[test]
    fn a_crop_shows_black_outside_of_the_image() {
        let cropped = ramp(4, 3).cropped(-1, 1, 3, 3);
        assert_eq!(cropped.at(0, 0, [9; 3]), [0, 0, 0]);
        assert_eq!(cropped.at(1, 0, [9; 3]), [0, 20, 1]);
        assert_eq!(cropped.at(2, 1, [9; 3]), [10, 40, 3]);
        assert_eq!(cropped.at(2, 2, [9; 3]), [0, 0, 0]);
    }

    #[test]
    fn scaling_to_the_same_size_changes_nothing_and_halving_averages() {
        let image = ramp(6, 4);
        let whole = Window {
            left: 0.0,
            top: 0.0,
            width: 6.0,
            height: 4.0,
        };
        assert_eq!(image.scaled(whole, 6, 4), image);
        // The middle of the result lies between pixels 2 and 3 of 0, 10 … 50, where a triangle of reach 2 takes
        // 0.125, 0.375, 0.375, 0.125 of pixels 1 to 4.
        let half = image.scaled(whole, 3, 2);
        assert_eq!(half.at(1, 0, [0; 3])[0], 25);
        assert_eq!(image.center(4, 1.0).width, 4);
    }

    #[test]
    fn an_affine_map_says_where_pixels_come_from() {
        let image = ramp(5, 5);
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        assert_eq!(image.mapped(identity, [0; 3]), image);
        let shifted = image.mapped([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], [7; 3]);
        assert_eq!(shifted.at(0, 2, [0; 3]), image.at(1, 2, [0; 3]));
        assert_eq!(shifted.at(4, 2, [0; 3]), [7; 3]);
    }
}
