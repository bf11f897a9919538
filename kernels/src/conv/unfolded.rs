//! Dense and grouped convolution as matrix products of unfolded images. Depthwise ones have their own loops.

use rayon::prelude::*;
use std::ops::Range;

use super::unfold::{fold, unfold};
use crate::matmul::{Matrix, MatrixMut, product};
use crate::shape::ConvShape;
use crate::simd::with_scratch;

/// Values of an unfolded tile: it should stay in a core's second-level cache next to its product.
const TILE: usize = 1 << 17;
/// Parts of the batch whose weight gradients are summed apart. Fixed, so that the bits do not depend on the number of
/// threads.
const PARTS: usize = 16;
/// Values that all partial weight gradients together may hold, unless two parts need more.
const PARTS_MEMORY: usize = 1 << 23;

pub(super) fn forward(shape: &ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (group_out, patch, positions) = (shape.group_out(), shape.patch(), shape.out_positions());
    y.par_chunks_exact_mut(group_out * positions).enumerate().for_each(|(i, y)| {
        let group = i % shape.groups;
        if let Some(bias) = bias {
            let bias = &bias[group * group_out..][..group_out];
            y.chunks_exact_mut(positions).zip(bias).for_each(|(y, &bias)| y.fill(bias));
        }
        let x = image(shape, x, i);
        let weight = Matrix::new(&weight[group * group_out * patch..][..group_out * patch], group_out, patch);
        if is_pointwise(shape) {
            let x = Matrix::new(x, patch, positions);
            product(MatrixMut::new(y, group_out, positions), bias.is_some(), weight, x);
            return;
        }
        for rows in tiles(shape) {
            let at = rows.start * shape.out_w();
            let width = rows.len() * shape.out_w();
            with_scratch(patch * width, |unfolded| {
                unfold(shape, x, rows, unfolded);
                let y = MatrixMut::strided(&mut y[at..], group_out, width, positions);
                product(y, bias.is_some(), weight, Matrix::new(unfolded, patch, width));
            });
        }
    });
}

pub(super) fn input_grad(shape: &ConvShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let (group_out, patch, positions) = (shape.group_out(), shape.patch(), shape.out_positions());
    dx.par_chunks_exact_mut(shape.group_in() * shape.in_positions()).enumerate().for_each(|(i, dx)| {
        let group = i % shape.groups;
        let dy = &dy[i * group_out * positions..][..group_out * positions];
        let weight = Matrix::new(&weight[group * group_out * patch..][..group_out * patch], group_out, patch);
        dx.fill(0.0);
        for rows in tiles(shape) {
            let at = rows.start * shape.out_w();
            let width = rows.len() * shape.out_w();
            with_scratch(patch * width, |unfolded| {
                let dy = Matrix::strided(&dy[at..], group_out, width, positions);
                product(MatrixMut::new(unfolded, patch, width), false, weight.t(), dy);
                fold(shape, unfolded, rows, dx);
            });
        }
    });
}

pub(super) fn weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let (group_out, patch, len) = (shape.group_out(), shape.patch(), dweight.len());
    let turned = is_narrow(shape);
    let parts = PARTS.min(PARTS_MEMORY / len).max(2).min(shape.batch);
    let mut partial = vec![0.0; parts * len];
    partial.par_chunks_exact_mut(len).enumerate().for_each(|(part, partial)| {
        let images = part * shape.batch / parts..(part + 1) * shape.batch / parts;
        partial_weight_grad(shape, x, dy, images, partial);
    });
    // In the order of the batch, and turned to `[O, patch]` where it is not that yet.
    dweight.par_chunks_exact_mut(patch).enumerate().for_each(|(channel, dweight)| {
        let (group, column) = (channel / group_out, channel % group_out);
        for (row, dweight) in dweight.iter_mut().enumerate() {
            let from = if turned { (group * patch + row) * group_out + column } else { channel * patch + row };
            *dweight = partial[from..].iter().step_by(len).sum();
        }
    });
}

/// Whether the weight gradient is computed as `[groups, patch, O / groups]`: this way around, `gemm` repacks the
/// gradients and not the many times larger unfolded images. With many output channels it has better ways the other way
/// around (measured with `examples/conv_speed.rs`).
fn is_narrow(shape: &ConvShape) -> bool {
    shape.group_out() < 64
}

/// The weight gradient of some images, one after the other.
fn partial_weight_grad(shape: &ConvShape, x: &[f32], dy: &[f32], images: Range<usize>, dweight: &mut [f32]) {
    let (group_out, patch, positions) = (shape.group_out(), shape.patch(), shape.out_positions());
    let turned = is_narrow(shape);
    for (group, dweight) in dweight.chunks_exact_mut(patch * group_out).enumerate() {
        let mut accumulate = false;
        for n in images.clone() {
            let i = n * shape.groups + group;
            let x = image(shape, x, i);
            let dy = &dy[i * group_out * positions..][..group_out * positions];
            let mut add = |dy: Matrix<'_>, unfolded: Matrix<'_>| {
                if turned {
                    product(MatrixMut::new(dweight, patch, group_out), accumulate, unfolded, dy.t());
                } else {
                    product(MatrixMut::new(dweight, group_out, patch), accumulate, dy, unfolded.t());
                }
                accumulate = true;
            };
            if is_pointwise(shape) {
                add(Matrix::new(dy, group_out, positions), Matrix::new(x, patch, positions));
                continue;
            }
            for rows in tiles(shape) {
                let at = rows.start * shape.out_w();
                let width = rows.len() * shape.out_w();
                with_scratch(patch * width, |unfolded| {
                    unfold(shape, x, rows, unfolded);
                    let dy = Matrix::strided(&dy[at..], group_out, width, positions);
                    add(dy, Matrix::new(unfolded, patch, width));
                });
            }
        }
    }
}

/// Whether an image is its own unfolded matrix.
fn is_pointwise(shape: &ConvShape) -> bool {
    shape.kernel == [1, 1] && shape.stride == [1, 1] && shape.padding == [0, 0]
}

/// The image `i`, counted over samples and groups.
fn image<'a>(shape: &ConvShape, x: &'a [f32], i: usize) -> &'a [f32] {
    let len = shape.group_in() * shape.in_positions();
    &x[i * len..][..len]
}

/// Runs of output rows whose unfolded matrix is at most [`TILE`] large, if it can be.
fn tiles(shape: &ConvShape) -> impl Iterator<Item = Range<usize>> + use<> {
    let height = shape.out_h();
    let rows = (TILE / (shape.patch() * shape.out_w())).clamp(1, height);
    // As even as they can be.
    let count = height.div_ceil(rows);
    (0..count).map(move |i| i * height / count..(i + 1) * height / count)
}
