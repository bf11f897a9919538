//! The operations on CUDA: cuDNN for convolutions where it is there, kernels of our own for the
//! rest.
//!
//! Images keep the logical shape `[N, C, H, W]` but are channels last in memory: what an operation
//! returns is a view of dense `[N, H, W, C]`, and what it is given is brought into that order,
//! which is free for what another one returned.
//!
//! Images may be stored in `f32` or `bf16`. Parameters, their gradients and statistics are `f32`,
//! and so is the arithmetic; only cuDNN and cuBLAS multiply `bf16` as it is, and sum in `f32`.

#![allow(unsafe_code)] // drivers and kernels know nothing of lifetimes; each block says why it is sound

mod augment;
mod channels;
mod conv;
#[cfg(feature = "cudnn")]
mod cudnn;
mod depthwise;
mod device;
mod elementwise;
mod launch;
mod levels;
mod linear;
mod memory;
mod moves;
mod multi;
mod norm;
mod pool;
mod precision;
mod softmax;

pub(super) use augment::augment;
pub(super) use channels::{layer_norm, layer_norm_backward, prelu, prelu_backward, scale_backward};
pub(super) use conv::{conv2d, conv2d_input_grad, conv2d_weight_grad};
pub(crate) use device::open;
pub(super) use elementwise::{activate, activate_backward, add, mul};
pub(super) use levels::{
    dequantize, dequantize_backward, quantize, quantize_backward, softmax_channels, softmax_channels_backward,
};
pub(super) use linear::{linear, linear_input_grad, linear_weight_grad};
pub(super) use memory::in_order;
pub(super) use moves::{channel_shuffle, concat, pad2d, pad2d_backward, slice_channels, slice_channels_backward};
pub(crate) use multi::{AdamwStep, SgdStep, Stepped, adamw, mix, norm as global_norm, scale, sgd};
pub(super) use norm::{batch_norm_backward, batch_norm_eval, batch_norm_train, channel_sums};
pub(super) use pool::{
    add_channels, avg_pool2d, avg_pool2d_backward, global_avg_pool, global_avg_pool_backward, max_pool2d,
    max_pool2d_backward, mul_channels, mul_channels_backward,
};
pub(super) use softmax::{cross_entropy, divergence, log_softmax, log_softmax_backward};
