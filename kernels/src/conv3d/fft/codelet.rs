//! Fourier transforms of the sizes that tiles have: straight-line code for 2, 3, 4, 5, 8 and 9 points, and products of
//! them. Each works on eight independent signals, one a lane, so no transform needs a shuffle.
//!
//! Coprime factors are joined by the prime-factor mapping (Good 1958, J. R. Stat. Soc. B 20(2); Thomas 1963), which needs
//! no twiddle factors; 9, 16 and 32 points by Cooley and Tukey 1965 (Math. Comput. 19(90)).
//!
//! All transforms are forward, `X[k] = Σ x[n] e^(−2πi·nk/N)`, without a factor; the inverse is the same code with real
//! and imaginary parts swapped on the way in and out.

#![expect(
    clippy::inline_always,
    reason = "a transform must end up inside the function that has the vector instructions"
)]

use super::lanes::{Kernel, Lanes, Line, Strided, array};

/// Sides of a complex transform, in points.
pub(super) const SIDES: [usize; 19] = [
    1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 18, 20, 24, 30, 32, 36, 40,
];

/// Largest of [`SIDES`].
pub(super) const LARGEST: usize = 40;

/// Eight complex numbers in registers.
#[derive(Clone, Copy)]
pub(super) struct Complex<S> {
    pub(super) re: S,
    pub(super) im: S,
}

impl<S: Lanes> Complex<S> {
    #[inline(always)]
    pub(super) fn load(line: &Line) -> Self {
        Self {
            re: S::load(&line.0[0]),
            im: S::load(&line.0[1]),
        }
    }
    #[inline(always)]
    pub(super) fn store(self, line: &mut Line) {
        self.re.store(&mut line.0[0]);
        self.im.store(&mut line.0[1]);
    }
    #[inline(always)]
    pub(super) fn add(self, b: Self) -> Self {
        Self {
            re: self.re.add(b.re),
            im: self.im.add(b.im),
        }
    }
    #[inline(always)]
    pub(super) fn sub(self, b: Self) -> Self {
        Self {
            re: self.re.sub(b.re),
            im: self.im.sub(b.im),
        }
    }
    /// `self − i·b`
    #[inline(always)]
    fn minus_i(self, b: Self) -> Self {
        Self {
            re: self.re.add(b.im),
            im: self.im.sub(b.re),
        }
    }
    /// `self + i·b`
    #[inline(always)]
    fn plus_i(self, b: Self) -> Self {
        Self {
            re: self.re.sub(b.im),
            im: self.im.add(b.re),
        }
    }
    /// `self · factor + b` for a real factor
    #[inline(always)]
    fn scaled_plus(self, factor: S, b: Self) -> Self {
        Self {
            re: self.re.mul_add(factor, b.re),
            im: self.im.mul_add(factor, b.im),
        }
    }
    /// Real and imaginary part swapped.
    #[inline(always)]
    fn flip(self) -> Self {
        Self {
            re: self.im,
            im: self.re,
        }
    }
    #[inline(always)]
    fn flip_if<const SWAP: bool>(self) -> Self {
        if SWAP { self.flip() } else { self }
    }
    /// `self · (c − i·s)`
    #[inline(always)]
    fn turned(self, [c, s]: [f32; 2]) -> Self {
        let (c, s) = (S::splat(c), S::splat(s));
        Self {
            re: self.im.mul_add(s, self.re.mul(c)),
            im: self.re.neg_mul_add(s, self.im.mul(c)),
        }
    }
}

/// Cosine and sine of `n / d` turns, by their series in f64: evaluated by the compiler.
const fn turn(n: usize, d: usize) -> [f64; 2] {
    // Within half a turn either way the series' 30 terms leave nothing over.
    let n = n % d;
    let signed = if 2 * n > d {
        n as f64 - d as f64
    } else {
        n as f64
    };
    let angle = 2.0 * std::f64::consts::PI * signed / d as f64;
    let (mut cos, mut sin) = (0.0, 0.0);
    let (mut term, mut k) = (1.0, 0);
    while k < 30 {
        let sign = if k % 4 < 2 { 1.0 } else { -1.0 };
        if k % 2 == 0 {
            cos += sign * term;
        } else {
            sin += sign * term;
        }
        k += 1;
        term = term * angle / k as f64;
    }
    [cos, sin]
}

const fn cos(n: usize, d: usize) -> f32 {
    turn(n, d)[0] as f32
}

const fn sin(n: usize, d: usize) -> f32 {
    turn(n, d)[1] as f32
}

