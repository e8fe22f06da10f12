//! The machine that a figure was measured on.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::engine::device::n_cores;

/// What a reader needs to know of a machine to compare its times with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the processor, as it calls itself.
    pub cpu: String,
    /// Physical cores; the threads, where the system does not tell.
    pub cores: usize,
    /// Threads that this process may use at once.
    pub threads: usize,
}

impl Machine {
    /// The machine that this program runs on.
    pub fn here() -> Self {
        // There is no such file outside Linux; the rest still holds.
        let cpuinfo = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self::from_cpuinfo(&cpuinfo, n_cores())
    }

    fn from_cpuinfo(cpuinfo: &str, threads: usize) -> Self {
        let fields = cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()));
        let (mut cpu, mut package, mut cores) = (None, "", BTreeSet::new());
        for (key, value) in fields {
            match key {
                "model name" if cpu.is_none() => cpu = Some(value.to_owned()),
                "physical id" => package = value,
                "core id" => {
                    cores.insert((package, value));
                }
                _ => {}
            }
        }
        Self {
            cpu: cpu.unwrap_or_else(|| format!("unknown ({})", std::env::consts::ARCH)),
            cores: if cores.is_empty() {
                threads
            } else {
                cores.len()
            },
            threads,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_one_core_count_as_one_core() {
        let processor = |package: usize, core: usize| {
            format!(
                "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nphysical id\t: {package}\ncore id\t\t: {core}\n\n"
            )
        };
        let text: String = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0)]
            .map(|(package, core)| processor(package, core))
            .concat();
        let machine = Machine::from_cpuinfo(&text, 5);
        assert_eq!(machine.cpu, "Some CPU @ 2 GHz");
        assert_eq!((machine.cores, machine.threads), (3, 5));
    }

    #[test]
    fn a_system_that_tells_nothing_still_has_its_threads() {
        let machine = Machine::from_cpuinfo("", 8);
        assert_eq!((machine.cores, machine.threads), (8, 8));
        assert!(machine.cpu.starts_with("unknown"), "{}", machine.cpu);
    }
}
