//! Pooling over windows and over whole images.

use attar_kernels::PoolShape;
use attar_models::op::Pool2d;
use candle_core::{DType, Tensor};
use half::bf16;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Backend, cpu, dispatch, floats, image, norm_shape, portable, refused};
use crate::error::Result;

/// Maxima of windows, and where they were (whatever [`max_pool2d_backward`] on this device
/// understands).
pub fn max_pool2d(on: Backend, pool: &Pool2d, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let shape = pool_shape(pool, x.dims())?;
    dispatch!(on, x max_pool2d(&shape, floats(on, x)?))
}

/// Gradient of [`max_pool2d`]: all of it goes to the (first) maximum.
pub fn max_pool2d_backward(
    on: Backend,
    pool: &Pool2d,
    dy: &Tensor,
    argmax: &Tensor,
    x_shape: &[usize],
) -> Result<Tensor> {
    let shape = pool_shape(pool, x_shape)?;
    dispatch!(on, dy max_pool2d_backward(&shape, floats(on, dy)?, argmax))
}

/// Means of windows, of which `pool` says whether padding counts.
pub fn avg_pool2d(on: Backend, pool: &Pool2d, x: &Tensor) -> Result<Tensor> {
    let shape = pool_shape(pool, x.dims())?;
    dispatch!(on, x avg_pool2d(&shape, floats(on, x)?))
}

/// Gradient of [`avg_pool2d`].
pub fn avg_pool2d_backward(on: Backend, pool: &Pool2d, dy: &Tensor, x_shape: &[usize]) -> Result<Tensor> {
    let shape = pool_shape(pool, x_shape)?;
    dispatch!(on, dy avg_pool2d_backward(&shape, floats(on, dy)?))
}

/// `[N, C, H, W] -> [N, C]`, means.
pub fn global_avg_pool(on: Backend, x: &Tensor) -> Result<Tensor> {
    let shape = norm_shape(x.dims())?;
    dispatch!(on, x global_avg_pool(&shape, floats(on, x)?))
}

/// Gradient of [`global_avg_pool`].
pub fn global_avg_pool_backward(on: Backend, dy: &Tensor, x_shape: &[usize]) -> Result<Tensor> {
    let shape = norm_shape(x_shape)?;
    let dx = dispatch!(on, f32 global_avg_pool_backward(&shape, floats(on, dy)?))?;
    if let (&[n, c, h, w], false) = (x_shape, dx.is_contiguous()) {
        return Ok(dx.transpose(1, 2)?.reshape((n, h, w, c))?.permute((0, 3, 1, 2))?); // stays channels last
    }
    Ok(dx.reshape(x_shape)?)
}

pub(super) fn pool_shape(pool: &Pool2d, x: &[usize]) -> Result<PoolShape> {
    let [batch, channels, in_h, in_w] = image(x)?;
    let Pool2d { kernel, stride, padding, padding_end: _, ceil_mode, count_include_pad } = *pool;
    let padding_end = pool.padding_end();
    let shape =
        PoolShape { batch, channels, in_h, in_w, kernel, stride, padding, padding_end, ceil_mode, count_include_pad };
    shape.checked().map_err(|error| refused(&error))
}
