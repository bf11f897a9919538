//! Kernels: CUDA C compiled at run time by NVRTC, once a process and architecture, and launched on
//! Candle's stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaStream, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// A file of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum File {
    Augment,
    Channels,
    Conv,
    Depthwise,
    Elementwise,
    Moves,
    Multi,
    Norm,
    Pool,
    Softmax,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Augment => "attar_augment",
            Self::Channels => "attar_channels",
            Self::Conv => "attar_conv",
            Self::Depthwise => "attar_depthwise",
            Self::Elementwise => "attar_elementwise",
            Self::Moves => "attar_moves",
            Self::Multi => "attar_multi",
            Self::Norm => "attar_norm",
            Self::Pool => "attar_pool",
            Self::Softmax => "attar_softmax",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Augment => include_str!("kernels/augment.cu"),
            Self::Channels => include_str!("kernels/channels.cu"),
            Self::Conv => include_str!("kernels/conv.cu"),
            Self::Depthwise => include_str!("kernels/depthwise.cu"),
            Self::Elementwise => include_str!("kernels/elementwise.cu"),
            Self::Moves => include_str!("kernels/moves.cu"),
            Self::Multi => include_str!("kernels/multi.cu"),
            Self::Norm => include_str!("kernels/norm.cu"),
            Self::Pool => include_str!("kernels/pool.cu"),
            Self::Softmax => include_str!("kernels/softmax.cu"),
        }
    }
}

const PRELUDE: &str = include_str!("kernels/prelude.cu");

/// What images are stored in; kernels compute in `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stored {
    F32,
    Bf16,
}

impl Stored {
    /// That of a tensor.
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        match x.dtype() {
            DType::F32 => Ok(Self::F32),
            DType::BF16 => Ok(Self::Bf16),
            other => Err(failed("an operand", format_args!("expected F32 or BF16, got {other:?}"))),
        }
    }

    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// In the kernels' source.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::Bf16 => "bf16",
        }
    }
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg {
    /// An address or a number: the low bytes of the word, as many as the kernel's parameter has.
    Word(u64),
    /// A struct of 15 numbers.
    Pool([i32; 15]),
    /// A struct of 16 numbers.
    Conv([i32; 16]),
}

impl From<u64> for Arg {
    fn from(word: u64) -> Self {
        Self::Word(word)
    }
}

impl From<i32> for Arg {
    fn from(number: i32) -> Self {
        Self::Word(u64::from(number.cast_unsigned()))
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Self::Word(u64::from(number))
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Word(u64::from(flag))
    }
}

impl From<f32> for Arg {
    fn from(number: f32) -> Self {
        Self::Word(u64::from(number.to_bits()))
    }
}

impl From<f64> for Arg {
    fn from(number: f64) -> Self {
        Self::Word(number.to_bits())
    }
}

/// Blocks, threads of a block, bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 2],
    pub(super) shared: u32,
}

impl Shape {
    /// One thread for each of `count` items as far as the card is filled; the kernels loop over the
    /// rest.
    pub(super) fn items(count: usize) -> Self {
        let blocks = count.div_ceil(256).clamp(1, 1 << 14) as u32;
        Self { grid: [blocks, 1, 1], block: [256, 1], shared: 0 }
    }
}

/// A card, as kernels see it.
#[derive(Debug, Clone)]
pub(super) struct Gpu {
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
}

impl Gpu {
    /// The card on which `x` lives.
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        Self::behind(x.device())
    }

    /// The card behind a Candle device.
    pub(super) fn behind(device: &Device) -> Result<Self> {
        match device {
            Device::Cuda(device) => Ok(Self { device: device.clone(), stream: device.cuda_stream() }),
            other => Err(failed("a kernel", format_args!("expected a tensor on a CUDA device, got {other:?}"))),
        }
    }

    /// Launches `kernel` of `file` for images in `f32`, or where there are none.
    ///
    /// # Safety
    /// As [`Gpu::launch_for`].
    pub(super) unsafe fn launch(&self, file: File, kernel: &str, shape: Shape, args: &[Arg]) -> Result<()> {
        // SAFETY: as the caller says.
        unsafe { self.launch_for(Stored::F32, file, kernel, shape, args) }
    }

    /// Launches `kernel` of `file`.
    ///
    /// # Safety
    /// The number and types of `args` are those that the kernel declares (little-endian words hold
    /// smaller numbers in their low bytes), and what addresses point to is as large as the kernel
    /// reads and writes and lives until the launch is queued; memory is freed in stream order.
    pub(super) unsafe fn launch_for(
        &self,
        stored: Stored,
        file: File,
        kernel: &str,
        shape: Shape,
        args: &[Arg],
    ) -> Result<()> {
        let ptx = self.ptx(file, stored)?;
        let module = format!("{}_{}", file.name(), stored.name());
        let function = self.device.get_or_load_custom_func(kernel, &module, &ptx)?;
        let mut launch = function.builder();
        for arg in args {
            match arg {
                Arg::Word(word) => launch.arg(word),
                Arg::Pool(numbers) => launch.arg(numbers),
                Arg::Conv(numbers) => launch.arg(numbers),
            };
        }
        let ([x, y, z], [width, height]) = (shape.grid, shape.block);
        let config =
            LaunchConfig { grid_dim: (x, y, z), block_dim: (width, height, 1), shared_mem_bytes: shape.shared };
        // SAFETY: as the caller says.
        unsafe { launch.launch(config) }.map_err(|error| failed(kernel, error))?;
        Ok(())
    }

    /// The compiled file, from the cache of the process if it is there.
    fn ptx(&self, file: File, stored: Stored) -> Result<Arc<str>> {
        static COMPILED: Mutex<BTreeMap<(File, Stored, i32), Arc<str>>> = Mutex::new(BTreeMap::new());
        let (major, minor) =
            self.stream.context().compute_capability().map_err(|error| failed("the card's architecture", error))?;
        let architecture = 10 * major + minor;
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ptx) = compiled.get(&(file, stored, architecture)) {
            return Ok(Arc::clone(ptx));
        }
        let options = CompileOptions {
            options: vec![
                format!("--gpu-architecture=compute_{architecture}"),
                "--std=c++17".to_owned(),
                format!("--define-macro=STORED={}", stored.name()),
            ],
            name: Some(format!("{}.cu", file.name())),
            ..CompileOptions::default()
        };
        let source = format!("{PRELUDE}\n{}", file.source());
        let ptx = compile_ptx_with_opts(source, options).map_err(|error| failed(file.name(), error))?;
        let ptx: Arc<str> = ptx.to_src().into();
        compiled.insert((file, stored, architecture), Arc::clone(&ptx));
        Ok(ptx)
    }
}

/// What went wrong on the card, as an error of ours.
pub(super) fn failed(what: &str, problem: impl std::fmt::Display) -> crate::Error {
    candle_core::Error::Msg(format!("{what} on CUDA: {problem}")).into()
}
