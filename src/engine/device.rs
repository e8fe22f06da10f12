//! Devices: where blocks live.
//!
//! `cpu` is the whole processor; `cpu:0`, `cpu:1`, … are logical devices that share its cores, each with a thread pool
//! of its own; `cuda:0`, … are NVIDIA devices where this program was built for them; `remote:ADDRESS` is a device that
//! [`remote`] describes.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::remote;
use crate::Error;

/// The name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// All cores.
    Cpu,
    /// One of several logical devices that share the cores.
    LogicalCpu(usize),
    /// An NVIDIA device.
    Cuda(usize),
    /// A device that a worker on this machine, or at the other end of a tunnel, lends.
    Remote(SocketAddr),
}

/// A device with the threads that work for it.
pub struct Lane {
    /// Its name.
    pub name: DeviceName,
    /// Where tensors live, without autodiff.
    pub device: Device,
    /// The threads of its kernels.
    pub pool: rayon::ThreadPool,
}

impl Lane {
    /// Until the device has done all that it was given.
    ///
    /// # Errors
    /// [`Error::Device`] with what the device says.
    pub fn wait(&self) -> Result<(), Error> {
        self.device.sync().map_err(|error| Error::Device {
            device: self.name.to_string(),
            reason: error.to_string(),
        })
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| digits.parse::<usize>().ok();
        let parsed = match text.trim().split_once(':') {
            None if text.trim() == "cpu" => Some(Self::Cpu),
            Some(("cpu", digits)) => number(digits).map(Self::LogicalCpu),
            Some(("cuda", digits)) => number(digits).map(Self::Cuda),
            Some(("remote", address)) => {
                let address = remote::loopback(address).map_err(|reason| Error::Device {
                    device: text.to_owned(),
                    reason,
                })?;
                Some(Self::Remote(address))
            }
            _ => None,
        };
        parsed.ok_or_else(|| Error::Device {
            device: text.to_owned(),
            reason: "no such kind of device, expected cpu, cpu:N, cuda:N or remote:ADDRESS".into(),
        })
    }
}

impl TryFrom<String> for DeviceName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::LogicalCpu(number) => write!(f, "cpu:{number}"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Remote(address) => write!(f, "remote:{address}"),
        }
    }
}

/// Opens one device.
///
/// # Errors
/// [`Error::Device`] if it is not there.
pub fn open_one(name: DeviceName) -> Result<Lane, Error> {
    let lane = open(&[name])?.pop();
    lane.ok_or_else(|| Error::Device {
        device: name.to_string(),
        reason: "could not be opened".into(),
    })
}

/// The processor with a number of threads, at least 1, instead of one for each core.
///
/// # Errors
/// [`Error::Device`] if the system has no more threads.
pub fn cpu_with_threads(n_threads: usize) -> Result<Lane, Error> {
    lane(DeviceName::Cpu, Device::flex(), n_threads)
}

/// Opens the named devices. Logical CPU devices share the cores evenly, one thread each at least.
///
/// # Errors
/// [`Error::Device`] for one that is named twice or that is not there.
pub fn open(names: &[DeviceName]) -> Result<Vec<Lane>, Error> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse(twice[0], "named twice, expected different devices");
    }
    let cores = n_cores();
    let n_logical = names
        .iter()
        .filter(|name| matches!(name, DeviceName::LogicalCpu(_)))
        .count();
    names
        .iter()
        .map(|name| {
            let (device, n_threads) = match name {
                DeviceName::Cpu => (Device::flex(), cores),
                DeviceName::LogicalCpu(_) => (Device::flex(), (cores / n_logical.max(1)).max(1)),
                DeviceName::Cuda(number) => (cuda(*number)?, 1),
                DeviceName::Remote(address) => (remote::open(*address)?, 1),
            };
            lane(*name, device, n_threads)
        })
        .collect()
}

fn lane(name: DeviceName, device: Device, n_threads: usize) -> Result<Lane, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads.max(1))
        .thread_name(move |i| format!("{name}/{i}"))
        .build()
        .map_err(|error| Error::Device {
            device: name.to_string(),
            reason: error.to_string(),
        })?;
    Ok(Lane { name, device, pool })
}

/// Cores that this process may use.
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// NVIDIA devices that can be used; empty where the program was built without them or there is no driver.
pub fn n_cuda_devices() -> usize {
    #[cfg(feature = "cuda")]
    {
        Device::enumerate(burn::tensor::DeviceType::Cuda)
            .into_vec()
            .len()
    }
    #[cfg(not(feature = "cuda"))]
    {
        0
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, Error> {
    // Asking for a device that is not there succeeds; its first operation would panic. So it is counted first.
    let found = n_cuda_devices();
    if number < found {
        Ok(Device::cuda(number))
    } else {
        refuse(
            DeviceName::Cuda(number),
            &format!("{found} NVIDIA devices can be used (is the driver loaded?)"),
        )
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(number: usize) -> Result<Device, Error> {
    refuse(
        DeviceName::Cuda(number),
        "this program was built without the feature `cuda`",
    )
}

fn refuse<T>(device: DeviceName, reason: &str) -> Result<T, Error> {
    Err(Error::Device {
        device: device.to_string(),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["cpu", "cpu:0", "cpu:13", "cuda:2", "remote:127.0.0.1:7000"] {
            assert_eq!(text.parse::<DeviceName>().expect("known").to_string(), text);
        }
        for text in [
            "",
            "gpu",
            "cpu:",
            "cpu:x",
            "cuda",
            "cuda:-1",
            "remote:1.2.3.4:5",
        ] {
            assert!(text.parse::<DeviceName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_cannot_be_used_twice() {
        assert!(open(&[DeviceName::LogicalCpu(0), DeviceName::LogicalCpu(0)]).is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_nvidia_device_is_refused_in_words_where_the_program_cannot_use_it() {
        let refused = open(&[DeviceName::Cuda(0)])
            .err()
            .expect("refused")
            .to_string();
        assert!(
            refused.contains("cuda:0") && refused.contains("feature"),
            "{refused}"
        );
    }
}
