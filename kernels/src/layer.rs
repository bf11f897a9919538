//! Layer normalisation over the channels of each pixel (Ba et al. 2016, equations 3 and 4), which lie side by side.

use rayon::prelude::*;

use crate::shape::NormShape;
use crate::simd::{vectorised, with_scratch};
use crate::value::Value;

/// Values that one task handles, at least.
const TASK: usize = 1 << 14;
/// Values in a part of a sum, at least, and parts at most: fixed, so that the order of the additions is the shape's.
const PART: usize = 1 << 15;
const PARTS: usize = 128;
/// Pixels that are added up in `f32` before the sums move on to `f64`.
const RUN: usize = 32;
/// Sums along a row are kept in so many lanes.
const LANES: usize = 16;

/// [`crate::layer_norm`].
pub(crate) fn layer_norm<T: Value>(shape: &NormShape, x: &[T], weight: &[f32], bias: &[f32], eps: f64, y: &mut [T]) {
    assert_fits(shape, &[x, y], &[weight, bias]);
    let task = shape.channels * TASK.div_ceil(shape.channels);
    y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || apply(x, weight, bias, eps, y),
        );
    });
}

/// [`crate::layer_norm_backward`].
#[allow(clippy::too_many_arguments)] // the operands of one kernel
pub(crate) fn layer_norm_backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    eps: f64,
    dy: &[T],
    dx: &mut [T],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    assert_fits(shape, &[x, dy, dx], &[weight, dweight, dbias]);
    let channels = shape.channels;
    let part = channels * PART.max(shape.len().div_ceil(PARTS)).div_ceil(channels);
    let parts = dx.par_chunks_mut(part).zip(x.par_chunks(part).zip(dy.par_chunks(part)));
    let sum_part = |(dx, (x, dy)): (&mut [T], (&[T], &[T]))| {
        let mut totals = vec![0.0f64; 2 * channels];
        with_scratch(4 * channels, |scratch| {
            vectorised(
                #[inline(always)]
                || grads(x, weight, eps, dy, dx, scratch, &mut totals),
            );
        });
        totals
    };
    let sums: Vec<Vec<f64>> = parts.map(sum_part).collect();
    let mut totals = vec![0.0f64; 2 * channels];
    for sums in sums {
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    for (grad, total) in dweight.iter_mut().chain(dbias).zip(totals) {
        *grad = total as f32;
    }
}

#[inline(always)]
fn apply<T: Value>(x: &[T], weight: &[f32], bias: &[f32], eps: f64, y: &mut [T]) {
    let channels = weight.len();
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        let (mean, inv_std) = moments(x, eps);
        for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
            *y = T::rounded((x.float() - mean) * inv_std * weight + bias);
        }
    }
}

/// Mean and `1 / sqrt(variance + eps)` of a row, the variance around the mean.
#[inline(always)]
fn moments<T: Value>(x: &[T], eps: f64) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(x, |x| x) / count;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
    (mean, (1.0 / (f64::from(variance) + eps).sqrt()) as f32)
}

/// With g = dy weight and n the normalised x: `dx = inv_std (g - mean(g) - n mean(g n))`; adds `dy n` and `dy` to the two
/// halves of `totals`. `scratch` has room for four rows.
#[inline(always)]
fn grads<T: Value>(x: &[T], weight: &[f32], eps: f64, dy: &[T], dx: &mut [T], scratch: &mut [f32], totals: &mut [f64]) {
    let channels = weight.len();
    let (rows, sums) = scratch.split_at_mut(2 * channels);
    let (normalised, slopes) = rows.split_at_mut(channels);
    let run = RUN * channels;
    for ((dx, dy), x) in dx.chunks_mut(run).zip(dy.chunks(run)).zip(x.chunks(run)) {
        sums.fill(0.0);
        let pixels = dx.chunks_exact_mut(channels).zip(dy.chunks_exact(channels)).zip(x.chunks_exact(channels));
        for ((dx, dy), x) in pixels {
            let (mean, inv_std) = moments(x, eps);
            let (dweight, dbias) = sums.split_at_mut(channels);
            let grads = dweight.iter_mut().zip(dbias);
            let kept = normalised.iter_mut().zip(slopes.iter_mut());
            for (((x, dy), weight), ((n, g), (dweight, dbias))) in x.iter().zip(dy).zip(weight).zip(kept.zip(grads)) {
                *n = (x.float() - mean) * inv_std;
                *g = dy.float() * weight;
                *dweight += dy.float() * *n;
                *dbias += dy.float();
            }
            let count = channels as f32;
            let (level, tilt) = (sum(slopes, |g| g) / count, dot(slopes, normalised) / count);
            for (dx, (n, g)) in dx.iter_mut().zip(normalised.iter().zip(slopes.iter())) {
                *dx = T::rounded((g - level - n * tilt) * inv_std);
            }
        }
        totals.iter_mut().zip(sums.iter()).for_each(|(total, &sum)| *total += f64::from(sum));
    }
}

#[inline(always)]
fn sum<T: Value>(x: &[T], f: impl Fn(f32) -> f32) -> f32 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for x in whole {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane += f(x.float());
        }
    }
    rest.iter().map(|x| f(x.float())).sum::<f32>() + lanes.iter().sum::<f32>()
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>() + lanes.iter().sum::<f32>()
}

fn assert_fits<T>(shape: &NormShape, images: &[&[T]], channels: &[&[f32]]) {
    shape.assert_valid();
    assert!(images.iter().all(|image| image.len() == shape.len()), "images of {shape:?}");
    assert!(channels.iter().all(|own| own.len() == shape.channels), "parameters of {shape:?}");
}
