//! Who computes an operation: the CPU's kernels, the CUDA operations, or Candle's own composed.

use std::cell::Cell;

use candle_core::Device;

/// One of the ways in which every operation exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// `attar-kernels`.
    Cpu,
    /// cuDNN and kernels of our own.
    #[cfg(feature = "cuda")]
    Cuda,
    /// Candle's operations, on any device: the reference, and what devices without kernels of ours use.
    Composed,
}

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

impl Backend {
    /// What tensors on `device` use.
    pub(crate) fn of(device: &Device) -> Self {
        match device {
            _ if COMPOSED.get() => Self::Composed,
            Device::Cpu => Self::Cpu,
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => Self::Cuda,
            _ => Self::Composed,
        }
    }
}

/// Runs `f` with the composed operations on every device, in this thread: what a check compares kernels with.
pub fn composed<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _restore = Restore(COMPOSED.replace(true));
    f()
}
