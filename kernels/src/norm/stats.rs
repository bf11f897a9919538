//! Mean and variance of a batch in one pass over memory.

use super::{assert_channels, assert_values};
use crate::error::{Result, ShapeError};
use crate::rows::{Rows, STACK, stacked};
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// Where [`crate::batch_stats`] leaves the statistics of the batch; each slice is `[C]`.
#[derive(Debug)]
pub struct BatchStats<'a> {
    /// Mean of the batch. Backward needs it, and the running mean follows it.
    pub mean: &'a mut [f32],
    /// `1 / sqrt(biased variance + eps)`. Backward needs it.
    pub inv_std: &'a mut [f32],
    /// Variance of the batch with Bessel's correction. The running variance follows it.
    pub unbiased_variance: &'a mut [f32],
}

/// The statistics that a norm is applied with, as [`crate::batch_stats`] left them; each slice is `[C]`.
#[derive(Debug, Clone, Copy)]
pub struct SavedStats<'a> {
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// `1 / sqrt(biased variance + eps)`.
    pub inv_std: &'a [f32],
}

/// [`crate::batch_stats`].
pub(crate) fn batch_stats<T: Value>(shape: &NormShape, x: &[T], eps: f64, stats: BatchStats<'_>) -> Result<()> {
    shape.assert_valid();
    assert_values(shape, "x", x);
    let BatchStats { mean, inv_std, unbiased_variance } = stats;
    for (what, slice) in [("mean", &*mean), ("inv_std", &*inv_std), ("unbiased_variance", &*unbiased_variance)] {
        assert_channels(shape, what, slice);
    }
    if shape.values_per_channel() == 1 {
        return Err(ShapeError::OneValuePerChannel);
    }
    let rows = Rows::new(shape);
    let rough = rows.rough_means(x);
    let columns = rows.columns(&rough);
    let [sums, squares] = rows.sums(|range, [sums, squares]| {
        vectorised(
            #[inline(always)]
            || add_moments(&x[range], &columns, sums, squares),
        );
    });
    let count = shape.values_per_channel() as f64;
    for (channel, (sum, squares)) in sums.into_iter().zip(squares).enumerate() {
        let rough = f64::from(rough[channel]);
        let centre = (rough + sum / count) as f32;
        // Deviations from the rounded mean, which is what is subtracted later.
        let shift = rough - f64::from(centre);
        let squares = (squares + 2.0 * shift * sum + count * shift * shift).max(0.0);
        mean[channel] = centre;
        inv_std[channel] = (1.0 / (squares / count + eps).sqrt()) as f32;
        unbiased_variance[channel] = (squares / (count - 1.0)) as f32;
    }
    Ok(())
}

/// Adds `x - centre` and its square to the columns of `sums` and `squares`.
#[inline(always)]
fn add_moments<T: Value>(x: &[T], centre: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    let width = sums.len();
    let stacks = x.chunks_exact(STACK * width);
    let rest = stacks.remainder();
    for stack in stacks {
        let rows = stacked::<T, STACK>(stack);
        add_moments_of(rows, centre, sums, squares);
    }
    for row in rest.chunks(width) {
        add_moments_of([row], centre, sums, squares);
    }
}

#[inline(always)]
fn add_moments_of<T: Value, const N: usize>(rows: [&[T]; N], centre: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    let len = rows[0].len();
    let rows = rows.map(|row| &row[..len]);
    let (centre, sums, squares) = (&centre[..len], &mut sums[..len], &mut squares[..len]);
    for i in 0..len {
        let (mut sum, mut square) = (sums[i], squares[i]);
        for row in rows {
            let x = row[i].float() - centre[i];
            sum += x;
            square += x * x;
        }
        sums[i] = sum;
        squares[i] = square;
    }
}
