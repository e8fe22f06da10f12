//! A model, or several of one recipe, with the recipe that their scans must go through.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use brainage_pipelines::batch::{ScanOutcome, ScanReport};
use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template_hash;
use burn::tensor::{Tensor, TensorData};

use crate::Error;
use crate::data::brain::network_input;
use crate::engine::device::Lane;
use crate::engine::target::AgeEstimate;
use crate::model_file::Model;
use crate::models::Network;

use super::moved::{AS_IT_IS, Move, TEST_TIME};
use super::participants::TrainingParticipants;
use super::row::PredictionRow;
use super::saliency::{NetworkInput, SaliencyMethod, saliency};

/// Predicts ages from cache entries of its models' recipe.
pub struct AgePredictor {
    models: Vec<Model>,
    /// Of each model, who trained it, where its run folder says so.
    participants: Vec<Option<TrainingParticipants>>,
    /// Their recipe.
    pub recipe: Recipe,
    lane: Lane,
    settings: PredictSettings,
}

/// What a prediction can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PredictSettings {
    /// Whether each scan is also predicted from moved copies; the mean is then the prediction.
    pub test_time_augmentation: bool,
    /// Share of people whose age the interval is to hold, one of those that the model stores; `None`: the usual one.
    pub coverage: Option<f64>,
}

/// What models say of one scan.
#[derive(Clone, Debug, PartialEq)]
pub struct AgeEstimates {
    /// Estimate of each block's head, years; the last one is the prediction. Means over models and copies.
    pub block_ages_years: Vec<f64>,
    /// Estimate of each model, years, in their order.
    pub model_ages_years: Vec<f64>,
    /// Standard deviation of the last head's distribution, where it says one: a mean over models and copies.
    pub head_sd_years: Option<f64>,
    /// Standard deviation over the moved copies, where there are some: a mean over models.
    pub tta_sd_years: Option<f64>,
    /// Standard deviation over the models, where there are several.
    pub models_sd_years: Option<f64>,
}

/// Who was scanned and when, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visit {
    /// Who.
    pub participant_id: Option<String>,
    /// At which visit, where there can be several.
    pub session_id: Option<String>,
    /// Chronological age at the scan.
    pub age_years: Option<f64>,
}

impl AgeEstimates {
    /// The predicted age, years.
    pub fn predicted_age_years(&self) -> Option<f64> {
        self.block_ages_years.last().copied()
    }
}

impl AgePredictor {
    /// Loads models onto a device. Several are an ensemble, whose mean is the prediction.
    ///
    /// # Errors
    /// [`Error::Model`] where a file is not whole, asks for another recipe or template than this program has, or for
    /// another recipe or number of blocks than the first one.
    pub fn load(paths: &[PathBuf], lane: Lane, settings: PredictSettings) -> Result<Self, Error> {
        let mut members: Vec<(Model, Recipe)> = Vec::with_capacity(paths.len());
        for path in paths {
            let member = member(path, &lane)?;
            if let Some((first, _)) = members.first() {
                fits_ensemble(path, &member.0, first)?;
            }
            members.push(member);
        }
        let Some((_, recipe)) = members.first() else {
            return Err(Error::Data("no model was given".into()));
        };
        let recipe = recipe.clone();
        Ok(Self {
            participants: paths
                .iter()
                .map(|p| TrainingParticipants::beside(p))
                .collect(),
            models: members.into_iter().map(|(model, _)| model).collect(),
            recipe,
            lane,
            settings,
        })
    }

    /// The models.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Predicts with another network of the same shapes in the place of the first model's, such as one of fewer bits.
    pub fn replace_network(&mut self, network: Network) {
        if let Some(model) = self.models.first_mut() {
            model.network = network;
        }
    }

    /// Heads of each model: one for each block, or for each part of a model trained with deep supervision.
    pub fn n_blocks(&self) -> usize {
        self.models
            .first()
            .map_or(0, |model| model.network.n_heads())
    }

