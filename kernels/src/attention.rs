//! Attention (Vaswani et al., NeurIPS 2017, arXiv 1706.03762) of the tokens of each image to each other: values and
//! gradients.
//!
//! Queries, keys and values lie as dense layers give them, `[image][token][head][channel]`, and so do the result and all
//! gradients. What a head makes of an image stays in the second-level cache.
#![expect(unsafe_code, reason = "results are not zeroed before they are written")]
#![expect(
    clippy::inline_always,
    reason = "so that the caller's instruction set reaches the code"
)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::conv3d::simd::{Kernel, Level, Simd};
use crate::elementary::exp;
use crate::matrix::{Matrix, Product, Start};
use crate::output::{places, written};

/// Sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Images.
    pub images: usize,
    /// Tokens of an image.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub channels: usize,
}

impl Sizes {
    fn width(self) -> usize {
        self.heads * self.channels
    }

    fn of_image(self) -> usize {
        self.tokens * self.width()
    }

    /// Shares of an image.
    fn shares_of_image(self) -> usize {
        self.heads * self.tokens * self.tokens
    }

    /// Each token's channels of one head.
    fn head(self, image: &[f32], head: usize) -> Matrix<'_> {
        let numbers = image.get(head * self.channels..).unwrap_or_default();
        Matrix::of_rows(numbers, [self.tokens, self.channels], self.width())
    }

    /// The same as places to write to.
    fn rows(self, image: &mut [MaybeUninit<f32>], head: usize) -> Vec<&mut [MaybeUninit<f32>]> {
        let tokens = image.chunks_mut(self.width());
        let channels = head * self.channels..(head + 1) * self.channels;
        tokens.map(|token| &mut token[channels.clone()]).collect()
    }

    fn is_empty(self) -> bool {
        self.images * self.of_image() == 0
    }

    fn scale(self) -> f32 {
        (1.0 / (self.channels as f64).sqrt()) as f32
    }
}

/// The result, and the shares with which each token attends to each, `[image][head][token][token]`; both empty where slices
/// don't fit.
pub fn forward(sizes: Sizes, [query, key, value]: [&[f32]; 3]) -> [Vec<f32>; 2] {
    let len = sizes.images * sizes.of_image();
    if sizes.is_empty() || [query, key, value].iter().any(|slice| slice.len() != len) {
        return [Vec::new(), Vec::new()];
    }
    let of_image = sizes.of_image();
    let mut shares =
        crate::large_pages::untouched(vec![0.0; sizes.images * sizes.shares_of_image()]);
    let write = |output: &mut [MaybeUninit<f32>]| {
        output
            .par_chunks_mut(of_image)
            .zip(shares.par_chunks_mut(sizes.shares_of_image()))
            .zip(query.par_chunks(of_image).zip(key.par_chunks(of_image)))
            .zip(value.par_chunks(of_image))
            .for_each(|(((output, shares), (query, key)), value)| {
                let of_head = sizes.tokens * sizes.tokens;
                for (head, shares) in shares.chunks_mut(of_head).enumerate() {
                    attend(sizes, head, [query, key, value], shares, output);
                }
            });
    };
    // SAFETY: each image's task writes all channels of all of its tokens, head by head.
    let output = unsafe { written(len, write) };
    [output, shares]
}

/// One head of one image.
fn attend(
    sizes: Sizes,
    head: usize,
    [query, key, value]: [&[f32]; 3],
    shares: &mut [f32],
    output: &mut [MaybeUninit<f32>],
) {
    let level = Level::widest();
    let (tokens, channels) = (sizes.tokens, sizes.channels);
    let keys = columns(sizes, key, head, sizes.scale());
    let by_channel = Matrix::of_rows(&keys, [channels, tokens], tokens);
    // SAFETY: numbers alone are written.
    let mut rows: Vec<_> = unsafe { places(shares) }.chunks_mut(tokens).collect();
    level.run(Product::new(
        sizes.head(query, head),
        by_channel,
        Start::Zero,
        &mut rows,
    ));
    for row in shares.chunks_mut(tokens) {
        level.run(Softmax { row });
    }
    let shares = Matrix::of_rows(shares, [tokens, tokens], tokens);
    let mut rows = sizes.rows(output, head);
    level.run(Product::new(
        shares,
        sizes.head(value, head),
        Start::Zero,
        &mut rows,
    ));
}