/// Twiddle factors of a transform of `A·B` points: entry `[n][k]` is `n·k / (A·B)` of a turn.
const fn twiddles<const A: usize, const B: usize>() -> [[[f32; 2]; A]; B] {
    let mut table = [[[0.0; 2]; A]; B];
    let mut n = 0;
    while n < B {
        let mut k = 0;
        while k < A {
            table[n][k] = [cos(n * k, A * B), sin(n * k, A * B)];
            k += 1;
        }
        n += 1;
    }
    table
}

#[inline(always)]
fn dft1<S: Lanes>(x: [Complex<S>; 1]) -> [Complex<S>; 1] {
    x
}

#[inline(always)]
fn dft2<S: Lanes>([a, b]: [Complex<S>; 2]) -> [Complex<S>; 2] {
    [a.add(b), a.sub(b)]
}

#[inline(always)]
fn dft3<S: Lanes>(x: [Complex<S>; 3]) -> [Complex<S>; 3] {
    if S::SHARED {
        dft3_shared(x)
    } else {
        dft3_inline(x)
    }
}

#[inline(never)]
fn dft3_shared<S: Lanes>(x: [Complex<S>; 3]) -> [Complex<S>; 3] {
    dft3_inline(x)
}

#[inline(always)]
fn dft3_inline<S: Lanes>([x0, x1, x2]: [Complex<S>; 3]) -> [Complex<S>; 3] {
    let sine = S::splat(const { sin(1, 3) });
    let sum = x1.add(x2);
    let middle = sum.scaled_plus(S::splat(-0.5), x0);
    let d = x1.sub(x2);
    [
        x0.add(sum),
        Complex {
            re: d.im.mul_add(sine, middle.re),
            im: d.re.neg_mul_add(sine, middle.im),
        },
        Complex {
            re: d.im.neg_mul_add(sine, middle.re),
            im: d.re.mul_add(sine, middle.im),
        },
    ]
}

#[inline(always)]
fn dft4<S: Lanes>(x: [Complex<S>; 4]) -> [Complex<S>; 4] {
    if S::SHARED {
        dft4_shared(x)
    } else {
        dft4_inline(x)
    }
}

#[inline(never)]
fn dft4_shared<S: Lanes>(x: [Complex<S>; 4]) -> [Complex<S>; 4] {
    dft4_inline(x)
}

#[inline(always)]
fn dft4_inline<S: Lanes>([x0, x1, x2, x3]: [Complex<S>; 4]) -> [Complex<S>; 4] {
    let (a, b) = (x0.add(x2), x0.sub(x2));
    let (c, d) = (x1.add(x3), x1.sub(x3));
    [a.add(c), b.minus_i(d), a.sub(c), b.plus_i(d)]
}

#[inline(always)]
fn dft5<S: Lanes>(x: [Complex<S>; 5]) -> [Complex<S>; 5] {
    if S::SHARED {
        dft5_shared(x)
    } else {
        dft5_inline(x)
    }
}

#[inline(never)]
fn dft5_shared<S: Lanes>(x: [Complex<S>; 5]) -> [Complex<S>; 5] {
    dft5_inline(x)
}

#[inline(always)]
fn dft5_inline<S: Lanes>([x0, x1, x2, x3, x4]: [Complex<S>; 5]) -> [Complex<S>; 5] {
    let [c1, c2] = [S::splat(const { cos(1, 5) }), S::splat(const { cos(2, 5) })];
    let [s1, s2] = [S::splat(const { sin(1, 5) }), S::splat(const { sin(2, 5) })];
    let (t1, d1) = (x1.add(x4), x1.sub(x4));
    let (t2, d2) = (x2.add(x3), x2.sub(x3));
    let a1 = t2.scaled_plus(c2, t1.scaled_plus(c1, x0));
    let a2 = t2.scaled_plus(c1, t1.scaled_plus(c2, x0));
    let b1 = Complex {
        re: d2.re.mul_add(s2, d1.re.mul(s1)),
        im: d2.im.mul_add(s2, d1.im.mul(s1)),
    };
    let b2 = Complex {
        re: d2.re.neg_mul_add(s1, d1.re.mul(s2)),
        im: d2.im.neg_mul_add(s1, d1.im.mul(s2)),
    };
    [
        x0.add(t1).add(t2),
        a1.minus_i(b1),
        a2.minus_i(b2),
        a2.plus_i(b2),
        a1.plus_i(b1),
    ]
}

