//! One step of NoProp: a block that is shown the image and a noisy code of its label, and says the label.
//!
//! Li, Teh & Pascanu, "NoProp: Training Neural Networks without Back-propagation or Forward-propagation" (2025, arXiv
//! 2503.24322), the form in discrete time: block t of T is trained alone, on z_{t−1} ~ N(√ᾱ_{t−1}·u, 1 − ᾱ_{t−1}), where u is
//! the code of the label and ᾱ rises from almost 0 to almost 1. For an answer the blocks follow each other from noise,
//! z_t = a·û + b·z_{t−1} + √c·ε, with û what block t says u is.
//!
//! Codes are what heads learn anyway: shares of classes or of bins of age, or one standardized age. An answer takes the mean of
//! the noise, 0, in place of a draw, so that a scan has one age: z_0 = 0 and no ε. The image and z go from block to block as one
//! volume: z lies in channels of its own behind those of the image.

use std::f64::consts::FRAC_PI_2;

use burn::module::Module;
use burn::tensor::{Tensor, activation::softmax};

/// ᾱ at both ends, away from 0 and 1, where the weights of the loss have no bound.
const ENDS: [f64; 2] = [0.02, 0.98];
/// η, the factor on the loss of codes.
const ETA: f64 = 0.1;

/// Which step of how many a block is, and what follows from that.
#[derive(Module, Debug)]
pub struct Denoising {
    n_outputs: usize,
    is_first: bool,
    is_last: bool,
    /// ᾱ_{t−1}.
    signal: f64,
    /// a: share of what the block says in the next z.
    taken: f64,
    /// b: share of z that stays.
    kept: f64,
    /// (T/2)·η·(SNR_t − SNR_{t−1}).
    weight: f64,
}

/// ᾱ after `t` of `n` steps, sin² of an angle that rises evenly.
fn signal_after(t: usize, n: usize) -> f64 {
    let [low, high] = ENDS.map(|share| share.sqrt().asin() / FRAC_PI_2);
    let way = low + (high - low) * t as f64 / n as f64;
    (FRAC_PI_2 * way).sin().powi(2)
}

impl Denoising {
    /// Step `step`, from 0, of `n_steps`, for codes of `n_outputs` numbers.
    pub(super) fn new(step: usize, n_steps: usize, n_outputs: usize) -> Self {
        let [before, after] = [step, step + 1].map(|t| signal_after(t, n_steps));
        let ratio = |signal: f64| signal / (1.0 - signal);
        let alpha = before / after;
        Self {
            n_outputs,
            is_first: step == 0,
            is_last: step + 1 == n_steps,
            signal: before,
            taken: after.sqrt() * (1.0 - alpha) / (1.0 - before),
            kept: alpha.sqrt() * (1.0 - after) / (1.0 - before),
            weight: 0.5 * n_steps as f64 * ETA * (ratio(after) - ratio(before)),
        }
    }

    /// Whether it is the last step, which also learns the task itself.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Factor on the squared distance of codes.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// z_{t−1} for a code and noise of variance 1.
    ///
    /// # Shapes
    /// `[batch, n_outputs]`, all.
    pub fn noised(&self, code: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
        code * self.signal.sqrt() + noise * (1.0 - self.signal).sqrt()
    }

    /// The code that outputs of a head stand for: û.
    ///
    /// # Shapes
    /// `[batch, n_outputs]`, unchanged.
    pub fn code(&self, outputs: Tensor<2>) -> Tensor<2> {
        if self.n_outputs == 1 {
            outputs
        } else {
            softmax(outputs, 1)
        }
    }

    /// z_t without its noise.
    ///
    /// # Shapes
    /// `[batch, n_outputs]`, all.
    pub(super) fn next(&self, z: Tensor<2>, outputs: Tensor<2>) -> Tensor<2> {
        self.code(outputs) * self.taken + z * self.kept
    }

