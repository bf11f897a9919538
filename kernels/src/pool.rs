//! Pooling over windows and over whole images, forward and backward.

use rayon::prelude::*;
use std::ops::Range;

use crate::shape::{NormShape, PoolShape};
use crate::simd::vectorised;
use crate::sums::sum;

/// Input values that one task handles, at least.
const TASK: usize = 1 << 13;

/// `y [N, C, out_h, out_w]` = the largest value of each window, and where it was: `argmax` counts within the channel's
/// image, `row * W + column`. Padding never wins. Of equal values the first wins, as in PyTorch; NaN always wins.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn max_pool2d(shape: &PoolShape, x: &[f32], y: &mut [f32], argmax: &mut [u32]) {
    assert_fits(shape, x, y);
    assert_eq!(argmax.len(), y.len(), "argmax of {shape:?}");
    let (inputs, outputs) = (shape.in_h * shape.in_w, shape.out_h() * shape.out_w());
    let planes = x.par_chunks_exact(inputs).with_min_len(TASK.div_ceil(inputs));
    planes.zip(y.par_chunks_exact_mut(outputs).zip(argmax.par_chunks_exact_mut(outputs))).for_each(
        |(x, (y, argmax))| {
            let mut to = y.iter_mut().zip(argmax);
            for rows in windows(shape, 0) {
                for columns in windows(shape, 1) {
                    let Some((y, argmax)) = to.next() else { return };
                    let mut best = f32::NEG_INFINITY;
                    let mut at = rows.start * shape.in_w + columns.start;
                    for row in rows.clone() {
                        for column in columns.clone() {
                            let i = row * shape.in_w + column;
                            if x[i] > best || x[i].is_nan() {
                                best = x[i];
                                at = i;
                            }
                        }
                    }
                    *y = best;
                    *argmax = at as u32; // `PoolShape::checked` refuses images with more than `u32::MAX` pixels
                }
            }
        },
    );
}

/// `dx`: each gradient of `dy` goes to where its maximum was.
///
/// # Panics
/// If a slice does not fit `shape`, or an index of `argmax` lies outside of the image.
pub fn max_pool2d_backward(shape: &PoolShape, dy: &[f32], argmax: &[u32], dx: &mut [f32]) {
    assert_fits(shape, dx, dy);
    assert_eq!(argmax.len(), dy.len(), "argmax of {shape:?}");
    let (inputs, outputs) = (shape.in_h * shape.in_w, shape.out_h() * shape.out_w());
    let planes = dx.par_chunks_exact_mut(inputs).with_min_len(TASK.div_ceil(inputs));
    planes.zip(dy.par_chunks_exact(outputs).zip(argmax.par_chunks_exact(outputs))).for_each(|(dx, (dy, argmax))| {
        dx.fill(0.0);
        for (&dy, &at) in dy.iter().zip(argmax) {
            dx[at as usize] += dy;
        }
    });
}

/// `y [N, C, out_h, out_w]` = the mean of each window; padding counts as zeros (`count_include_pad=True`).
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn avg_pool2d(shape: &PoolShape, x: &[f32], y: &mut [f32]) {
    assert_fits(shape, x, y);
    let (inputs, outputs) = (shape.in_h * shape.in_w, shape.out_h() * shape.out_w());
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    let planes = x.par_chunks_exact(inputs).with_min_len(TASK.div_ceil(inputs));
    planes.zip(y.par_chunks_exact_mut(outputs)).for_each(|(x, y)| {
        let mut to = y.iter_mut();
        for rows in windows(shape, 0) {
            for columns in windows(shape, 1) {
                let Some(y) = to.next() else { return };
                let window = rows.clone().flat_map(|row| &x[row * shape.in_w..][columns.clone()]);
                *y = window.sum::<f32>() / area;
            }
        }
    });
}

/// `dx`: each gradient of `dy` is spread evenly over its window.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn avg_pool2d_backward(shape: &PoolShape, dy: &[f32], dx: &mut [f32]) {
    assert_fits(shape, dx, dy);
    let (inputs, outputs) = (shape.in_h * shape.in_w, shape.out_h() * shape.out_w());
    let area = (shape.kernel[0] * shape.kernel[1]) as f32;
    let planes = dx.par_chunks_exact_mut(inputs).with_min_len(TASK.div_ceil(inputs));
    planes.zip(dy.par_chunks_exact(outputs)).for_each(|(dx, dy)| {
        dx.fill(0.0);
        let mut from = dy.iter();
        for rows in windows(shape, 0) {
            for columns in windows(shape, 1) {
                let Some(dy) = from.next() else { return };
                for row in rows.clone() {
                    for dx in &mut dx[row * shape.in_w..][columns.clone()] {
                        *dx += dy / area;
                    }
                }
            }
        }
    });
}

/// `y [N, C]` = the mean of each channel's image in `x [N, C, positions]`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn global_avg_pool(shape: &NormShape, x: &[f32], y: &mut [f32]) {
    assert_fits_global(shape, x, y);
    let positions = shape.positions;
    let planes = x.par_chunks_exact(positions).with_min_len(TASK.div_ceil(positions));
    planes.zip(y).for_each(|(x, y)| *y = (vectorised(|| sum(x)) / positions as f64) as f32);
}

/// `dx [N, C, positions]`: each gradient of `dy [N, C]` is spread evenly over its image.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn global_avg_pool_backward(shape: &NormShape, dy: &[f32], dx: &mut [f32]) {
    assert_fits_global(shape, dx, dy);
    let positions = shape.positions;
    let planes = dx.par_chunks_exact_mut(positions).with_min_len(TASK.div_ceil(positions));
    planes.zip(dy).for_each(|(dx, dy)| dx.fill(dy / positions as f32));
}

/// The windows along one axis, cut to the image.
fn windows(shape: &PoolShape, axis: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (size, outputs) = if axis == 0 { (shape.in_h, shape.out_h()) } else { (shape.in_w, shape.out_w()) };
    let (kernel, stride, padding) = (shape.kernel[axis], shape.stride[axis], shape.padding[axis]);
    (0..outputs).map(move |i| {
        let start = i * stride; // in the padded image
        start.saturating_sub(padding)..(start + kernel - padding).min(size)
    })
}

fn assert_fits(shape: &PoolShape, x: &[f32], y: &[f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "input of {shape:?}");
    assert_eq!(y.len(), shape.output_len(), "output of {shape:?}");
}

fn assert_fits_global(shape: &NormShape, x: &[f32], y: &[f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.len(), "images of {shape:?}");
    assert_eq!(y.len(), shape.batch * shape.channels, "means of {shape:?}");
}