#[inline(always)]
fn dft6<S: Lanes>(x: [Complex<S>; 6]) -> [Complex<S>; 6] {
    if S::SHARED {
        dft6_shared(x)
    } else {
        dft6_inline(x)
    }
}

#[inline(never)]
fn dft6_shared<S: Lanes>(x: [Complex<S>; 6]) -> [Complex<S>; 6] {
    dft6_inline(x)
}

#[inline(always)]
fn dft6_inline<S: Lanes>(x: [Complex<S>; 6]) -> [Complex<S>; 6] {
    // Prime factors: n = 3·n1 + 2·n2, k = 3·k1 + 4·k2, both mod 6.
    let even = dft3([x[0], x[2], x[4]]);
    let odd = dft3([x[3], x[5], x[1]]);
    let [a, b, c] = array!(3, k => dft2([even[k], odd[k]]));
    [a[0], b[1], c[0], a[1], b[0], c[1]]
}

#[inline(always)]
fn dft8<S: Lanes>(x: [Complex<S>; 8]) -> [Complex<S>; 8] {
    if S::SHARED {
        dft8_shared(x)
    } else {
        dft8_inline(x)
    }
}

#[inline(never)]
fn dft8_shared<S: Lanes>(x: [Complex<S>; 8]) -> [Complex<S>; 8] {
    dft8_inline(x)
}

#[inline(always)]
fn dft8_inline<S: Lanes>(x: [Complex<S>; 8]) -> [Complex<S>; 8] {
    let h = S::splat(std::f32::consts::FRAC_1_SQRT_2);
    let e = dft4([x[0], x[2], x[4], x[6]]);
    let o = dft4([x[1], x[3], x[5], x[7]]);
    let (s1, d1) = (o[1].re.add(o[1].im), o[1].im.sub(o[1].re));
    let (s3, d3) = (o[3].re.add(o[3].im), o[3].im.sub(o[3].re));
    [
        e[0].add(o[0]),
        Complex {
            re: s1.mul_add(h, e[1].re),
            im: d1.mul_add(h, e[1].im),
        },
        e[2].minus_i(o[2]),
        Complex {
            re: d3.mul_add(h, e[3].re),
            im: s3.neg_mul_add(h, e[3].im),
        },
        e[0].sub(o[0]),
        Complex {
            re: s1.neg_mul_add(h, e[1].re),
            im: d1.neg_mul_add(h, e[1].im),
        },
        e[2].plus_i(o[2]),
        Complex {
            re: d3.neg_mul_add(h, e[3].re),
            im: s3.mul_add(h, e[3].im),
        },
    ]
}

#[inline(always)]
fn dft9<S: Lanes>(x: [Complex<S>; 9]) -> [Complex<S>; 9] {
    if S::SHARED {
        dft9_shared(x)
    } else {
        dft9_inline(x)
    }
}

#[inline(never)]
fn dft9_shared<S: Lanes>(x: [Complex<S>; 9]) -> [Complex<S>; 9] {
    dft9_inline(x)
}

#[inline(always)]
fn dft9_inline<S: Lanes>(x: [Complex<S>; 9]) -> [Complex<S>; 9] {
    const W: [[[f32; 2]; 3]; 3] = twiddles::<3, 3>();
    let a = dft3([x[0], x[3], x[6]]);
    let b = dft3([x[1], x[4], x[7]]);
    let c = dft3([x[2], x[5], x[8]]);
    let p = dft3([a[0], b[0], c[0]]);
    let q = dft3([a[1], b[1].turned(W[1][1]), c[1].turned(W[2][1])]);
    let r = dft3([a[2], b[2].turned(W[1][2]), c[2].turned(W[2][2])]);
    [p[0], q[0], r[0], p[1], q[1], r[1], p[2], q[2], r[2]]
}

/// Where a transform's points come from and go to: all are read before the first is written.
trait Signal {
    fn load<S: Lanes>(&self, n: usize) -> Complex<S>;
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>);
}

/// Transform of one fixed size.
trait Points {
    fn transform<S: Lanes>(signal: impl Signal);
}

struct Side<const N: usize>;

/// `x` with `a · x ≡ 1 (mod m)`
const fn inverse(a: usize, m: usize) -> usize {
    let mut x = 0;
    while x < m {
        if a * x % m == 1 % m {
            return x;
        }
        x += 1;
    }
    0
}

