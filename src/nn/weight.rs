//! The weight matrix of a layer, dense or as W = Q·diag(Λ)·Pᵀ.
//!
//! Cheng et al., "Eigen Neural Network: Unlocking Generalizable Vision with Eigenbasis" (arXiv 2508.01219), eq. 1 and
//! algorithm 1, in the thin form: r = min(m, n). Both forms start from the same matrix, so a dense and an eigen
//! layer of one seed are the same function before the first step.

mod filters;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::DMatrix;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

pub use filters::FilterWeight;

/// Departure, as [`Weight::orthogonality_error`] has it, above which a basis is none any more.
pub const ORTHONORMAL_WITHIN: f64 = 0.1;

/// How the weights of a layer are stored and trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightForm {
    /// W itself.
    Dense,
    /// The factors Q, Λ and P.
    Eigen,
    /// Kernels as few filters for each input channel, see [`FilterWeight`]; other layers as W itself.
    EigenFilters {
        /// Share of the squares of the first draw that they hold, percent.
        percent: u8,
    },
}

/// A weight matrix of `rows` outputs × `columns` inputs.
#[derive(Module, Debug)]
pub enum Weight {
    /// W itself.
    Dense(DenseWeight),
    /// W = Q·diag(Λ)·Pᵀ.
    Eigen(EigenWeight),
    /// Filters, and how they are mixed.
    Filters(FilterWeight),
}

/// W itself.
#[derive(Module, Debug)]
pub struct DenseWeight {
    /// `[rows, columns]`.
    matrix: Param<Tensor<2>>,
}

/// The factors of W = Q·diag(Λ)·Pᵀ; Q and P have orthonormal columns, softly.
#[derive(Module, Debug)]
pub struct EigenWeight {
    /// `[rows, rank]`.
    q: Param<Tensor<2>>,
    /// `[rank]`.
    lambda: Param<Tensor<1>>,
    /// `[columns, rank]`.
    p: Param<Tensor<2>>,
}

/// How many numbers a weight matrix has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightCounts {
    /// Kept in training: r(m + n + 1) for factors.
    pub stored: usize,
    /// Independent ones: r(m + n − r) for orthonormal factors, mn at full rank.
    pub degrees_of_freedom: usize,
    /// Kept for inference: mn.
    pub composed: usize,
}

impl WeightCounts {
    /// Those of a matrix in a form.
    pub fn of(rows: usize, columns: usize, form: WeightForm) -> Self {
        let (composed, rank) = (rows * columns, rows.min(columns));
        match form {
            // How many filters a kernel has, the draw decides: see [`Weight::counts`].
            WeightForm::Dense | WeightForm::EigenFilters { .. } => Self {
                stored: composed,
                degrees_of_freedom: composed,
                composed,
            },
            WeightForm::Eigen => Self {
                stored: rank * (rows + columns + 1),
                degrees_of_freedom: rank * (rows + columns - rank),
                composed,
            },
        }
    }
}

impl std::iter::Sum for WeightCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            stored: a.stored + b.stored,
            degrees_of_freedom: a.degrees_of_freedom + b.degrees_of_freedom,
            composed: a.composed + b.composed,
        })
    }
}

/// A Gaussian matrix on the host, row by row, from which a [`Weight`] is made.
#[derive(Clone, Debug)]
pub struct InitialMatrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl InitialMatrix {
    /// Independent draws of standard deviation `sd`.
    pub fn gaussian(rows: usize, columns: usize, sd: f64, rng: &mut ChaCha8Rng) -> Self {
        let draw = |_| {
            let z: f64 = StandardNormal.sample(rng);
            (sd * z) as f32
        };
        Self {
            rows,
            columns,
            values: (0..rows * columns).map(draw).collect(),
        }
    }

    /// The thin singular value decomposition W = U·diag(S)·Vᵀ, in f64.
    ///
    /// The longer side is first reduced by QR, so that the decomposition proper is that of a square of side
    /// min(rows, columns): 128×13,824 takes well under a second.
    fn thin_svd(&self) -> (DMatrix<f64>, Vec<f64>, DMatrix<f64>) {
        let w = DMatrix::from_row_iterator(
            self.rows,
            self.columns,
            self.values.iter().map(|v| f64::from(*v)),
        );
        let wide = self.rows < self.columns;
        let (basis, triangle) = if wide { w.transpose() } else { w }.qr().unpack();
        let svd = triangle.svd(true, true);
        let rank = svd.singular_values.len();
        let tall_side = basis * svd.u.unwrap_or_else(|| DMatrix::identity(rank, rank));
        let short_side = svd
            .v_t
            .unwrap_or_else(|| DMatrix::identity(rank, rank))
            .transpose();
        let values = svd.singular_values.iter().copied().collect();
        if wide {
            (short_side, values, tall_side)
        } else {
            (tall_side, values, short_side)
        }
    }

