//! Dropout whose mask depends on (seed, step, place, layer, sample) and on nothing else.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::rand_core::Rng as _;

use super::pass::Pass;

/// Switches units off with probability `rate` in a training pass and scales the others by 1/(1 − rate).
pub fn dropout<const D: usize>(input: Tensor<D>, rate: f64, pass: &mut Pass) -> Tensor<D> {
    let Pass::Training(training) = pass else {
        return input;
    };
    let streams = training.dropout_streams();
    if rate <= 0.0 {
        return input;
    }
    let dims = input.dims();
    let per_sample: usize = dims[1..].iter().product();
    let keep = (1.0 / (1.0 - rate)) as f32;
    let threshold = (rate * f64::from(u32::MAX)) as u32;
    let mut mask = Vec::with_capacity(dims[0] * per_sample);
    for mut rng in streams.into_iter().take(dims[0]) {
        mask.extend((0..per_sample).map(|_| {
            if rng.next_u32() < threshold {
                0.0
            } else {
                keep
            }
        }));
    }
    input.clone() * Tensor::from_data(TensorData::new(mask, dims), &input.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::Seed;
    use crate::nn::pass::TrainingPass;
    use burn::tensor::Device;

    fn dropped(samples: &[u64]) -> Vec<f32> {
        let mut pass = Pass::Training(TrainingPass::new(Seed(1), 7, samples.into()));
        let ones = Tensor::<2>::ones([samples.len(), 4000], &Device::flex());
        dropout(ones, 0.25, &mut pass)
            .into_data()
            .try_into_vec::<f32>()
            .expect("f32")
    }

    #[test]
    fn a_quarter_is_switched_off_and_the_mean_is_kept() {
        let values = dropped(&[3]);
        let off = values.iter().filter(|v| **v == 0.0).count();
        // Binomial(4000, 0.25): four standard deviations are 110.
        assert!((off as i64 - 1000).abs() < 110, "{off}");
        assert!(
            values
                .iter()
                .all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6)
        );
    }

    #[test]
    fn a_sample_gets_the_same_mask_whatever_else_is_in_its_batch() {
        assert_eq!(dropped(&[3])[..], dropped(&[9, 3])[4000..]);
    }

    #[test]
    fn inference_drops_nothing() {
        let ones = Tensor::<2>::ones([1, 10], &Device::flex());
        let kept = dropout(ones, 0.5, &mut Pass::Inference);
        assert_eq!(
            kept.into_data().try_into_vec::<f32>().expect("f32"),
            vec![1.0; 10]
        );
    }
}
