//! Pieces of losses that Candle's autograd differentiates in one node: convolution, batch norm and resizing for losses that
//! train layers of their own, computed forward and backward by the executor's operations; products and squares of which one side
//! is constant, whose gradient Candle would compute all the same.
//!
//! Candle's own convolution is slow backward and wrong for some shapes, its batch norm takes many passes, and its nearest
//! up-sampling has a wrong gradient. `f32` runs on the executor's kernels; `f64`, which tests compare with, is composed of
//! Candle's operations.

mod recorded;

use attar_exec::ops::{self, Affine, Backend, Tail};
use attar_models::op;
use candle_core::Tensor;

use crate::error::{Error, Result};

pub(in crate::losses) use recorded::Recorded;

/// `x ⋆ weight`, without bias: `[N, C, H, W]` and `[C', C, kh, kw]` to `[N, C', H', W']`; stride and zero padding are those
/// of both axes.
///
/// # Errors
/// Shapes or types that do not fit each other, or a device that failed.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (_, in_channels, _, _) = x.dims4()?;
    let (out_channels, expected, height, width) = weight.dims4()?;
    if in_channels != expected || x.dtype() != weight.dtype() {
        return Err(unfit("convolution", &[x, weight]));
    }
    let square = op::Conv2d::square(in_channels, out_channels, 1, stride, padding);
    let settings = op::Conv2d { kernel: [height, width], ..square };
    let (input, kernel) = (x.detach(), weight.detach());
    let on = Backend::for_tensor(x);
    let value = ops::conv2d(on, &settings, &input, &kernel, None, Tail::default())?;
    let backward = move |dy: &Tensor| {
        let dx = ops::conv2d_input_grad(on, &settings, dy, &kernel, input.dims())?;
        Ok([dx, ops::conv2d_weight_grad(on, &settings, &input, dy)?])
    };
    Ok(x.apply_op2(weight, Recorded::new("conv2d", value, backward))?)
}

/// `scale (x - mean) / sqrt(variance + eps) + shift` by the statistics of this batch (biased variance), for `x`
/// `[N, C, H, W]`, scale and shift `[C]`. No running statistics are kept: what losses train is never evaluated.
///
/// # Errors
/// Shapes or types that do not fit each other, one value a channel, or a device that failed.
pub fn batch_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let channels = x.dims4()?.1;
    if [scale, shift].iter().any(|own| own.dims() != [channels] || own.dtype() != x.dtype()) {
        return Err(unfit("batch norm", &[x, scale, shift]));
    }
    let (input, weight, bias) = (x.detach(), scale.detach(), shift.detach());
    let affine = Affine { weight: &weight, bias: &bias };
    let on = Backend::for_tensor(x);
    let (value, stats) = ops::batch_norm_train(on, &input, affine, eps, Tail::default())?;
    let backward = move |dy: &Tensor| {
        let grads = ops::batch_norm_backward(on, &input, &weight, &stats, None, dy, false)?;
        Ok([grads.dx, grads.dweight, grads.dbias])
    };
    Ok(x.apply_op3(scale, shift, Recorded::new("batch-norm", value, backward))?)
}

/// `x constantᵀ`, for `x` `[N, D]` and a constant `[M, D]`, as `[N, M]`. Candle's product would compute the constant's
/// gradient too, which costs as much as the product.
///
/// # Errors
/// Shapes or types that do not fit each other, or a device that failed.
pub fn times_constant(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    let constant = constant.detach();
    let value = x.detach().matmul(&constant.t()?)?;
    let backward = move |dy: &Tensor| Ok([dy.matmul(&constant)?]);
    Ok(x.apply_op1(Recorded::new("times-constant", value, backward))?)
}

/// `mean (x - constant)^2` over all elements, of any equal shapes.
///
/// # Errors
/// Shapes or types that differ, or a device that failed.
pub fn mean_squared(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    let difference = (x.detach() - constant.detach())?;
    let value = difference.sqr()?.mean_all()?;
    let slope = 2.0 / difference.elem_count().max(1) as f64;
    let backward = move |dy: &Tensor| Ok([difference.broadcast_mul(&(dy * slope)?)?]);
    Ok(x.apply_op1(Recorded::new("mean-squared", value, backward))?)
}

/// Every output takes the input position at `floor(i · input / output)`, as PyTorch's `nearest`; enlarges or reduces each
/// axis of `[N, C, H, W]` to `size` (`[height, width]`).
///
/// # Errors
/// Not four axes, or a device that failed.
pub fn resize_nearest(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    let (n, c, height, width) = x.dims4()?;
    let [rows, columns] = size;
    if [height, width] == size {
        return Ok(x.clone());
    }
    let position = |i: usize| (i / columns * height / rows) * width + i % columns * width / columns;
    let picked: Vec<u32> = (0..rows * columns).map(|i| position(i) as u32).collect();
    let picked = Tensor::from_vec(picked, rows * columns, x.device())?;
    Ok(x.reshape((n * c, height * width))?.contiguous()?.index_select(&picked, 1)?.reshape((n, c, rows, columns))?)
}

fn unfit(what: &str, tensors: &[&Tensor]) -> Error {
    let found: Vec<String> = tensors.iter().map(|x| format!("{:?} {:?}", x.dims(), x.dtype())).collect();
    candle_core::Error::Msg(format!("{what} of {}: they do not fit each other", found.join(", "))).into()
}
