//! `to = start + left · right`: rows of the right factor, each times a number of the left one, summed in registers.
#![expect(unsafe_code, reason = "unchecked loads and stores in the inner loop")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::cell::Cell;
use std::mem::MaybeUninit;

use super::Matrix;
use crate::conv3d::row_copy::copy;
use crate::conv3d::simd::{Kernel, Simd};

/// Vectors of a row that are summed at once. With four rows they fill 12 of AVX2's 16 registers, with eight 24 of
/// AVX-512's 32.
const VECTORS: usize = 3;
/// Products that are added one after the other, at most; the sums of such chains are added in turn, for fewer digits are
/// lost so. As many rows of the right factor, [`VECTORS`] long, also stay in the innermost cache.
const CHAIN: usize = 192;
/// Fewest rows of the result for which columns of the right factor are copied where they don't lie well.
const FEWEST_ROWS: usize = 16;
/// Numbers in a cache line.
const LINE: usize = 16;
/// Numbers of copied columns.
const COPIED: usize = CHAIN * VECTORS * LINE;

thread_local! {
    /// Copied columns of the right factor.
    static PANEL: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    /// Copied rows of the left factor.
    static BANDS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Rows of the left factor that are copied side by side.
const BAND: usize = 8;

/// What the sums begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing.
    Zero,
    /// A number for each row.
    OfRows(&'a [f32]),
    /// A number for each column.
    OfColumns(&'a [f32]),
}

/// `to = start + left · right`. The right factor has contiguous rows; a row of the result lies in each slice of `to`, which
/// is as long as the right factor has columns.
pub(crate) struct Product<'a, 'o> {
    left: Matrix<'a>,
    right: Matrix<'a>,
    start: Start<'a>,
    /// Whether to add to what is there.
    adds: bool,
    /// Whether some columns of the right factor are copied before they are multiplied.
    copies: bool,
    /// The left factor's rows as [`Product::bands`] has copied them, so many terms from a band to the next; empty otherwise.
    bands: Vec<f32>,
    to: &'a mut [&'o mut [MaybeUninit<f32>]],
}

impl<'a, 'o> Product<'a, 'o> {
    /// Writes all of `to`.
    pub(crate) fn new(
        left: Matrix<'a>,
        right: Matrix<'a>,
        start: Start<'a>,
        to: &'a mut [&'o mut [MaybeUninit<f32>]],
    ) -> Self {
        let ([m, k], [inner, n]) = (left.shape, right.shape);
        assert!(k == inner && m == to.len() && to.iter().all(|row| row.len() == n));
        assert!(right.strides[1] == 1 || n <= 1);
        match start {
            Start::Zero => {}
            Start::OfRows(numbers) => assert!(numbers.len() == m),
            Start::OfColumns(numbers) => assert!(numbers.len() == n),
        }
        Self {
            left,
            right,
            start,
            adds: false,
            copies: m >= FEWEST_ROWS && !lies_well(right),
            bands: Vec::new(),
            to,
        }
    }

    /// Adds to `to` instead.
    ///
    /// # Safety
    /// All of `to` must have been written before.
    pub(crate) unsafe fn adding(self) -> Self {
        Self { adds: true, ..self }
    }
}

/// Where a tile of the result lies.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// Columns.
    len: usize,
}

