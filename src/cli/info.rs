//! `brainage info`: what is in a scan file.

use std::path::PathBuf;

use brainage_pipelines::format::{
    AffineSource, ReadOptions, ScanHeader, read_header_with, read_scan_with,
};
use brainage_pipelines::orient::Reorientation;
use brainage_pipelines::{Volume, VoxelShape};
use serde::Serialize;

use super::{CliError, Context, ExitStatus};

/// Say what is in a scan file
///
/// Axes, shape and affine are those of the volume as it is used here: RAS+, x to the patient's right, y to the front, z
/// to the top. The orientation is the stored one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage info sub-01_T1w.nii.gz --at 96,110,90 --json")]
pub struct Args {
    /// Scan file
    scan: PathBuf,
    /// Take this volume, from 0, where the file holds several
    #[arg(long, value_name = "N")]
    volume: Option<usize>,
    /// Read an Analyze 7.5 pair, whose x is taken to run to the left
    #[arg(long)]
    analyze: bool,
    /// Also the value of this voxel (RAS+, from 0); repeatable
    #[arg(long, value_name = "I,J,K", value_parser = parse_voxel)]
    at: Vec<[usize; 3]>,
}

/// The answer for machines.
#[derive(Debug, Serialize)]
struct Answer {
    format: String,
    gzipped: bool,
    datatype: String,
    shape: [usize; 3],
    voxel_size_mm: [f64; 3],
    orientation: String,
    affine: [[f64; 4]; 4],
    affine_source: &'static str,
    volumes: usize,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    values: Vec<f32>,
    description: String,
    warnings: Vec<String>,
}

/// Reads the file and says what is in it.
///
/// # Errors
/// Where the file cannot be read, or a voxel is outside it.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let options = ReadOptions {
        volume: args.volume,
        analyze: args.analyze,
    };
    let header = read_header_with(&args.scan, options)?;
    let mut answer = Answer::of_header(&header);
    for at in &args.at {
        if !answer.holds(*at) {
            let message = format!(
                "voxel {} is outside the volume of {}: `{}`",
                triple(*at, ","),
                triple(answer.shape, " × "),
                args.scan.display()
            );
            return Err(CliError::usage(message, "voxels count from 0, on RAS+ axes").into());
        }
    }
    if header.n_volumes == 1 || args.volume.is_some() {
        let scan = read_scan_with(&args.scan, options)?;
        answer.warnings = scan.header.warnings;
        answer.add_values(&scan.volume, &args.at);
    } else if !args.at.is_empty() {
        let message = format!(
            "{} volumes, expected one for --at: `{}`",
            header.n_volumes,
            args.scan.display()
        );
        return Err(CliError::failed(message, "choose one with --volume N, from 0").into());
    } else {
        answer.warnings.push(
            "values were not read: the file holds several volumes, choose one with --volume".into(),
        );
    }
    context.printer.object(&answer)?;
    for line in answer.lines(&args.at) {
        context.printer.line(&line)?;
    }
    Ok(ExitStatus::Done)
}

impl Answer {
    fn of_header(header: &ScanHeader) -> Self {
        let ras = Reorientation::to_ras_plus(header.stored_shape, header.world_from_stored);
        let world_from_ras = ras.world_from_ras();
        Self {
            format: header.format.to_string(),
            gzipped: header.gzipped,
            datatype: header.datatype.to_string(),
            shape: ras.ras_shape().0,
            voxel_size_mm: world_from_ras.column_norms(),
            orientation: header.world_from_stored.orientation(),
            affine: world_from_ras.rows(),
            affine_source: match header.affine_source {
                AffineSource::Sform => "sform",
                AffineSource::Qform => "qform",
                AffineSource::Directions => "directions",
                AffineSource::Assumed => "assumed",
            },
            volumes: header.n_volumes,
            min: None,
            max: None,
            mean: None,
            values: Vec::new(),
            description: header.description.clone(),
            warnings: header.warnings.clone(),
        }
    }

    fn holds(&self, at: [usize; 3]) -> bool {
        at.iter().zip(self.shape).all(|(index, n)| *index < n)
    }

    fn add_values(&mut self, volume: &Volume, at: &[[usize; 3]]) {
        let values = volume.values();
        let wide = || values.iter().map(|value| f64::from(*value));
        self.min = wide().reduce(f64::min);
        self.max = wide().reduce(f64::max);
        self.mean = (!values.is_empty()).then(|| wide().sum::<f64>() / values.len() as f64);
        self.values = at.iter().filter_map(|at| volume.get(*at)).collect();
    }

    fn lines(&self, at: &[[usize; 3]]) -> Vec<String> {
        let n_voxels = VoxelShape(self.shape).n_voxels();
        let [x, y, z] = self.voxel_size_mm;
        let mut lines = vec![
            format!(
                "format       {}{}",
                self.format,
                if self.gzipped { ", gzipped" } else { "" }
            ),
            format!("datatype     {}", self.datatype),
            format!(
                "shape        {} ({n_voxels} voxels, RAS+)",
                triple(self.shape, " × ")
            ),
            format!("voxel size   {x:.4} × {y:.4} × {z:.4} mm"),
            format!(
                "orientation  {} as stored ({})",
                self.orientation, self.affine_source
            ),
        ];
        let labels = ["affine       ", "             ", "             "];
        for (label, [a, b, c, d]) in labels.iter().zip(&self.affine) {
            lines.push(format!("{label}{a:10.4} {b:10.4} {c:10.4} {d:10.4}"));
        }
        lines.push(format!("volumes      {}", self.volumes));
        if let (Some(min), Some(max), Some(mean)) = (self.min, self.max, self.mean) {
            lines.push(format!("intensities  {min} to {max}, mean {mean:.4}"));
        }
        if !self.description.is_empty() {
            lines.push(format!("description  {}", self.description));
        }
        let values = at.iter().zip(&self.values);
        lines.extend(values.map(|(at, value)| format!("at {:<9} {value}", triple(*at, ","))));
        lines.extend(
            self.warnings
                .iter()
                .map(|warning| format!("warning      {warning}")),
        );
        lines
    }
}

fn triple([x, y, z]: [usize; 3], between: &str) -> String {
    format!("{x}{between}{y}{between}{z}")
}

fn parse_voxel(text: &str) -> Result<[usize; 3], String> {
    let indices: Option<Vec<usize>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    indices
        .and_then(|indices| <[usize; 3]>::try_from(indices).ok())
        .ok_or_else(|| "expected three voxel indices such as 90,110,80".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voxel_is_three_indices() {
        assert_eq!(parse_voxel("1, 2,30").unwrap(), [1, 2, 30]);
        for text in ["", "1,2", "1,2,3,4", "1,2,-3", "1,2,x"] {
            assert!(parse_voxel(text).is_err(), "{text}");
        }
    }
}