/// A size with straight-line code.
macro_rules! direct {
    ($n:tt, $dft:ident) => {
        impl Points for Side<$n> {
            #[inline(always)]
            fn transform<S: Lanes>(mut signal: impl Signal) {
                let results = $dft::<S>(array!($n, n => signal.load(n)));
                array!($n, k => signal.store(k, results[k]));
            }
        }
    };
}

/// A size with two coprime factors.
macro_rules! prime_factors {
    ($n:tt = $a:tt $dft_a:ident, $b:tt $dft_b:ident) => {
        impl Points for Side<$n> {
            #[inline(always)]
            fn transform<S: Lanes>(mut signal: impl Signal) {
                const A: usize = $b * inverse($b, $a);
                const B: usize = $a * inverse($a, $b);
                let rows = array!($b, n2 => {
                    $dft_a::<S>(array!($a, n1 => signal.load(($b * n1 + $a * n2) % $n)))
                });
                array!($a, k1 => {
                    let results = $dft_b(array!($b, n2 => rows[n2][k1]));
                    array!($b, k2 => signal.store((A * k1 + B * k2) % $n, results[k2]));
                });
            }
        }
    };
}

/// A size whose two factors share a divisor.
macro_rules! twiddled {
    ($n:tt = $a:tt $dft_a:ident, $b:tt $dft_b:ident) => {
        impl Points for Side<$n> {
            #[inline(always)]
            fn transform<S: Lanes>(mut signal: impl Signal) {
                const W: [[[f32; 2]; $a]; $b] = twiddles::<$a, $b>();
                let rows = array!($b, n2 => {
                    let row = $dft_a::<S>(array!($a, n1 => signal.load($b * n1 + n2)));
                    array!($a, k1 => if k1 * n2 == 0 { row[k1] } else { row[k1].turned(W[n2][k1]) })
                });
                array!($a, k1 => {
                    let results = $dft_b(array!($b, n2 => rows[n2][k1]));
                    array!($b, k2 => signal.store(k1 + $a * k2, results[k2]));
                });
            }
        }
    };
}

direct!(1, dft1);
direct!(2, dft2);
direct!(3, dft3);
direct!(4, dft4);
direct!(5, dft5);
direct!(6, dft6);
direct!(8, dft8);
direct!(9, dft9);
prime_factors!(10 = 2 dft2, 5 dft5);
prime_factors!(12 = 3 dft3, 4 dft4);
prime_factors!(15 = 3 dft3, 5 dft5);
twiddled!(16 = 4 dft4, 4 dft4);
prime_factors!(18 = 2 dft2, 9 dft9);
prime_factors!(20 = 4 dft4, 5 dft5);
prime_factors!(24 = 3 dft3, 8 dft8);
prime_factors!(30 = 5 dft5, 6 dft6);
twiddled!(32 = 4 dft4, 8 dft8);
prime_factors!(36 = 4 dft4, 9 dft9);
prime_factors!(40 = 5 dft5, 8 dft8);

/// One transform of points side by side to results that lie `stride` lines apart.
pub(super) struct Spread<'a> {
    /// As many lines as the transform has points.
    pub(super) source: &'a [Line],
    pub(super) target: &'a mut [Line],
    pub(super) start: usize,
    pub(super) stride: usize,
}

/// One inverse transform of points that lie `stride` lines apart; results from `origin` on go side by side to the target,
/// as many as it has room for.
pub(super) struct Gather<'a> {
    /// Is not changed.
    pub(super) source: &'a mut [Line],
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) target: &'a mut [Line],
    pub(super) origin: usize,
}

/// One transform of points side by side to results side by side.
pub(super) struct Packed<'a, const INVERSE: bool> {
    pub(super) source: &'a [Line],
    pub(super) target: &'a mut [Line],
}

/// `stride` transforms in place, interleaved: point `n` of the i-th is line `n · stride + i`.
pub(super) struct InPlace<'a, const INVERSE: bool> {
    pub(super) lines: &'a mut [Line],
    pub(super) stride: usize,
}

/// A job for transforms of `N` points.
struct Sized<const N: usize, T>(T);

struct SpreadSignal<'a, const N: usize>(&'a [Line; N], Strided<'a, N>);

impl<const N: usize> Signal for SpreadSignal<'_, N> {
    #[inline(always)]
    fn load<S: Lanes>(&self, n: usize) -> Complex<S> {
        Complex::load(&self.0[n])
    }
    #[inline(always)]
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>) {
        value.store(self.1.get_mut(k));
    }
}

struct GatherSignal<'a, const N: usize> {
    source: Strided<'a, N>,
    target: &'a mut [Line],
    origin: usize,
}

