//! What heads learn to say, and how it is judged: ages, or classes (see [`super::classes`]).
//!
//! A head says the age either as one number, standardized with the training ages (MAE, MSE, Huber), or as a distribution
//! over bins of age (soft labels: Peng et al. 2021, Med Image Anal 68:101871), whose mean is the estimate and whose spread
//! says how sure it is. Ages go in and come out in years; only the heads see anything else.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use super::age_bins::AgeBins;
use super::classes::ClassTarget;
use crate::Error;
use crate::data::batch::{AgeScaling, Truth};
use crate::nn::similarity::centred_cosine;

/// How far apart two ages are that are alike to exp(−½), years.
const ALIKE_YEARS: f64 = 10.0;

/// What heads of one training say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Ages.
    Ages(AgeTarget),
    /// Classes.
    Classes(ClassTarget),
}

/// What the error of an estimate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Absolute difference, years.
    AbsoluteYears,
    /// 100 for another class, 0 for the right one: the mean is the error rate in percent.
    WrongPercent,
}

impl Metric {
    /// The error of an estimate; of a mixture, the mean over its parts by their shares.
    pub fn error(self, estimate: f64, truth: Truth) -> f64 {
        let of = |value: f64| match self {
            Self::AbsoluteYears => (estimate - value).abs(),
            Self::WrongPercent => 100.0 * f64::from(u8::from(estimate != value)),
        };
        match truth.mixed {
            None => of(truth.value),
            Some(_) => truth.parts().map(|(value, share)| share * of(value)).sum(),
        }
    }

    /// Errors as events keep them: in years, in percent; one of the two is empty.
    pub(super) fn columns(self, errors: Vec<f64>) -> [Vec<f64>; 2] {
        match self {
            Self::AbsoluteYears => [errors, Vec::new()],
            Self::WrongPercent => [Vec::new(), errors],
        }
    }
}

impl From<AgeTarget> for Target {
    fn from(target: AgeTarget) -> Self {
        Self::Ages(target)
    }
}

impl From<ClassTarget> for Target {
    fn from(target: ClassTarget) -> Self {
        Self::Classes(target)
    }
}

impl Target {
    /// What errors are.
    pub fn metric(&self) -> Metric {
        match self {
            Self::Ages(_) => Metric::AbsoluteYears,
            Self::Classes(_) => Metric::WrongPercent,
        }
    }

    /// How many numbers a head says.
    pub fn n_outputs(&self) -> usize {
        match self {
            Self::Ages(ages) => ages.n_outputs(),
            Self::Classes(classes) => classes.n_classes,
        }
    }

    /// What heads should have said.
    ///
    /// # Shapes
    /// `[batch, n_outputs]`.
    pub fn labels(&self, truths: &[Truth], device: &Device) -> Tensor<2> {
        match self {
            Self::Ages(ages) => {
                let ages_years: Vec<f64> = truths.iter().map(mean_age_years).collect();
                ages.labels(&ages_years, device)
            }
            Self::Classes(classes) => classes.labels(truths, device),
        }
    }

    /// The number of the output that a truth stands for: its class, or its bin of age; of a mixture, of the larger part.
    pub fn label(&self, truth: &Truth) -> usize {
        match self {
            Self::Ages(ages) => ages.bin(mean_age_years(truth)),
            Self::Classes(_) => {
                let parts = truth.parts();
                let larger = parts.reduce(|a, b| if b.1 > a.1 { b } else { a });
                larger.map_or(0, |(class, _)| class as usize)
            }
        }
    }

    /// The numbers of outputs that a truth does not stand for: all other classes, or bins whose middle is 10 years off or more.
    pub fn wrong_labels(&self, truth: &Truth) -> Vec<usize> {
        match self {
            Self::Ages(ages) => {
                let age_years = mean_age_years(truth);
                let bins = ages.bins.into_iter().flat_map(AgeBins::middles).enumerate();
                let far = bins.filter(|(_, middle)| (middle - age_years).abs() >= ALIKE_YEARS);
                far.map(|(bin, _)| bin).collect()
            }
            Self::Classes(classes) => {
                let right = self.label(truth);
                let of_truth = |class: usize| truth.parts().any(|(part, _)| part as usize == class);
                let wrong = (0..classes.n_classes).filter(|class| !of_truth(*class));
                wrong.filter(|class| *class != right).collect()
            }
        }
    }

