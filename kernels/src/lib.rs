//! What a CPU does: convolution, batch norm, pooling and linear layers on plain slices, forward and backward.
//!
//! * Layout is `[N, H, W, C]`, channels last, row-major, one contiguous slice a tensor. So a 1x1 convolution is a matrix
//!   product of the tensor as it lies there, and what is done per channel runs along vectors however small the image;
//!   no tensor is padded in memory. Weights are as PyTorch stores them: `[O, C / groups, kh, kw]`, `[O, F]`.
//! * Images are `f32`, or `bf16` in half the memory ([`Value`]); weights, their gradients, statistics and all sums are
//!   `f32`. Where the machine multiplies pairs of `bf16` in one instruction, convolutions do so and their weights are
//!   rounded to `bf16`, too; elsewhere, and where Winograd's transforms would lose digits, products are `f32`.
//! * Shapes are plain structs ([`ConvShape`], [`NormShape`], [`PoolShape`], [`PadShape`], [`LinearShape`]); build one, call its
//!   `checked()` once, then pass it to kernels.
//! * Outputs are overwritten, never added to. Gradients are those of PyTorch, ties and edges included.
//! * Work is spread over the current `rayon` pool. Reductions run in an order fixed by the shape alone, so the same
//!   input gives the same bits whatever the number of threads. The SIMD level is chosen at run time and may change the
//!   last bits from one machine to another.
//! * A slice whose length does not fit its shape, or a shape that `checked()` would refuse, is an error of the caller
//!   and panics at entry; nothing that a file or a user contains can get that far.

mod activation;
mod api;
mod conv;
mod elementwise;
mod error;
mod functions;
mod gate;
mod layer;
mod levels;
mod linear;
mod memory;
mod moves;
mod norm;
mod pairs;
mod pool;

mod rows;
mod shape;
mod simd;
mod slopes;
mod sums;
mod tile;
mod value;

pub use activation::{Activation, Mask};
pub use api::{
    activate, activate_backward, add, add_channels, avg_pool2d, avg_pool2d_backward, batch_norm_apply,
    batch_norm_backward, batch_norm_eval, batch_norm_eval_backward, batch_norm_train, batch_stats, channel_sums,
    concat_channels, conv2d, conv2d_input_grad, conv2d_sums, conv2d_weight_grad, dequantize, dequantize_backward,
    global_avg_pool, global_avg_pool_backward, layer_norm, layer_norm_backward, max_pool2d, max_pool2d_backward, mul,
    mul_channels, mul_channels_backward, pad_image, pad_image_backward, pointwise, pointwise_backward, prelu,
    prelu_backward, quantize, quantize_backward, shuffle_channels, slice_channels, slice_channels_backward,
    softmax_channels, softmax_channels_backward,
};
pub use conv::Tail;
pub use elementwise::Pointwise;
pub use error::{Result, ShapeError};
pub use levels::Levels;
pub use linear::{linear, linear_input_grad, linear_weight_grad};
pub use memory::unwritten;
pub use norm::{BatchStats, Clamp, NormGrads, SavedStats};
pub use shape::{ConvShape, LinearShape, NormShape, PadShape, PoolShape};
pub use simd::check_level;
pub use value::{Value, convert};
