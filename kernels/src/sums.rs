//! Sums over samples and positions.

use crate::rows::Rows;
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// [`crate::channel_sums`].
pub(crate) fn channel_sums<T: Value>(shape: &NormShape, x: &[T], out: &mut [f32]) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.len(), "x of {shape:?}");
    assert_eq!(out.len(), shape.channels, "sums of {shape:?}");
    let [sums] = Rows::new(shape).sums(|range, [sums]| {
        vectorised(
            #[inline(always)]
            || add_rows(&x[range], sums),
        );
    });
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
}

/// Adds up rows as long as `sums`; the last may be shorter.
#[inline(always)]
pub(crate) fn add_rows<T: Value>(x: &[T], sums: &mut [f32]) {
    for row in x.chunks(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.float());
    }
}
