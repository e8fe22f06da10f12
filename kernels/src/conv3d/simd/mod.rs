//! Vectors of f32 that the kernels are written for, once: AVX-512 or AVX2 with FMA where the processor has them, arrays
//! elsewhere.
//!
//! A [`Kernel`] is generic over [`Simd`]; [`Level::run`] compiles it for each instruction set and calls the one that this
//! machine has. An [`Avx2`] or [`Avx512`] value exists only on processors that have the instructions, so holding one proves
//! it.
#![expect(unsafe_code, reason = "vector instructions")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]
#![expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "a weight is broadcast from memory"
)]

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as arch;
use std::ops::Range;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use avx512::Avx512;

/// Code that runs on one instruction set or another. Implementations are `#[inline(always)]`: only then do the
/// instructions of the caller reach them.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// One instruction set.
pub(crate) trait Simd: Copy {
    type Vector: Copy;
    type Mask: Copy;
    const LANES: usize;

    /// Runs an inner loop as a function of its own, so that it has all registers.
    fn call(self, kernel: impl Kernel);

    fn splat(self, value: f32) -> Self::Vector;

    /// As [`Simd::splat`], but not before what stands before it in the code: an inner loop that needs every register
    /// must not have two such vectors at once.
    fn splat_next(self, value: &f32) -> Self::Vector;

    /// `a · b + c`, rounded once where the machine can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The sum of the lanes, always in the same order.
    fn sum(self, vector: Self::Vector) -> f32;

    /// The sums of four vectors, always in the same order.
    fn sums(self, vectors: [Self::Vector; 4]) -> [f32; 4];

    /// # Safety
    /// `LANES` numbers must be readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// The numbers of a slice of at most `LANES`, then zeros.
    fn load_part(self, from: &[f32]) -> Self::Vector;

    /// # Safety
    /// `LANES` numbers must be writable at `to`.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);

    /// Some lanes next to each other; those beyond `LANES` are none.
    fn mask(self, lanes: Range<usize>) -> Self::Mask;

    /// The numbers of the masked lanes, zeros in the others.
    ///
    /// # Safety
    /// The numbers of the mask's lanes, counted from `from`, must be readable.
    unsafe fn load_masked(self, from: *const f32, mask: Self::Mask) -> Self::Vector;

    /// # Safety
    /// The numbers of the mask's lanes, counted from `to`, must be writable.
    unsafe fn store_masked(self, to: *mut f32, mask: Self::Mask, vector: Self::Vector);

    /// Writes a square of `LANES` rows and columns to the square that it is transposed; each begins somewhere and has some
    /// numbers from a row to the next.
    ///
    /// # Safety
    /// The one must be readable, the other writable, and they must not overlap.
    #[inline(always)]
    unsafe fn transpose(self, from: (*const f32, usize), to: (*mut f32, usize)) {
        for row in 0..Self::LANES {
            for column in 0..Self::LANES {
                let from = from.0.wrapping_add(row * from.1 + column);
                // SAFETY: the caller vouches for both squares.
                let number = unsafe { from.read() };
                // SAFETY: as above.
                unsafe { to.0.wrapping_add(column * to.1 + row).write(number) };
            }
        }
    }
}

/// The instruction sets there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// What the environment says of the instruction sets, in `BRAINAGE_SIMD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

static WISH: LazyLock<Wish> = LazyLock::new(|| match std::env::var("BRAINAGE_SIMD").as_deref() {
    Ok("portable") => Wish::Portable,
    #[cfg(target_arch = "x86_64")]
    Ok("avx2") => Wish::Avx2,
    _ => Wish::Any,
});

static DETECTED: LazyLock<Level> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if *WISH != Wish::Portable
        && let Some(avx2) = Avx2::detect()
    {
        return Level::Avx2(avx2);
    }
    Level::Portable(Portable)
});

static WIDEST: LazyLock<Level> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if *WISH == Wish::Any
        && let Some(avx512) = Avx512::detect()
    {
        return Level::Avx512(avx512);
    }
    *DETECTED
});

impl Level {
    /// The best that this machine has up to vectors of eight; `BRAINAGE_SIMD=portable` in the environment forces the
    /// portable code.
    pub(crate) fn detect() -> Self {
        *DETECTED
    }

    /// The best that this machine has, for kernels whose vectors are always long enough; `BRAINAGE_SIMD=avx2` and
    /// `portable` forbid better ones.
    pub(crate) fn widest() -> Self {
        *WIDEST
    }

    /// Numbers in a vector.
    pub(crate) fn n_lanes(self) -> usize {
        match self {
            Self::Portable(_) => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Avx512::LANES,
        }
    }