    /// Image and z of what the block is given; the first one is given the image alone, and z is 0.
    pub fn opened(&self, given: Tensor<5>) -> (Tensor<5>, Tensor<2>) {
        let [batch, channels, x, y, z] = given.dims();
        if self.is_first {
            let noise = Tensor::zeros([batch, self.n_outputs], &given.device());
            return (given, noise);
        }
        let n_voxels = x * y * z;
        let n_image = channels.saturating_sub(self.n_code_channels(n_voxels));
        let code = given.clone().slice_dim(1, n_image..channels);
        let code = code.reshape([batch, (channels - n_image) * n_voxels]);
        (
            given.slice_dim(1, 0..n_image),
            code.slice_dim(1, 0..self.n_outputs),
        )
    }

    /// Image and z as one volume.
    pub fn closed(&self, image: Tensor<5>, code: Tensor<2>) -> Tensor<5> {
        let [batch, _, x, y, z] = image.dims();
        let n_channels = self.n_code_channels(x * y * z);
        let rest = n_channels * x * y * z - self.n_outputs;
        let code = if rest == 0 {
            code
        } else {
            let blank = Tensor::zeros([batch, rest], &code.device());
            Tensor::cat(vec![code, blank], 1)
        };
        Tensor::cat(vec![image, code.reshape([batch, n_channels, x, y, z])], 1)
    }

    fn n_code_channels(&self, n_voxels: usize) -> usize {
        self.n_outputs.div_ceil(n_voxels.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn the_coefficients_of_an_answer_lead_from_one_marginal_to_the_next() {
        // With û = u the mean of z_t must be √ᾱ_t·u, and its variance b²(1 − ᾱ_{t−1}) + c = 1 − ᾱ_t.
        for n in [2, 4, 10] {
            for t in 0..n {
                let step = Denoising::new(t, n, 3);
                let [before, after] = [t, t + 1].map(|t| signal_after(t, n));
                let mean = step.taken + step.kept * before.sqrt();
                assert!((mean - after.sqrt()).abs() < 1e-12, "{n} {t}");
                let c = (1.0 - after) * (1.0 - before / after) / (1.0 - before);
                let variance = step.kept.powi(2) * (1.0 - before) + c;
                assert!((variance - (1.0 - after)).abs() < 1e-12, "{n} {t}");
            }
        }
    }

    #[test]
    fn the_signal_rises_and_the_weights_sum_to_that_of_the_whole_way() {
        let n = 10;
        let signals: Vec<f64> = (0..=n).map(|t| signal_after(t, n)).collect();
        assert!(signals.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((signals[0] - ENDS[0]).abs() < 1e-12 && (signals[n] - ENDS[1]).abs() < 1e-12);
        let sum: f64 = (0..n).map(|t| Denoising::new(t, n, 1).weight).sum();
        let ratio = |signal: f64| signal / (1.0 - signal);
        let expected = 0.5 * n as f64 * ETA * (ratio(ENDS[1]) - ratio(ENDS[0]));
        assert!((sum - expected).abs() < 1e-9 * expected);
    }

    #[test]
    fn image_and_code_come_back_as_they_went_whatever_the_sides() {
        let device = Device::flex();
        for (sides, n_outputs) in [
            ([1, 2, 3], 4),
            ([1, 2, 3], 6),
            ([1, 1, 2], 7),
            ([2, 2, 2], 1),
        ] {
            let [x, y, z] = sides;
            let values: Vec<f32> = (0..2 * 3 * x * y * z).map(|i| i as f32).collect();
            let image = Tensor::from_data(TensorData::new(values, [2, 3, x, y, z]), &device);
            let code: Vec<f32> = (0..2 * n_outputs).map(|i| -(i as f32)).collect();
            let code = Tensor::from_data(TensorData::new(code, [2, n_outputs]), &device);
            let step = Denoising::new(1, 3, n_outputs);
            let (image_back, code_back) = step.opened(step.closed(image.clone(), code.clone()));
            assert_eq!(image_back.into_data(), image.into_data());
            assert_eq!(code_back.into_data(), code.into_data());
        }
    }
}