impl Kernel for Product<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let [k, n] = self.right.shape;
        let mut panel = PANEL.take();
        if self.copies {
            panel.resize(COPIED + LINE, 0.0);
        }
        let start = panel.as_ptr().align_offset(4 * LINE).min(LINE);
        let mut copied = panel.get_mut(start..).unwrap_or_default();
        if !self.copies {
            copied = &mut [];
        }
        let copies_bands =
            self.left.strides[0] == 1 && self.to.len() >= FEWEST_ROWS && n > VECTORS * S::LANES;
        if copies_bands {
            self.bands = BANDS.take();
        }
        // Without products there is still a start.
        let chain = k.div_ceil(k.div_ceil(CHAIN).max(1)).max(1);
        for first in (0..k.max(1)).step_by(chain) {
            let terms = first..k.min(first + chain);
            if copies_bands {
                self.copy_bands(terms.clone());
            }
            for column in (0..n).step_by(VECTORS * S::LANES) {
                let len = (n - column).min(VECTORS * S::LANES);
                let mut right = (self.right.at(terms.start, column), self.right.strides[0]);
                if VECTORS * S::LANES * terms.len() <= copied.len() {
                    for (to, term) in copied
                        .chunks_exact_mut(VECTORS * S::LANES)
                        .zip(terms.clone())
                    {
                        let from = term * self.right.strides[0] + column;
                        copy(simd, &self.right.numbers[from..from + len], &mut to[..len]);
                    }
                    right = (copied.as_ptr(), VECTORS * S::LANES);
                }
                self.columns(simd, (column, len), right, terms.clone());
            }
            self.adds = true;
            self.start = Start::Zero;
        }
        PANEL.set(panel);
        if copies_bands {
            BANDS.set(self.bands);
        }
    }
}

/// Whether rows begin with cache lines, an odd number of them apart: then no load needs two lines, and the rows of some
/// columns don't fall on the same few places of the cache.
fn lies_well(matrix: Matrix<'_>) -> bool {
    let stride = matrix.strides[0];
    stride.is_multiple_of(LINE)
        && !stride.is_multiple_of(2 * LINE)
        && matrix.numbers.as_ptr().align_offset(4 * LINE) == 0
}

impl Product<'_, '_> {
    /// Copies some terms of the left factor, whose columns are contiguous, as `[band][term][row of the band]`; rows beyond the
    /// last whole band stay where they are.
    #[inline(always)]
    fn copy_bands(&mut self, terms: std::ops::Range<usize>) {
        let m = self.to.len();
        let of_band = terms.len() * BAND;
        self.bands.resize(m / BAND * of_band, 0.0);
        for (at, term) in terms.enumerate() {
            let column = &self.left.numbers[term * self.left.strides[1]..][..m];
            let bands = self.bands.chunks_exact_mut(of_band);
            for (band, from) in bands.zip(column.chunks_exact(BAND)) {
                band[at * BAND..][..BAND].copy_from_slice(from);
            }
        }
    }

    /// Where the left factor's numbers for some rows begin, and its strides. Rows are taken in powers of two up to [`BAND`],
    /// longest first, so that none of them leaves its band.
    #[inline(always)]
    fn left_at(&self, row: usize, terms: &std::ops::Range<usize>) -> (*const f32, [usize; 2]) {
        let of_band = terms.len() * BAND;
        if (row / BAND + 1) * of_band <= self.bands.len() {
            let start = row / BAND * of_band + row % BAND;
            (self.bands.as_ptr().wrapping_add(start), [1, BAND])
        } else {
            (self.left.at(row, terms.start), self.left.strides)
        }
    }

    #[inline(always)]
    fn columns<S: Simd>(
        &mut self,
        simd: S,
        (column, len): (usize, usize),
        right: (*const f32, usize),
        terms: std::ops::Range<usize>,
    ) {
        let m = self.to.len();
        let mut row = 0;
        while row < m {
            let place = Place { row, column, len };
            row += match m - row {
                8.. if S::LANES > 8 => self.rows::<S, 8>(simd, place, right, terms.clone()),
                4.. => self.rows::<S, 4>(simd, place, right, terms.clone()),
                2.. => self.rows::<S, 2>(simd, place, right, terms.clone()),
                _ => self.rows::<S, 1>(simd, place, right, terms.clone()),
            };
        }
    }

