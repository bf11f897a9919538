//! Batch norm forward: training and evaluation.

use super::{Affine, BatchStats, SavedStats, affine, assert_channels, assert_values, batch_stats};
use crate::activation::Activation;
use crate::error::Result;
use crate::rows::Rows;
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// [`crate::batch_norm_train`].
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub(crate) fn batch_norm_train<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    bias: &[f32],
    eps: f64,
    residual: Option<&[T]>,
    activation: Option<Activation>,
    y: &mut [T],
    stats: BatchStats<'_>,
) -> Result<()> {
    let BatchStats { mean, inv_std, unbiased_variance } = stats;
    let stats = BatchStats { mean: &mut *mean, inv_std: &mut *inv_std, unbiased_variance };
    batch_stats(shape, x, eps, stats)?;
    batch_norm_apply(shape, x, weight, bias, SavedStats { mean, inv_std }, residual, activation, y);
    Ok(())
}

/// [`crate::batch_norm_eval`].
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub(crate) fn batch_norm_eval<T: Value>(
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
) {
    assert_channels(shape, "running_var", running_var);
    let inv_std = inv_std(running_var, eps);
    let stats = SavedStats { mean: running_mean, inv_std: &inv_std };
    batch_norm_apply(shape, x, weight, bias, stats, residual, activation, y);
}

/// `1 / sqrt(variance + eps)` per channel.
pub(super) fn inv_std(variance: &[f32], eps: f64) -> Vec<f32> {
    variance.iter().map(|&variance| (1.0 / (f64::from(variance) + eps).sqrt()) as f32).collect()
}

/// [`crate::batch_norm_apply`].
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub(crate) fn batch_norm_apply<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    bias: &[f32],
    stats: SavedStats<'_>,
    residual: Option<&[T]>,
    activation: Option<Activation>,
    y: &mut [T],
) {
    shape.assert_valid();
    assert_values(shape, "x", x);
    assert_values(shape, "y", y);
    if let Some(residual) = residual {
        assert_values(shape, "residual", residual);
    }
    let rows = Rows::new(shape);
    let columns = Affine::new(shape, &rows, weight, bias, stats);
    rows.for_parts(y, |range, y| {
        let (x, residual) = (&x[range.clone()], residual.map(|residual| &residual[range.clone()]));
        // One loop for each activation, so that none asks which it is per value.
        vectorised(
            #[inline(always)]
            || match activation {
                None => apply_rows(&columns, x, residual, y, |v| v),
                Some(Activation::Relu) => apply_rows(&columns, x, residual, y, |v| Activation::Relu.apply(v)),
                Some(Activation::Relu6) => apply_rows(&columns, x, residual, y, |v| Activation::Relu6.apply(v)),
            },
        );
    });
}

#[inline(always)]
fn apply_rows<T: Value>(columns: &Affine, x: &[T], residual: Option<&[T]>, y: &mut [T], f: impl Fn(f32) -> f32) {
    let Affine { mean, scale, bias } = columns;
    let width = mean.len();
    match residual {
        None => {
            for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
                let columns = mean.iter().zip(scale.iter().zip(bias));
                for ((y, &x), (&mean, (&scale, &bias))) in y.iter_mut().zip(x).zip(columns) {
                    *y = T::rounded(f(affine(x.float(), mean, scale, bias)));
                }
            }
        }
        Some(residual) => {
            for ((y, x), residual) in y.chunks_mut(width).zip(x.chunks(width)).zip(residual.chunks(width)) {
                let columns = mean.iter().zip(scale.iter().zip(bias));
                for (((y, &x), &residual), (&mean, (&scale, &bias))) in y.iter_mut().zip(x).zip(residual).zip(columns) {
                    *y = T::rounded(f(affine(x.float(), mean, scale, bias) + residual.float()));
                }
            }
        }
    }
}
