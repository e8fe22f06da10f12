//! Transforms of a size known at run time, on lines in memory, in the four ways that the stages need.

#![expect(
    clippy::inline_always,
    reason = "a transform must end up inside the function that has the vector instructions"
)]

use super::codelet::{Complex, Points, Side, Signal};
use super::lanes::{Kernel, Lanes, Line, Strided};

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
    use super::super::codelet::{LARGEST, SIDES};
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
                for (part, value) in line.0.iter().zip(value) {
                    let error = (f64::from(part[lane]) - value).abs();
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
}
