//! ReLU, ReLU6, sums and products, with PyTorch's gradients at the edges.

use rayon::prelude::*;

use crate::simd::vectorised;
use crate::value::Value;

/// Values that one task handles.
pub(crate) const TASK: usize = 1 << 14;

/// An activation that can be told from its own output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`; gradient 0 at `x <= 0`.
    Relu,
    /// `min(max(x, 0), 6)`; gradient 0 at `x <= 0` and at `x >= 6`.
    Relu6,
}

impl Activation {
    /// The activated value; NaN stays NaN.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        let floored = if x <= 0.0 { 0.0 } else { x };
        match self {
            Self::Relu => floored,
            Self::Relu6 => {
                if floored >= 6.0 {
                    6.0
                } else {
                    floored
                }
            }
        }
    }

    /// The gradient `dy` where the output `y` was not clamped, else 0.
    #[inline(always)]
    #[must_use]
    pub fn masked(self, y: f32, dy: f32) -> f32 {
        // The comparisons differ for NaN, and so do PyTorch's: ReLU lets its gradient pass, ReLU6 does not.
        match self {
            Self::Relu if y <= 0.0 => 0.0,
            Self::Relu => dy,
            Self::Relu6 if y > 0.0 && y < 6.0 => dy,
            Self::Relu6 => 0.0,
        }
    }
}

/// Which gradients pass an activation: those where its output `y` was not clamped.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a, T = f32> {
    /// The activation.
    pub activation: Activation,
    /// Its output.
    pub y: &'a [T],
}

/// [`crate::activate`].
pub(crate) fn activate<T: Value>(activation: Activation, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "input and output of an activation");
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| match activation {
        Activation::Relu => vectorised(
            #[inline(always)]
            || map(x, y, |x| Activation::Relu.apply(x)),
        ),
        Activation::Relu6 => vectorised(
            #[inline(always)]
            || map(x, y, |x| Activation::Relu6.apply(x)),
        ),
    });
}

/// [`crate::activate_backward`].
pub(crate) fn activate_backward<T: Value>(mask: Mask<'_, T>, dy: &[T], dx: &mut [T]) {
    assert_eq!(mask.y.len(), dy.len(), "output and output gradient of an activation");
    assert_eq!(dy.len(), dx.len(), "gradients of an activation");
    let chunks = mask.y.par_chunks(TASK).zip(dy.par_chunks(TASK));
    dx.par_chunks_mut(TASK).zip(chunks).for_each(|(dx, (y, dy))| match mask.activation {
        Activation::Relu => vectorised(
            #[inline(always)]
            || zip(y, dy, dx, |y, dy| Activation::Relu.masked(y, dy)),
        ),
        Activation::Relu6 => vectorised(
            #[inline(always)]
            || zip(y, dy, dx, |y, dy| Activation::Relu6.masked(y, dy)),
        ),
    });
}

/// [`crate::add`].
pub(crate) fn add<T: Value>(a: &[T], b: &[T], y: &mut [T]) {
    assert_eq!(a.len(), b.len(), "the terms of a sum");
    assert_eq!(a.len(), y.len(), "a sum and its terms");
    y.par_chunks_mut(TASK).zip(a.par_chunks(TASK).zip(b.par_chunks(TASK))).for_each(|(y, (a, b))| {
        vectorised(
            #[inline(always)]
            || zip(a, b, y, |a, b| a + b),
        );
    });
}

/// [`crate::mul`].
pub(crate) fn mul<T: Value>(a: &[T], b: &[T], y: &mut [T]) {
    assert_eq!(a.len(), b.len(), "the factors of a product");
    assert_eq!(a.len(), y.len(), "a product and its factors");
    y.par_chunks_mut(TASK).zip(a.par_chunks(TASK).zip(b.par_chunks(TASK))).for_each(|(y, (a, b))| {
        vectorised(
            #[inline(always)]
            || zip(a, b, y, |a, b| a * b),
        );
    });
}

#[inline(always)]
pub(crate) fn map<T: Value>(x: &[T], y: &mut [T], f: impl Fn(f32) -> f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = T::rounded(f(x.float()));
    }
}

#[inline(always)]
pub(crate) fn zip<T: Value>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(f32, f32) -> f32) {
    for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
        *y = T::rounded(f(a.float(), b.float()));
    }
}
