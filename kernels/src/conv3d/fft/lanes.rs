//! Eight numbers at a time: AVX2 with FMA where the processor has it, plain arrays elsewhere, from the same code.
//!
//! Everything above this file is written once, generic over [`Lanes`], and enters a function compiled for the wider
//! instructions through [`Lanes::call`]. No other file of the FFT convolution needs `unsafe`.

#![expect(unsafe_code, reason = "vector instructions are chosen at run time")]
#![expect(
    clippy::inline_always,
    reason = "a vector operation must end up inside the function that has its instructions"
)]

use std::marker::PhantomData;
#[cfg(target_arch = "x86_64")]
use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, _CMP_LT_OQ, _CMP_NLE_UQ, _CMP_ORD_Q, _MM_HINT_T0, _mm_prefetch, _mm256_add_ps,
    _mm256_and_ps, _mm256_andnot_ps, _mm256_blendv_ps, _mm256_castpd_ps, _mm256_castps_pd,
    _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_or_ps,
    _mm256_permute2f128_ps, _mm256_permute4x64_pd, _mm256_set1_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

/// An array written out: `array!(3, i => f(i))` is `[f(0), f(1), f(2)]`.
///
/// `std::array::from_fn` calls a closure, which the compiler makes a function of its own, without the caller's vector
/// instructions; every operation in it would be a call.
macro_rules! array {
    ($n:tt, $i:ident => $value:expr) => {
        $crate::conv3d::fft::lanes::array!(@$n $i $value)
    };
    (@1 $i:ident $e:expr) => { array!(@ $i $e, 0) };
    (@2 $i:ident $e:expr) => { array!(@ $i $e, 0 1) };
    (@3 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2) };
    (@4 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2 3) };
    (@5 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2 3 4) };
    (@6 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2 3 4 5) };
    (@8 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2 3 4 5 6 7) };
    (@9 $i:ident $e:expr) => { array!(@ $i $e, 0 1 2 3 4 5 6 7 8) };
    (@ $i:ident $e:expr, $($at:literal)*) => {
        [$({ let $i: usize = $at; $e }),*]
    };
}
pub(super) use array;

/// Numbers that are worked on together.
pub(super) const LANES: usize = 8;

/// Eight complex numbers, all real parts first: one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [[f32; LANES]; 2]);

impl Line {
    pub(super) const ZERO: Self = Self([[0.0; LANES]; 2]);
}

/// Real and imaginary parts one by one, in the order of memory.
pub(super) fn parts(lines: &[Line]) -> &[[f32; LANES]] {
    // SAFETY: a line is an array of two parts, without padding and more strictly aligned.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), 2 * lines.len()) }
}

/// As [`parts`], to write.
pub(super) fn parts_mut(lines: &mut [Line]) -> &mut [[f32; LANES]] {
    // SAFETY: as in `parts`; the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), 2 * lines.len()) }
}

/// Work that is compiled once for each kind of lanes.
pub(super) trait Kernel {
    /// Does the work. Implementations are `inline(always)`, so that they take over the caller's instructions.
    fn run<S: Lanes>(self);
}

