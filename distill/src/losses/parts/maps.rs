//! Features in the forms in which losses compare them: rows, rows of length 1, maps of a common size.

use candle_core::{D, Tensor};

use crate::error::Result;

/// `[N, ...] -> [N, F]`: everything that a network says of a sample as one row.
///
/// # Errors
/// A scalar, or a device that failed.
pub fn rows(features: &Tensor) -> Result<Tensor> {
    Ok(features.flatten_from(1)?.contiguous()?)
}

/// Every row (last axis) divided by its length, at least 1e-12 (PyTorch's `normalize`). A row of zeros stays one and
/// its gradient is 0; PyTorch multiplies the incoming one by 1e12 there, which dead channels would blow up.
///
/// # Errors
/// A scalar, or a device that failed.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    let squares = x.sqr()?.sum_keepdim(D::Minus1)?;
    let alive = squares.detach().gt(0.0)?.to_dtype(x.dtype())?;
    let inverse = alive.div(&squares.maximum(1e-24)?.sqrt()?)?;
    Ok(x.broadcast_mul(&inverse)?)
}

/// Both maps `[N, C, H, W]` at the smaller of their heights and the smaller of their widths, by [`adaptive_avg_pool`].
///
/// # Errors
/// Tensors that are not of rank 4, or a device that failed.
pub fn common_size(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let ((_, _, h, w), (_, _, other_h, other_w)) = (a.dims4()?, b.dims4()?);
    let size = [h.min(other_h), w.min(other_w)];
    Ok((adaptive_avg_pool(a, size)?, adaptive_avg_pool(b, size)?))
}

/// `[N, C, H, W] -> [N, C, H', W']`, PyTorch's `adaptive_avg_pool2d`: output `i` of an axis is the mean of the inputs
/// from `floor(i H / H')` to `ceil((i + 1) H / H')`. A matrix product an axis, because Candle's pooling has wrong
/// gradients.
///
/// # Errors
/// A tensor that is not of rank 4, or a device that failed.
pub fn adaptive_avg_pool(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let mut x = x.clone();
    if w != width {
        x = x.reshape((n * c * h, w))?.matmul(&averages(w, width, &x)?)?.reshape((n, c, h, width))?;
    }
    if h != height {
        let columns = x.transpose(2, 3)?.reshape((n * c * width, h))?;
        x = columns.matmul(&averages(h, height, &x)?)?.reshape((n, c, width, height))?.transpose(2, 3)?;
    }
    Ok(x)
}

/// First input and number of inputs of each of `to` windows over `from` inputs.
pub fn windows(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..to).map(move |i| {
        let start = i * from / to;
        (start, ((i + 1) * from).div_ceil(to) - start)
    })
}

/// The matrix `[from, to]` that averages windows; of the type and on the device of `like`.
fn averages(from: usize, to: usize, like: &Tensor) -> Result<Tensor> {
    let mut matrix = vec![0.0_f64; from * to];
    for (i, (start, len)) in windows(from, to).enumerate() {
        for row in matrix.chunks_exact_mut(to).skip(start).take(len) {
            row[i] = 1.0 / len as f64;
        }
    }
    Ok(Tensor::from_vec(matrix, (from, to), like.device())?.to_dtype(like.dtype())?)
}
