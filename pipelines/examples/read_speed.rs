//! How long reading scans takes, beside unpacking the same bytes and doing nothing with them.
//!
//! `cargo run --release -p brainage-pipelines --example read_speed -- SCAN...`
//!
//! Milliseconds, shortest of ten: by the clock and, where the system tells (Linux), of the processor, which other work on the
//! machine disturbs less.
#![expect(clippy::print_stdout, reason = "a table for developers")]

use std::error::Error;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use brainage_pipelines::format::{read_scan, read_t1_scan};
use flate2::bufread::MultiGzDecoder;

const REPEATS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    for scan in std::env::args().skip(1) {
        let (path, bytes) = (Path::new(&scan), fs_err::read(&scan)?);
        println!("{scan}");
        tell("unpacked", || {
            let (mut unpacked, mut chunk) =
                (MultiGzDecoder::new(bytes.as_slice()), vec![0; 1 << 18]);
            while unpacked.read(&mut chunk)? > 0 {}
            Ok(())
        })?;
        tell("hashed", || {
            std::hint::black_box(blake3::hash(&bytes));
            Ok(())
        })?;
        tell("read", || {
            drop(read_scan(path)?);
            Ok(())
        })?;
        tell("read and checked", || {
            drop(read_t1_scan(path)?);
            Ok(())
        })?;
    }
    Ok(())
}

fn tell(what: &str, work: impl Fn() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let (mut wall, mut processor) = (f64::MAX, f64::MAX);
    for _ in 0..REPEATS {
        let (begun, used) = (Instant::now(), processor_seconds());
        work()?;
        wall = wall.min(begun.elapsed().as_secs_f64());
        processor = processor.min(processor_seconds() - used);
    }
    println!(
        "  {what}: {:.1} ms, of the processor {:.1} ms",
        1e3 * wall,
        1e3 * processor
    );
    Ok(())
}

/// What this thread has had; 0 where the system does not tell.
fn processor_seconds() -> f64 {
    let told = fs_err::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or_default() / 1e9
}
