//! How exactly a step computes: the type that products are formed in.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::device;
use crate::error::{Error, Result};

/// The arithmetic of convolutions and matrix products in a training step. Parameters, batch-norm
/// statistics, losses and the optimiser's state are `f32` in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout, 24 bits of mantissa.
    #[default]
    F32,
    /// Operands rounded to 11 bits of mantissa, products summed in `f32`: NVIDIA's tensor cores on
    /// `f32` tensors.
    Tf32,
    /// Images between operations, and their gradients, as `bfloat16` (8 bits of mantissa) in half
    /// the memory; products summed in `f32`. Weights and evaluation stay `f32`. Quick where the
    /// processor multiplies pairs of `bfloat16` (AVX512-BF16) or on CUDA's tensor cores; elsewhere
    /// it saves memory only.
    Bf16,
}

impl Precision {
    /// Whether a recipe need not say it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// As written on a command line and in a recipe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether `device` can compute like this.
    ///
    /// # Errors
    /// [`Error::Device`] when it cannot, with what to do instead.
    pub fn check(self, device: &Device) -> Result<()> {
        let problem = match (self, device.is_cpu()) {
            (Self::Bf16, _) if device.is_metal() => "only CPU and CUDA kernels compute in it",
            (Self::F32 | Self::Bf16, _) | (Self::Tf32, false) => return Ok(()),
            (Self::Tf32, true) => "tf32 is a format of CUDA's tensor cores, no processor has it",
        };
        Err(Error::Device {
            device: device::name(device).to_owned(),
            problem: format!("precision `{}`: {problem}\n  hint: use `f32`", self.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_cannot_do_is_an_error_with_a_hint() {
        Precision::F32.check(&Device::Cpu).unwrap();
        Precision::Bf16.check(&Device::Cpu).unwrap();
        let message = Precision::Tf32.check(&Device::Cpu).unwrap_err().to_string();
        assert!(message.starts_with("device `cpu`: precision `tf32`") && message.contains("hint:"), "{message}");
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.as_str());
        }
    }
}
