//! How often preprocessing finds a head that a known affine has moved, turned and stretched.
//!
//! `cargo run --release -p brainage-pipelines --example registration_draws -- [--draws N] [--first NUMBER] [--spoilt not|moderately|badly] [SCAN...]`
//!
//! The head is the template or, where scans are named, each of them in turn; where such a scan lies is what registration
//! makes of it as it is, so that what counts is whether the moved one is found in the same place. Draws are those of
//! `tests/moved_heads`, and the same number is the same draw. Misses are told one by one, then a line for each head.

#![expect(clippy::print_stdout, reason = "a tool whose output is its findings")]

use std::error::Error;
use std::path::Path;

use brainage_pipelines::format::read_t1_scan;
use brainage_pipelines::preprocess::preprocess;
use brainage_pipelines::qc::QcVerdict;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_pipelines::{Affine, Volume};
use rayon::prelude::*;

#[path = "../tests/moved_heads/mod.rs"]
mod moved_heads;

use moved_heads::{Draw, Found, Spoilt};

/// A head further off is missed.
const MISSED_MM: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut draws, mut first, mut spoilt, mut scans) = (200, 0, Spoilt::Moderately, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("expected a value");
        match argument.as_str() {
            "--draws" => draws = value()?.parse()?,
            "--first" => first = value()?.parse()?,
            "--spoilt" => {
                spoilt = match value()?.as_str() {
                    "not" => Spoilt::Not,
                    "moderately" => Spoilt::Moderately,
                    "badly" => Spoilt::Badly,
                    _ => return Err("expected not, moderately or badly".into()),
                }
            }
            _ => scans.push(argument),
        }
    }
    let draws = Draws {
        numbers: first..first + draws,
        spoilt,
        recipe: Recipe::named("coarse")?,
    };
    if scans.is_empty() {
        return draws.tell("template", &template()?.t1, Affine::identity());
    }
    for scan in scans {
        let path = Path::new(&scan);
        let place = preprocess(path, &draws.recipe, template()?)?.mni_from_scan;
        draws.tell(&scan, &read_t1_scan(path)?.volume, place)?;
    }
    Ok(())
}

struct Draws {
    numbers: std::ops::Range<u64>,
    spoilt: Spoilt,
    recipe: Recipe,
}

impl Draws {
    fn tell(&self, name: &str, head: &Volume, place: Affine) -> Result<(), Box<dyn Error>> {
        let (template, folder) = (template()?, tempfile::tempdir()?);
        let found = |number: u64| {
            Draw::number(number, self.spoilt)
                .found(head, place, &self.recipe, template, folder.path())
                .map_err(|error| format!("draw {number}: {error}"))
        };
        let numbers = self.numbers.clone();
        let all: Vec<Result<Found, String>> = numbers.clone().into_par_iter().map(found).collect();
        let (mut hits, mut silent, mut errors_mm) = (0_usize, 0_usize, Vec::new());
        for (number, found) in numbers.zip(all) {
            match found {
                Ok(found) if found.error_mm <= MISSED_MM => {
                    hits += 1;
                    errors_mm.push(found.error_mm);
                }
                Ok(found) => {
                    silent += usize::from(found.verdict != QcVerdict::Fail);
                    let (mm, correlation) = (found.error_mm, found.correlation);
                    println!(
                        "draw {number}: {mm:.2} mm, correlation {correlation:.3}, qc {}",
                        found.verdict
                    );
                }
                Err(error) => println!("{error}"),
            }
        }
        errors_mm.sort_by(f64::total_cmp);
        let of = |share: f64| errors_mm.get((share * errors_mm.len() as f64) as usize);
        println!(
            "{name}: {hits} within {MISSED_MM} mm (median {:.3} mm, 95 % below {:.3} mm); of the others {silent} not failed by qc",
            of(0.5).unwrap_or(&f64::NAN),
            of(0.95).unwrap_or(&f64::NAN)
        );
        Ok(())
    }
}
