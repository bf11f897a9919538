//! Batch normalisation, with the addition and the activation that usually follow it.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015), equations 1 to 4; statistics as PyTorch keeps them.

use rayon::prelude::*;

use crate::activation::{Activation, Mask, activate_backward};
use crate::error::{Result, ShapeError};
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::sums::{fold, fold_pairs, planes, sum};

/// Values that one task handles, at least.
const TASK: usize = 1 << 13;

/// Where [`batch_norm_train`] leaves the statistics of the batch; each slice is `[C]`.
#[derive(Debug)]
pub struct BatchStats<'a> {
    /// Mean of the batch. Backward needs it, and the running mean follows it.
    pub mean: &'a mut [f32],
    /// `1 / sqrt(biased variance + eps)`. Backward needs it.
    pub inv_std: &'a mut [f32],
    /// Variance of the batch with Bessel's correction. The running variance follows it.
    pub unbiased_variance: &'a mut [f32],
}

/// The statistics that backward needs, as [`batch_norm_train`] left them; each slice is `[C]`.
#[derive(Debug, Clone, Copy)]
pub struct SavedStats<'a> {
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// `1 / sqrt(biased variance + eps)`.
    pub inv_std: &'a [f32],
}

/// Where [`batch_norm_backward`] leaves its gradients.
#[derive(Debug)]
pub struct NormGrads<'a> {
    /// Of the input, `[N, C, positions]`.
    pub dx: &'a mut [f32],
    /// Of the scale, `[C]`.
    pub dweight: &'a mut [f32],
    /// Of the shift, `[C]`.
    pub dbias: &'a mut [f32],
    /// Of the added residual, `[N, C, positions]`, if there was one: `dy` where the activation let it pass.
    pub dresidual: Option<&'a mut [f32]>,
}

/// `y = activation(weight * (x - mean) / sqrt(variance + eps) + bias + residual)` with the statistics of this batch.
///
/// `x`, `residual` and `y` are `[N, C, positions]`, `weight` and `bias` are `[C]`.
///
/// # Errors
/// [`ShapeError::OneValuePerChannel`] when there is one value per channel: it has no variance (PyTorch refuses it too).
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
    shape.assert_valid();
    assert_planes(shape, "x", x);
    let BatchStats { mean, inv_std, unbiased_variance } = stats;
    for (what, slice) in [("mean", &*mean), ("inv_std", &*inv_std), ("unbiased_variance", &*unbiased_variance)] {
        assert_channels(shape, what, slice);
    }
    if shape.values_per_channel() == 1 {
        return Err(ShapeError::OneValuePerChannel);
    }
    let stats = mean.par_iter_mut().zip(inv_std.par_iter_mut()).zip(unbiased_variance.par_iter_mut());
    stats.enumerate().for_each(|(channel, ((mean, inv_std), unbiased))| {
        let count = shape.values_per_channel() as f64;
        let total = vectorised(|| planes(shape, channel, x).map(sum).sum::<f64>());
        // Deviations from the rounded mean, which is what `apply` subtracts.
        let centre = (total / count) as f32;
        let squares = vectorised(|| {
            planes(shape, channel, x).map(|plane| fold(plane, |x| (x - centre) * (x - centre))).sum::<f64>()
        });
        *mean = centre;
        *inv_std = (1.0 / (squares / count + eps).sqrt()) as f32;
        *unbiased = (squares / (count - 1.0)) as f32;
    });
    let scale = scale(weight, inv_std, shape);
    apply(shape, &Affine { centre: mean, scale: &scale, bias }, x, residual, activation, y);
    Ok(())
}

/// `y = activation(weight * (x - running_mean) / sqrt(running_var + eps) + bias + residual)`.
///
/// `x`, `residual` and `y` are `[N, C, positions]`, the rest `[C]`.
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
    shape.assert_valid();
    assert_planes(shape, "x", x);
    assert_channels(shape, "running_mean", running_mean);
    assert_channels(shape, "running_var", running_var);
    let inv_std: Vec<f32> = running_var.iter().map(|&var| (1.0 / (f64::from(var) + eps).sqrt()) as f32).collect();
    let scale = scale(weight, &inv_std, shape);
    apply(shape, &Affine { centre: running_mean, scale: &scale, bias }, x, residual, activation, y);
}