    #[inline(always)]
    fn rows<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        place: Place,
        right: (*const f32, usize),
        terms: std::ops::Range<usize>,
    ) -> usize {
        let (left, left_strides) = self.left_at(place.row, &terms);
        let tile = Tile::<M> {
            left,
            left_strides,
            right: right.0,
            right_stride: right.1,
            n_terms: terms.len(),
            start: match self.start {
                Start::Zero => Start::Zero,
                Start::OfRows(numbers) => Start::OfRows(&numbers[place.row..place.row + M]),
                Start::OfColumns(numbers) => {
                    Start::OfColumns(&numbers[place.column..place.column + place.len])
                }
            },
            adds: self.adds,
            len: place.len,
            to: std::array::from_fn(|m| {
                self.to[place.row + m][place.column..place.column + place.len]
                    .as_mut_ptr()
                    .cast()
            }),
        };
        simd.call(tile);
        M
    }
}

/// M rows of at most [`VECTORS`] vectors. Rows, columns and terms lie inside of what [`Product::new`] has checked.
struct Tile<'a, const M: usize> {
    left: *const f32,
    left_strides: [usize; 2],
    right: *const f32,
    right_stride: usize,
    n_terms: usize,
    start: Start<'a>,
    adds: bool,
    len: usize,
    to: [*mut f32; M],
}

impl<const M: usize> Kernel for Tile<'_, M> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.len.div_ceil(S::LANES) {
            3 => self.vectors::<S, 3>(simd),
            2 => self.vectors::<S, 2>(simd),
            _ => self.vectors::<S, 1>(simd),
        }
    }
}

