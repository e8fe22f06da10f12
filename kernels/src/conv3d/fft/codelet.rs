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

use super::lanes::{Lanes, Line, array};

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
    pub(super) fn flip(self) -> Self {
        Self {
            re: self.im,
            im: self.re,
        }
    }
    #[inline(always)]
    pub(super) fn flip_if<const SWAP: bool>(self) -> Self {
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
pub(super) trait Signal {
    fn load<S: Lanes>(&self, n: usize) -> Complex<S>;
    fn store<S: Lanes>(&mut self, k: usize, value: Complex<S>);
}

/// Transform of one fixed size.
pub(super) trait Points {
    fn transform<S: Lanes>(signal: impl Signal);
}

/// A size, as a type.
pub(super) struct Side<const N: usize>;

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

#[cfg(test)]
mod tests {
    use super::*;

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
