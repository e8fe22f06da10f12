//! `brainage demo`: the whole way from scans to a report, on synthetic heads, in a few minutes.
//!
//! The demo is a list of commands as anyone would type them; it shows each one, then runs it. Nothing in it is special
//! to the demo but the project file and the config that it writes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use brainage_pipelines::atomic::write_atomically;
use burn::tensor::Device;
use clap::Parser as _;

use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
use crate::eval::Evaluation;
use crate::model_file::Model;
use crate::predict::table::read_predictions;
use crate::run::dir::RunDir;

use super::ages::{AgeTable, join};
use super::evaluate::evaluate_of_model;
use super::{Cli, CliError, Context, ExitStatus};

/// What is said of a command, and the command.
type Line = (&'static str, &'static str);
/// From nothing to a full cache.
const BEFORE_TRAINING: &[Line] = &[
    (
        "make heads, laid out as UK Biobank",
        "synth --layout ukbb --subjects {ukbb} --ages 20,85 --spread 0.5 --seed {seed} --out {out}/ukbb",
    ),
    (
        "make heads, laid out as Cam-CAN",
        "synth --layout camcan --subjects {camcan} --ages 20,85 --spread 0.5 --seed {seed} --out {out}/camcan",
    ),
    (
        "make scans that no training sees",
        "synth --layout folder --subjects {unseen} --ages 20,85 --spread 0.5 --seed {seed} --out {out}/scans",
    ),
    (
        "list what the cohorts hold",
        "index --project {out}/brainage.toml --out {out}/index.csv",
    ),
    (
        "bring every scan into the cache",
        "preprocess --cohorts ukbb,camcan --recipe coarse --project {out}/brainage.toml",
    ),
];
const TRAIN: Line = (
    "train four blocks, each on a device of its own",
    "train --cohorts ukbb,camcan --out {out}/run --project {out}/brainage.toml",
);
const RESUME: Line = (
    "go on with the training",
    "train --resume {out}/run --project {out}/brainage.toml",
);
/// From the model to the page.
const AFTER_TRAINING: &[Line] = &[
    (
        "predict the ages of the scans that no training saw",
        "predict {out}/scans --model {out}/run/model.safetensors --ages {out}/scans/ages.csv \
         --out {out}/predictions.csv --project {out}/brainage.toml",
    ),
    (
        "compare with the true ages",
        "evaluate --predictions {out}/predictions.csv --ages {out}/scans/ages.csv --model {out}/run/model.safetensors",
    ),
    (
        "write it all on one page",
        "report {out}/run --predictions {out}/predictions.csv --ages {out}/scans/ages.csv --out {out}/report.html \
         --project {out}/brainage.toml",
    ),
];
/// Passes over the training set: fewer learn too little to be judged, more only learn the heads by heart.
const EPOCHS: [f64; 2] = [4.0, 200.0];
/// Seconds of two cores for the first batch, the template and the closing figures.
const SECONDS_FIXED: f64 = 8.0;
/// Seconds of two cores to make, preprocess and predict a head.
const SECONDS_PER_HEAD: f64 = 0.8;
/// Seconds of two cores to learn from a scan once.
const SECONDS_PER_SAMPLE: f64 = 0.03;

/// See all of it work, without data
///
/// Makes two cohorts of synthetic heads and a folder of scans, and takes them from index to report. The length is
/// decided beforehand, for two cores: the same command gives the same figures on any machine, sooner or later.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage demo\n  brainage demo --subjects 96 --minutes 6 --out demo-long"
)]
pub struct Args {
    /// Folder that everything goes to
    #[arg(long, value_name = "DIR", default_value = "brainage-demo")]
    out: PathBuf,
    /// Participants of both cohorts together
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(24..=2000))]
    subjects: u32,
    /// Length on two cores, minutes
    #[arg(long, value_name = "M", default_value = "2", value_parser = parse_minutes)]
    minutes: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where the demo's files are.
struct Places {
    out: PathBuf,
}

impl Places {
    fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    fn text(&self, name: &str) -> String {
        as_typed(&self.path(name).display().to_string())
    }
}

/// How many heads of which kind.
struct Heads {
    ukbb: u32,
    camcan: u32,
    unseen: u32,
}

impl Heads {
    fn of(subjects: u32) -> Self {
        Self {
            ukbb: subjects.div_ceil(2),
            camcan: subjects / 2,
            unseen: (subjects / 3).clamp(12, 100),
        }
    }

    /// Epochs that fill the time; a number of the arguments alone, so that every machine trains the same model.
    fn epochs(&self, minutes: f64, config: &TrainConfig) -> u64 {
        let split = config.data.split;
        let cohorts = f64::from(self.ukbb + self.camcan);
        let samples = cohorts * (1.0 - split.validation - split.test);
        let heads = cohorts + f64::from(self.unseen);
        let left = minutes * 60.0 - SECONDS_FIXED - heads * SECONDS_PER_HEAD;
        let [fewest, most] = EPOCHS;
        let epochs = (left / (samples * SECONDS_PER_SAMPLE)).clamp(fewest, most);
        epochs.floor() as u64
    }
}