impl<const N: usize> Signal for GatherSignal<'_, N> {
    #[inline(always)]
    fn load<S: Lanes>(&self, n: usize) -> Complex<S> {
        Complex::load(self.source.get(n)).flip()
    }
    #[inline(always)]
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>) {
        if let Some(line) = self.target.get_mut(k.wrapping_sub(self.origin)) {
            value.flip().store(line);
        }
    }
}

struct PackedSignal<'a, const N: usize, const INVERSE: bool>(&'a [Line; N], &'a mut [Line; N]);

impl<const N: usize, const INVERSE: bool> Signal for PackedSignal<'_, N, INVERSE> {
    #[inline(always)]
    fn load<S: Lanes>(&self, n: usize) -> Complex<S> {
        Complex::load(&self.0[n]).flip_if::<INVERSE>()
    }
    #[inline(always)]
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>) {
        value.flip_if::<INVERSE>().store(&mut self.1[k]);
    }
}

struct InPlaceSignal<'a, const N: usize, const INVERSE: bool>(Strided<'a, N>);

impl<const N: usize, const INVERSE: bool> Signal for InPlaceSignal<'_, N, INVERSE> {
    #[inline(always)]
    fn load<S: Lanes>(&self, n: usize) -> Complex<S> {
        Complex::load(self.0.get(n)).flip_if::<INVERSE>()
    }
    #[inline(always)]
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>) {
        value.flip_if::<INVERSE>().store(self.0.get_mut(k));
    }
}

impl<const N: usize> Kernel for Sized<N, Spread<'_>>
where
    Side<N>: Points,
{
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let job = self.0;
        if let Ok(source) = <&[Line; N]>::try_from(job.source) {
            let target = Strided::<N>::new(job.target, job.start, job.stride);
            <Side<N> as Points>::transform::<S>(SpreadSignal::<N>(source, target));
        }
    }
}

impl<const N: usize> Kernel for Sized<N, Gather<'_>>
where
    Side<N>: Points,
{
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let job = self.0;
        <Side<N> as Points>::transform::<S>(GatherSignal {
            source: Strided::<N>::new(job.source, job.start, job.stride),
            target: job.target,
            origin: job.origin,
        });
    }
}

impl<const N: usize, const INVERSE: bool> Kernel for Sized<N, Packed<'_, INVERSE>>
where
    Side<N>: Points,
{
    #[inline(always)]
    fn run<S: Lanes>(self) {
        if let (Ok(source), Ok(target)) = (self.0.source.try_into(), self.0.target.try_into()) {
            <Side<N> as Points>::transform::<S>(PackedSignal::<N, INVERSE>(source, target));
        }
    }
}

impl<const N: usize, const INVERSE: bool> Kernel for Sized<N, InPlace<'_, INVERSE>>
where
    Side<N>: Points,
{
    #[inline(always)]
    fn run<S: Lanes>(self) {
        let InPlace { lines, stride } = self.0;
        for i in 0..stride {
            let points = Strided::<N>::new(lines, i, stride);
            <Side<N> as Points>::transform::<S>(InPlaceSignal::<N, INVERSE>(points));
        }
    }
}

/// Runs `$job` with the size as a constant; sizes that are not in [`SIDES`] do nothing.
macro_rules! for_side {
    ($side:expr, $lanes:ident, $job:expr, [$($n:literal)*]) => {
        match $side {
            $($n => $lanes::call(Sized::<$n, _>($job)),)*
            _ => {}
        }
    };
}

/// Runs one transform of `side` points.
#[inline(always)]
pub(super) fn spread<S: Lanes>(side: usize, job: Spread<'_>) {
    for_side!(side, S, job, [1 2 3 4 5 6 8 9 10 12 15 16 18 20 24 30 32 36 40]);
}

/// Runs one inverse transform of `side` points.
#[inline(always)]
pub(super) fn gather<S: Lanes>(side: usize, job: Gather<'_>) {
    for_side!(side, S, job, [1 2 3 4 5 6 8 9 10 12 15 16 18 20 24 30 32 36 40]);
}

/// Runs one transform of `side` points, at most half of [`LARGEST`].
#[inline(always)]
pub(super) fn packed<S: Lanes, const INVERSE: bool>(side: usize, job: Packed<'_, INVERSE>) {
    for_side!(side, S, job, [1 2 3 4 5 6 8 9 10 12 15 16 18 20]);
}

