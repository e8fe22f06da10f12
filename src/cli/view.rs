//! `brainage view`: opens the desktop viewer, or writes a picture of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brainage_cohorts::CohortIndex;
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::find_scans;
use brainage_pipelines::outputs::stem_of;
use brainage_pipelines::recipe::Recipe;
use brainage_viewer::review::REVIEW_FILE;
use brainage_viewer::{
    Preprocessing, Start, StartLayout, StartPanel, Subject, ViewerParams, measure_frames,
    open_window, screenshot,
};
use clap::ValueEnum as _;

use crate::predict::row::PredictionRow;
use crate::predict::saliency::SaliencyMethod;
use crate::predict::table::read_predictions;
use crate::predict::{prediction_of, view_predictor};

use super::review::project_review;
use super::scans::resolve_scans;
use super::{CliError, Context, ExitStatus};

/// Look at scans, masks and predictions
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage view scans/ --predictions predictions.csv\n  \
    brainage view scan.nii.gz --model model.safetensors\n  brainage view --run runs/2026-11-25-ukbb --screenshot view.png\n  \
    brainage view scan.nii.gz --prepare --layout mosaic --screenshot mosaic.png"
)]
pub struct Args {
    /// Scan files, folders or patterns, folders of a cache and its entries; otherwise the scans of the predictions
    paths: Vec<PathBuf>,
    /// Table of predictions
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Model that predicts on request
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Run folder: its predictions, its model and its learning curves, also while it trains
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Folder with maps named STEM_saliency.nii.gz that are laid over the scans
    #[arg(long, value_name = "DIR")]
    saliency: Option<PathBuf>,
    /// Table that keeps judgments of scans; otherwise qc_review.csv beside the project file, else beside the predictions or here
    #[arg(long, value_name = "FILE")]
    review: Option<PathBuf>,
    /// Recipe of the layers, where no model says it
    #[arg(long, value_name = "NAME", default_value = "standard")]
    recipe: String,
    /// Preprocess the first scan at once, so that mask, template and bias field can be shown
    #[arg(long)]
    prepare: bool,
    /// Planes that are seen first; otherwise those of the last time
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,
    /// Panel that is seen first
    #[arg(long, value_enum)]
    panel: Option<PanelArg>,
    /// Write a picture instead of opening a window; needs no display
    #[arg(long, value_name = "FILE.png")]
    screenshot: Option<PathBuf>,
    /// Width and height of the picture
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    size: PictureSize,
    /// Pixels a point of the picture: 2 makes everything twice as large
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    scale: f32,
    /// Go through this many frames of slices in a window, say how fast that was, and close it
    #[arg(long, value_name = "FRAMES", num_args = 0..=1, default_missing_value = "300", conflicts_with = "screenshot")]
    fps: Option<usize>,
    /// Folder of the cache; otherwise the project's, or the user's
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LayoutArg {
    Three,
    Axial,
    Coronal,
    Sagittal,
    Mosaic,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PanelArg {
    Prediction,
    Cohort,
    Layers,
    Run,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PictureSize([u32; 2]);

/// Opens the window, or writes the picture.
///
/// # Errors
/// Where a file cannot be read, or there is no display.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let params = params(args, context)?;
    if let Some(picture) = &args.screenshot {
        screenshot(params, picture, args.size.0, args.scale)?;
        context.printer.line(&picture.display().to_string())?;
    } else if let Some(n_frames) = args.fps {
        let times = measure_frames(params, n_frames)?;
        let millis = |percent| times.own_percentile(percent).as_secs_f64() * 1e3;
        context.printer.line(&format!(
            "first picture after {:.2} s; {} frames, {:.1} a second; own part {:.1} ms (median), {:.1} ms (95 %), {:.1} ms (longest)",
            times.first_picture.as_secs_f64(),
            times.frames.len(),
            times.frames_per_second(),
            millis(50),
            millis(95),
            millis(100),
        ))?;
    } else {
        open_window(params)?;
    }
    Ok(ExitStatus::Done)
}

fn params(args: &Args, context: &Context) -> anyhow::Result<ViewerParams> {
    let predictions = match (&args.predictions, &args.run) {
        (Some(table), _) => Some(table.clone()),
        (None, Some(run)) => in_run(run, "predictions.csv")?,
        (None, None) => None,
    };
    let known = predictions.as_deref().map(read_table).transpose()?;
    let (open, named): (Vec<PathBuf>, Vec<PathBuf>) = args
        .paths
        .iter()
        .cloned()
        .partition(|path| is_opened_later(path));
    let mut subjects = subjects(&resolve_scans(&named)?, known.unwrap_or_default());
    if let Some(folder) = &args.saliency {
        for subject in &mut subjects {
            subject.saliency = saliency_of(folder, &subject.path);
        }
    }
    let cache_dir = context.cache_dir(args.cache.as_deref())?;
    let model = match (&args.model, &args.run) {
        (Some(model), _) => Some(model.clone()),
        (None, Some(run)) => in_run(run, "model.safetensors")?,
        (None, None) => None,
    };
    let (predictor, recipe) = match model {
        Some(model) => {
            let (predictor, recipe) = view_predictor(&model, &cache_dir)?;
            (Some(predictor), recipe)
        }
        None => (None, Recipe::named(&args.recipe)?),
    };
    let beside = predictions
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""));
    let review = match &args.review {
        Some(review) => review.clone(),
        // Where `train` and `index` look for it.
        None => project_review(context)?.unwrap_or_else(|| beside.join(REVIEW_FILE)),
    };
    Ok(ViewerParams {
        open,
        predictor,
        preprocessing: Some(Preprocessing {
            recipe,
            // Looking at a scan makes no folder where there is none.
            cache: cache_dir
                .is_dir()
                .then(|| Cache::open(&cache_dir))
                .transpose()?,
        }),
        read_subjects: Some(Arc::new(|path: &Path| read_opened(path))),
        run: args.run.clone(),
        // A picture looks the same whatever one did in the window.
        settings: args.screenshot.is_none().then(settings_file).flatten(),
        review: Some(review),
        start: start(args),
        ..ViewerParams::new(subjects)
    })
}