    /// As [`Self::into_weight`], of a convolution with so many input channels.
    pub fn into_kernel(self, form: WeightForm, in_channels: usize, device: &Device) -> Weight {
        let n_voxels = self.columns / in_channels.max(1);
        match form {
            WeightForm::EigenFilters { percent } if n_voxels > 1 => {
                let dims = [self.rows, in_channels, n_voxels];
                Weight::Filters(FilterWeight::of(&self.values, dims, percent, device))
            }
            WeightForm::Dense | WeightForm::Eigen | WeightForm::EigenFilters { .. } => {
                self.into_weight(form, device)
            }
        }
    }

    /// Puts the matrix on a device, in the wanted form.
    pub fn into_weight(self, form: WeightForm, device: &Device) -> Weight {
        match form {
            WeightForm::Dense | WeightForm::EigenFilters { .. } => {
                let data = TensorData::new(self.values, [self.rows, self.columns]);
                Weight::Dense(DenseWeight {
                    matrix: Param::from_data(data, device),
                })
            }
            WeightForm::Eigen => {
                let (q, lambda, p) = self.thin_svd();
                let rank = lambda.len();
                let lambda: Vec<f32> = lambda.into_iter().map(|v| v as f32).collect();
                Weight::Eigen(EigenWeight {
                    q: Param::from_data(row_major(&q), device),
                    lambda: Param::from_data(TensorData::new(lambda, [rank]), device),
                    p: Param::from_data(row_major(&p), device),
                })
            }
        }
    }
}

fn row_major(matrix: &DMatrix<f64>) -> TensorData {
    let values: Vec<f32> = matrix.transpose().iter().map(|v| *v as f32).collect();
    TensorData::new(values, [matrix.nrows(), matrix.ncols()])
}

impl Weight {
    /// W as a matrix.
    ///
    /// # Shapes
    /// `[rows, columns]`. Composing costs rows·columns·rank multiply-adds, whatever the batch.
    pub fn compose(&self) -> Tensor<2> {
        match self {
            Self::Dense(dense) => dense.matrix.val(),
            Self::Eigen(eigen) => {
                let scaled = eigen.q.val() * eigen.lambda.val().unsqueeze_dim::<2>(0);
                scaled.matmul(eigen.p.val().transpose())
            }
            Self::Filters(filters) => filters.compose(),
        }
    }

    /// ‖QᵀQ − I‖² + ‖PᵀP − I‖² (Frobenius, as in the paper, not divided by the rank); `None` for weights without bases.
    pub fn orthogonality_penalty(&self) -> Option<Tensor<1>> {
        match self {
            Self::Dense(_) | Self::Filters(_) => None,
            Self::Eigen(eigen) => {
                let q = gram_error(eigen.q.val()).square().sum();
                Some(q + gram_error(eigen.p.val()).square().sum())
            }
        }
    }

    /// The larger of ‖QᵀQ − I‖/√r and ‖PᵀP − I‖/√r; `None` for dense weights. Above [`ORTHONORMAL_WITHIN`] a
    /// basis is no longer orthonormal.
    pub fn orthogonality_error(&self) -> Option<f64> {
        match self {
            Self::Dense(_) | Self::Filters(_) => None,
            Self::Eigen(eigen) => {
                let error = |basis: Tensor<2>| {
                    let [_, rank] = basis.dims();
                    let sum: f32 = gram_error(basis).square().sum().into_scalar();
                    (f64::from(sum) / rank as f64).sqrt()
                };
                Some(error(eigen.q.val().inner()).max(error(eigen.p.val().inner())))
            }
        }
    }

    /// What names W among the parameters; `None` for factors and filters.
    pub fn id(&self) -> Option<ParamId> {
        match self {
            Self::Dense(dense) => Some(dense.matrix.id),
            Self::Eigen(_) | Self::Filters(_) => None,
        }
    }

    /// How many numbers the matrix has, three ways.
    pub fn counts(&self) -> WeightCounts {
        match self {
            Self::Dense(_) => self.counts_as(WeightForm::Dense),
            Self::Eigen(_) => self.counts_as(WeightForm::Eigen),
            Self::Filters(filters) => filters.counts(),
        }
    }

    /// How many numbers the matrix would have in another form.
    pub fn counts_as(&self, form: WeightForm) -> WeightCounts {
        let [rows, columns] = match self {
            Self::Dense(dense) => dense.matrix.val().dims(),
            Self::Eigen(eigen) => [eigen.q.val().dims()[0], eigen.p.val().dims()[0]],
            Self::Filters(filters) => filters.compose().dims(),
        };
        WeightCounts::of(rows, columns, form)
    }

