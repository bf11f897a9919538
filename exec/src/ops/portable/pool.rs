//! Pooling over windows, of Candle's operations.

use attar_kernels::PoolShape;
use candle_core::Tensor;

use super::{Windows, finish, sum};
use crate::error::Result;

/// The second tensor holds the number of the offset, in row-major order, at which the maximum was
/// first met.
pub(in crate::ops) fn max_pool2d(shape: &PoolShape, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let windows = Windows::of_pool(shape);
    // Zeros in the padding would win over negative values: there, `inside` is 0 and minus infinity
    // is taken instead.
    let inside = windows.pad(&x.ones_like()?)?;
    let x = windows.pad(x)?;
    let x = inside.gt(0f32)?.where_cond(&x, &x.ones_like()?.affine(0.0, f64::NEG_INFINITY)?)?;
    let mut best: Option<(Tensor, Tensor)> = None;
    for (number, offset) in windows.offsets().enumerate() {
        let view = windows.view(&x, offset)?.contiguous()?;
        let here = Tensor::full(number as u32, view.dims(), view.device())?;
        best = Some(match best {
            None => (view, here),
            Some((max, at)) => {
                let better = view.gt(&max)?;
                (better.where_cond(&view, &max)?, better.where_cond(&here, &at)?)
            }
        });
    }
    best.ok_or_else(|| candle_core::Error::Msg("a pooling window without elements".to_owned()).into())
}

pub(in crate::ops) fn max_pool2d_backward(shape: &PoolShape, dy: &Tensor, argmax: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_pool(shape);
    let zeros = dy.zeros_like()?;
    let mut dx = None;
    for (number, offset) in windows.offsets().enumerate() {
        let own = argmax.eq(number as u32)?.where_cond(dy, &zeros)?;
        dx = Some(sum(dx, windows.unview(&own, offset)?)?);
    }
    let padded = finish(dx, &[shape.batch, shape.channels, windows.padded(0), windows.padded(1)])?;
    windows.unpad(&padded)
}

pub(in crate::ops) fn avg_pool2d(shape: &PoolShape, x: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_pool(shape);
    let x = windows.pad(x)?;
    let mut y = None;
    for offset in windows.offsets() {
        y = Some(sum(y, windows.view(&x, offset)?)?);
    }
    let y = finish(y, &[shape.batch, shape.channels, shape.out_h(), shape.out_w()])?;
    over_areas(shape, &y)
}

pub(in crate::ops) fn avg_pool2d_backward(shape: &PoolShape, dy: &Tensor) -> Result<Tensor> {
    let windows = Windows::of_pool(shape);
    let dy = over_areas(shape, dy)?;
    let mut dx = None;
    for offset in windows.offsets() {
        dx = Some(sum(dx, windows.unview(&dy, offset)?)?);
    }
    let padded = finish(dx, &[shape.batch, shape.channels, windows.padded(0), windows.padded(1)])?;
    windows.unpad(&padded)
}

/// Each mean's sum, or gradient, divided by how many positions the mean counts.
fn over_areas(shape: &PoolShape, y: &Tensor) -> Result<Tensor> {
    let size = [shape.in_h, shape.in_w];
    let counted = |axis: usize, count: usize| -> Vec<f64> {
        let (before, behind) = (shape.padding[axis], shape.padding_end[axis]);
        let (first, end) =
            if shape.count_include_pad { (0, before + size[axis] + behind) } else { (before, before + size[axis]) };
        let window =
            |i: usize| (i * shape.stride[axis]).max(first)..(i * shape.stride[axis] + shape.kernel[axis]).min(end);
        (0..count).map(|i| window(i).len() as f64).collect()
    };
    let (rows, columns) = (counted(0, shape.out_h()), counted(1, shape.out_w()));
    let areas: Vec<f64> = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
    let whole = (shape.kernel[0] * shape.kernel[1]) as f64;
    if areas.iter().all(|area| *area == whole) {
        return Ok((y / whole)?);
    }
    let areas = Tensor::from_vec(areas, (1, 1, rows.len(), columns.len()), y.device())?.to_dtype(y.dtype())?;
    Ok(y.broadcast_div(&areas)?)
}