/// Arithmetic on eight numbers.
pub(super) trait Lanes: Copy {
    /// Whether small transforms are functions of their own: plain code is eight times as long, and the compiler would
    /// take minutes over copies of it in every size.
    const SHARED: bool;
    fn splat(value: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · a + b`
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `b − self · a`
    fn neg_mul_add(self, a: Self, b: Self) -> Self;
    /// Number `j` of result `i` is number `i` of argument `j`.
    fn transpose(rows: [Self; LANES]) -> [Self; LANES];
    /// Numbers 0, 2, 4, … and 1, 3, 5, … of the sixteen in `a` and `b`.
    fn halves(a: Self, b: Self) -> [Self; 2];
    /// A mask: where a candidate replaces the best so far. A larger one does, and NaN does unless the best is NaN.
    fn beats(self, best: Self) -> Self;
    /// A mask: where `self < other`.
    fn less(self, other: Self) -> Self;
    /// Either mask.
    fn or(self, other: Self) -> Self;
    /// This mask, except where the other holds.
    fn except(self, other: Self) -> Self;
    /// `self` where the mask holds, else `other`.
    fn select(self, mask: Self, other: Self) -> Self;
    /// Asks for a line that will be read soon.
    fn prefetch(line: &Line);
    /// Runs a kernel as a function of its own.
    fn call<K: Kernel>(kernel: K);
}

/// Which instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    #[cfg(target_arch = "x86_64")]
    Avx2(HasAvx2),
    Portable,
}

/// Proof that this processor has AVX2 and FMA: made by [`Path::detect`] alone.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HasAvx2(());

impl Path {
    /// The best of this processor.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2(HasAvx2(()));
        }
        Self::Portable
    }

    pub(super) fn call<K: Kernel>(self, kernel: K) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(HasAvx2(())) => Avx2::call(kernel),
            Self::Portable => Portable::call(kernel),
        }
    }
}

/// Arrays that the compiler may put into whatever registers the target always has.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

/// All bits, or none.
fn mask(holds: bool) -> f32 {
    f32::from_bits(if holds { u32::MAX } else { 0 })
}

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const SHARED: bool = true;
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    // Rounded twice: without the instruction a fused product is a call of the C library for each number.
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        self.mul(a).add(b)
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        b.sub(self.mul(a))
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| rows[j].0[i])))
    }
    #[inline(always)]
    fn halves(a: Self, b: Self) -> [Self; 2] {
        let both = |i: usize| if i < LANES { a.0[i] } else { b.0[i - LANES] };
        [0, 1].map(|odd| Self(std::array::from_fn(|i| both(2 * i + odd))))
    }
    #[inline(always)]
    fn beats(self, best: Self) -> Self {
        self.zip(best, |c, b| mask(c > b || (c.is_nan() && !b.is_nan())))
    }
    #[inline(always)]
    fn less(self, other: Self) -> Self {
        self.zip(other, |a, b| mask(a < b))
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| f32::from_bits(a.to_bits() | b.to_bits()))
    }
    #[inline(always)]
    fn except(self, other: Self) -> Self {
        self.zip(other, |a, b| f32::from_bits(a.to_bits() & !b.to_bits()))
    }
    #[inline(always)]
    fn select(self, mask: Self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            if mask.0[i].to_bits() == 0 {
                other.0[i]
            } else {
                self.0[i]
            }
        }))
    }
    #[inline(always)]
    fn prefetch(_: &Line) {}
    #[inline(never)]
    fn call<K: Kernel>(kernel: K) {
        kernel.run::<Self>();
    }
}

/// One AVX register. Made only below [`Path::call`] with a [`HasAvx2`], which is what its operations rely on.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    const SHARED: bool = false;
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: this type is used only where AVX2 was detected.
        Self(unsafe { _mm256_set1_ps(value) })
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: the array has eight numbers; AVX2 was detected.
        Self(unsafe { _mm256_loadu_ps(from.as_ptr()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: the array has eight numbers; AVX2 was detected.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: AVX2 and FMA were detected.
        Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: AVX2 and FMA were detected.
        Self(unsafe { _mm256_fnmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        // SAFETY: AVX2 was detected.
        unsafe { transpose_avx2(rows) }
    }
    #[inline(always)]
    fn halves(a: Self, b: Self) -> [Self; 2] {
        // SAFETY: AVX2 was detected.
        unsafe { halves_avx2(a, b) }
    }
    #[inline(always)]
    fn beats(self, best: Self) -> Self {
        // SAFETY: AVX2 was detected.
        unsafe { beats_avx2(self, best) }
    }
    #[inline(always)]
    fn less(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_or_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn except(self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_andnot_ps(other.0, self.0) })
    }
    #[inline(always)]
    fn select(self, mask: Self, other: Self) -> Self {
        // SAFETY: AVX2 was detected.
        Self(unsafe { _mm256_blendv_ps(other.0, self.0, mask.0) })
    }
    #[inline(always)]
    fn prefetch(line: &Line) {
        // SAFETY: a hint; the address is that of a value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast()) }
    }
    #[inline(always)]
    fn call<K: Kernel>(kernel: K) {
        // SAFETY: AVX2 and FMA were detected.
        unsafe { run_avx2(kernel) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) {
    // A value on the stack that needs a whole cache line makes the compiler align the stack, and with it the registers
    // that it spills there; else every other spill would straddle two lines.
    std::hint::black_box(&mut MaybeUninit::<Line>::uninit());
    kernel.run::<Avx2>();
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn beats_avx2(candidate: Avx2, best: Avx2) -> Avx2 {
    // Not less or equal, which NaN is not either; and the best is a number.
    let not_below = _mm256_cmp_ps::<_CMP_NLE_UQ>(candidate.0, best.0);
    Avx2(_mm256_and_ps(
        not_below,
        _mm256_cmp_ps::<_CMP_ORD_Q>(best.0, best.0),
    ))
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn halves_avx2(a: Avx2, b: Avx2) -> [Avx2; 2] {
    let even = _mm256_shuffle_ps::<0b10_00_10_00>(a.0, b.0);
    let odd = _mm256_shuffle_ps::<0b11_01_11_01>(a.0, b.0);
    let in_order =
        |v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v)));
    [Avx2(in_order(even)), Avx2(in_order(odd))]
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose_avx2(r: [Avx2; LANES]) -> [Avx2; LANES] {
    let pairs = |a: Avx2, b: Avx2| (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpackhi_ps(a.0, b.0));
    let (a0, a1) = pairs(r[0], r[1]);
    let (a2, a3) = pairs(r[2], r[3]);
    let (a4, a5) = pairs(r[4], r[5]);
    let (a6, a7) = pairs(r[6], r[7]);
    let low = |a, b| _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
    let high = |a, b| _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
    let upper = [low(a0, a2), high(a0, a2), low(a1, a3), high(a1, a3)];
    let lower = [low(a4, a6), high(a4, a6), low(a5, a7), high(a5, a7)];
    [
        Avx2(_mm256_permute2f128_ps::<0x20>(upper[0], lower[0])),
        Avx2(_mm256_permute2f128_ps::<0x20>(upper[1], lower[1])),
        Avx2(_mm256_permute2f128_ps::<0x20>(upper[2], lower[2])),
        Avx2(_mm256_permute2f128_ps::<0x20>(upper[3], lower[3])),
        Avx2(_mm256_permute2f128_ps::<0x31>(upper[0], lower[0])),
        Avx2(_mm256_permute2f128_ps::<0x31>(upper[1], lower[1])),
        Avx2(_mm256_permute2f128_ps::<0x31>(upper[2], lower[2])),
        Avx2(_mm256_permute2f128_ps::<0x31>(upper[3], lower[3])),
    ]
}

/// Points of a signal that lie `stride` lines apart.
pub(super) struct Strided<'a, const N: usize> {
    first: *mut Line,
    stride: usize,
    lines: PhantomData<&'a mut [Line]>,
}

impl<'a, const N: usize> Strided<'a, N> {
    /// # Panics
    /// If the last point lies outside.
    #[inline(always)]
    pub(super) fn new(lines: &'a mut [Line], start: usize, stride: usize) -> Self {
        let room = lines.len().saturating_sub(start);
        assert!(
            stride < 1 << 32 && (N - 1) * stride < room,
            "points outside the memory"
        );
        Self {
            first: lines[start..].as_mut_ptr(),
            stride,
            lines: PhantomData,
        }
    }
    /// Point `n` of `N`.
    #[inline(always)]
    pub(super) fn get(&self, n: usize) -> &Line {
        // Known to the compiler, as transforms are written out.
        assert!(n < N, "more points than the transform has");
        // SAFETY: `new` has checked that points below N lie in the slice.
        let point = unsafe { self.first.add(n * self.stride) };
        // SAFETY: it is a line of the slice, which stays borrowed.
        unsafe { &*point }
    }
    /// Point `n` of `N`.
    #[inline(always)]
    pub(super) fn get_mut(&mut self, n: usize) -> &mut Line {
        // Known to the compiler, as transforms are written out.
        assert!(n < N, "more points than the transform has");
        // SAFETY: `new` has checked that points below N lie in the slice.
        let point = unsafe { self.first.add(n * self.stride) };
        // SAFETY: it is a line of the slice, which stays mutably borrowed, as this reference keeps `self`.
        unsafe { &mut *point }
    }
}

/// Copies eight numbers at a time of a slice that may end early; what is missing reads as 0.
#[inline(always)]
pub(super) fn load_or_zero<S: Lanes>(values: &[f32], at: usize) -> S {
    if let Some(Ok(whole)) = values.get(at..at + LANES).map(<&[f32; LANES]>::try_from) {
        return S::load(whole);
    }
    let rest = values.get(at..).unwrap_or(&[]);
    let mut copy = [0.0; LANES];
    copy[..rest.len()].copy_from_slice(rest);
    S::load(&copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Transposed<'a>(&'a mut [[f32; LANES]; LANES]);
    impl Kernel for Transposed<'_> {
        #[inline(always)]
        fn run<S: Lanes>(self) {
            let columns = S::transpose(array!(8, i => S::load(&self.0[i])));
            for (row, column) in self.0.iter_mut().zip(columns) {
                column.store(row);
            }
        }
    }

    #[test]
    fn transposing_swaps_rows_and_columns_on_every_path() {
        for path in [Path::detect(), Path::Portable] {
            let mut cells =
                std::array::from_fn(|i| std::array::from_fn(|j| (i * LANES + j) as f32));
            path.call(Transposed(&mut cells));
            for (i, row) in cells.iter().enumerate() {
                for (j, cell) in row.iter().enumerate() {
                    assert_eq!(*cell, (j * LANES + i) as f32);
                }
            }
        }
    }
}
