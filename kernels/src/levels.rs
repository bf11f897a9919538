//! Values as whole numbers of a few bits and back; shares of a whole.

use rayon::prelude::*;

use crate::activation::{TASK, map};
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// How numbers stand for values: `(number - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// What the next number is larger by.
    pub scale: f32,
    /// The number that stands for 0.
    pub zero_point: f32,
}

/// [`crate::quantize`].
pub(crate) fn quantize<T: Value>(levels: Levels, [low, high]: [f32; 2], x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "values and their numbers");
    assert!(low <= high, "numbers from {low} to {high}");
    let Levels { scale, zero_point } = levels;
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || map(x, y, |x| ((x / scale).round_ties_even() + zero_point).clamp(low, high)),
        );
    });
}

/// [`crate::dequantize`].
pub(crate) fn dequantize<T: Value>(levels: Levels, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "numbers and their values");
    let Levels { scale, zero_point } = levels;
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || map(x, y, |x| (x - zero_point) * scale),
        );
    });
}

/// Lanes of a sum in 64 bits, which become vector registers.
const LANES: usize = 8;

/// [`crate::quantize_backward`].
pub(crate) fn quantize_backward<T: Value>(levels: Levels, range: [f32; 2], x: &[T], dy: &[T], dx: &mut [T]) -> f64 {
    let (Levels { scale, zero_point }, [low, high]) = (levels, range);
    assert!(low <= high, "numbers from {low} to {high}");
    let sum = with_sum(
        x,
        dy,
        dx,
        #[inline(always)]
        |x, dy| {
            let number = x / scale + zero_point;
            let through = if number > low && number < high { dy } else { 0.0 };
            (through / scale, f64::from(through) * f64::from(x))
        },
    );
    -sum / (f64::from(scale) * f64::from(scale))
}

/// [`crate::dequantize_backward`].
pub(crate) fn dequantize_backward<T: Value>(levels: Levels, x: &[T], dy: &[T], dx: &mut [T]) -> f64 {
    let Levels { scale, zero_point } = levels;
    with_sum(
        x,
        dy,
        dx,
        #[inline(always)]
        |x, dy| (dy * scale, f64::from(dy) * f64::from(x - zero_point)),
    )
}

/// The first of what `f` says of each pair goes into `dx`, the second into the sum: chunk by chunk, so that the number of
/// threads changes no bit.
fn with_sum<T: Value>(x: &[T], dy: &[T], dx: &mut [T], f: impl Fn(f32, f32) -> (f32, f64) + Sync) -> f64 {
    assert_eq!([x.len(), dy.len()], [dx.len(); 2], "values, and gradients of what they became");
    let chunks = x.par_chunks(TASK).zip(dy.par_chunks(TASK));
    let one = |(dx, (x, dy)): (&mut [T], (&[T], &[T]))| {
        vectorised(
            #[inline(always)]
            || sum_lanes(x, dy, dx, &f),
        )
    };
    let sums: Vec<f64> = dx.par_chunks_mut(TASK).zip(chunks).map(one).collect();
    sums.into_iter().sum()
}

#[inline(always)]
fn sum_lanes<T: Value>(x: &[T], dy: &[T], dx: &mut [T], f: &impl Fn(f32, f32) -> (f32, f64)) -> f64 {
    let mut lanes = [0.0f64; LANES];
    for ((dx, x), dy) in dx.chunks_mut(LANES).zip(x.chunks(LANES)).zip(dy.chunks(LANES)) {
        for (((dx, &x), &dy), lane) in dx.iter_mut().zip(x).zip(dy).zip(&mut lanes) {
            let (gradient, part) = f(x.float(), dy.float());
            *dx = T::rounded(gradient);
            *lane += part;
        }
    }
    lanes.into_iter().sum()
}

/// [`crate::softmax_channels`].
pub(crate) fn softmax_channels<T: Value>(shape: &NormShape, x: &[T], y: &mut [T]) {
    shape.assert_valid();
    assert_eq!((x.len(), y.len()), (shape.len(), shape.len()), "x and y of {shape:?}");
    let task = TASK.div_ceil(shape.channels) * shape.channels;
    y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
        let mut shares = vec![0.0f32; shape.channels];
        for (y, x) in y.chunks_exact_mut(shape.channels).zip(x.chunks_exact(shape.channels)) {
            let most = x.iter().fold(f32::NEG_INFINITY, |most, x| most.max(x.float()));
            shares.iter_mut().zip(x).for_each(|(share, x)| *share = (x.float() - most).exp());
            let whole = shares.iter().map(|share| f64::from(*share)).sum::<f64>() as f32;
            y.iter_mut().zip(&shares).for_each(|(y, share)| *y = T::rounded(share / whole));
        }
    });
}

/// [`crate::softmax_channels_backward`].
pub(crate) fn softmax_channels_backward<T: Value>(shape: &NormShape, y: &[T], dy: &[T], dx: &mut [T]) {
    shape.assert_valid();
    assert_eq!([y.len(), dy.len(), dx.len()], [shape.len(); 3], "y, dy and dx of {shape:?}");
    let task = TASK.div_ceil(shape.channels) * shape.channels;
    let values = y.par_chunks(task).zip(dy.par_chunks(task));
    dx.par_chunks_mut(task).zip(values).for_each(|(dx, (y, dy))| {
        let rows = y.chunks_exact(shape.channels).zip(dy.chunks_exact(shape.channels));
        for (dx, (y, dy)) in dx.chunks_exact_mut(shape.channels).zip(rows) {
            let pairs = || y.iter().zip(dy).map(|(y, dy)| (y.float(), dy.float()));
            let mean = pairs().map(|(y, dy)| f64::from(y) * f64::from(dy)).sum::<f64>() as f32;
            dx.iter_mut().zip(pairs()).for_each(|(dx, (y, dy))| *dx = T::rounded(y * (dy - mean)));
        }
    });
}
