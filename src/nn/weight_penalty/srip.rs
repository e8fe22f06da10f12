//! The spectral norm of WᵀW − I.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{BELOW_ROOT, smaller_gram_error};

/// The spectral norm of A = WᵀW − I (of the smaller Gram matrix, which has the same one but for eigenvalues of −1), by two
/// steps of power iteration from a draw: u = A·v, then ‖A·u‖ / ‖u‖ (Bansal et al., NeurIPS 2018, eq. 7 and 8). Never above the
/// norm itself. The gradient goes through both steps.
///
/// # Shapes
/// `matrix` is `[rows, columns]`.
pub(super) fn spectral_norm(matrix: Tensor<2>, rng: &mut ChaCha8Rng) -> Tensor<1> {
    let error = smaller_gram_error(matrix);
    let [n, _] = error.dims();
    let draw: Vec<f32> = (0..n).map(|_| rng.random::<f32>()).collect();
    let draw = Tensor::<2>::from_data(TensorData::new(draw, [n, 1]), &error.device());
    let once = error.clone().matmul(draw);
    let length = (once.clone().square().sum() + BELOW_ROOT).sqrt();
    let unit = once / length.unsqueeze_dim::<2>(0);
    (error.matmul(unit).square().sum() + BELOW_ROOT).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use burn::tensor::Device;

    fn of(rows: usize, columns: usize, values: Vec<f32>) -> f32 {
        let mut rng = Seed(2).stream(Purpose::PowerIteration, &[1]);
        let matrix = Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex());
        spectral_norm(matrix, &mut rng).into_scalar()
    }

    #[test]
    fn a_matrix_with_one_stretched_direction_has_the_norm_of_that_stretch() {
        // W = diag(3, 1, 1) in a wide matrix: WWᵀ − I = diag(8, 0, 0), which power iteration finds in one step.
        let mut values = vec![0.0; 12];
        (values[0], values[5], values[10]) = (3.0, 1.0, 1.0);
        assert!((of(3, 4, values) - 8.0).abs() < 1e-4);
    }

    #[test]
    fn it_comes_close_to_the_norm_from_below() {
        // diag(4, 3, 1)² − I = diag(15, 8, 0): two steps from (a, b, ·) give √(15⁴a² + 8⁴b²) / √(15²a² + 8²b²).
        let found = of(3, 3, vec![4.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0]);
        assert!((8.0..=15.0).contains(&found), "{found}");
    }

    #[test]
    fn an_orthonormal_matrix_has_none_and_the_same_both_ways_up() {
        let turned = vec![0.6, 0.8, -0.8, 0.6];
        assert!(of(2, 2, turned) < 1e-5);
        let tall = of(3, 1, vec![2.0, 0.0, 0.0]);
        assert!((tall - 3.0).abs() < 1e-5, "{tall}");
        assert!((tall - of(1, 3, vec![2.0, 0.0, 0.0])).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let values: Vec<f32> = (0..12).map(|i| (i as f32 * 1.3).sin()).collect();
        let device = Device::flex().autodiff();
        let matrix = Tensor::<2>::from_data(TensorData::new(values.clone(), [3, 4]), &device);
        let matrix = matrix.require_grad();
        let mut rng = Seed(2).stream(Purpose::PowerIteration, &[1]);
        let gradients = spectral_norm(matrix.clone(), &mut rng).backward();
        let gradient: Vec<f32> = matrix
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_into_vec()
            .unwrap();
        for i in 0..12 {
            let moved = |by: f32| {
                let mut moved = values.clone();
                moved[i] += by;
                of(3, 4, moved)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            // Central differences of a smooth function of size 1 in f32: good to some 1e-4.
            assert!(
                (slope - gradient[i]).abs() < 3e-3 * (1.0 + slope.abs()),
                "{i}"
            );
        }
    }
}