/// Gradients of [`batch_norm_train`] from the gradient `dy` of its output.
///
/// `mask` is the fused activation and its output, if there was one and `dy` has not passed it yet. `x` is the norm's
/// input, `stats` what the forward pass saved.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn batch_norm_backward(
    shape: &NormShape,
    x: &[f32],
    weight: &[f32],
    stats: SavedStats<'_>,
    mask: Option<Mask<'_>>,
    dy: &[f32],
    grads: NormGrads<'_>,
) {
    shape.assert_valid();
    assert_planes(shape, "x", x);
    assert_planes(shape, "dy", dy);
    assert_planes(shape, "dx", grads.dx);
    assert_channels(shape, "weight", weight);
    assert_channels(shape, "mean", stats.mean);
    assert_channels(shape, "inv_std", stats.inv_std);
    assert_channels(shape, "dweight", grads.dweight);
    assert_channels(shape, "dbias", grads.dbias);
    let NormGrads { dx, dweight, dbias, dresidual } = grads;
    // The masked gradient is needed twice. The residual's gradient is just that; without one, `dx` holds it meanwhile.
    match (mask, dresidual) {
        (None, None) => {
            reduce(shape, x, stats, dy, dweight, dbias);
            let terms = InputGrad { weight, stats, dweight, dbias };
            for_planes(shape, dx, |channel, from, dx| {
                terms.write(shape, channel, plane(x, from, dx), plane(dy, from, dx), dx);
            });
        }
        (mask, Some(dresidual)) => {
            assert_planes(shape, "dresidual", dresidual);
            match mask {
                Some(mask) => activate_backward(mask, dy, dresidual),
                None => dresidual.copy_from_slice(dy),
            }
            let dy = &*dresidual;
            reduce(shape, x, stats, dy, dweight, dbias);
            let terms = InputGrad { weight, stats, dweight, dbias };
            for_planes(shape, dx, |channel, from, dx| {
                terms.write(shape, channel, plane(x, from, dx), plane(dy, from, dx), dx);
            });
        }
        (Some(mask), None) => {
            activate_backward(mask, dy, dx);
            reduce(shape, x, stats, dx, dweight, dbias);
            let terms = InputGrad { weight, stats, dweight, dbias };
            for_planes(shape, dx, |channel, from, dx| terms.replace(shape, channel, plane(x, from, dx), dx));
        }
    }
}

/// `(x - centre) * scale + bias` per channel.
struct Affine<'a> {
    centre: &'a [f32],
    scale: &'a [f32],
    bias: &'a [f32],
}

fn scale(weight: &[f32], inv_std: &[f32], shape: &NormShape) -> Vec<f32> {
    assert_channels(shape, "weight", weight);
    weight.iter().zip(inv_std).map(|(weight, inv_std)| weight * inv_std).collect()
}

fn apply(
    shape: &NormShape,
    affine: &Affine<'_>,
    x: &[f32],
    residual: Option<&[f32]>,
    activation: Option<Activation>,
    y: &mut [f32],
) {
    assert_channels(shape, "bias", affine.bias);
    assert_planes(shape, "y", y);
    if let Some(residual) = residual {
        assert_planes(shape, "residual", residual);
    }
    for_planes(shape, y, |channel, from, y| {
        let (centre, scale, bias) = (affine.centre[channel], affine.scale[channel], affine.bias[channel]);
        let x = plane(x, from, y);
        let residual = residual.map(|residual| plane(residual, from, y));
        // One loop for each activation, so that none asks which it is per value.
        match activation {
            None => vectorised(|| affine_plane(x, residual, y, [centre, scale, bias], |v| v)),
            Some(Activation::Relu) => {
                vectorised(|| affine_plane(x, residual, y, [centre, scale, bias], |v| Activation::Relu.apply(v)));
            }
            Some(Activation::Relu6) => {
                vectorised(|| affine_plane(x, residual, y, [centre, scale, bias], |v| Activation::Relu6.apply(v)));
            }
        }
    });
}

