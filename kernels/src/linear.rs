//! Linear layers: `y = x Wᵀ + b` and its gradients. The gradient of the bias is [`crate::channel_sums`] of `dy` with one
//! position.

use rayon::prelude::*;

use crate::matmul::{Matrix, MatrixMut, product};
use crate::shape::LinearShape;

/// Rows of the result that one task computes. Fixed, so that the bits do not depend on the number of threads.
const ROWS: usize = 16;

/// `y [N, O] = x [N, F] Wᵀ + b` with `weight [O, F]`, `bias [O]`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear(shape: &LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let LinearShape { in_features, out_features, .. } = *shape;
    assert_fits(shape, x, weight, y);
    assert!(bias.is_none_or(|bias| bias.len() == out_features), "bias of {shape:?}");
    let weight = Matrix::new(weight, out_features, in_features);
    y.par_chunks_mut(ROWS * out_features).zip(x.par_chunks(ROWS * in_features)).for_each(|(y, x)| {
        if let Some(bias) = bias {
            y.chunks_exact_mut(out_features).for_each(|row| row.copy_from_slice(bias));
        }
        let rows = y.len() / out_features;
        let x = Matrix::new(x, rows, in_features);
        product(MatrixMut::new(y, rows, out_features), bias.is_some(), x, weight.t());
    });
}

/// `dx [N, F] = dy [N, O] W`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear_input_grad(shape: &LinearShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let LinearShape { in_features, out_features, .. } = *shape;
    assert_fits(shape, dx, weight, dy);
    let weight = Matrix::new(weight, out_features, in_features);
    dx.par_chunks_mut(ROWS * in_features).zip(dy.par_chunks(ROWS * out_features)).for_each(|(dx, dy)| {
        let rows = dx.len() / in_features;
        let dy = Matrix::new(dy, rows, out_features);
        product(MatrixMut::new(dx, rows, in_features), false, dy, weight);
    });
}

/// `dweight [O, F] = dyᵀ x`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn linear_weight_grad(shape: &LinearShape, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
    let LinearShape { batch, in_features, out_features } = *shape;
    assert_fits(shape, x, dweight, dy);
    let x = Matrix::new(x, batch, in_features);
    dweight.par_chunks_mut(ROWS * in_features).enumerate().for_each(|(i, dweight)| {
        let rows = dweight.len() / in_features;
        let dy = Matrix::strided(&dy[i * ROWS..], batch, rows, out_features);
        product(MatrixMut::new(dweight, rows, in_features), false, dy.t(), x);
    });
}

fn assert_fits(shape: &LinearShape, x: &[f32], weight: &[f32], y: &[f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.batch * shape.in_features, "input of {shape:?}");
    assert_eq!(weight.len(), shape.out_features * shape.in_features, "weight of {shape:?}");
    assert_eq!(y.len(), shape.batch * shape.out_features, "output of {shape:?}");
}
