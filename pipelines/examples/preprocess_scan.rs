//! Takes scans through a recipe and writes what comes of it; prints time, peak memory, quality, and a hash of all voxels.
//!
//! `cargo run --release -p brainage-pipelines --example preprocess_scan -- RECIPE.toml OUT_FOLDER SCAN...`
//!
//! RECIPE.toml is a file, or the name of a recipe that comes with the program. `tools/compare_n4.py` and
//! `tools/compare_deepbet.py` drive this. For developers: the program's own command
//! is `brainage preprocess`, which keeps a cache.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a table for developers"
)]

use std::path::Path;
use std::time::Instant;

use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::outputs::write_outputs;
use brainage_pipelines::preprocess::preprocess;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, out, scans @ ..] = arguments.as_slice() else {
        println!("RECIPE.toml OUT_FOLDER SCAN...");
        return;
    };
    let recipe = match fs_err::read_to_string(recipe) {
        Ok(text) => Recipe::parse(&text, recipe),
        Err(_) => Recipe::named(recipe),
    };
    let recipe = recipe.expect("no such recipe");
    let template = template().expect("no template");
    for scan in scans {
        let scan = Path::new(scan);
        let begun = Instant::now();
        let result = match preprocess(scan, &recipe, template) {
            Ok(result) => result,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let mut hasher = blake3::Hasher::new();
        for value in result.volume.values() {
            hasher.update(&value.to_le_bytes());
        }
        println!(
            "{}: {seconds:.2} s, peak {} MB, voxels {}, {:?}",
            scan.display(),
            peak_mb(),
            hasher.finalize().to_hex(),
            result.qc
        );
        if out != "-" {
            write_outputs(
                Path::new(out),
                scan,
                ReadOptions::default(),
                &result,
                &recipe,
                template,
            )
            .expect("no outputs");
        }
    }
}

/// The most memory that this process has had, where the system tells (Linux).
fn peak_mb() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kb.unwrap_or_default() / 1024
}
