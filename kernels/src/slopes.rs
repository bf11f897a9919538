//! The parametric ReLU (He et al. 2015, equation 1), with PyTorch's gradient at 0.

use crate::rows::Rows;
use crate::shape::NormShape;
use crate::simd::vectorised;
use crate::value::Value;

/// [`crate::prelu`].
pub(crate) fn prelu<T: Value>(shape: &NormShape, x: &[T], weight: &[f32], y: &mut [T]) {
    assert_fits(shape, x, weight);
    assert_eq!(y.len(), shape.len(), "y of {shape:?}");
    let rows = Rows::new(shape);
    let slopes = rows.columns(weight);
    rows.for_parts(y, |range, y| {
        vectorised(
            #[inline(always)]
            || apply(&x[range], &slopes, y),
        );
    });
}

/// [`crate::prelu_backward`].
pub(crate) fn prelu_backward<T: Value>(
    shape: &NormShape,
    x: &[T],
    weight: &[f32],
    dy: &[T],
    dx: &mut [T],
    dweight: &mut [f32],
) {
    assert_fits(shape, x, weight);
    assert_fits(shape, dy, dweight);
    assert_eq!(dx.len(), shape.len(), "dx of {shape:?}");
    let rows = Rows::new(shape);
    let slopes = rows.columns(weight);
    let [sums] = rows.sums_and_values(Some(dx), |range, [sums], dx| {
        let Some(dx) = dx else { return };
        vectorised(
            #[inline(always)]
            || grads(&x[range.clone()], &slopes, &dy[range], dx, sums),
        );
    });
    dweight.iter_mut().zip(sums).for_each(|(grad, sum)| *grad = sum as f32);
}

#[inline(always)]
fn apply<T: Value>(x: &[T], slopes: &[f32], y: &mut [T]) {
    for (y, x) in y.chunks_mut(slopes.len()).zip(x.chunks(slopes.len())) {
        for (y, (x, slope)) in y.iter_mut().zip(x.iter().zip(slopes)) {
            let x = x.float();
            *y = T::rounded(if x > 0.0 { x } else { x * slope });
        }
    }
}

#[inline(always)]
fn grads<T: Value>(x: &[T], slopes: &[f32], dy: &[T], dx: &mut [T], sums: &mut [f32]) {
    let width = slopes.len();
    for ((dx, dy), x) in dx.chunks_mut(width).zip(dy.chunks(width)).zip(x.chunks(width)) {
        let columns = slopes.iter().zip(sums.iter_mut());
        for (((dx, dy), x), (slope, sum)) in dx.iter_mut().zip(dy).zip(x).zip(columns) {
            let (x, dy) = (x.float(), dy.float());
            *dx = T::rounded(if x > 0.0 { dy } else { dy * slope });
            *sum += if x > 0.0 { 0.0 } else { dy * x };
        }
    }
}

fn assert_fits<T>(shape: &NormShape, image: &[T], slopes: &[f32]) {
    shape.assert_valid();
    assert_eq!(image.len(), shape.len(), "an image of {shape:?}");
    assert_eq!(slopes.len(), shape.channels, "slopes of {shape:?}");
}