impl<const M: usize> Tile<'_, M> {
    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(&self, simd: S) {
        let last = simd.mask(0..self.len - (N - 1) * S::LANES);
        let mut sums = [[simd.splat(0.0); N]; M];
        match self.start {
            Start::Zero => {}
            Start::OfRows(numbers) => {
                for (sums, number) in sums.iter_mut().zip(numbers) {
                    *sums = [simd.splat(*number); N];
                }
            }
            Start::OfColumns(numbers) => {
                // SAFETY: there is a number for each column.
                sums = [unsafe { load_row(simd, numbers.as_ptr(), last) }; M];
            }
        }
        if self.len == N * S::LANES {
            self.multiply::<S, N, true>(simd, last, &mut sums);
        } else {
            self.multiply::<S, N, false>(simd, last, &mut sums);
        }
        for (to, sums) in self.to.into_iter().zip(&mut sums) {
            if self.adds {
                // SAFETY: `to` has been written where products add to it, and is as long as the tile.
                let before: [S::Vector; N] = unsafe { load_row(simd, to, last) };
                for (sum, before) in sums.iter_mut().zip(before) {
                    *sum = simd.mul_add(simd.splat(1.0), *sum, before);
                }
            }
            for (n, sum) in sums.iter().enumerate() {
                let to = to.wrapping_add(n * S::LANES);
                if n + 1 < N {
                    // SAFETY: the row has N vectors, this one whole.
                    unsafe { simd.store(to, *sum) };
                } else {
                    // SAFETY: of the last vector the row has as many numbers as the mask.
                    unsafe { simd.store_masked(to, last, *sum) };
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<S: Simd, const N: usize, const WHOLE: bool>(
        &self,
        simd: S,
        last: S::Mask,
        sums: &mut [[S::Vector; N]; M],
    ) {
        let mut total = *sums;
        let [row_stride, term_stride] = self.left_strides;
        for term in 0..self.n_terms {
            let right = self.right.wrapping_add(term * self.right_stride);
            let left = self.left.wrapping_add(term * term_stride);
            let mut vectors = [simd.splat(0.0); N];
            for (n, vector) in vectors.iter_mut().enumerate() {
                let from = right.wrapping_add(n * S::LANES);
                *vector = if WHOLE || n + 1 < N {
                    // SAFETY: the row has N vectors, this one whole.
                    unsafe { simd.load(from) }
                } else {
                    // SAFETY: of the last vector the row has as many numbers as the mask.
                    unsafe { simd.load_masked(from, last) }
                };
            }
            for (m, total) in total.iter_mut().enumerate() {
                // SAFETY: the left factor has M rows from here on.
                let number = simd.splat_next(unsafe { &*left.wrapping_add(m * row_stride) });
                for n in 0..N {
                    total[n] = simd.mul_add(number, vectors[n], total[n]);
                }
            }
        }
        *sums = total;
    }
}

/// # Safety
/// N vectors must be readable, of the last one as many lanes as the mask has.
#[inline(always)]
unsafe fn load_row<S: Simd, const N: usize>(
    simd: S,
    from: *const f32,
    last: S::Mask,
) -> [S::Vector; N] {
    let mut vectors = [simd.splat(0.0); N];
    for (n, vector) in vectors.iter_mut().enumerate() {
        let from = from.wrapping_add(n * S::LANES);
        *vector = if n + 1 < N {
            // SAFETY: the caller vouches for whole vectors before the last.
            unsafe { simd.load(from) }
        } else {
            // SAFETY: the caller vouches for as many numbers of the last vector as the mask has.
            unsafe { simd.load_masked(from, last) }
        };
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv3d::simd::{Level, Portable};

    /// Small whole numbers, so that sums are exact.
    fn numbers(len: usize, salt: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + salt) % 11) as f32 - 5.0)
            .collect()
    }

    fn check(level: Level, [m, k, n]: [usize; 3], is_transposed: bool) {
        let (left, right) = (numbers((m + 1) * (k + 2), 1), numbers(k * (n + 3) + n, 2));
        let a = if is_transposed {
            Matrix::of_rows(&left, [k, m], m + 1).transposed()
        } else {
            Matrix::of_rows(&left, [m, k], k + 2)
        };
        let b = Matrix::of_rows(&right, [k, n], n + 3);
        let (of_rows, of_columns) = (numbers(m, 3), numbers(n, 4));
        for start in [
            Start::Zero,
            Start::OfRows(&of_rows),
            Start::OfColumns(&of_columns),
        ] {
            // What stands behind the rows must stay.
            let mut output = vec![MaybeUninit::new(9.0); m * (n + 1)];
            let mut rows: Vec<&mut [MaybeUninit<f32>]> = Vec::new();
            for row in output.chunks_mut(n + 1) {
                rows.push(&mut row[..n]);
            }
            level.run(Product::new(a, b, start, &mut rows));
            // SAFETY: the product has written all rows.
            level.run(unsafe { Product::new(a, b, Start::Zero, &mut rows).adding() });
            for (row, found) in output.chunks(n + 1).enumerate() {
                // SAFETY: all numbers were there from the beginning.
                let found = found.iter().map(|number| unsafe { number.assume_init() });
                for (column, found) in found.enumerate() {
                    let at = |term: usize| {
                        let left = if is_transposed {
                            left[term * (m + 1) + row]
                        } else {
                            left[row * (k + 2) + term]
                        };
                        left * right[term * (n + 3) + column]
                    };
                    let begun = match start {
                        _ if column == n => 9.0,
                        Start::Zero => 0.0,
                        Start::OfRows(numbers) => numbers[row],
                        Start::OfColumns(numbers) => numbers[column],
                    };
                    let sum: f32 = if column < n {
                        (0..k).map(at).sum()
                    } else {
                        0.0
                    };
                    assert_eq!(found, begun + 2.0 * sum, "{m} {k} {n}: {row} {column}");
                }
            }
        }
    }

    #[test]
    fn a_product_is_its_definition_for_all_sizes_orders_and_starts() {
        for level in [Level::Portable(Portable), Level::detect(), Level::widest()] {
            for shape in [
                [1, 1, 1],
                [3, 5, 7],
                [8, 4, 48],
                [15, 0, 17],
                [13, 300, 33],
                [17, 257, 100],
                [4, 513, 24],
                // With rows that lie badly, 256 numbers apart, see `check`.
                [40, 130, 253],
                [2, 3, 0],
                [0, 3, 2],
            ] {
                check(level, shape, false);
                check(level, shape, true);
            }
        }
    }
}