    /// How alike the members of a batch are by their truths, for the similarity loss.
    ///
    /// # Shapes
    /// `[batch, batch]`.
    pub fn similarities(&self, truths: &[Truth], device: &Device) -> Tensor<2> {
        match self {
            Self::Ages(_) => {
                let ages_years: Vec<f64> = truths.iter().map(mean_age_years).collect();
                similarities_of_ages(&ages_years, device)
            }
            Self::Classes(classes) => centred_cosine(classes.labels(truths, device)),
        }
    }

    /// The loss, a mean over the batch.
    ///
    /// # Shapes
    /// `outputs` and `labels` are `[batch, n_outputs]`.
    pub fn loss(&self, outputs: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
        match self {
            Self::Ages(ages) => ages.loss(outputs, labels),
            Self::Classes(_) => ClassTarget::loss(outputs, labels),
        }
    }

    /// An age in years, or the number of a class, for each member of the batch.
    ///
    /// # Shapes
    /// `outputs` is `[batch, n_outputs]`.
    pub fn estimates(&self, outputs: Tensor<2>) -> Vec<f64> {
        match self {
            Self::Ages(ages) => {
                let estimates = ages.estimates(outputs).into_iter();
                estimates.map(|estimate| estimate.age_years).collect()
            }
            Self::Classes(_) => ClassTarget::estimates(outputs),
        }
    }
}

fn mean_age_years(truth: &Truth) -> f64 {
    truth.parts().map(|(age, share)| age * share).sum()
}

/// exp(−(a − b)²/(2·10²)) of any two ages.
fn similarities_of_ages(ages_years: &[f64], device: &Device) -> Tensor<2> {
    let alike = |a: f64, b: f64| (-0.5 * ((a - b) / ALIKE_YEARS).powi(2)).exp() as f32;
    let rows = ages_years.iter();
    let values = rows.flat_map(|a| ages_years.iter().map(move |b| alike(*a, *b)));
    let shape = [ages_years.len(); 2];
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
}

/// `train.loss`: what is minimized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Mean absolute error of the standardized age.
    Mae,
    /// Mean squared error of the standardized age.
    Mse,
    /// Squared below `delta_years`, absolute beyond (Huber 1964).
    Huber {
        /// Where the square ends, years.
        delta_years: f64,
    },
    /// Kullback–Leibler divergence from a Gaussian over bins of age.
    SoftLabels {
        /// Width of a bin, years.
        bin_years: f64,
        /// Standard deviation of the Gaussian, years.
        sd_years: f64,
    },
}

/// What heads of one training say; everything that depends on its ages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeTarget {
    /// What is minimized.
    pub loss: Loss,
    /// Of the training ages.
    pub scaling: AgeScaling,
    /// Bins of the distribution, for soft labels.
    pub bins: Option<AgeBins>,
}

/// What a head says of one scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgeEstimate {
    /// The age, years.
    pub age_years: f64,
    /// Standard deviation of the head's distribution; `None` if it says one number.
    pub sd_years: Option<f64>,
}

impl Loss {
    /// Whether its numbers can be.
    pub fn is_valid(self) -> bool {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        match self {
            Self::Mae | Self::Mse => true,
            Self::Huber { delta_years } => positive(delta_years),
            Self::SoftLabels {
                bin_years,
                sd_years,
            } => positive(bin_years) && positive(sd_years) && bin_years <= 20.0,
        }
    }
}