    /// The same function with dense weights, as inference uses it.
    pub fn fold(&self) -> Self {
        let device = self.compose().device();
        let data = self.compose().into_data();
        Self::Dense(DenseWeight {
            matrix: Param::from_data(data, &device),
        })
    }
}

/// Names of the factors whose columns are to be orthonormal.
pub const BASES: [&str; 2] = ["q", "p"];

/// A step of Newton and Schulz towards the nearest matrix with orthonormal columns: X ← X·(3I − XᵀX)/2. From a
/// departure e it leaves about ¾e² (Björck & Bowie 1971, SIAM J Numer Anal 8:358); rank² multiply-adds a row.
///
/// # Shapes
/// `[rows, rank]`, rows ≥ rank.
pub fn retract(basis: Tensor<2>) -> Tensor<2> {
    let correction = basis.clone().matmul(gram_error(basis.clone())) * 0.5;
    basis - correction
}

/// XᵀX − I.
fn gram_error(x: Tensor<2>) -> Tensor<2> {
    let [_, rank] = x.dims();
    let identity = Tensor::<2>::eye(rank, &x.device());
    x.clone().transpose().matmul(x) - identity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seed::{Purpose, Seed};
    use burn::tensor::Tolerance;

    fn matrix(rows: usize, columns: usize) -> InitialMatrix {
        let mut rng = Seed(5).stream(Purpose::Initialization, &[0]);
        InitialMatrix::gaussian(rows, columns, 0.3, &mut rng)
    }

    #[test]
    fn dense_and_eigen_weights_of_one_draw_compose_to_the_same_matrix() {
        let device = Device::flex();
        for (rows, columns) in [(4, 27), (16, 16), (9, 2), (1, 8)] {
            let dense = matrix(rows, columns).into_weight(WeightForm::Dense, &device);
            let eigen = matrix(rows, columns).into_weight(WeightForm::Eigen, &device);
            // Factors are rounded to f32: a few ulp of the largest entries.
            eigen
                .compose()
                .into_data()
                .assert_approx_eq::<f32>(&dense.compose().into_data(), Tolerance::absolute(2e-6));
            assert!(eigen.orthogonality_error().unwrap() < 1e-6);
        }
    }

    #[test]
    fn the_penalty_starts_at_zero_and_its_gradient_is_4q_times_the_gram_error() {
        let device = Device::flex().autodiff();
        let Weight::Eigen(mut eigen) = matrix(4, 10).into_weight(WeightForm::Eigen, &device) else {
            panic!("asked for the eigen form");
        };
        let start: f32 = Weight::Eigen(eigen.clone())
            .orthogonality_penalty()
            .expect("eigen weights have a penalty")
            .into_scalar();
        assert!(start < 1e-9, "{start}");
        eigen.q = eigen
            .q
            .map(|q| Tensor::from_inner(q.inner() * 1.3 + 0.01).require_grad());
        let penalty = Weight::Eigen(eigen.clone())
            .orthogonality_penalty()
            .expect("as above");
        let gradients = penalty.backward();
        let q = eigen.q.val();
        let expected = q.clone().inner().matmul(gram_error(q.clone().inner())) * 4.0;
        let found = q.grad(&gradients).expect("Q is trained");
        found
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::relative(1e-4));
    }

    #[test]
    fn folding_keeps_the_function() {
        let eigen = matrix(6, 20).into_weight(WeightForm::Eigen, &Device::flex());
        let folded = eigen.fold();
        assert!(folded.orthogonality_penalty().is_none());
        folded
            .compose()
            .into_data()
            .assert_eq(&eigen.compose().into_data(), true);
    }

    #[test]
    fn a_retraction_squares_the_departure_from_orthonormality() {
        let Weight::Eigen(eigen) = matrix(6, 20).into_weight(WeightForm::Eigen, &Device::flex())
        else {
            panic!("an eigen weight");
        };
        let error =
            |basis: Tensor<2>| -> f32 { gram_error(basis).square().sum().sqrt().into_scalar() };
        // Columns that are 5 % too long: ‖XᵀX − I‖ = √6·(1.05² − 1).
        let mut basis = eigen.q.val() * 1.05;
        for _ in 0..2 {
            let before = error(basis.clone());
            basis = retract(basis);
            // ¾e² in each of the six directions; 1e-5: single precision of a 6×6 product.
            let expected = 0.75 * before * before / 6.0_f32.sqrt();
            let after = error(basis.clone());
            assert!(
                (after - expected).abs() < 0.1 * expected + 1e-5,
                "{after} {expected}"
            );
        }
    }
}
