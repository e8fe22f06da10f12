//! Damages scan files at random and reads them for as long as one likes: `fuzz_readers --minutes N [--from NUMBER]`.
//!
//! The damage is that of `tests/damaged_files.rs`, and the same number does the same. What breaks a promise is told
//! with its number, which then belongs into a test.

#![expect(clippy::print_stdout, reason = "a tool whose output is its findings")]

use std::error::Error;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

#[path = "../tests/damage/mod.rs"]
mod damage;

use damage::{Ending, damaged, folder, read, valid};

/// A file that takes longer is a finding.
const LONGEST: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value_of = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1))
    };
    let minutes: f64 = value_of("--minutes")
        .ok_or("expected --minutes N")?
        .parse()?;
    let from: u64 = value_of("--from").map_or(Ok(1 << 32), |value| value.parse())?;

    let folder = folder()?;
    let valid = valid()?;
    let end = Instant::now() + Duration::try_from_secs_f64(60.0 * minutes)?;
    let (mut number, mut n_read, mut n_findings) = (from, 0_u64, 0_u64);
    while Instant::now() < end {
        let files = damaged(&valid, number)?;
        let begun = Instant::now();
        let answer =
            catch_unwind(|| read(folder.path(), &files, number).map_err(|e| e.to_string()));
        let finding = match answer {
            Ok(Ok(ending)) => {
                n_read += u64::from(ending == Ending::Read);
                (begun.elapsed() > LONGEST).then(|| format!("took {:?}", begun.elapsed()))
            }
            Ok(Err(broken)) => Some(broken),
            Err(_) => Some("panic".to_owned()),
        };
        if let Some(finding) = finding {
            n_findings += 1;
            println!("damage {number} ({}): {finding}", files.kind);
        }
        number += 1;
    }
    println!(
        "{} files: {n_read} read, {n_findings} findings",
        number - from
    );
    Ok(())
}
