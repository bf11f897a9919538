//! Batch norm forward: training and evaluation.

use super::{Affine, BatchStats, SavedStats, affine, assert_channels, assert_values, batch_stats};
use crate::activation::Activation;
use crate::error::Result;
use crate::rows::Rows;
use crate::shape::NormShape;
use crate::simd::vectorised;

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
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub fn batch_norm_train(
    shape: &NormShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f64,
    residual: Option<&[f32]>,
    activation: Option<Activation>,
    y: &mut [f32],
    stats: BatchStats<'_>,
) -> Result<()> {
    let BatchStats { mean, inv_std, unbiased_variance } = stats;
    let stats = BatchStats { mean: &mut *mean, inv_std: &mut *inv_std, unbiased_variance };
    batch_stats(shape, x, eps, stats)?;
    batch_norm_apply(shape, x, weight, bias, SavedStats { mean, inv_std }, residual, activation, y);
    Ok(())
}

/// `y = activation(weight * (x - running_mean) / sqrt(running_var + eps) + bias + residual)`.
///
/// `x`, `residual` and `y` are `[N, positions, C]`, the rest `[C]`.
///
/// # Panics
/// If a slice does not fit `shape`.
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub fn batch_norm_eval(
    shape: &NormShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    running_mean: &[f32],
    running_var: &[f32],
    eps: f64,
    residual: Option<&[f32]>,
    activation: Option<Activation>,
    y: &mut [f32],
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

/// `y = activation(weight * (x - mean) * inv_std + bias + residual)` with statistics that are known.
///
/// `x`, `residual` and `y` are `[N, positions, C]`, the rest `[C]`.
///
/// # Panics
/// If a slice does not fit `shape`.
#[allow(clippy::too_many_arguments)] // the operands of one fused kernel
pub fn batch_norm_apply(
    shape: &NormShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    stats: SavedStats<'_>,
    residual: Option<&[f32]>,
    activation: Option<Activation>,
    y: &mut [f32],
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
fn apply_rows(columns: &Affine, x: &[f32], residual: Option<&[f32]>, y: &mut [f32], f: impl Fn(f32) -> f32) {
    let Affine { mean, scale, bias } = columns;
    let width = mean.len();
    match residual {
        None => {
            for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
                let columns = mean.iter().zip(scale.iter().zip(bias));
                for ((y, &x), (&mean, (&scale, &bias))) in y.iter_mut().zip(x).zip(columns) {
                    *y = f(affine(x, mean, scale, bias));
                }
            }
        }
        Some(residual) => {
            for ((y, x), residual) in y.chunks_mut(width).zip(x.chunks(width)).zip(residual.chunks(width)) {
                let columns = mean.iter().zip(scale.iter().zip(bias));
                for (((y, &x), &residual), (&mean, (&scale, &bias))) in y.iter_mut().zip(x).zip(residual).zip(columns) {
                    *y = f(affine(x, mean, scale, bias) + residual);
                }
            }
        }
    }
}