impl AgeTarget {
    /// From the ages of a training set.
    ///
    /// # Errors
    /// [`Error::Data`] where there are fewer than two different ages.
    pub fn of(loss: Loss, ages_years: &[f64]) -> Result<Self, Error> {
        let scaling = AgeScaling::of(ages_years)?;
        let bins = match loss {
            Loss::Mae | Loss::Mse | Loss::Huber { .. } => None,
            Loss::SoftLabels {
                bin_years,
                sd_years,
            } => Some(AgeBins::around(ages_years, bin_years, 3.0 * sd_years)),
        };
        Ok(Self {
            loss,
            scaling,
            bins,
        })
    }

    /// How many numbers a head says.
    pub fn n_outputs(&self) -> usize {
        self.bins.map_or(1, |bins| bins.n)
    }

    /// The bin of an age, the outermost ones for ages beyond; 0 without bins.
    fn bin(&self, age_years: f64) -> usize {
        self.bins.map_or(0, |bins| {
            let bin = ((age_years - bins.first_years) / bins.width_years).round();
            bin.clamp(0.0, (bins.n - 1) as f64) as usize
        })
    }

    /// What heads should have said.
    ///
    /// # Shapes
    /// `[batch, n_outputs]`.
    pub fn labels(&self, ages_years: &[f64], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = match (self.loss, self.bins) {
            (Loss::SoftLabels { sd_years, .. }, Some(bins)) => ages_years
                .iter()
                .flat_map(|age| bins.gaussian(*age, sd_years))
                .collect(),
            _ => ages_years
                .iter()
                .map(|age| self.scaling.standardize(*age))
                .collect(),
        };
        let shape = [ages_years.len(), self.n_outputs()];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The loss, a mean over the batch.
    ///
    /// # Shapes
    /// `outputs` and `labels` are `[batch, n_outputs]`.
    pub fn loss(&self, outputs: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
        match self.loss {
            Loss::Mae => (outputs - labels).abs().mean(),
            Loss::Mse => (outputs - labels).square().mean(),
            Loss::Huber { delta_years } => {
                let delta = delta_years / self.scaling.sd_years;
                let gap = (outputs - labels).abs();
                // min(gap, δ)·(gap − min(gap, δ)/2): gap²/2 below δ, δ·(gap − δ/2) beyond.
                let inner = gap.clone().clamp_max(delta);
                (inner.clone() * (gap - inner * 0.5)).mean()
            }
            Loss::SoftLabels { .. } => {
                let log_labels = (labels.clone() + 1e-12).log();
                let divergence = labels * (log_labels - log_softmax(outputs, 1));
                divergence.sum_dim(1).mean()
            }
        }
    }

    /// What outputs of heads mean.
    ///
    /// # Shapes
    /// `[batch, n_outputs]` → one for each member of the batch.
    pub fn estimates(&self, outputs: Tensor<2>) -> Vec<AgeEstimate> {
        let values = |t: Tensor<2>| t.into_data().try_into_vec::<f32>().unwrap_or_default();
        match self.bins {
            None => values(outputs)
                .into_iter()
                .map(|value| AgeEstimate {
                    age_years: self.scaling.years(value),
                    sd_years: None,
                })
                .collect(),
            Some(bins) => values(softmax(outputs, 1))
                .chunks(bins.n)
                .map(|shares| bins.moments(shares))
                .collect(),
        }
    }

    /// What outputs of heads mean as ages, years, with the way back to the outputs kept for gradients.
    ///
    /// # Shapes
    /// `[batch, n_outputs]` → `[batch]`.
    pub fn ages(&self, outputs: Tensor<2>) -> Tensor<1> {
        let [batch, _] = outputs.dims();
        let ages = match self.bins {
            None => outputs * self.scaling.sd_years + self.scaling.mean_years,
            Some(bins) => {
                let middles: Vec<f32> = bins.middles().map(|middle| middle as f32).collect();
                let middles = TensorData::new(middles, [1, bins.n]);
                let middles = Tensor::<2>::from_data(middles, &outputs.device());
                (softmax(outputs, 1) * middles).sum_dim(1)
            }
        };
        ages.reshape([batch])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: [f64; 4] = [20.0, 40.0, 60.0, 80.0];

    fn value(loss: Loss, outputs: &[f32], ages: &[f64]) -> f64 {
        let target = AgeTarget::of(loss, &AGES).unwrap();
        let device = Device::flex();
        let outputs = TensorData::new(outputs.to_vec(), [ages.len(), target.n_outputs()]);
        let labels = target.labels(ages, &device);
        let loss: f32 = target
            .loss(Tensor::from_data(outputs, &device), labels)
            .into_scalar();
        f64::from(loss)
    }

    #[test]
    fn losses_of_one_number_are_those_of_the_textbook() {
        // Mean age 50, sd √500 years: an output of 0 is 50 years.
        let sd = 500.0_f64.sqrt();
        let (gap_10, gap_30) = (10.0 / sd, 30.0 / sd);
        let of = |loss| value(loss, &[0.0, 0.0], &[60.0, 20.0]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(near(of(Loss::Mae), 0.5 * (gap_10 + gap_30)));
        let squares = gap_10.powi(2) + gap_30.powi(2);
        assert!(near(of(Loss::Mse), 0.5 * squares));
        let delta = 20.0 / sd;
        let expected = 0.5 * (0.5 * gap_10.powi(2) + delta * (gap_30 - 0.5 * delta));
        let found = of(Loss::Huber { delta_years: 20.0 });
        assert!(near(found, expected), "{found} {expected}");
    }

    #[test]
    fn soft_labels_lose_nothing_where_the_head_says_the_gaussian_itself() {
        let loss = Loss::SoftLabels {
            bin_years: 2.0,
            sd_years: 2.0,
        };
        let target = AgeTarget::of(loss, &AGES).unwrap();
        let labels = target.labels(&[43.0], &Device::flex());
        let logits = (labels.clone() + 1e-12).log();
        let found: f32 = target.loss(logits.clone(), labels).into_scalar();
        assert!(found.abs() < 1e-5, "{found}");
        let estimate = target.estimates(logits)[0];
        assert!((estimate.age_years - 43.0).abs() < 0.01, "{estimate:?}");
        assert!(
            (estimate.sd_years.unwrap() - 2.0).abs() < 0.05,
            "{estimate:?}"
        );
    }

    #[test]
    fn ages_are_alike_by_a_gaussian_of_ten_years_and_classes_by_the_cosine() {
        let device = Device::flex();
        let numbers = |t: Tensor<2>| -> Vec<f32> { t.into_data().try_into_vec().unwrap() };
        let near = |found: Vec<f32>, expected: [f64; 4]| {
            let pairs = found.iter().zip(expected);
            assert!(
                pairs.clone().all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        let ages = Target::Ages(AgeTarget::of(Loss::Mae, &AGES).unwrap());
        let found = numbers(ages.similarities(&[35.0.into(), 45.0.into()], &device));
        let alike = (-0.5_f64).exp();
        near(found, [1.0, alike, alike, 1.0]);
        // Smoothing does not change the angle between two of K classes: −1/(K − 1).
        let classes = Target::Classes(ClassTarget {
            loss: crate::engine::classes::ClassLoss::CrossEntropy { smoothing: 0.1 },
            n_classes: 5,
        });
        let found = numbers(classes.similarities(&[3.0.into(), 1.0.into()], &device));
        near(found, [1.0, -0.25, -0.25, 1.0]);
    }

    #[test]
    fn a_loss_is_written_as_a_word_or_as_a_table() {
        #[derive(Deserialize)]
        struct Section {
            loss: Loss,
        }
        let parse = |text: &str| toml::from_str::<Section>(text).map(|section| section.loss);
        assert_eq!(parse("loss = \"mae\"").unwrap(), Loss::Mae);
        let soft = parse("loss = { soft-labels = { bin_years = 2.0, sd_years = 1.0 } }").unwrap();
        assert_eq!(
            soft,
            Loss::SoftLabels {
                bin_years: 2.0,
                sd_years: 1.0
            }
        );
        assert!(parse("loss = { huber = { delta = 2.0 } }").is_err());
    }
}
