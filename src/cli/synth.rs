//! `brainage synth`: synthetic heads that age, laid out as a cohort ships, or as a flat folder of scans.

use std::path::PathBuf;

use brainage_synth::{SynthLayout, SynthParams, SynthReport, write_cohort, write_scan_folder};
use serde::Serialize;

use super::{CliError, Context, ExitStatus};

/// Make synthetic heads, laid out as a cohort ships
///
/// The heads are the MNI template, warped and with ventricles and sulci that grow with age. They are for trying things
/// out, and marked as synthetic; nothing about people can be learned from them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  brainage synth --layout camcan --subjects 24 --out synthetic/camcan"
)]
pub struct Args {
    /// Layout of the folders and tables
    #[arg(long, value_enum)]
    layout: LayoutName,
    /// Number of participants
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    subjects: u32,
    /// Folder that is made
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Youngest and oldest age, years
    #[arg(long, value_name = "FROM,TO", default_value = "20,80", value_parser = parse_ages)]
    ages: AgeRange,
    /// By how much people differ beyond age and sex; 1 is as much as real people do
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = parse_spread)]
    spread: f64,
    /// Side of a voxel, mm
    #[arg(long, value_name = "MM", default_value_t = 2.0, value_parser = parse_voxel_size)]
    voxel_size: f64,
}

/// What `--layout` takes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LayoutName {
    /// UK Biobank bulk data unpacked, and its main table
    Ukbb,
    /// UK Biobank bulk data as downloaded: one archive a scan, some people at two visits
    UkbbZip,
    /// HCP Young Adult with open and restricted table, families, retests
    HcpYa,
    /// HCP Aging with tables of the NIMH Data Archive
    HcpAging,
    /// HCP Development with tables of the NIMH Data Archive; adults only
    HcpDevelopment,
    /// ADNI with the list of images and ADNIMERGE
    Adni,
    /// Cam-CAN
    Camcan,
    /// IXI
    Ixi,
    /// OASIS-3
    Oasis3,
    /// BIDS
    Bids,
    /// A flat folder of scans with ages.csv
    Folder,
}

impl LayoutName {
    /// The cohort's layout; none for a flat folder.
    fn cohort(self) -> Option<SynthLayout> {
        match self {
            Self::Ukbb => Some(SynthLayout::Ukbb),
            Self::UkbbZip => Some(SynthLayout::UkbbZip),
            Self::HcpYa => Some(SynthLayout::HcpYa),
            Self::HcpAging => Some(SynthLayout::HcpAging),
            Self::HcpDevelopment => Some(SynthLayout::HcpDevelopment),
            Self::Adni => Some(SynthLayout::Adni),
            Self::Camcan => Some(SynthLayout::Camcan),
            Self::Ixi => Some(SynthLayout::Ixi),
            Self::Oasis3 => Some(SynthLayout::Oasis3),
            Self::Bids => Some(SynthLayout::Bids),
            Self::Folder => None,
        }
    }
}

/// Youngest and oldest age, years.
#[derive(Clone, Copy, Debug)]
struct AgeRange([f64; 2]);

/// The answer for machines.
#[derive(Serialize)]
struct Answer<'a> {
    out: &'a PathBuf,
    subjects: usize,
    scans: usize,
}

/// Makes the heads.
///
/// # Errors
/// Where the folder cannot be written, or Ctrl-C came before the last head.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let params = |layout| SynthParams {
        layout,
        n_subjects: args.subjects as usize,
        seed: args.seed,
        age_years: args.ages.0,
        spread: args.spread,
        voxel_size_mm: args.voxel_size,
    };
    let progress = context
        .printer
        .progress("synth", "heads", Some(u64::from(args.subjects)));
    let on_head = |_: usize| progress.advance(1);
    let stop = context.stop.flag();
    let report: SynthReport = match args.layout.cohort() {
        Some(layout) => write_cohort(&args.out, &params(layout), stop, &on_head),
        None => write_scan_folder(&args.out, &params(SynthLayout::Bids), stop, &on_head),
    }?;
    drop(progress);
    if report.stopped {
        let message = format!("stopped before the last head: `{}`", args.out.display());
        return Err(CliError::failed(message, "delete the folder and begin again").into());
    }
    let answer = Answer {
        out: &args.out,
        subjects: report.n_subjects,
        scans: report.n_scans,
    };
    context.printer.object(&answer)?;
    context.printer.line(&format!(
        "{} synthetic heads of {} participants: `{}`",
        answer.scans,
        answer.subjects,
        args.out.display()
    ))?;
    Ok(ExitStatus::Done)
}

fn parse_ages(text: &str) -> Result<AgeRange, String> {
    let ages: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    match ages.as_deref() {
        Some(&[from, to]) if (0.0..=125.0).contains(&from) && from < to && to <= 125.0 => {
            Ok(AgeRange([from, to]))
        }
        _ => Err("expected two ages in years such as 20,80".into()),
    }
}

fn parse_voxel_size(text: &str) -> Result<f64, String> {
    let size = text
        .parse::<f64>()
        .ok()
        .filter(|size| (0.7..=4.0).contains(size));
    size.ok_or_else(|| "expected a size from 0.7 to 4 mm".into())
}

fn parse_spread(text: &str) -> Result<f64, String> {
    let spread = text.parse::<f64>().ok();
    let spread = spread.filter(|spread| (0.0..=1.5).contains(spread));
    spread.ok_or_else(|| "expected a number from 0 to 1.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_two_numbers_that_grow() {
        assert_eq!(parse_ages("18, 90.5").unwrap().0, [18.0, 90.5]);
        for text in ["", "20", "80,20", "20,80,90", "-1,20", "20,nan", "20,200"] {
            assert!(parse_ages(text).is_err(), "{text}");
        }
    }
}
