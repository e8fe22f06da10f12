//! `brainage view`: opens the desktop viewer, or writes a picture of it.

use std::path::{Path, PathBuf};

use brainage_viewer::{Prediction, Subject, ViewerParams, open_window, screenshot};

use crate::predict::row::PredictionRow;
use crate::predict::table::read_predictions;
use crate::predict::view_predictor;

use super::scans::resolve_scans;
use super::{CliError, Context, ExitStatus};

/// Look at scans, masks and predictions
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage view scans/ --predictions predictions.csv\n  \
    brainage view scan.nii.gz --model model.safetensors\n  brainage view --run runs/2026-11-25-ukbb --screenshot view.png"
)]
pub struct Args {
    /// Scan files, folders or patterns; otherwise the scans of the predictions
    paths: Vec<PathBuf>,
    /// Table of predictions
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Model that predicts on request
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Run folder: its predictions and its model
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Write a picture instead of opening a window
    #[arg(long, value_name = "FILE.png")]
    screenshot: Option<PathBuf>,
    /// Width and height of the picture
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    size: PictureSize,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PictureSize([u32; 2]);

/// Opens the window, or writes the picture.
///
/// # Errors
/// Where a file cannot be read, or there is no display.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let predictions = match (&args.predictions, &args.run) {
        (Some(table), _) => Some(table.clone()),
        (None, Some(run)) => in_run(run, "predictions.csv")?,
        (None, None) => None,
    };
    let rows = predictions
        .as_deref()
        .map(with_places)
        .transpose()?
        .unwrap_or_default();
    let subjects = subjects(&resolve_scans(&args.paths)?, rows);
    let model = match (&args.model, &args.run) {
        (Some(model), _) => Some(model.clone()),
        (None, Some(run)) => in_run(run, "model.safetensors")?,
        (None, None) => None,
    };
    let predictor = match model {
        Some(model) => Some(view_predictor(
            &model,
            &context.cache_dir(args.cache.as_deref())?,
        )?),
        None => None,
    };
    let params = ViewerParams {
        subjects,
        predictor,
        title: "brainage".into(),
    };
    match &args.screenshot {
        Some(picture) => {
            screenshot(params, picture, args.size.0)?;
            context.printer.line(&picture.display().to_string())?;
        }
        None => open_window(params)?,
    }
    Ok(ExitStatus::Done)
}

/// A file of a run, if it is there yet.
fn in_run(run: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
    if !run.is_dir() {
        let message = format!("no such run folder: `{}`", run.display());
        return Err(
            CliError::usage(message, "runs are in `runs/` unless --out said otherwise").into(),
        );
    }
    Ok(Some(run.join(name)).filter(|path| path.is_file()))
}

/// The rows of a table, each with where its scan is: as the table names it, else beside the table.
fn with_places(table: &Path) -> anyhow::Result<Vec<(PathBuf, PredictionRow)>> {
    let folder = table.parent().unwrap_or(Path::new(""));
    let place = |row: PredictionRow| {
        let named = PathBuf::from(&row.scan);
        let beside = folder.join(&named);
        (
            if !named.exists() && beside.exists() {
                beside
            } else {
                named
            },
            row,
        )
    };
    Ok(read_predictions(table)?.into_iter().map(place).collect())
}

/// The named scans with their predictions; without named scans, those of the table.
fn subjects(scans: &[PathBuf], rows: Vec<(PathBuf, PredictionRow)>) -> Vec<Subject> {
    if scans.is_empty() {
        return rows
            .into_iter()
            .map(|(path, row)| subject(path, Some(row)))
            .collect();
    }
    let same_place = |a: &Path, b: &Path| {
        a == b
            || matches!((std::path::absolute(a), std::path::absolute(b)), (Ok(a), Ok(b)) if a == b)
    };
    let same_name = |a: &Path, b: &Path| a.file_name().is_some() && a.file_name() == b.file_name();
    scans
        .iter()
        .map(|scan| {
            let mut named = rows.iter().filter(|(path, _)| same_name(path, scan));
            let only = named.next().filter(|_| named.next().is_none());
            let row = rows
                .iter()
                .find(|(path, _)| same_place(path, scan))
                .or(only);
            subject(scan.clone(), row.map(|(_, row)| row.clone()))
        })
        .collect()
}

fn subject(path: PathBuf, row: Option<PredictionRow>) -> Subject {
    let mut subject = Subject::from_path(path);
    let Some(row) = row else { return subject };
    if let Some(participant) = row.participant_id {
        subject.name = match row.session_id {
            Some(session) => format!("{participant} {session}"),
            None => participant,
        };
    }
    subject.age_years = row.age_years;
    subject.prediction = Some(Prediction {
        predicted_age_years: row.predicted_age_years,
        corrected_gap_years: row.corrected_gap_years,
        block_ages_years: row.block_ages_years,
        qc: row.qc.map(|qc| qc.to_string()).unwrap_or_default(),
        qc_reasons: row.qc_reasons,
        model: row.model,
        error: row.error,
    });
    subject
}

fn parse_size(text: &str) -> Result<PictureSize, String> {
    let sides = text
        .split_once(['x', '×'])
        .and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    sides
        .map(PictureSize)
        .ok_or_else(|| "expected width and height such as 1280x800".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scan: &str, participant: &str) -> (PathBuf, PredictionRow) {
        let row = PredictionRow {
            scan: scan.into(),
            participant_id: Some(participant.into()),
            age_years: Some(50.0),
            predicted_age_years: Some(53.0),
            ..PredictionRow::default()
        };
        (scan.into(), row)
    }

    #[test]
    fn scans_meet_their_predictions_by_path_else_by_a_name_that_only_one_has() {
        let rows = vec![
            row("a/x.nii", "p1"),
            row("b/x.nii", "p2"),
            row("b/y.nii", "p3"),
        ];
        let scans = ["b/x.nii", "c/y.nii", "c/x.nii"].map(PathBuf::from);
        let names: Vec<String> = subjects(&scans, rows.clone())
            .into_iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["p2", "p3", "x"]);
        assert_eq!(subjects(&[], rows).len(), 3);
    }

    #[test]
    fn a_row_becomes_a_subject_with_its_gap() {
        let (path, row) = row("a/x.nii", "p1");
        let subject = subject(path, Some(row));
        assert_eq!(subject.gap_years(), Some(3.0));
    }

    #[test]
    fn a_size_is_two_numbers() {
        assert_eq!(parse_size("640x480"), Ok(PictureSize([640, 480])));
        assert!(parse_size("640").is_err() && parse_size("x480").is_err());
    }
}
