//! What a network computes with: a device, who computes there, how exactly, and who wants to know
//! how long it took.
//!
//! All that can change a result or a time stands here, and every network holds one. Nothing of it
//! is a state of the process or of a thread.

use candle_core::{DType, Device};

use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::precision::Precision;
use crate::profile::Profiler;

/// Device, backend, precision and profiler of a network. Clones share the profiler.
#[derive(Debug, Clone)]
pub struct Context {
    device: Device,
    /// The reference in 64 bits instead of the kernels of the device.
    exact: bool,
    /// Candle's operations instead of the kernels of the device.
    composed: bool,
    precision: Precision,
    profiler: Profiler,
}

impl Context {
    /// The kernels of a device, in `f32`.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            exact: false,
            composed: false,
            precision: Precision::F32,
            profiler: Profiler::default(),
        }
    }

    /// The same operations composed of Candle's own, in `f32`: what kernels are compared with.
    pub fn composed(device: &Device) -> Self {
        Self { composed: true, ..Self::new(device) }
    }

    /// The same operations composed of Candle's own, on parameters and inputs in `f64`: what
    /// gradients are compared with.
    pub fn exact(device: &Device) -> Self {
        Self { exact: true, ..Self::composed(device) }
    }

    /// The same at another precision.
    #[must_use]
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self { precision, ..self.clone() }
    }

    /// Whether this machine can compute like this.
    ///
    /// # Errors
    /// [`Error::Device`] where it has not the SIMD level that `ATTAR_SIMD` names, or the precision.
    pub fn check(&self) -> Result<()> {
        if self.backend() == Backend::Cpu {
            let absent = |problem| Error::Device { device: "cpu".to_owned(), problem };
            attar_kernels::check_level().map_err(absent)?;
        }
        self.precision.check(&self.device)
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Who computes.
    pub fn backend(&self) -> Backend {
        if self.composed { Backend::Composed } else { Backend::of(&self.device, self.precision == Precision::Tf32) }
    }

    /// How exactly.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Who asks how long operations take.
    pub fn profiler(&self) -> &Profiler {
        &self.profiler
    }

    /// What parameters, and all values that are no images, are stored as.
    pub(crate) fn values(&self) -> DType {
        if self.exact { DType::F64 } else { DType::F32 }
    }

    /// What images are stored as between operations, and their gradients.
    pub(crate) fn images(&self) -> DType {
        match self.precision {
            _ if self.exact => DType::F64,
            Precision::F32 | Precision::Tf32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        }
    }
}

impl From<&Device> for Context {
    fn from(device: &Device) -> Self {
        Self::new(device)
    }
}

impl From<&Context> for Context {
    fn from(context: &Context) -> Self {
        context.clone()
    }
}
