//! What the system says of this process: its memory, and the time it took of the processors (Linux; `None` elsewhere).

use crate::Error;

/// Where the system is told to begin its record of the peak anew, and how.
const CLEAR_REFS: &str = "/proc/self/clear_refs";
const RESET_PEAK: &str = "5";
/// Ticks in a second of what Linux tells programs of their time, whatever its own clock (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Places of user and system time among the fields behind the name of the program (fields 14 and 15 of proc(5)).
const TIMES: [usize; 2] = [11, 12];

/// Resident memory, bytes.
///
/// # Errors
/// Where the system does not tell.
pub(crate) fn resident() -> Result<u64, Error> {
    of_status("VmRSS:")
}

/// Most resident memory since [`forget_peak`], bytes; `None` where the system does not tell.
pub(crate) fn peak() -> Option<u64> {
    of_status("VmHWM:").ok()
}

/// Begins the record of the peak anew.
///
/// # Errors
/// Where the system has none; [`peak`] then is that of the whole process, or none.
pub(crate) fn forget_peak() -> std::io::Result<()> {
    fs_err::write(CLEAR_REFS, RESET_PEAK)
}

/// Processor time of all threads so far, those that ended included, seconds to the hundredth; `None` where the system does
/// not tell.
pub(crate) fn cpu_seconds() -> Option<f64> {
    cpu_seconds_of(&fs_err::read_to_string("/proc/self/stat").ok()?)
}

/// A line of the system's record of this process, in bytes.
fn of_status(key: &str) -> Result<u64, Error> {
    let path = "/proc/self/status";
    let text = fs_err::read_to_string(path)?;
    let value = text.lines().find_map(|line| {
        let kilobytes = line.strip_prefix(key)?.trim().strip_suffix("kB")?;
        kilobytes.trim().parse::<u64>().ok()
    });
    let kilobytes = value.ok_or_else(|| Error::Data(format!("{path} has no {key}")))?;
    Ok(kilobytes * 1024)
}

/// User and system time of a line of `/proc/PID/stat`. The name of the program stands in brackets and may hold any.
fn cpu_seconds_of(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = TIMES.map(|place| fields.get(place)?.parse::<f64>().ok());
    let [user, system] = ticks;
    Some((user? + system?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_record_of_the_peak_sees_what_was_given_back() {
        forget_peak().unwrap();
        let before = resident().unwrap();
        let large = vec![1u8; 200_000_000];
        assert_eq!(
            large.iter().map(|b| u64::from(*b)).sum::<u64>(),
            200_000_000
        );
        drop(large);
        let peak = peak().unwrap();
        assert!(peak >= before + 190_000_000, "{before} {peak}");
    }

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "4242 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 1234 66 0 0 20 0 8 0 99\n";
        assert_eq!(cpu_seconds_of(stat), Some(13.0));
        assert_eq!(cpu_seconds_of("4242 (cut"), None);
        assert_eq!(cpu_seconds_of("4242 (cut) R 1 2"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn work_of_a_thread_that_ended_counts() {
        let before = cpu_seconds().unwrap();
        let work = || {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_secs_f64() < 0.2 {
                std::hint::black_box(begun);
            }
        };
        std::thread::scope(|scope| drop(scope.spawn(work).join()));
        let took = cpu_seconds().unwrap() - before;
        // Other processes may have had the processor for most of the time.
        assert!(took >= 0.02, "{took}");
    }
}