/// Gradients of queries, keys and values, from that of the result and from the shares; empty where slices don't fit.
pub fn gradients(
    sizes: Sizes,
    gradient: &[f32],
    [query, key, value]: [&[f32]; 3],
    shares: &[f32],
) -> [Vec<f32>; 3] {
    let len = sizes.images * sizes.of_image();
    let fits = [gradient, query, key, value]
        .iter()
        .all(|slice| slice.len() == len)
        && shares.len() == sizes.images * sizes.shares_of_image();
    if sizes.is_empty() || !fits {
        return [Vec::new(), Vec::new(), Vec::new()];
    }
    let of_image = sizes.of_image();
    let [mut of_key, mut of_value] = [Vec::new(), Vec::new()];
    let run = |[of_query, of_key, of_value]: [&mut [MaybeUninit<f32>]; 3]| {
        of_query
            .par_chunks_mut(of_image)
            .zip(of_key.par_chunks_mut(of_image))
            .zip(of_value.par_chunks_mut(of_image))
            .enumerate()
            .for_each(|(image, ((of_query, of_key), of_value))| {
                let of = |slice| part(slice, image, of_image);
                for head in 0..sizes.heads {
                    let shares = part(shares, image * sizes.heads + head, sizes.tokens.pow(2));
                    let given = [of(gradient), of(query), of(key), of(value)];
                    let to = [&mut *of_query, &mut *of_key, &mut *of_value];
                    backward(sizes, head, given, shares, to);
                }
            });
    };
    let write = |of_query: &mut [MaybeUninit<f32>]| {
        let write = |key_places: &mut [MaybeUninit<f32>]| {
            let write = |value_places: &mut [MaybeUninit<f32>]| {
                run([of_query, key_places, value_places]);
            };
            // SAFETY: each image's task writes all channels of all of its tokens, head by head, to all three.
            of_value = unsafe { written(len, write) };
        };
        // SAFETY: as above.
        of_key = unsafe { written(len, write) };
    };
    // SAFETY: as above.
    let of_query = unsafe { written(len, write) };
    [of_query, of_key, of_value]
}

fn part(slice: &[f32], number: usize, len: usize) -> &[f32] {
    &slice[number * len..(number + 1) * len]
}

/// One head of one image.
fn backward(
    sizes: Sizes,
    head: usize,
    [gradient, query, key, value]: [&[f32]; 4],
    shares: &[f32],
    [of_query, of_key, of_value]: [&mut [MaybeUninit<f32>]; 3],
) {
    let level = Level::widest();
    let (tokens, channels) = (sizes.tokens, sizes.channels);
    let given = sizes.head(gradient, head);
    let attended = Matrix::of_rows(shares, [tokens, tokens], tokens);
    let mut rows = sizes.rows(of_value, head);
    level.run(Product::new(
        attended.transposed(),
        given,
        Start::Zero,
        &mut rows,
    ));
    let values = columns(sizes, value, head, 1.0);
    let by_channel = Matrix::of_rows(&values, [channels, tokens], tokens);
    let mut of_logits = vec![0.0; tokens * tokens];
    // SAFETY: numbers alone are written.
    let mut rows: Vec<_> = unsafe { places(&mut of_logits) }
        .chunks_mut(tokens)
        .collect();
    level.run(Product::new(given, by_channel, Start::Zero, &mut rows));
    for (row, shares) in of_logits.chunks_mut(tokens).zip(shares.chunks(tokens)) {
        let scale = sizes.scale();
        level.run(SoftmaxGradient { row, shares, scale });
    }
    let of_logits = Matrix::of_rows(&of_logits, [tokens, tokens], tokens);
    let mut rows = sizes.rows(of_query, head);
    level.run(Product::new(
        of_logits,
        sizes.head(key, head),
        Start::Zero,
        &mut rows,
    ));
    let mut rows = sizes.rows(of_key, head);
    let left = of_logits.transposed();
    level.run(Product::new(
        left,
        sizes.head(query, head),
        Start::Zero,
        &mut rows,
    ));
}

/// A head's channels of an image, `[channel][token]`, times a factor.
fn columns(sizes: Sizes, image: &[f32], head: usize, factor: f32) -> Vec<f32> {
    let mut columns = vec![0.0; sizes.channels * sizes.tokens];
    for (token, row) in image.chunks(sizes.width()).enumerate() {
        let channels = &row[head * sizes.channels..][..sizes.channels];
        for (to, channel) in columns
            .iter_mut()
            .skip(token)
            .step_by(sizes.tokens)
            .zip(channels)
        {
            *to = factor * channel;
        }
    }
    columns
}

/// Numbers that are compared or summed side by side.
const SIDE_BY_SIDE: usize = 16;

/// Of all numbers of a row, in an order that suits vectors.
#[inline(always)]
fn folded(row: &[f32], start: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut running = [start; SIDE_BY_SIDE];
    let (whole, rest) = row.as_chunks::<SIDE_BY_SIDE>();
    for numbers in whole {
        for (running, number) in running.iter_mut().zip(numbers) {
            *running = fold(*running, *number);
        }
    }
    for (running, number) in running.iter_mut().zip(rest) {
        *running = fold(*running, *number);
    }
    running.into_iter().fold(start, fold)
}

