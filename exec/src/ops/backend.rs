//! Who computes an operation: the CPU's kernels, the CUDA operations, or Candle's own composed.

use candle_core::{DType, Device, Tensor};

/// One of the ways in which every operation exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `attar-kernels`.
    Cpu,
    /// cuDNN and kernels of our own.
    #[cfg(feature = "cuda")]
    Cuda {
        /// Whether products of `f32` may round their operands to TF32 (10 bits of mantissa, sums in
        /// `f32`).
        tf32: bool,
    },
    /// Candle's operations, on any device: the reference, and what devices without kernels of ours
    /// use.
    Composed,
}

impl Backend {
    /// The kernels of a device, which on CUDA may round products to TF32 or not.
    pub fn of(device: &Device, tf32: bool) -> Self {
        match device {
            Device::Cpu => Self::Cpu,
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => Self::Cuda { tf32 },
            _ => {
                let _ = tf32; // composed operations know nothing of it
                Self::Composed
            }
        }
    }

    /// What computes with a tensor outside of a network, in `f32`: the kernels of its device. Only
    /// composed operations know `f64`.
    pub fn for_tensor(x: &Tensor) -> Self {
        if x.dtype() == DType::F64 { Self::Composed } else { Self::of(x.device(), false) }
    }

    /// Whether it is CUDA's.
    #[cfg(feature = "cuda")]
    pub(crate) fn is_cuda(self) -> bool {
        matches!(self, Self::Cuda { .. })
    }
}