/// One command of the demo.
struct Step {
    says: &'static str,
    words: Vec<String>,
}

/// Goes the whole way and says what came of it.
///
/// # Errors
/// What any of its commands answers, and where the folder holds something else.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let started = Instant::now();
    let places = Places {
        out: args.out.clone(),
    };
    let heads = Heads::of(args.subjects);
    begin(args, &heads, &places)?;
    let for_steps = Context {
        printer: context.printer.for_steps(),
        stop: context.stop.clone(),
        project_file: None,
    };
    let mut seconds = Vec::new();
    for step in steps(args, &heads, &places) {
        let step_started = Instant::now();
        let typed: Vec<String> = step.words.iter().map(|word| as_typed(word)).collect();
        let said = format!("\n── {}\n$ brainage {}", step.says, typed.join(" "));
        context.printer.status(&said);
        let words = ["brainage"].into_iter().map(str::to_owned);
        let cli = Cli::try_parse_from(words.chain(step.words.iter().cloned()))?;
        let inner = Context {
            project_file: cli.global.project,
            ..for_steps.clone()
        };
        cli.command.run(&inner)?;
        if context.stop.is_set() {
            let hint = "give the same command again to go on";
            return Err(CliError::failed("stopped; what was done is kept", hint).into());
        }
        let name = step.words.first().cloned().unwrap_or_default();
        seconds.push((name, step_started.elapsed().as_secs_f64()));
    }
    let evaluation = evaluate_unseen(&places)?;
    let total = started.elapsed().as_secs_f64();
    context.printer.object(&serde_json::json!({
        "out": places.out,
        "model": places.path("run/model.safetensors"),
        "predictions": places.path("predictions.csv"),
        "report": places.path("report.html"),
        "n": evaluation.n,
        "mae": evaluation.mae,
        "mae_ci": evaluation.mae_ci,
        "baseline_mae": evaluation.baseline_mae,
        "seconds": total,
        "seconds_by_command": seconds,
    }))?;
    for line in closing_lines(&heads, &places, &evaluation, &seconds, total) {
        context.printer.line(&line)?;
    }
    Ok(ExitStatus::Done)
}

/// Writes the project file and the config; the folder must be new, or that of the very same demo.
fn begin(args: &Args, heads: &Heads, places: &Places) -> anyhow::Result<()> {
    let config = TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("brain-cnn-small.toml"), &[])?;
    let epochs = heads.epochs(args.minutes, &config);
    let project = format!(
        "# Made by `brainage demo --subjects {} --minutes {} --seed {}`.\n\n\
         [cohorts.ukbb]\nlayout = \"ukbb\"\nroot = \"ukbb\"\n\n\
         [cohorts.camcan]\nlayout = \"camcan\"\nroot = \"camcan\"\n\n\
         [cache]\ndir = \"cache\"\n\n\
         [train]\nconfig = \"brain-cnn-small.toml\"\n",
        args.subjects, args.minutes, args.seed
    );
    let file = places.path("brainage.toml");
    let is_ours = fs_err::read_to_string(&file).is_ok_and(|found| found == project);
    let is_taken = fs_err::read_dir(&places.out).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken && !is_ours {
        let message = format!("folder holds something else: `{}`", places.out.display());
        let hint = "name another folder with --out, or delete this one";
        return Err(CliError::failed(message, hint).into());
    }
    fs_err::create_dir_all(&places.out)?;
    write_atomically(&file, |out| out.write_all(project.as_bytes()))?;
    let changes = [
        format!("train.epochs={epochs}"),
        format!("train.seed={}", args.seed),
    ];
    let config = TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("brain-cnn-small.toml"), &changes)?;
    let text = config.to_toml()?;
    write_atomically(&places.path("brain-cnn-small.toml"), |out| {
        out.write_all(text.as_bytes())
    })?;
    Ok(())
}

fn steps(args: &Args, heads: &Heads, places: &Places) -> Vec<Step> {
    let filled = |word: &str| {
        word.replace("{out}", &places.out.display().to_string())
            .replace("{seed}", &args.seed.to_string())
            .replace("{ukbb}", &heads.ukbb.to_string())
            .replace("{camcan}", &heads.camcan.to_string())
            .replace("{unseen}", &heads.unseen.to_string())
    };
    let train = if RunDir::open(places.path("run")).is_ok() {
        RESUME
    } else {
        TRAIN
    };
    let script = BEFORE_TRAINING.iter().chain([&train]).chain(AFTER_TRAINING);
    script
        .map(|(says, command)| Step {
            says,
            words: command.split_whitespace().map(filled).collect(),
        })
        .collect()
}