    /// The name of the model, or the names of all, with `+` between them.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.models.iter().map(Model::short_name).collect();
        names.join("+")
    }

    /// Predicts from a volume in the cache.
    ///
    /// # Errors
    /// Where the entry is of another recipe or cannot be read, or a network's answer is no number.
    pub fn predict(&self, entry: &CacheEntry) -> Result<AgeEstimates, Error> {
        let sides = self.recipe.grid.shape.0;
        let voxels = network_input(entry)?;
        if voxels.len() != sides.iter().product::<usize>() {
            let [x, y, z] = sides;
            return Err(Error::Data(format!("volume is not {x}×{y}×{z} voxels")));
        }
        let moves: &[Move] = if self.settings.test_time_augmentation {
            &TEST_TIME
        } else {
            &AS_IT_IS
        };
        let of_copy = |one: &Move| {
            let copy = one.of(&voxels, sides);
            self.estimates_of(&copy, sides)
        };
        // Copies, models, blocks.
        let said: Vec<Vec<Vec<AgeEstimate>>> = moves.iter().map(of_copy).collect();
        let estimates = summary(&said, self.models.len(), self.n_blocks());
        if estimates.block_ages_years.iter().all(|age| age.is_finite()) {
            Ok(estimates)
        } else {
            Err(Error::Data("the network's answer is no number".into()))
        }
    }

    /// Of each model, what each block's head says of voxels, z fastest.
    fn estimates_of(&self, voxels: &[f32], [x, y, z]: [usize; 3]) -> Vec<Vec<AgeEstimate>> {
        let data = TensorData::new(voxels.to_vec(), [1, 1, x, y, z]);
        self.lane.pool.install(|| {
            let input = Tensor::<5>::from_data(data, &self.lane.device);
            let of_model = |model: &Model| {
                let outputs = model.network.outputs(input.clone()).into_iter();
                let target = model.description.facts.target;
                outputs
                    .flat_map(|outputs| target.estimates(outputs))
                    .collect()
            };
            self.models.iter().map(of_model).collect()
        })
    }

    /// Where the models looked, see [`super::saliency`]: a mean over them. Voxels as in the entry, x fastest; `None` where
    /// `stop` was set before the end.
    ///
    /// # Errors
    /// Where the entry cannot be read, or the map holds what is no number.
    pub fn saliency(
        &self,
        entry: &CacheEntry,
        method: SaliencyMethod,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<f32>>, Error> {
        let input = NetworkInput {
            voxels: network_input(entry)?,
            sides: self.recipe.grid.shape.0,
            voxel_size_mm: self.recipe.grid.voxel_size_mm,
        };
        let mut sum = vec![0.0_f32; input.voxels.len()];
        let share = 1.0 / self.models.len() as f32;
        for model in &self.models {
            let Some(map) = saliency(model, &input, method, &self.lane, stop)? else {
                return Ok(None);
            };
            for (sum, value) in sum.iter_mut().zip(map) {
                *sum += share * value;
            }
        }
        Ok(Some(x_fastest(&sum, input.sides)))
    }

    /// The row of a scan that was preprocessed or refused. Where the age is known the gap is there too, and the
    /// corrected gap if the models have an age-bias correction that covers the age.
    pub fn row(&self, report: &ScanReport, visit: Visit) -> PredictionRow {
        let started = Instant::now();
        let mut row = PredictionRow {
            scan: report.scan.display().to_string(),
            participant_id: visit.participant_id,
            session_id: visit.session_id,
            age_years: visit.age_years,
            recipe: self.recipe.name.clone(),
            model: self.name(),
            ..PredictionRow::default()
        };
        match &report.outcome {
            ScanOutcome::Done(entry) | ScanOutcome::Cached(entry) => {
                row.qc = Some(entry.header.qc.verdict);
                row.qc_reasons.clone_from(&entry.header.qc.reasons);
                row.in_training = self.in_training(entry, row.participant_id.as_deref());
                match self.predict(entry) {
                    Ok(estimates) => self.fill(&mut row, &estimates),
                    Err(error) => row.error = Some(error.to_string()),
                }
            }
            ScanOutcome::Refused { reason } => row.error = Some(reason.clone()),
        }
        row.seconds = Some(report.seconds + started.elapsed().as_secs_f64());
        row
    }

    fn fill(&self, row: &mut PredictionRow, estimates: &AgeEstimates) {
        let Some(predicted) = estimates.predicted_age_years() else {
            return;
        };
        row.predicted_age_years = Some(predicted);
        row.block_ages_years.clone_from(&estimates.block_ages_years);
        row.head_sd_years = estimates.head_sd_years;
        row.tta_sd_years = estimates.tta_sd_years;
        row.models_sd_years = estimates.models_sd_years;
        // The interval of one model is not that of a mean over several.
        if let [model] = self.models.as_slice()
            && let Some(fitted) = &model.description.facts.interval
            && let Some(coverage) = self.settings.coverage.or(fitted.usual_coverage())
            && let Some([low, high]) = fitted.around(predicted, estimates.head_sd_years, coverage)
        {
            row.low_years = Some(low);
            row.high_years = Some(high);
            row.coverage = Some(coverage);
        }
        if let Some(age) = row.age_years {
            row.gap_years = Some(predicted - age);
            row.corrected_gap_years = self.corrected_gap_years(age, estimates);
        }
        row.warnings = self.warnings(row.age_years, predicted);
    }

    /// Mean of the models' corrected gaps, where each has one.
    fn corrected_gap_years(&self, age_years: f64, estimates: &AgeEstimates) -> Option<f64> {
        let pairs = self.models.iter().zip(&estimates.model_ages_years);
        let gaps = pairs.map(|(model, predicted)| {
            let correction = model.description.facts.bias_correction?;
            correction.corrected_gap_years(age_years, *predicted)
        });
        let gaps = gaps.collect::<Option<Vec<f64>>>()?;
        Some(mean(&gaps))
    }

    /// What to beware of: ages that a model never saw.
    fn warnings(&self, age_years: Option<f64>, predicted_years: f64) -> Vec<String> {
        let [youngest, oldest] = self.training_ages_years();
        let outside = |age: &f64| !(youngest..=oldest).contains(age);
        let mut warnings = Vec::new();
        if let Some(age) = age_years.filter(outside) {
            warnings.push(format!(
                "age {age:.1} is outside the training ages {youngest:.1}–{oldest:.1}"
            ));
        }
        if outside(&predicted_years) {
            warnings.push(format!(
                "prediction is outside the training ages {youngest:.1}–{oldest:.1}"
            ));
        }
        warnings
    }

    /// The ages that every model learned from, years.
    pub fn training_ages_years(&self) -> [f64; 2] {
        let ranges = self
            .models
            .iter()
            .map(|model| model.description.facts.training.age_range_years);
        ranges.fold(
            [f64::NEG_INFINITY, f64::INFINITY],
            |[low, high], [youngest, oldest]| [low.max(youngest), high.min(oldest)],
        )
    }

    /// Whether a model has learned from this image, or from this participant.
    fn in_training(&self, entry: &CacheEntry, participant_id: Option<&str>) -> Option<String> {
        let hash = &entry.header.file_hash;
        let mut models = self.models.iter();
        let image = models.any(|model| model.description.facts.training_images.holds(hash));
        let mut known = self.participants.iter().flatten();
        let id = participant_id.is_some_and(|id| known.any(|run| run.hold(id)));
        let found: Vec<&str> = [(image, "image"), (id, "id")]
            .into_iter()
            .filter_map(|(is_so, word)| is_so.then_some(word))
            .collect();
        (!found.is_empty()).then(|| found.join("; "))
    }
}

