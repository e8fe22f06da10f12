//! How the model of a run does on the splits that trained no weights.

use brainage_cohorts::{CohortIndex, IndexRow, Split};
use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::batch::ScanReport;
use brainage_pipelines::qc::QcVerdict;

use crate::data::batch::AgeScaling;
use crate::engine::device::{DeviceName, open_one};
use crate::eval::{Case, Evaluation, evaluate};
use crate::predict::predictor::{AgePredictor, PredictSettings, Visit};
use crate::predict::row::PredictionRow;
use crate::predict::table::{PredictionWriter, TableFormat, read_predictions};

use super::super::ages::{AgeTable, join};
use super::Request;

/// Rows of a split, each with what became of its scan.
pub(in crate::cli) fn in_split<'a>(
    index: &'a CohortIndex,
    reports: &'a [ScanReport],
    split: Split,
) -> impl Iterator<Item = (&'a IndexRow, &'a ScanReport)> {
    let pairs = index.rows.iter().zip(reports);
    pairs.filter(move |(row, _)| row.split == Some(split))
}

/// The validation scans with what the run's model predicts; what was refused or failed quality control is left out.
pub(super) fn validation_cases(
    request: &Request<'_>,
    reports: &[ScanReport],
) -> anyhow::Result<Vec<Case>> {
    let predictor = predictor(request)?;
    let usable: Vec<PredictionRow> = in_split(request.index, reports, Split::Validation)
        .map(|(row, report)| predictor.row(report, visit(row)))
        .filter(|row| row.qc.is_some_and(|verdict| verdict != QcVerdict::Fail))
        .collect();
    let ages = AgeTable::read(&request.run.index())?;
    Ok(join(&usable, Some(&ages)).cases)
}

/// Writes the run's predictions: every test scan, also what was refused or failed quality control.
pub(super) fn predict_test(request: &Request<'_>, reports: &[ScanReport]) -> anyhow::Result<()> {
    let predictor = predictor(request)?;
    let n_blocks = predictor.n_blocks();
    let mut table =
        PredictionWriter::create(&request.run.predictions(), TableFormat::Csv, n_blocks)?;
    for (row, report) in in_split(request.index, reports, Split::Test) {
        table.write(&predictor.row(report, visit(row)))?;
    }
    Ok(table.finish()?)
}

/// Judges the run's predictions and writes its evaluation.
pub(super) fn evaluate_test(
    request: &Request<'_>,
    scaling: AgeScaling,
) -> anyhow::Result<Evaluation> {
    let Request { run, config, .. } = request;
    let ages = AgeTable::read(&run.index())?;
    let cases = join(&read_predictions(&run.predictions())?, Some(&ages)).cases;
    let evaluation = evaluate(&cases, Some(scaling.mean_years), config.train.seed.0);
    write_atomically(&run.evaluation(), |out| {
        Ok(serde_json::to_writer_pretty(out, &evaluation)?)
    })?;
    Ok(evaluation)
}

/// The run's model as it lies on disk.
fn predictor(request: &Request<'_>) -> anyhow::Result<AgePredictor> {
    let device = open_one(DeviceName::Cpu)?;
    Ok(AgePredictor::load(
        &[request.run.model()],
        device,
        PredictSettings::default(),
    )?)
}

/// Who a row of an index is of, and when.
pub(in crate::cli) fn visit(row: &IndexRow) -> Visit {
    Visit {
        participant_id: Some(row.participant_id.to_string()),
        session_id: row.session_id.as_ref().map(ToString::to_string),
        age_years: Some(row.age_years.years()),
    }
}
