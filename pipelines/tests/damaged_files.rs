//! Readers against files damaged at random, by the public functions alone.
//!
//! One test in a process of its own, so that the memory of that process is the reader's.

use std::error::Error;
use std::time::{Duration, Instant};

mod damage;

use damage::{Ending, damaged, folder, read, valid};

const CASES: u64 = 10_000;
/// More than any of these files holds, by far; what a header alone can make the reader ask for is less than this.
const MEMORY_KB: u64 = 300_000;
/// No file here takes a millisecond; the rest is for busy machines.
const LONGEST: Duration = Duration::from_secs(5);

/// Address space that the process ever had, in kB; 0 where the system does not tell.
fn peak_kb() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

#[test]
fn damaged_files_end_in_a_value_or_an_error_at_once_and_for_little_memory()
-> Result<(), Box<dyn Error>> {
    let folder = folder()?;
    let valid = valid()?;
    for files in &valid {
        // An even number that names the first volume and lets Analyze in.
        let ending = read(folder.path(), files, 8)?;
        assert_eq!(ending, Ending::Read, "{} as it should be", files.kind);
    }
    let before = peak_kb();
    let mut n_read = 0;
    for number in 0..CASES {
        let files = damaged(&valid, number)?;
        let begun = Instant::now();
        let ending = read(folder.path(), &files, number)
            .map_err(|error| format!("damage {number} ({}): {error}", files.kind))?;
        n_read += u64::from(ending == Ending::Read);
        assert!(
            begun.elapsed() < LONGEST,
            "damage {number} ({})",
            files.kind
        );
    }
    // Damage that nothing survives, or everything, would test nothing.
    assert!(
        (CASES / 20..CASES / 2).contains(&n_read),
        "{n_read} of {CASES} were read"
    );
    let grown = peak_kb() - before;
    assert!(grown < MEMORY_KB, "{grown} kB");
    Ok(())
}