/// Voxels with z fastest as voxels with x fastest.
fn x_fastest(voxels: &[f32], [nx, ny, nz]: [usize; 3]) -> Vec<f32> {
    let rows = (0..nz).flat_map(|z| (0..ny).map(move |y| [y, z]));
    rows.flat_map(|[y, z]| (0..nx).map(move |x| voxels[(x * ny + y) * nz + z]))
        .collect()
}

fn refuse(path: &Path, message: String) -> Error {
    Error::Model {
        path: path.to_path_buf(),
        message,
    }
}

/// A model whose recipe and template are those of this program.
fn member(path: &Path, lane: &Lane) -> Result<(Model, Recipe), Error> {
    let model = Model::load(path, &lane.device)?;
    let facts = &model.description.facts;
    let recipe = Recipe::parse(&facts.recipe, &path.display().to_string())
        .map_err(|error| refuse(path, error.to_string()))?;
    if recipe.hash().to_hex().as_str() != facts.recipe_hash {
        return Err(refuse(path, "recipe and its hash differ".into()));
    }
    if template_hash().to_hex().as_str() != facts.template_hash {
        let message = "trained with another template than this program has";
        return Err(refuse(path, message.into()));
    }
    if recipe.grid.shape.0 != facts.grid {
        let message = "grid of the recipe is not that of the network";
        return Err(refuse(path, message.into()));
    }
    if facts.training.epochs == 0 || facts.training.n_training == 0 {
        return Err(refuse(path, "the model was never trained".into()));
    }
    Ok((model, recipe))
}