/// How good the model is on the scans that no training saw.
fn evaluate_unseen(places: &Places) -> anyhow::Result<Evaluation> {
    let table = places.path("predictions.csv");
    let rows = read_predictions(&table)?;
    let ages = AgeTable::read(&places.path("scans/ages.csv"))?;
    let model = Model::load(&places.path("run/model.safetensors"), &Device::flex())?;
    let named = (&model.description, &*model.short_name());
    evaluate_of_model(&rows, &join(&rows, Some(&ages)), named, &table)
}

fn closing_lines(
    heads: &Heads,
    places: &Places,
    evaluation: &Evaluation,
    seconds: &[(String, f64)],
    total: f64,
) -> Vec<String> {
    let at = |name: &str| places.text(name);
    let program = as_typed(&std::env::args().next().unwrap_or("brainage".into()));
    let mut stages: Vec<(&str, f64)> = Vec::new();
    for (name, seconds) in seconds {
        match stages.last_mut() {
            Some((last, sum)) if last == name => *sum += seconds,
            _ => stages.push((name, *seconds)),
        }
    }
    let stages: Vec<String> = stages
        .iter()
        .map(|(name, seconds)| format!("{name} {seconds:.0} s"))
        .collect();
    vec![
        format!(
            "\nDone in {total:.0} s ({}). All heads are synthetic: the figures say nothing about real brains.",
            stages.join(", ")
        ),
        format!(
            "  cohorts      `{}` and `{}`, {} heads; {} unseen scans in `{}`",
            at("ukbb"),
            at("camcan"),
            heads.ukbb + heads.camcan,
            heads.unseen,
            at("scans")
        ),
        format!("  model        `{}`", at("run/model.safetensors")),
        format!("  predictions  `{}`", at("predictions.csv")),
        format!(
            "  report       `{}` (open it in a browser)",
            at("report.html")
        ),
        verdict(evaluation),
        "Try next:".into(),
        format!(
            "  {program} view {} --predictions {}",
            at("scans"),
            at("predictions.csv")
        ),
        format!(
            "  {program} init       writes a project file; name your cohorts in it, then `{program} train`"
        ),
    ]
}

/// The result in a sentence, good or bad.
fn verdict(evaluation: &Evaluation) -> String {
    let (Some(mae), Some(baseline)) = (evaluation.mae, evaluation.baseline_mae) else {
        return "No unseen scan could be judged.".into();
    };
    let interval = evaluation
        .mae_ci
        .map(|[low, high]| format!(" (95 % CI {low:.1} to {high:.1})"))
        .unwrap_or_default();
    let judgement = if mae < baseline {
        ""
    } else {
        " The model is no better: it has learned nothing of use; try more --subjects and --minutes."
    };
    format!(
        "On {} heads that it has not seen the model is {mae:.1} years off on average{interval}; \
         predicting the mean age for everybody, {baseline:.1}.{judgement}",
        evaluation.n
    )
}

/// A word of a command as a shell takes it for one word.
fn as_typed(word: &str) -> String {
    if word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok();
    minutes
        .filter(|minutes| (1.0..=600.0).contains(minutes))
        .ok_or_else(|| "expected minutes from 1 to 600".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> TrainConfig {
        TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("small.toml"), &[]).unwrap()
    }

    #[test]
    fn more_time_means_more_epochs_and_more_heads_fewer() {
        let epochs = |subjects, minutes| Heads::of(subjects).epochs(minutes, &small());
        assert!(epochs(48, 6.0) > epochs(48, 3.0));
        assert!(epochs(96, 3.0) < epochs(48, 3.0));
        assert_eq!(epochs(2000, 1.0), 4, "as few as can be judged");
        assert_eq!(epochs(24, 600.0), 200, "as many as are of use");
    }

    #[test]
    fn every_step_is_a_command_that_parses_even_in_a_folder_with_a_space() {
        let args = Args {
            out: "a folder".into(),
            subjects: 25,
            minutes: 3.0,
            seed: 2,
        };
        let places = Places {
            out: args.out.clone(),
        };
        let heads = Heads::of(args.subjects);
        assert_eq!((heads.ukbb, heads.camcan), (13, 12));
        for step in steps(&args, &heads, &places) {
            let words = std::iter::once("brainage".to_owned()).chain(step.words);
            assert!(Cli::try_parse_from(words).is_ok(), "{}", step.says);
        }
    }

    #[test]
    fn the_sentence_tells_a_bad_result_too() {
        let case = |age_years, predicted_age_years| crate::eval::Case {
            age_years,
            predicted_age_years,
            ..Default::default()
        };
        let good = crate::eval::evaluate(&[case(30.0, 31.0), case(70.0, 69.0)], Some(50.0), 1);
        assert!(verdict(&good).contains("1.0 years off on average"));
        assert!(!verdict(&good).contains("no better"));
        let bad = crate::eval::evaluate(&[case(30.0, 70.0), case(70.0, 30.0)], Some(50.0), 1);
        assert!(verdict(&bad).contains("no better"));
    }
}
