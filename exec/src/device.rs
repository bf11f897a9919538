//! Where tensors live: `cpu`, `cuda` or whatever is there.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The device a recipe asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// The first CUDA device; an error where there is none.
    Cuda,
    /// The first CUDA device where there is one, else the processor.
    #[default]
    Auto,
}

/// An opened device, and why it is not the one people may have hoped for.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The device.
    pub device: Device,
    /// Set when `auto` fell back to the processor: the reason, for people.
    pub note: Option<String>,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when CUDA is asked for and this build or this machine does not have it.
    pub fn open(self) -> Result<Opened> {
        match self {
            Self::Cpu => Ok(Opened { device: Device::Cpu, note: None }),
            Self::Cuda => match cuda() {
                Ok(device) => Ok(Opened { device, note: None }),
                Err(problem) => Err(Error::Device {
                    device: "cuda".to_owned(),
                    problem: format!("{problem}\n  hint: set `device = \"cpu\"`, or `\"auto\"` to use what is there"),
                }),
            },
            Self::Auto => Ok(match cuda() {
                Ok(device) => Opened { device, note: None },
                Err(problem) => Opened { device: Device::Cpu, note: Some(format!("running on the cpu: {problem}")) },
            }),
        }
    }
}

/// What a person calls this device, as receipts record it.
pub fn name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

fn cuda() -> std::result::Result<Device, String> {
    #[cfg(feature = "cuda")]
    return crate::ops::cuda::open(0).map_err(|error| {
        let line = error.to_string().lines().next().unwrap_or_default().to_owned();
        format!("no CUDA device could be opened: {line}")
    });
    #[cfg(not(feature = "cuda"))]
    Err("this build has no CUDA support (build with `--features cuda`)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_without_a_note() {
        let opened = DeviceChoice::Cpu.open().unwrap();
        assert!(opened.device.is_cpu() && opened.note.is_none());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_cuda_is_an_error_with_a_hint_and_auto_a_note() {
        let message = DeviceChoice::Cuda.open().unwrap_err().to_string();
        assert!(message.starts_with("device `cuda`:") && message.contains("hint:"), "{message}");
        let opened = DeviceChoice::Auto.open().unwrap();
        assert!(opened.device.is_cpu());
        assert!(opened.note.unwrap().contains("cpu"));
    }
}