fn start(args: &Args) -> Start {
    Start {
        layout: args.layout.map(|layout| match layout {
            LayoutArg::Three => StartLayout::Three,
            LayoutArg::Axial => StartLayout::Axial,
            LayoutArg::Coronal => StartLayout::Coronal,
            LayoutArg::Sagittal => StartLayout::Sagittal,
            LayoutArg::Mosaic => StartLayout::Mosaic,
        }),
        panel: args.panel.map(|panel| match panel {
            PanelArg::Prediction => StartPanel::Prediction,
            PanelArg::Cohort => StartPanel::Cohort,
            PanelArg::Layers => StartPanel::Layers,
            PanelArg::Run => StartPanel::Run,
        }),
        prepare: args.prepare,
    }
}

/// Where the viewer keeps its settings; `None` where the user has no home.
fn settings_file() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("XDG_CONFIG_HOME")
        .or_else(|| Some(variable("HOME")?.join(".config")))
        .or_else(|| variable("APPDATA"))
        .map(|folder| folder.join("brainage").join("viewer.toml"))
}

/// Whether the viewer itself looks at what this is: entries and folders of a cache, runs and tables.
fn is_opened_later(path: &Path) -> bool {
    let has = |extension: &str| {
        path.extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(extension))
    };
    let no_scans = || find_scans(path).is_ok_and(|scans| scans.is_empty());
    path.exists() && (has("vol") || has("csv") || (path.is_dir() && no_scans()))
}