    pub(crate) fn run(self, kernel: impl Kernel) {
        match self {
            Self::Portable(portable) => portable.call(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.call(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(avx512) => avx512.call(kernel),
        }
    }
}

/// Arrays of eight, which compilers turn into the vectors of the machine they compile for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Simd for Portable {
    type Vector = [f32; 8];
    type Mask = [usize; 2];
    const LANES: usize = 8;

    #[inline(never)]
    fn call(self, kernel: impl Kernel) {
        kernel.run(self);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn splat_next(self, value: &f32) -> [f32; 8] {
        [*value; 8]
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            // Without the instruction, a fused multiply-add is a slow library call.
            c[lane] = if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                a[lane].mul_add(b[lane], c[lane])
            } else {
                a[lane] * b[lane] + c[lane]
            };
        }
        c
    }

    #[inline(always)]
    fn sum(self, v: [f32; 8]) -> f32 {
        ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))
    }

    #[inline(always)]
    fn sums(self, vectors: [[f32; 8]; 4]) -> [f32; 4] {
        vectors.map(|vector| self.sum(vector))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; 8] {
        // SAFETY: the caller vouches for eight numbers; the read needs no alignment.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> [f32; 8] {
        let mut vector = [0.0; 8];
        for (lane, value) in vector.iter_mut().zip(from) {
            *lane = *value;
        }
        vector
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: [f32; 8]) {
        // SAFETY: the caller vouches for eight numbers; the write needs no alignment.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(vector) }
    }

    #[inline(always)]
    fn mask(self, lanes: Range<usize>) -> [usize; 2] {
        [lanes.start.min(8), lanes.end.min(8)]
    }

    #[inline(always)]
    unsafe fn load_masked(self, from: *const f32, [first, end]: [usize; 2]) -> [f32; 8] {
        let mut vector = [0.0; 8];
        for (lane, value) in vector.iter_mut().enumerate().take(end).skip(first) {
            // SAFETY: the caller vouches for the numbers of the mask's lanes.
            *value = unsafe { *from.wrapping_add(lane) };
        }
        vector
    }

    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, [first, end]: [usize; 2], vector: [f32; 8]) {
        for (lane, value) in vector.iter().enumerate().take(end).skip(first) {
            // SAFETY: the caller vouches for the numbers of the mask's lanes.
            unsafe { to.wrapping_add(lane).write(*value) };
        }
    }
}

/// Proof that the processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// A processor with AVX-512 has both.
    fn of(_: Avx512) -> Self {
        Self(())
    }
}

/// The mask of the first n lanes begins at `16 - n`, that of all but the first n at `8 - n`.
#[cfg(target_arch = "x86_64")]
static MASKS: [i32; 24] = {
    let mut masks = [0; 24];
    let mut at = 8;
    while at < 16 {
        masks[at] = -1;
        at += 1;
    }
    masks
};

