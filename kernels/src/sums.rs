//! Sums in a fixed order: sixteen `f32` lanes over short runs, runs in `f64`.

use rayon::prelude::*;

use crate::shape::NormShape;
use crate::simd::vectorised;

/// Lanes of a partial sum. Fixed, so that every SIMD level adds in the same order.
const LANES: usize = 16;
/// Values after which the lanes are emptied into `f64`.
const RUN: usize = 1024;

/// Sums `x [N, C, positions]` over samples and positions: the gradient of a bias, `out [C]`.
///
/// # Panics
/// If a slice does not fit `shape`.
pub fn channel_sums(shape: &NormShape, x: &[f32], out: &mut [f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.len(), "x of {shape:?}");
    assert_eq!(out.len(), shape.channels, "sums of {shape:?}");
    out.par_iter_mut().enumerate().for_each(|(channel, out)| {
        *out = vectorised(|| planes(shape, channel, x).map(sum).sum::<f64>()) as f32;
    });
}

/// The values of one channel, sample by sample.
#[inline(always)]
pub(crate) fn planes<'a>(shape: &NormShape, channel: usize, x: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
    let NormShape { channels, positions, .. } = *shape;
    x.chunks_exact(channels * positions).map(move |sample| &sample[channel * positions..][..positions])
}

/// Sum of a slice.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f64 {
    fold(x, |x| x)
}

/// Sum of `term` over a slice.
#[inline(always)]
pub(crate) fn fold(x: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for run in x.chunks(RUN) {
        let mut lanes = [0.0f32; LANES];
        let (blocks, rest) = run.as_chunks::<LANES>();
        for block in blocks {
            for (lane, &x) in lanes.iter_mut().zip(block) {
                *lane += term(x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += term(x);
        }
        total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    total
}

/// Sums of both parts of `term` over two slices of equal length.
#[inline(always)]
pub(crate) fn fold_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> (f32, f32)) -> (f64, f64) {
    let mut totals = (0.0, 0.0);
    for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
        let mut first = [0.0f32; LANES];
        let mut second = [0.0f32; LANES];
        let (a_blocks, a_rest) = a.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                let (one, two) = term(a[lane], b[lane]);
                first[lane] += one;
                second[lane] += two;
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let (one, two) = term(a, b);
            first[lane] += one;
            second[lane] += two;
        }
        totals.0 += first.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        totals.1 += second.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    totals
}