/// The map of a scan, if the folder has one: one of a method that `predict --saliency` offers, or one of another program.
fn saliency_of(folder: &Path, scan: &Path) -> Option<PathBuf> {
    let stem = stem_of(scan);
    let methods = SaliencyMethod::value_variants().iter();
    let methods = methods.map(|method| format!("-{}", method.name()));
    let mut names = methods.chain([String::new()]).flat_map(|method| {
        ["_space-MNI", ""].map(|space| format!("{stem}{space}_saliency{method}.nii.gz"))
    });
    names.find_map(|name| {
        let path = folder.join(name);
        path.is_file().then_some(path)
    })
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

/// The subjects of a table or run folder that is opened in the viewer.
fn read_opened(path: &Path) -> Result<Vec<Subject>, String> {
    let table = if path.is_dir() {
        path.join("predictions.csv")
    } else {
        path.to_path_buf()
    };
    read_table(&table).map_err(|error| format!("{error:#}"))
}

/// The rows of a table, each with where its scan is: as the table names it, else beside the table; with the cohort where
/// the index beside the table has the scan.
fn read_table(table: &Path) -> anyhow::Result<Vec<Subject>> {
    let folder = table.parent().unwrap_or(Path::new(""));
    let index = folder.join("index.csv");
    let mut cohorts: HashMap<PathBuf, String> = HashMap::new();
    if index.is_file() {
        let rows = CohortIndex::read_csv(&index)?.rows;
        cohorts.extend(
            rows.into_iter()
                .map(|row| (row.scan, row.cohort.to_string())),
        );
    }
    let place = |row: PredictionRow| {
        let named = PathBuf::from(&row.scan);
        let beside = folder.join(&named);
        let cohort = cohorts.get(&named).cloned();
        let path = if !named.exists() && beside.exists() {
            beside
        } else {
            named
        };
        subject(path, row, cohort)
    };
    Ok(read_predictions(table)?.into_iter().map(place).collect())
}

/// The named scans with their predictions; without named scans, those of the table.
fn subjects(scans: &[PathBuf], rows: Vec<Subject>) -> Vec<Subject> {
    if scans.is_empty() {
        return rows;
    }
    let same_place = |a: &Path, b: &Path| {
        a == b
            || matches!((std::path::absolute(a), std::path::absolute(b)), (Ok(a), Ok(b)) if a == b)
    };
    let same_name = |a: &Path, b: &Path| a.file_name().is_some() && a.file_name() == b.file_name();
    scans
        .iter()
        .map(|scan| {
            let mut named = rows.iter().filter(|row| same_name(&row.path, scan));
            let only = named.next().filter(|_| named.next().is_none());
            let row = rows.iter().find(|row| same_place(&row.path, scan)).or(only);
            let known = row.cloned().map(|row| Subject {
                path: scan.clone(),
                ..row
            });
            known.unwrap_or_else(|| Subject::from_path(scan.clone()))
        })
        .collect()
}

fn subject(path: PathBuf, row: PredictionRow, cohort: Option<String>) -> Subject {
    let mut subject = Subject::from_path(path);
    if let Some(participant) = &row.participant_id {
        subject.name = match &row.session_id {
            Some(session) => format!("{participant} {session}"),
            None => participant.clone(),
        };
    }
    subject.cohort = cohort;
    subject.age_years = row.age_years;
    subject.prediction = Some(prediction_of(row));
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

    fn row(scan: &str, participant: &str) -> Subject {
        let row = PredictionRow {
            scan: scan.into(),
            participant_id: Some(participant.into()),
            age_years: Some(50.0),
            predicted_age_years: Some(53.0),
            ..PredictionRow::default()
        };
        subject(scan.into(), row, None)
    }

    #[test]
    fn scans_meet_their_predictions_by_path_else_by_a_name_that_only_one_has() {
        let rows = vec![
            row("a/x.nii", "p1"),
            row("b/x.nii", "p2"),
            row("b/y.nii", "p3"),
        ];
        let scans = ["b/x.nii", "c/y.nii", "c/x.nii"].map(PathBuf::from);
        let found = subjects(&scans, rows.clone());
        let names: Vec<&str> = found.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ["p2", "p3", "x"]);
        let paths: Vec<&PathBuf> = found.iter().map(|subject| &subject.path).collect();
        assert_eq!(paths, scans.iter().collect::<Vec<_>>());
        assert_eq!(subjects(&[], rows).len(), 3);
    }

    #[test]
    fn a_row_becomes_a_subject_with_its_gap() {
        assert_eq!(row("a/x.nii", "p1").gap_years(), Some(3.0));
    }

    #[test]
    fn a_size_is_two_numbers() {
        assert_eq!(parse_size("640x480"), Ok(PictureSize([640, 480])));
        assert!(parse_size("640").is_err() && parse_size("x480").is_err());
    }
}
