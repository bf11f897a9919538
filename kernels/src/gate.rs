//! Images times one factor a channel, what squeeze-and-excitation ends with (Hu et al. 2018), and plus one term a channel.

use rayon::prelude::*;

use crate::shape::NormShape;
use crate::simd::{vectorised, with_scratch};
use crate::value::Value;

/// Values that one task handles, at least.
const TASK: usize = 1 << 14;

/// Pixels whose products are added up in `f32` before the sums move on to `f64`.
const RUN: usize = 32;

/// [`crate::mul_channels`].
pub(crate) fn mul_channels<T: Value>(shape: &NormShape, x: &[T], factor: &[T], y: &mut [T]) {
    assert_fits(shape, x, factor);
    assert_eq!(y.len(), shape.len(), "y of {shape:?}");
    let NormShape { channels, positions, .. } = *shape;
    let image = positions * channels;
    let images = y.par_chunks_exact_mut(image).zip(x.par_chunks_exact(image)).with_min_len(TASK.div_ceil(image));
    images.zip(factor.par_chunks_exact(channels)).for_each(|((y, x), factor)| {
        vectorised(
            #[inline(always)]
            || each_pixel(x, factor, y, |x, factor| x * factor),
        );
    });
}

/// [`crate::add_channels`].
pub(crate) fn add_channels<T: Value>(shape: &NormShape, x: &[T], term: &[T], y: &mut [T]) {
    assert_fits(shape, x, term);
    assert_eq!(y.len(), shape.len(), "y of {shape:?}");
    let NormShape { channels, positions, .. } = *shape;
    let image = positions * channels;
    let images = y.par_chunks_exact_mut(image).zip(x.par_chunks_exact(image)).with_min_len(TASK.div_ceil(image));
    images.zip(term.par_chunks_exact(channels)).for_each(|((y, x), term)| {
        vectorised(
            #[inline(always)]
            || each_pixel(x, term, y, |x, term| x + term),
        );
    });
}

/// [`crate::mul_channels_backward`].
pub(crate) fn mul_channels_backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    factor: &[T],
    dy: &[T],
    dx: &mut [T],
    dfactor: &mut [T],
) {
    assert_fits(shape, x, factor);
    assert_fits(shape, dy, dfactor);
    assert_eq!(dx.len(), shape.len(), "dx of {shape:?}");
    let NormShape { channels, positions, .. } = *shape;
    let image = positions * channels;
    let grads = dx.par_chunks_exact_mut(image).zip(dfactor.par_chunks_exact_mut(channels));
    let values = x.par_chunks_exact(image).zip(dy.par_chunks_exact(image)).zip(factor.par_chunks_exact(channels));
    grads.with_min_len(TASK.div_ceil(image)).zip(values).for_each(|((dx, dfactor), ((x, dy), factor))| {
        let mut totals = vec![0.0f64; channels];
        with_scratch(channels, |sums| {
            vectorised(
                #[inline(always)]
                || {
                    each_pixel(dy, factor, dx, |dy, factor| dy * factor);
                    add_products(x, dy, sums, &mut totals);
                },
            );
        });
        dfactor.iter_mut().zip(totals).for_each(|(grad, total)| *grad = T::rounded(total as f32));
    });
}

#[inline(always)]
fn each_pixel<T: Value>(x: &[T], own: &[T], y: &mut [T], f: impl Fn(f32, f32) -> f32) {
    for (y, x) in y.chunks_exact_mut(own.len()).zip(x.chunks_exact(own.len())) {
        for (y, (x, own)) in y.iter_mut().zip(x.iter().zip(own)) {
            *y = T::rounded(f(x.float(), own.float()));
        }
    }
}

/// The order of the additions depends on the shape alone.
#[inline(always)]
fn add_products<T: Value>(x: &[T], dy: &[T], sums: &mut [f32], totals: &mut [f64]) {
    let channels = sums.len();
    for (x, dy) in x.chunks(RUN * channels).zip(dy.chunks(RUN * channels)) {
        sums.fill(0.0);
        for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
            for (sum, (x, dy)) in sums.iter_mut().zip(x.iter().zip(dy)) {
                *sum += x.float() * dy.float();
            }
        }
        totals.iter_mut().zip(sums.iter()).for_each(|(total, &sum)| *total += f64::from(sum));
    }
}

fn assert_fits<T>(shape: &NormShape, image: &[T], channels: &[T]) {
    shape.assert_valid();
    assert_eq!(image.len(), shape.len(), "an image of {shape:?}");
    assert_eq!(channels.len(), shape.batch * shape.channels, "a factor of {shape:?}");
}
