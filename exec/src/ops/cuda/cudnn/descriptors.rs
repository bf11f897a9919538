//! What cuDNN has to know about a convolution: tensors and filter channels last, windows, groups,
//! kind of arithmetic.

use attar_kernels::ConvShape;
use candle_core::cuda_backend::cudarc::cudnn::result::{self, CudnnError};
use candle_core::cuda_backend::cudarc::cudnn::sys;

use crate::error::Result;
use crate::ops::cuda::launch::{Stored, failed};
use crate::ops::cuda::pool::small;

/// An owned descriptor of one kind.
macro_rules! descriptor {
    ($name:ident, $raw:ident, $create:ident, $destroy:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Debug)]
        pub(super) struct $name(pub(super) sys::$raw);

        impl $name {
            fn new() -> std::result::Result<Self, CudnnError> {
                Ok(Self(result::$create()?))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made by `new`, and nobody else destroys it. That it fails changes nothing
                // any more.
                let _ = unsafe { result::$destroy(self.0) };
            }
        }
    };
}

descriptor!(TensorShape, cudnnTensorDescriptor_t, create_tensor_descriptor, destroy_tensor_descriptor, "Of x or y.");
descriptor!(
    FilterShape,
    cudnnFilterDescriptor_t,
    create_filter_descriptor,
    destroy_filter_descriptor,
    "Of the weight."
);
descriptor!(
    Window,
    cudnnConvolutionDescriptor_t,
    create_convolution_descriptor,
    destroy_convolution_descriptor,
    "Of how the filter slides."
);

/// All four.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) x: TensorShape,
    pub(super) y: TensorShape,
    pub(super) weight: FilterShape,
    pub(super) conv: Window,
}

impl Descriptors {
    /// Images and weight stored like this, sums in `f32`.
    pub(super) fn new(shape: &ConvShape, stored: Stored) -> Result<Self> {
        let x = small([shape.batch, shape.in_channels, shape.in_h, shape.in_w])?;
        let y = small([shape.batch, shape.out_channels, shape.out_h(), shape.out_w()])?;
        let [kh, kw] = shape.kernel;
        let weight = small([shape.out_channels, shape.in_channels / shape.groups, kh, kw])?;
        let [ph, pw, sh, sw, dh, dw, groups] = small([
            shape.padding[0],
            shape.padding[1],
            shape.stride[0],
            shape.stride[1],
            shape.dilation[0],
            shape.dilation[1],
            shape.groups,
        ])?;
        let make = || {
            let all = Self {
                x: TensorShape::new()?,
                y: TensorShape::new()?,
                weight: FilterShape::new()?,
                conv: Window::new()?,
            };
            let (float, last) = (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC);
            let stored = match stored {
                Stored::F32 => float,
                Stored::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
            };
            let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
            // SAFETY: the four descriptors were just made and are alive.
            unsafe {
                result::set_tensor4d_descriptor(all.x.0, last, stored, x)?;
                result::set_tensor4d_descriptor(all.y.0, last, stored, y)?;
                result::set_filter4d_descriptor(all.weight.0, stored, last, weight)?;
                result::set_convolution2d_descriptor(all.conv.0, ph, pw, sh, sw, dh, dw, mode, float)?;
                result::set_convolution_group_count(all.conv.0, groups)?;
            }
            Ok(all)
        };
        make().map_err(|error: CudnnError| failed("a convolution's description for cuDNN", error))
    }

    /// Which units may multiply.
    pub(super) fn set_math(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the descriptor is alive.
        let set = unsafe { result::set_convolution_math_type(self.conv.0, math) };
        set.map_err(|error| failed("a convolution's arithmetic for cuDNN", error))
    }
}