/// Whether a model can join another one in an ensemble.
fn fits_ensemble(path: &Path, model: &Model, first: &Model) -> Result<(), Error> {
    let (ours, theirs) = (&model.description.facts, &first.description.facts);
    if ours.recipe_hash != theirs.recipe_hash {
        let message = "its recipe is not that of the first model, and an ensemble sees one volume";
        return Err(refuse(path, message.into()));
    }
    let (found, expected) = (model.network.n_heads(), first.network.n_heads());
    if found != expected {
        let message = format!("it has {found} heads, the first model {expected}");
        return Err(refuse(path, message));
    }
    if model.description.weights_hash == first.description.weights_hash {
        return Err(refuse(path, "it is the first model once more".into()));
    }
    Ok(())
}

/// What `said[copy][model][block]` comes to.
fn summary(said: &[Vec<Vec<AgeEstimate>>], n_models: usize, n_blocks: usize) -> AgeEstimates {
    let each = |model: usize, block: usize| {
        let copies = said.iter();
        copies.filter_map(move |models| models.get(model)?.get(block).copied())
    };
    let age = |model: usize, block: usize| {
        let ages: Vec<f64> = each(model, block).map(|said| said.age_years).collect();
        mean(&ages)
    };
    let last = n_blocks.saturating_sub(1);
    let model_ages_years: Vec<f64> = (0..n_models).map(|model| age(model, last)).collect();
    let block_age = |block: usize| {
        let ages: Vec<f64> = (0..n_models).map(|model| age(model, block)).collect();
        mean(&ages)
    };
    let head_sds: Option<Vec<f64>> = (0..n_models)
        .flat_map(|model| each(model, last))
        .map(|said| said.sd_years)
        .collect();
    let over_copies: Option<Vec<f64>> = (0..n_models)
        .map(|model| {
            let ages: Vec<f64> = each(model, last).map(|said| said.age_years).collect();
            standard_deviation(&ages)
        })
        .collect();
    AgeEstimates {
        block_ages_years: (0..n_blocks).map(block_age).collect(),
        head_sd_years: head_sds.filter(|sds| !sds.is_empty()).map(|sds| mean(&sds)),
        tta_sd_years: over_copies.map(|sds| mean(&sds)),
        models_sd_years: standard_deviation(&model_ages_years),
        model_ages_years,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With n − 1; `None` of fewer than two values.
fn standard_deviation(values: &[f64]) -> Option<f64> {
    let middle = mean(values);
    let sum: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    (values.len() >= 2).then(|| (sum / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(age_years: f64, sd_years: Option<f64>) -> AgeEstimate {
        AgeEstimate {
            age_years,
            sd_years,
        }
    }

    #[test]
    fn one_model_and_one_copy_say_what_the_heads_say() {
        let estimates = summary(&[vec![vec![said(50.0, None), said(60.5, None)]]], 1, 2);
        assert_eq!(estimates.block_ages_years, [50.0, 60.5]);
        assert_eq!(estimates.predicted_age_years(), Some(60.5));
        let spreads = [
            estimates.head_sd_years,
            estimates.tta_sd_years,
            estimates.models_sd_years,
        ];
        assert_eq!(spreads, [None; 3]);
    }

    #[test]
    fn copies_and_models_are_averaged_and_their_spreads_told_apart() {
        // Model A says 60 and 62 of two copies, model B 70 and 70: means 61 and 70; sds over copies √2 and 0.
        let copy = |a: f64, b: f64| vec![vec![said(a, Some(3.0))], vec![said(b, Some(5.0))]];
        let estimates = summary(&[copy(60.0, 70.0), copy(62.0, 70.0)], 2, 1);
        assert_eq!(estimates.model_ages_years, [61.0, 70.0]);
        assert_eq!(estimates.block_ages_years, [65.5]);
        assert_eq!(estimates.head_sd_years, Some(4.0));
        let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-12;
        assert!(close(estimates.tta_sd_years, 2.0_f64.sqrt() / 2.0));
        // Half the distance times √2 for two values: 9 / √2.
        assert!(close(estimates.models_sd_years, 9.0 / 2.0_f64.sqrt()));
    }
}
