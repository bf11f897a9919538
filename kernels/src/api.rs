//! What this crate computes, on images of either type.
//!
//! The functions here are generic and short: they call what was compiled in this crate for each type, so that whoever uses
//! them does not compile all kernels again, for every SIMD level.

use half::bf16;

use crate::activation::{Activation, Mask};
use crate::conv::Tail;
use crate::elementwise::Pointwise;
use crate::error::Result;
use crate::levels::Levels;
use crate::norm::{BatchStats, Clamp, NormGrads, SavedStats};
use crate::shape::{ConvShape, NormShape, PadShape, PoolShape};
use crate::value::Value;
use crate::{activation, conv, elementwise, gate, layer, levels, moves, norm, pool, slopes, sums};

/// Defines for each function of the list its public form, and a trait through which that reaches the compiled ones. `T` is
/// what images are stored as.
macro_rules! functions {
    ($($(#[$doc:meta])* fn $module:ident::$name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        /// The functions for images of `T`. Nobody outside of this crate can name it.
        #[allow(missing_docs, clippy::missing_errors_doc, clippy::too_many_arguments)] // said at the public functions
        pub trait Compiled<T> {
            $(fn $name($($arg: $type),*) $(-> $result)?;)*
        }

        functions!(@compile f32s, f32, $(($module::$name, ($($arg: $type),*) $(-> $result)?))*);
        functions!(@compile bf16s, bf16, $(($module::$name, ($($arg: $type),*) $(-> $result)?))*);

        $(
            $(#[$doc])*
            #[allow(clippy::too_many_arguments)] // the operands of one fused kernel
            pub fn $name<T: Value>($($arg: $type),*) $(-> $result)? {
                <T as Compiled<T>>::$name($($arg),*)
            }
        )*
    };
    (@compile $here:ident, $stored:ty,
     $(($module:ident::$name:ident, ($($arg:ident: $type:ty),*) $(-> $result:ty)?))*) => {
        mod $here {
            use super::*;

            type T = $stored;

            impl Compiled<T> for T {
                $(
                    fn $name($($arg: $type),*) $(-> $result)? {
                        $module::$name::<T>($($arg),*)
                    }
                )*
            }
        }
    };
}

functions! {
    /// `y [N, out_h, out_w, O] = x [N, H, W, C] ⋆ weight [O, C / groups, kh, kw]` (cross-correlation), then `tail`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn conv::conv2d(shape: &ConvShape, x: &[T], weight: &[f32], tail: Tail<'_, T>, y: &mut [T]);

    /// [`conv2d`] as plain sums of products: of whole numbers in whole steps to the bit, as long as no sum is beyond the 2^24 to
    /// which floats hold them. Elsewhere fractions of Winograd's transforms are rounded.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn conv::conv2d_sums(shape: &ConvShape, x: &[T], weight: &[f32], tail: Tail<'_, T>, y: &mut [T]);

    /// The gradient `dx [N, H, W, C]` of the input, from the gradient `dy [N, out_h, out_w, O]` of the output.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn conv::conv2d_input_grad(shape: &ConvShape, dy: &[T], weight: &[f32], dx: &mut [T]);

    /// The gradient `dweight [O, C / groups, kh, kw]` of the weight, from the input and the gradient of the output.
    /// The gradient of a bias is [`crate::channel_sums`] of `dy`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn conv::conv2d_weight_grad(shape: &ConvShape, x: &[T], dy: &[T], dweight: &mut [f32]);

    /// Mean and variance of each channel of `x [N, positions, C]`.
    ///
    /// Values are taken relative to a rough mean, that of a few rows from all over the batch, so that one pass is enough and
    /// a mean far from zero costs no digits.
    ///
    /// # Errors
    /// [`crate::ShapeError::OneValuePerChannel`] when there is one value per channel: it has no variance (PyTorch refuses it too).
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn norm::batch_stats(shape: &NormShape, x: &[T], eps: f64, stats: BatchStats<'_>) -> Result<()>;

    /// `y = activation(weight * (x - mean) / sqrt(variance + eps) + bias + residual)` with the statistics of this batch:
    /// [`batch_stats`], then [`batch_norm_apply`].
    ///
    /// `x`, `residual` and `y` are `[N, positions, C]`, `weight` and `bias` are `[C]`.
    ///
    /// # Errors
    /// [`crate::ShapeError::OneValuePerChannel`] when there is one value per channel.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn norm::batch_norm_train(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        bias: &[f32],
        eps: f64,
        residual: Option<&[T]>,
        activation: Option<Activation>,
        y: &mut [T],
        stats: BatchStats<'_>,
    ) -> Result<()>;

    /// `y = activation(weight * (x - running_mean) / sqrt(running_var + eps) + bias + residual)`.
    ///
    /// `x`, `residual` and `y` are `[N, positions, C]`, the rest `[C]`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn norm::batch_norm_eval(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        bias: &[f32],
        running_mean: &[f32],
        running_var: &[f32],
        eps: f64,
        residual: Option<&[T]>,
        activation: Option<Activation>,
        y: &mut [T],
    );

    /// `y = activation(weight * (x - mean) * inv_std + bias + residual)` with statistics that are known.
    ///
    /// `x`, `residual` and `y` are `[N, positions, C]`, the rest `[C]`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn norm::batch_norm_apply(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        bias: &[f32],
        stats: SavedStats<'_>,
        residual: Option<&[T]>,
        activation: Option<Activation>,
        y: &mut [T],
    );

    /// Gradients of [`crate::batch_norm_train`] from the gradient `dy [N, positions, C]` of its output.
    ///
    /// `clamp` tells of the fused activation, if there was one and `dy` has not passed it yet. `x` is the norm's input,
    /// `stats` what the forward pass saved.
    ///
    /// # Panics
    /// If a slice does not fit `shape`, or if a residual's gradient is wanted of an activation recomputed without it.
    fn norm::batch_norm_backward(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        stats: SavedStats<'_>,
        clamp: Option<Clamp<'_, T>>,
        dy: &[T],
        grads: NormGrads<'_, T>,
    );

    /// Gradients of [`crate::batch_norm_eval`], whose statistics are constants, from the gradient `dy` of its output.
    ///
    /// Operands as for [`batch_norm_backward`]; `running_mean` and `running_var` are `[C]`.
    ///
    /// # Panics
    /// As [`batch_norm_backward`].
    fn norm::batch_norm_eval_backward(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        running_mean: &[f32],
        running_var: &[f32],
        eps: f64,
        clamp: Option<Clamp<'_, T>>,
        dy: &[T],
        grads: NormGrads<'_, T>,
    );

    /// Sums `x [N, positions, C]` over samples and positions: the gradient of a bias, `out [C]`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn sums::channel_sums(shape: &NormShape, x: &[T], out: &mut [f32]);

    /// `y = activation(x)`, elementwise.
    ///
    /// # Panics
    /// If the lengths differ.
    fn activation::activate(activation: Activation, x: &[T], y: &mut [T]);

    /// `dx` from `dy` and the activation's output (its input will do as well: both are clamped at the same places).
    ///
    /// # Panics
    /// If the lengths differ.
    fn activation::activate_backward(mask: Mask<'_, T>, dy: &[T], dx: &mut [T]);

    /// `y = function(x)`, elementwise, of an activation that is no clamp.
    ///
    /// # Panics
    /// If the lengths differ.
    fn elementwise::pointwise(function: Pointwise, x: &[T], y: &mut [T]);

    /// `dx = dy * function'(x)`, elementwise, from the input `x`; from the output of [`Pointwise::Sigmoid`].
    ///
    /// # Panics
    /// If the lengths differ.
    fn elementwise::pointwise_backward(function: Pointwise, kept: &[T], dy: &[T], dx: &mut [T]);

    /// `y [N, positions, C]`: `x` above 0, `weight [C]` times `x` elsewhere.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn slopes::prelu(shape: &NormShape, x: &[T], weight: &[f32], y: &mut [T]);

    /// Gradients of [`prelu`]: `dx`, and `dweight [C]`, the sum of `dy * x` where `x` is not above 0.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn slopes::prelu_backward(shape: &NormShape, x: &[T], weight: &[f32], dy: &[T], dx: &mut [T], dweight: &mut [f32]);

    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`, mean and biased variance over the channels of each
    /// pixel; `x` and `y` are `[N, positions, C]`, the rest `[C]`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn layer::layer_norm(shape: &NormShape, x: &[T], weight: &[f32], bias: &[f32], eps: f64, y: &mut [T]);

    /// Gradients of [`layer_norm`]: `dx [N, positions, C]`, `dweight [C]` and `dbias [C]`. Statistics are those of `x`
    /// anew.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn layer::layer_norm_backward(
        shape: &NormShape,
        x: &[T],
        weight: &[f32],
        eps: f64,
        dy: &[T],
        dx: &mut [T],
        dweight: &mut [f32],
        dbias: &mut [f32],
    );

    /// `y [N, positions, C] = x [N, positions, C] * factor [N, C]`: one factor a sample and channel.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn gate::mul_channels(shape: &NormShape, x: &[T], factor: &[T], y: &mut [T]);

    /// `y [N, positions, C] = x [N, positions, C] + term [N, C]`: one term a sample and channel.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn gate::add_channels(shape: &NormShape, x: &[T], term: &[T], y: &mut [T]);

    /// Gradients of [`mul_channels`]: `dx = dy * factor`, and `dfactor [N, C]`, the sum of `dy * x` over positions.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn gate::mul_channels_backward(
        shape: &NormShape,
        x: &[T],
        factor: &[T],
        dy: &[T],
        dx: &mut [T],
        dfactor: &mut [T],
    );

    /// `y = a + b`, elementwise.
    ///
    /// # Panics
    /// If the lengths differ.
    fn activation::add(a: &[T], b: &[T], y: &mut [T]);

    /// `y = a * b`, elementwise.
    ///
    /// # Panics
    /// If the lengths differ.
    fn activation::mul(a: &[T], b: &[T], y: &mut [T]);

    /// `y [N, out_h, out_w, C]` = the largest value of each window, and where it was: `argmax` is a pixel of the image,
    /// `row * W + column`. Padding never wins. Of equal values the first wins, as in PyTorch; NaN always wins.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn pool::max_pool2d(shape: &PoolShape, x: &[T], y: &mut [T], argmax: &mut [u32]);

    /// `dx`: each gradient of `dy` goes to where its maximum was.
    ///
    /// # Panics
    /// If a slice does not fit `shape`, or an index of `argmax` lies outside of the image.
    fn pool::max_pool2d_backward(shape: &PoolShape, dy: &[T], argmax: &[u32], dx: &mut [T]);

    /// `y [N, out_h, out_w, C]` = the mean of each window; padding counts as zeros, or not at all, as `shape` says.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn pool::avg_pool2d(shape: &PoolShape, x: &[T], y: &mut [T]);

    /// `dx`: each gradient of `dy` is spread evenly over its window.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn pool::avg_pool2d_backward(shape: &PoolShape, dy: &[T], dx: &mut [T]);

    /// `y [N, C]` = the mean of each channel's image in `x [N, positions, C]`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn pool::global_avg_pool(shape: &NormShape, x: &[T], y: &mut [f32]);

    /// `dx [N, positions, C]`: each gradient of `dy [N, C]` is spread evenly over its image.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn pool::global_avg_pool_backward(shape: &NormShape, dy: &[f32], dx: &mut [T]);

    /// `y [rows, C0 + C1 + ...]` = the rows of `parts`, each `[rows, Ci]`, behind each other; `rows = N * positions`. The
    /// gradient of a part is [`slice_channels`] of that of `y`.
    ///
    /// # Panics
    /// If a slice does not fit the others.
    fn moves::concat_channels(rows: usize, parts: &[&[T]], y: &mut [T]);

    /// `y [N, positions, width]` = channels `start..start + width` of `x [N, positions, C]`; the length of `y` tells the width.
    ///
    /// # Panics
    /// If a slice does not fit `shape`, that of `x`.
    fn moves::slice_channels(shape: &NormShape, start: usize, x: &[T], y: &mut [T]);

    /// The gradient of [`slice_channels`]: `dy` where the slice was, zeros elsewhere.
    ///
    /// # Panics
    /// If a slice does not fit `shape`, that of `dx`.
    fn moves::slice_channels_backward(shape: &NormShape, start: usize, dy: &[T], dx: &mut [T]);

    /// `y`: channel `i * groups + g` is channel `g * (C / groups) + i` of `x [N, positions, C]`. It undoes itself with
    /// `C / groups` in place of `groups`, which is its gradient, too.
    ///
    /// # Panics
    /// If a slice does not fit `shape`, or the groups do not divide its channels.
    fn moves::shuffle_channels(shape: &NormShape, groups: usize, x: &[T], y: &mut [T]);

    /// `y [N, out_h, out_w, C]` = `x [N, H, W, C]` with zeros around.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn moves::pad_image(shape: &PadShape, x: &[T], y: &mut [T]);

    /// The gradient of [`pad_image`]: what of `dy` lies inside.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn moves::pad_image_backward(shape: &PadShape, dy: &[T], dx: &mut [T]);

    /// `y = clamp(round(x / scale) + zero_point, low, high)`, elementwise, ties to even; NaN stays NaN.
    ///
    /// # Panics
    /// If the lengths differ, or the range holds nothing.
    fn levels::quantize(levels: Levels, range: [f32; 2], x: &[T], y: &mut [T]);

    /// `y = (x - zero_point) * scale`, elementwise.
    ///
    /// # Panics
    /// If the lengths differ.
    fn levels::dequantize(levels: Levels, x: &[T], y: &mut [T]);

    /// The gradient of [`quantize`] with rounding passed straight through: `dx = dy / scale` where
    /// `low < x / scale + zero_point < high`, else 0. Returned is that of the scale, `-sum dx x / scale`.
    ///
    /// # Panics
    /// If the lengths differ, or the range holds nothing.
    fn levels::quantize_backward(levels: Levels, range: [f32; 2], x: &[T], dy: &[T], dx: &mut [T]) -> f64;

    /// The gradient of [`dequantize`]: `dx = dy * scale`. Returned is that of the scale, `sum dy (x - zero_point)`.
    ///
    /// # Panics
    /// If the lengths differ.
    fn levels::dequantize_backward(levels: Levels, x: &[T], dy: &[T], dx: &mut [T]) -> f64;

    /// `y [N, positions, C] = exp(x) / sum exp(x)`, the sum over the channels of a position.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn levels::softmax_channels(shape: &NormShape, x: &[T], y: &mut [T]);

    /// The gradient of [`softmax_channels`] from its answer: `dx = y * (dy - sum(y * dy))`.
    ///
    /// # Panics
    /// If a slice does not fit `shape`.
    fn levels::softmax_channels_backward(shape: &NormShape, y: &[T], dy: &[T], dx: &mut [T]);
}