#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type Vector = arch::__m256;
    type Mask = arch::__m256i;
    const LANES: usize = 8;

    #[inline(always)]
    fn call(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn with_instructions(avx2: Avx2, kernel: impl Kernel) {
            kernel.run(avx2);
        }
        // SAFETY: `self` exists, so the processor has AVX2 and FMA.
        unsafe { with_instructions(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> arch::__m256 {
        // SAFETY: `self` exists, so the processor has AVX.
        unsafe { arch::_mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn splat_next(self, value: &f32) -> arch::__m256 {
        #[target_feature(enable = "avx")]
        #[inline]
        fn broadcast(value: &f32) -> arch::__m256 {
            let vector;
            // The compiler reorders the intrinsic, and then moves half of the sums to and fro in every turn.
            // SAFETY: reads one f32 behind a reference and writes nothing but `vector`.
            unsafe {
                std::arch::asm!(
                    "vbroadcastss {vector}, dword ptr [{value}]",
                    vector = out(ymm_reg) vector,
                    value = in(reg) value,
                    options(readonly, nostack, preserves_flags)
                );
            }
            vector
        }
        // SAFETY: `self` exists, so the processor has AVX.
        unsafe { broadcast(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: arch::__m256, b: arch::__m256, c: arch::__m256) -> arch::__m256 {
        // SAFETY: `self` exists, so the processor has FMA.
        unsafe { arch::_mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, vector: arch::__m256) -> f32 {
        self.sums([vector; 4])[0]
    }

    #[inline(always)]
    fn sums(self, vectors: [arch::__m256; 4]) -> [f32; 4] {
        #[target_feature(enable = "avx")]
        #[inline]
        fn sums([a, b, c, d]: [arch::__m256; 4]) -> arch::__m128 {
            // Sums of pairs, then of fours, for all four vectors in either half.
            let (ab, cd) = (arch::_mm256_hadd_ps(a, b), arch::_mm256_hadd_ps(c, d));
            let abcd = arch::_mm256_hadd_ps(ab, cd);
            let high = arch::_mm256_extractf128_ps::<1>(abcd);
            arch::_mm_add_ps(arch::_mm256_castps256_ps128(abcd), high)
        }
        let mut result = [0.0; 4];
        // SAFETY: `self` exists, so the processor has AVX.
        let sums = unsafe { sums(vectors) };
        // SAFETY: `result` has room for four numbers.
        unsafe { arch::_mm_storeu_ps(result.as_mut_ptr(), sums) };
        result
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> arch::__m256 {
        // SAFETY: the caller vouches for eight numbers, `self` for AVX.
        unsafe { arch::_mm256_loadu_ps(from) }
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> arch::__m256 {
        // SAFETY: the mask lets only lanes inside the slice be read.
        unsafe { self.load_masked(from.as_ptr(), self.mask(0..from.len())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: arch::__m256) {
        // SAFETY: the caller vouches for eight numbers, `self` for AVX.
        unsafe { arch::_mm256_storeu_ps(to, vector) }
    }

    #[inline(always)]
    fn mask(self, lanes: Range<usize>) -> arch::__m256i {
        let of_end = 16 - lanes.end.min(8);
        let of_start = 8 - lanes.start.min(8);
        let [end, start] = [of_end, of_start].map(|first| {
            let mask = MASKS[first..first + 8].as_ptr().cast();
            // SAFETY: eight numbers of the table are there; `self` vouches for AVX.
            unsafe { arch::_mm256_loadu_si256(mask) }
        });
        // SAFETY: `self` exists, so the processor has AVX2.
        unsafe { arch::_mm256_and_si256(end, start) }
    }

    #[inline(always)]
    unsafe fn load_masked(self, from: *const f32, mask: arch::__m256i) -> arch::__m256 {
        // SAFETY: the caller vouches for the masked lanes, which alone are read; `self` vouches for AVX.
        unsafe { arch::_mm256_maskload_ps(from, mask) }
    }

    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, mask: arch::__m256i, vector: arch::__m256) {
        // SAFETY: the caller vouches for the masked lanes, which alone are written; `self` vouches for AVX.
        unsafe { arch::_mm256_maskstore_ps(to, mask, vector) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check;

    impl Kernel for Check {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let numbers: Vec<f32> = (1..=S::LANES).map(|n| n as f32).collect();
            for n in 0..=S::LANES {
                let sum = simd.sum(simd.load_part(&numbers[..n]));
                assert_eq!(sum, (n * (n + 1) / 2) as f32);
            }
            let parts = [3, 2, 1, 0].map(|n| simd.load_part(&numbers[..n]));
            assert_eq!(simd.sums(parts), [6.0, 3.0, 1.0, 0.0]);
            // SAFETY: `numbers` has `LANES` numbers.
            let vector = unsafe { simd.load(numbers.as_ptr()) };
            let vector = simd.mul_add(vector, simd.splat(2.0), simd.splat(1.0));
            let mut result = vec![0.0; S::LANES];
            // SAFETY: `result` has room for `LANES` numbers.
            unsafe { simd.store(result.as_mut_ptr(), vector) };
            assert!(
                result
                    .iter()
                    .zip(&numbers)
                    .all(|(r, n)| *r == 2.0 * n + 1.0)
            );
            for (first, end) in (0..=S::LANES).flat_map(|a| (a..=S::LANES).map(move |b| (a, b))) {
                let mut result = vec![-1.0; S::LANES];
                let mask = simd.mask(first..end);
                // SAFETY: `numbers` has `LANES` numbers.
                let part = unsafe { simd.load_masked(numbers.as_ptr(), mask) };
                assert_eq!(simd.sum(part), numbers[first..end].iter().sum());
                // SAFETY: `result` has as many.
                unsafe { simd.store_masked(result.as_mut_ptr(), mask, part) };
                for (lane, found) in result.into_iter().enumerate() {
                    let inside = (first..end).contains(&lane);
                    assert_eq!(found, if inside { numbers[lane] } else { -1.0 });
                }
            }
        }
    }

    #[test]
    fn each_instruction_set_loads_multiplies_sums_and_stores() {
        Level::Portable(Portable).run(Check);
        Level::detect().run(Check);
        Level::widest().run(Check);
    }
}