/// eˣ of each number, divided by their sum.
struct Softmax<'a> {
    row: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let most = folded(
            self.row,
            f32::NEG_INFINITY,
            |a, b| if b > a { b } else { a },
        );
        for number in &mut *self.row {
            *number = exp(*number - most);
        }
        let sum = folded(self.row, 0.0, |a, b| a + b);
        let factor = 1.0 / sum;
        for number in self.row {
            *number *= factor;
        }
    }
}

/// Gradients of shares become those of what softmax was taken of, times a factor.
struct SoftmaxGradient<'a> {
    row: &'a mut [f32],
    shares: &'a [f32],
    scale: f32,
}

impl Kernel for SoftmaxGradient<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (g, share) in self.row.iter_mut().zip(self.shares) {
            *g *= share;
        }
        let sum = folded(self.row, 0.0, |a, b| a + b);
        for (g, share) in self.row.iter_mut().zip(self.shares) {
            *g = (*g - share * sum) * self.scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, salt: u32) -> Vec<f32> {
        let mixed = (0..len as u32).map(|at| (at ^ salt).wrapping_mul(0x9E37_79B1).rotate_left(9));
        mixed.map(|at| at as f32 / 2e9 - 0.9).collect()
    }

    /// The definition in f64.
    fn reference(sizes: Sizes, [query, key, value]: [&[f64]; 3]) -> Vec<f64> {
        let Sizes {
            images,
            tokens,
            heads,
            channels,
        } = sizes;
        let at = |image: usize, token: usize, head: usize, channel: usize| {
            ((image * tokens + token) * heads + head) * channels + channel
        };
        let mut output = vec![0.0; value.len()];
        for image in 0..images {
            for head in 0..heads {
                for token in 0..tokens {
                    let logit = |other: usize| -> f64 {
                        let terms = (0..channels).map(|c| {
                            query[at(image, token, head, c)] * key[at(image, other, head, c)]
                        });
                        terms.sum::<f64>() / (channels as f64).sqrt()
                    };
                    let shares: Vec<f64> = (0..tokens).map(|other| logit(other).exp()).collect();
                    let sum: f64 = shares.iter().sum();
                    for c in 0..channels {
                        let terms = (0..tokens)
                            .map(|other| shares[other] / sum * value[at(image, other, head, c)]);
                        output[at(image, token, head, c)] = terms.sum();
                    }
                }
            }
        }
        output
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for [images, tokens, heads, channels] in
            [[1, 1, 1, 1], [2, 5, 3, 4], [1, 17, 2, 33], [3, 50, 1, 8]]
        {
            let sizes = Sizes {
                images,
                tokens,
                heads,
                channels,
            };
            let len = images * tokens * heads * channels;
            let given = [1, 2, 3].map(|salt| numbers(len, salt));
            let weights = numbers(len, 4);
            let slices = given.each_ref().map(Vec::as_slice);
            let [found, shares] = forward(sizes, slices);
            let wide = given
                .each_ref()
                .map(|numbers| numbers.iter().copied().map(f64::from).collect::<Vec<_>>());
            let loss = |wide: &[Vec<f64>; 3]| -> (Vec<f64>, f64) {
                let values = reference(sizes, wide.each_ref().map(Vec::as_slice));
                let sum = values
                    .iter()
                    .zip(&weights)
                    .map(|(y, weight)| y * f64::from(*weight))
                    .sum();
                (values, sum)
            };
            for (found, expected) in found.iter().zip(loss(&wide).0) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{sizes:?}");
            }
            let found = gradients(sizes, &weights, slices, &shares);
            for (which, found) in found.iter().enumerate() {
                assert_eq!(found.len(), len);
                for at in (0..len).step_by(1 + len / 40) {
                    let moved = |by: f64| {
                        let mut moved = wide.clone();
                        moved[which][at] += by;
                        loss(&moved).1
                    };
                    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let error = (f64::from(found[at]) - slope).abs();
                    assert!(error < 1e-5, "{sizes:?}, {which}, {at}: {error}");
                }
            }
        }
    }

    #[test]
    fn slices_that_do_not_fit_give_nothing() {
        let sizes = Sizes {
            images: 1,
            tokens: 2,
            heads: 1,
            channels: 1,
        };
        assert_eq!(
            forward(sizes, [&[1.0; 2], &[1.0; 2], &[1.0]]),
            [vec![], vec![]]
        );
    }
}
