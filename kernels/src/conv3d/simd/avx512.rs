//! Vectors of sixteen: AVX-512.
#![expect(unsafe_code, reason = "vector instructions")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::arch::x86_64 as arch;
use std::ops::Range;

use super::{Avx2, Kernel, Simd};

/// Proof that the processor has AVX-512 (F, BW, DQ and VL), AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        (has && Avx2::detect().is_some()).then_some(Self(()))
    }
}

impl Simd for Avx512 {
    type Vector = arch::__m512;
    type Mask = arch::__mmask16;
    const LANES: usize = 16;

    #[inline(always)]
    fn call(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        #[inline(never)]
        fn with_instructions(avx512: Avx512, kernel: impl Kernel) {
            kernel.run(avx512);
        }
        // SAFETY: `self` exists, so the processor has all of these.
        unsafe { with_instructions(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> arch::__m512 {
        // SAFETY: `self` exists, so the processor has AVX-512.
        unsafe { arch::_mm512_set1_ps(value) }
    }

    /// With 32 registers the order does not matter.
    #[inline(always)]
    fn splat_next(self, value: &f32) -> arch::__m512 {
        self.splat(*value)
    }

    #[inline(always)]
    fn mul_add(self, a: arch::__m512, b: arch::__m512, c: arch::__m512) -> arch::__m512 {
        // SAFETY: `self` exists, so the processor has AVX-512.
        unsafe { arch::_mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, vector: arch::__m512) -> f32 {
        // SAFETY: `self` exists, so the processor has AVX-512.
        unsafe { arch::_mm512_reduce_add_ps(vector) }
    }

    #[inline(always)]
    fn sums(self, vectors: [arch::__m512; 4]) -> [f32; 4] {
        #[target_feature(enable = "avx512f,avx512dq")]
        #[inline]
        fn halves(vector: arch::__m512) -> arch::__m256 {
            let high = arch::_mm512_extractf32x8_ps::<1>(vector);
            arch::_mm256_add_ps(arch::_mm512_castps512_ps256(vector), high)
        }
        // SAFETY: `self` exists, so the processor has AVX-512.
        Avx2::of(self).sums(vectors.map(|vector| unsafe { halves(vector) }))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> arch::__m512 {
        // SAFETY: the caller vouches for 16 numbers, `self` for AVX-512.
        unsafe { arch::_mm512_loadu_ps(from) }
    }

    #[inline(always)]
    fn load_part(self, from: &[f32]) -> arch::__m512 {
        // SAFETY: the mask lets only lanes inside the slice be read.
        unsafe { self.load_masked(from.as_ptr(), self.mask(0..from.len())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: arch::__m512) {
        // SAFETY: the caller vouches for 16 numbers, `self` for AVX-512.
        unsafe { arch::_mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    fn mask(self, lanes: Range<usize>) -> arch::__mmask16 {
        let below = |end: usize| (1_u32 << end.min(16)) - 1;
        (below(lanes.end) & !below(lanes.start)) as arch::__mmask16
    }

    #[inline(always)]
    unsafe fn load_masked(self, from: *const f32, mask: arch::__mmask16) -> arch::__m512 {
        // SAFETY: the caller vouches for the masked lanes, which alone are read; `self` vouches for AVX-512.
        unsafe { arch::_mm512_maskz_loadu_ps(mask, from) }
    }

    #[inline(always)]
    unsafe fn store_masked(self, to: *mut f32, mask: arch::__mmask16, vector: arch::__m512) {
        // SAFETY: the caller vouches for the masked lanes, which alone are written; `self` vouches for AVX-512.
        unsafe { arch::_mm512_mask_storeu_ps(to, mask, vector) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: (*const f32, usize), to: (*mut f32, usize)) {
        #[target_feature(enable = "avx512f")]
        #[inline]
        fn interleaved(v: &[arch::__m512; 16]) -> [arch::__m512; 16] {
            // Within quarters of four numbers: pairs of rows, then fours of rows.
            let mut pairs = *v;
            for i in (0..16).step_by(2) {
                pairs[i] = arch::_mm512_unpacklo_ps(v[i], v[i + 1]);
                pairs[i + 1] = arch::_mm512_unpackhi_ps(v[i], v[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..16).step_by(4) {
                let [a, b, c, d] = [0, 1, 2, 3].map(|j| arch::_mm512_castps_pd(pairs[i + j]));
                fours[i] = arch::_mm512_castpd_ps(arch::_mm512_unpacklo_pd(a, c));
                fours[i + 1] = arch::_mm512_castpd_ps(arch::_mm512_unpackhi_pd(a, c));
                fours[i + 2] = arch::_mm512_castpd_ps(arch::_mm512_unpacklo_pd(b, d));
                fours[i + 3] = arch::_mm512_castpd_ps(arch::_mm512_unpackhi_pd(b, d));
            }
            // Quarters of four rows, then of all.
            let mut eights = fours;
            for i in 0..4 {
                for j in [0, 8] {
                    let (a, b) = (fours[i + j], fours[i + j + 4]);
                    eights[i + j] = arch::_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    eights[i + j + 4] = arch::_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                }
            }
            let mut all = eights;
            for i in 0..4 {
                for (j, k) in [(0, 0), (4, 4)] {
                    let (a, b) = (eights[i + j], eights[i + j + 8]);
                    all[i + k] = arch::_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    all[i + k + 8] = arch::_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                }
            }
            all
        }
        let mut rows = [self.splat(0.0); 16];
        for (number, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the square.
            *row = unsafe { self.load(from.0.wrapping_add(number * from.1)) };
        }
        // SAFETY: `self` exists, so the processor has AVX-512.
        let columns = unsafe { interleaved(&rows) };
        for (number, column) in columns.into_iter().enumerate() {
            // SAFETY: the caller vouches for the square.
            unsafe { self.store(to.0.wrapping_add(number * to.1), column) };
        }
    }
}
