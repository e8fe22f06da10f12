//! What the machine has left: memory and disk.

use std::path::Path;
use std::process::Command;

/// Memory that can be had without swapping, bytes; `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    available_of(&fs_err::read_to_string("/proc/meminfo").ok()?)
}

/// Space on the disk of a folder that exists, bytes; `None` where the system does not say.
pub fn free_disk(folder: &Path) -> Option<u64> {
    let answer = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    free_of(&String::from_utf8_lossy(&answer.stdout))
}

/// Bytes as people read them.
pub fn gigabytes(bytes: u64) -> String {
    if bytes < 1_000_000_000 {
        return format!("{} MB", bytes.div_ceil(1_000_000));
    }
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// A number of bytes with its unit, such as 2GB, 800M or 1.5 GiB.
///
/// # Errors
/// What was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as 2GB or 800MB".to_owned();
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(expected)?;
    let (number, unit) = text.split_at(at);
    let bytes = match unit.to_ascii_uppercase().as_str() {
        "M" | "MB" => 1e6,
        "G" | "GB" => 1e9,
        "T" | "TB" => 1e12,
        "MIB" => f64::from(1 << 20),
        "GIB" => f64::from(1 << 30),
        _ => return Err(expected()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok((number * bytes) as u64),
        _ => Err(expected()),
    }
}

/// `MemAvailable` of `/proc/meminfo`, bytes.
fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// The fourth column of what `df -Pk` says, bytes.
fn free_of(answer: &str) -> Option<u64> {
    let mut fields = answer.lines().nth(1)?.split_whitespace();
    fields.nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_disk_are_read_from_what_the_system_says() {
        let meminfo = "MemTotal:       16000 kB\nMemAvailable:    8000 kB\n";
        assert_eq!(available_of(meminfo), Some(8000 * 1024));
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 60 40 60% /\n";
        assert_eq!(free_of(df), Some(40 * 1024));
        assert_eq!((available_of(""), free_of("")), (None, None));
    }

    #[test]
    fn bytes_are_written_as_people_read_them() {
        let sizes = [0, 1, 900_000_000, 1_450_000_000].map(gigabytes);
        assert_eq!(sizes, ["0 MB", "1 MB", "900 MB", "1.4 GB"]);
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("800m"), Ok(800_000_000));
        assert_eq!(parse_size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        for wrong in ["", "G", "-1G", "many", "4096", "0GB", "nanGB", "1 XB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
