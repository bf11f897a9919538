//! Tensors as the kernels see them: dense, images channels last, as addresses; and new tensors
//! around what they wrote.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{Storage, Tensor};
use half::bf16;

use super::launch::{Arg, Gpu, Stored, failed};
use crate::error::Result;

/// A dense tensor on the card, kept alive for as long as its address is used.
#[derive(Debug)]
pub(in crate::ops) struct Dense {
    /// Held for its memory alone.
    _tensor: Tensor,
    pub(super) address: u64,
}

impl Dense {
    /// `x` as it is if it is dense, else a dense copy.
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        Self::typed::<f32>(x)
    }

    /// `[N, C, ...]` in `f32` with the channels last in memory: free for what an operation of this
    /// module made.
    pub(super) fn channels_last(x: &Tensor) -> Result<Self> {
        Self::of(&last(x)?)
    }

    /// As [`Dense::channels_last`], of a tensor stored like this.
    pub(super) fn image(x: &Tensor, stored: Stored) -> Result<Self> {
        let x = last(x)?;
        match stored {
            Stored::F32 => Self::typed::<f32>(&x),
            Stored::Bf16 => Self::typed::<bf16>(&x),
        }
    }

    /// As [`Dense::channels_last`], for indices.
    pub(super) fn channels_last_indices(x: &Tensor) -> Result<Self> {
        Self::typed::<u32>(&last(x)?)
    }

    /// As [`Dense::of`], for tensors of another type than `f32`.
    pub(super) fn typed<T: CudaDType + DeviceRepr>(x: &Tensor) -> Result<Self> {
        let tensor = x.contiguous()?;
        let address = {
            let (storage, layout) = tensor.storage_and_layout();
            let Storage::Cuda(storage) = &*storage else {
                return Err(failed("an operand", "it is not on a CUDA device"));
            };
            let slice = storage.as_cuda_slice::<T>()?;
            let stream = storage.device().cuda_stream();
            let (start, _reads) = slice.device_ptr(&stream);
            start + (layout.start_offset() * size_of::<T>()) as u64
        };
        Ok(Self { _tensor: tensor, address })
    }

    /// As an argument; 0 where there is none.
    pub(super) fn address(dense: Option<&Self>) -> Arg {
        dense.map_or(0, |dense| dense.address).into()
    }
}

impl From<&Dense> for Arg {
    fn from(dense: &Dense) -> Self {
        dense.address.into()
    }
}

/// `[N, C, a, ..] -> [N, a, .., C]`, a view.
pub(super) fn last(x: &Tensor) -> Result<Tensor> {
    Ok(match x.rank() {
        4 => x.permute((0, 2, 3, 1))?,
        3 => x.transpose(1, 2)?,
        _ => x.clone(),
    })
}

/// A parameter as [`Dense::channels_last`] finds it without a copy.
pub(in crate::ops) fn in_order(x: &Tensor) -> Result<Tensor> {
    let dense = last(x)?.contiguous()?;
    Ok(match dense.rank() {
        4 => dense.permute((0, 3, 1, 2))?,
        3 => dense.transpose(1, 2)?,
        _ => dense,
    })
}

/// Memory that a kernel is about to fill.
#[derive(Debug)]
pub(super) struct Buffer<T = f32> {
    slice: CudaSlice<T>,
    pub(super) address: u64,
}

impl<T: DeviceRepr> Buffer<T> {
    /// `len` elements of unknown content: the kernel it is for must write all of them.
    pub(super) fn new(gpu: &Gpu, len: usize) -> Result<Self> {
        // SAFETY: every kernel of this module writes each element of what it is given to fill
        // before anything reads it.
        let slice = unsafe { gpu.device.alloc::<T>(len) }?;
        Ok(Self::around(gpu, slice))
    }

    /// Elements copied from the host.
    pub(super) fn from_host(gpu: &Gpu, values: &[T]) -> Result<Self>
    where
        T: 'static,
    {
        let slice = gpu.device.clone_htod(values)?;
        Ok(Self::around(gpu, slice))
    }

    fn around(gpu: &Gpu, slice: CudaSlice<T>) -> Self {
        let (address, _writes) = slice.device_ptr(&gpu.stream);
        drop(_writes);
        Self { slice, address }
    }

    /// The elements, once the card has written them.
    pub(super) fn to_host(&self, gpu: &Gpu) -> Result<Vec<T>> {
        Ok(gpu.device.clone_dtoh(&self.slice)?)
    }
}

impl<T: CudaDType + DeviceRepr> Buffer<T> {
    /// The memory as a dense tensor.
    pub(super) fn tensor(self, gpu: &Gpu, shape: &[usize]) -> Tensor {
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(self.slice, gpu.device.clone()));
        Tensor::from_storage(storage, shape, BackpropOp::none(), false)
    }

    /// Memory with the channels last as a tensor of logical shape `[N, C, ...]`.
    pub(super) fn image(self, gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
        Ok(match *shape {
            [n, c, h, w] => self.tensor(gpu, &[n, h, w, c]).permute((0, 3, 1, 2))?,
            [n, c, p] => self.tensor(gpu, &[n, p, c]).transpose(1, 2)?,
            _ => self.tensor(gpu, shape),
        })
    }
}

impl<T> From<&Buffer<T>> for Arg {
    fn from(buffer: &Buffer<T>) -> Self {
        buffer.address.into()
    }
}

/// Memory for an image, in one of the types that images are stored in.
#[derive(Debug)]
pub(super) enum ImageBuffer {
    F32(Buffer<f32>),
    Bf16(Buffer<bf16>),
}

impl ImageBuffer {
    /// As [`Buffer::new`].
    pub(super) fn new(gpu: &Gpu, stored: Stored, len: usize) -> Result<Self> {
        Ok(match stored {
            Stored::F32 => Self::F32(Buffer::new(gpu, len)?),
            Stored::Bf16 => Self::Bf16(Buffer::new(gpu, len)?),
        })
    }

    pub(super) fn address(&self) -> u64 {
        match self {
            Self::F32(buffer) => buffer.address,
            Self::Bf16(buffer) => buffer.address,
        }
    }

    /// As [`Buffer::image`].
    pub(super) fn image(self, gpu: &Gpu, shape: &[usize]) -> Result<Tensor> {
        match self {
            Self::F32(buffer) => buffer.image(gpu, shape),
            Self::Bf16(buffer) => buffer.image(gpu, shape),
        }
    }
}

impl From<&ImageBuffer> for Arg {
    fn from(buffer: &ImageBuffer) -> Self {
        buffer.address().into()
    }
}