/// Runs transforms of `side` points in place.
#[inline(always)]
pub(super) fn in_place<S: Lanes, const INVERSE: bool>(side: usize, job: InPlace<'_, INVERSE>) {
    for_side!(side, S, job, [1 2 3 4 5 6 8 9 10 12 15 16 18 20 24 30 32 36 40]);
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{LANES, Path};
    use super::*;

    /// The definition, in f64, for one lane.
    fn naive(points: &[Line], lane: usize, sign: f64) -> Vec<[f64; 2]> {
        let side = points.len();
        (0..side)
            .map(|k| {
                let mut sum = [0.0; 2];
                for (n, point) in points.iter().enumerate() {
                    let angle = sign * std::f64::consts::TAU * (n * k % side) as f64 / side as f64;
                    let [re, im] = [f64::from(point.0[0][lane]), f64::from(point.0[1][lane])];
                    sum[0] += re * angle.cos() - im * angle.sin();
                    sum[1] += re * angle.sin() + im * angle.cos();
                }
                sum
            })
            .collect()
    }

    fn noise(side: usize) -> Vec<Line> {
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 2003;
        (0..side)
            .map(|n| {
                Line(std::array::from_fn(|part| {
                    std::array::from_fn(|lane| {
                        value((n * 2 + part) * LANES + lane + 1) as f32 / 1001.5 - 1.0
                    })
                }))
            })
            .collect()
    }

    /// The same transform by every job.
    struct All<'a, const INVERSE: bool> {
        source: &'a [Line],
        packed: &'a mut [Line],
        strided: &'a mut [Line],
        in_place: &'a mut [Line],
    }
    impl<const INVERSE: bool> Kernel for All<'_, INVERSE> {
        #[inline(always)]
        fn run<S: Lanes>(self) {
            let side = self.source.len();
            if 2 * side <= LARGEST {
                packed::<S, INVERSE>(
                    side,
                    Packed {
                        source: self.source,
                        target: self.packed,
                    },
                );
            }
            in_place::<S, INVERSE>(
                side,
                InPlace {
                    lines: self.in_place,
                    stride: 2,
                },
            );
            if INVERSE {
                gather::<S>(
                    side,
                    Gather {
                        source: &mut self.source.to_vec(),
                        start: 0,
                        stride: 1,
                        target: &mut self.strided[..side - 1],
                        origin: 1,
                    },
                );
            } else {
                spread::<S>(
                    side,
                    Spread {
                        source: self.source,
                        target: self.strided,
                        start: 2,
                        stride: 3,
                    },
                );
            }
        }
    }

    fn check<const INVERSE: bool>(path: Path, side: usize) {
        let source = noise(side);
        let mut packed = vec![Line::ZERO; side];
        let mut strided = vec![Line::ZERO; 3 * side];
        let mut in_place: Vec<Line> = source.iter().flat_map(|line| [Line::ZERO, *line]).collect();
        path.call(All::<INVERSE> {
            source: &source,
            packed: &mut packed,
            strided: &mut strided,
            in_place: &mut in_place,
        });
        let target: Vec<Line> = in_place.iter().skip(1).step_by(2).copied().collect();
        assert!(in_place.iter().step_by(2).all(|line| *line == Line::ZERO));
        if 2 * side <= LARGEST {
            assert_eq!(target, packed, "side {side}");
        }
        if INVERSE {
            assert_eq!(target[1..], strided[..side - 1], "side {side}");
        } else {
            let every_third: Vec<Line> = strided.iter().skip(2).step_by(3).copied().collect();
            assert_eq!(target, every_third, "side {side}");
        }
        for lane in 0..LANES {
            let expected = naive(&source, lane, if INVERSE { 1.0 } else { -1.0 });
            for (line, value) in target.iter().zip(expected) {
                for part in 0..2 {
                    let error = (f64::from(line.0[part][lane]) - value[part]).abs();
                    assert!(error < 1e-6 * side as f64, "side {side}: off by {error}");
                }
            }
        }
    }

    #[test]
    fn transforms_of_every_side_equal_the_definition() {
        for path in [Path::detect(), Path::Portable] {
            for side in SIDES {
                check::<false>(path, side);
                check::<true>(path, side);
            }
        }
    }

    #[test]
    fn cosines_and_sines_of_the_compiler_equal_those_of_the_library() {
        for n in 0..80 {
            let [cos, sin] = turn(n, 40);
            let angle = std::f64::consts::TAU * n as f64 / 40.0;
            assert!((cos - angle.cos()).abs() < 1e-14);
            assert!((sin - angle.sin()).abs() < 1e-14);
        }
    }
}