#[inline(always)]
fn affine_plane(
    x: &[f32],
    residual: Option<&[f32]>,
    y: &mut [f32],
    [centre, scale, bias]: [f32; 3],
    f: impl Fn(f32) -> f32,
) {
    match residual {
        None => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f((x - centre) * scale + bias);
            }
        }
        Some(residual) => {
            for (y, (&x, &residual)) in y.iter_mut().zip(x.iter().zip(residual)) {
                *y = f((x - centre) * scale + bias + residual);
            }
        }
    }
}

/// `dbias = sum dy` and `dweight = sum dy * (x - mean) * inv_std` per channel.
fn reduce(shape: &NormShape, x: &[f32], stats: SavedStats<'_>, dy: &[f32], dweight: &mut [f32], dbias: &mut [f32]) {
    dweight.par_iter_mut().zip(dbias.par_iter_mut()).enumerate().for_each(|(channel, (dweight, dbias))| {
        let mean = stats.mean[channel];
        let (sum, dot) = vectorised(|| {
            let mut totals = (0.0, 0.0);
            for (x, dy) in planes(shape, channel, x).zip(planes(shape, channel, dy)) {
                let (sum, dot) = fold_pairs(x, dy, |x, dy| (dy, dy * (x - mean)));
                totals.0 += sum;
                totals.1 += dot;
            }
            totals
        });
        *dbias = sum as f32;
        *dweight = (dot * f64::from(stats.inv_std[channel])) as f32;
    });
}

/// `dx = weight * inv_std * (dy - dbias / m - x̂ * dweight / m)` with `m` values per channel.
struct InputGrad<'a> {
    weight: &'a [f32],
    stats: SavedStats<'a>,
    dweight: &'a [f32],
    dbias: &'a [f32],
}

impl InputGrad<'_> {
    /// `[mean, scale, mean of dy, slope]`, such that `dx = scale * (dy - mean of dy - slope * (x - mean))`.
    fn terms(&self, shape: &NormShape, channel: usize) -> [f32; 4] {
        let count = shape.values_per_channel() as f32;
        let inv_std = self.stats.inv_std[channel];
        [
            self.stats.mean[channel],
            self.weight[channel] * inv_std,
            self.dbias[channel] / count,
            self.dweight[channel] / count * inv_std,
        ]
    }

    fn write(&self, shape: &NormShape, channel: usize, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        let terms = self.terms(shape, channel);
        vectorised(|| input_grad(x, dy, dx, terms));
    }

    /// The same with `dy` in the place of `dx`.
    fn replace(&self, shape: &NormShape, channel: usize, x: &[f32], dx: &mut [f32]) {
        let terms = self.terms(shape, channel);
        vectorised(|| input_grad_in_place(x, dx, terms));
    }
}

#[inline(always)]
fn input_grad(x: &[f32], dy: &[f32], dx: &mut [f32], [mean, scale, dy_mean, slope]: [f32; 4]) {
    for (dx, (&x, &dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
        *dx = scale * (dy - dy_mean - slope * (x - mean));
    }
}

#[inline(always)]
fn input_grad_in_place(x: &[f32], dx: &mut [f32], [mean, scale, dy_mean, slope]: [f32; 4]) {
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx = scale * (*dx - dy_mean - slope * (x - mean));
    }
}

/// Calls `work(channel, offset, plane)` for every plane of `[N, C, positions]`, in parallel.
fn for_planes(shape: &NormShape, values: &mut [f32], work: impl Fn(usize, usize, &mut [f32]) + Sync) {
    let NormShape { channels, positions, .. } = *shape;
    values
        .par_chunks_mut(positions)
        .with_min_len(TASK.div_ceil(positions))
        .enumerate()
        .for_each(|(i, plane)| work(i % channels, i * positions, plane));
}

/// The part of `values` that begins at `from` and is as long as `like`.
fn plane<'a>(values: &'a [f32], from: usize, like: &[f32]) -> &'a [f32] {
    &values[from..][..like.len()]
}

fn assert_planes(shape: &NormShape, what: &str, values: &[f32]) {
    assert_eq!(values.len(), shape.len(), "{what} of {shape:?}");
}

fn assert_channels(shape: &NormShape, what: &str, values: &[f32]) {
    assert_eq!(values.len(), shape.channels, "{what} of {shape:?}");
}
