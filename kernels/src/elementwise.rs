//! Activations that are no clamps: their gradient is told from the input.

use rayon::prelude::*;

use crate::activation::{TASK, map, zip};
use crate::simd::vectorised;
use crate::value::Value;

/// An activation whose gradient needs its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointwise {
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, section 5.2).
    HardSwish,
    /// `min(max(x + 3, 0), 6) / 6`: the gate of MobileNetV3's squeeze-and-excitation.
    HardSigmoid,
}

impl Pointwise {
    /// The value at `x`; NaN stays NaN.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::HardSwish => x * gate(x) / 6.0,
            Self::HardSigmoid => gate(x) / 6.0,
        }
    }

    /// The slope at `x`; at the two kinks it is PyTorch's.
    #[inline(always)]
    #[must_use]
    pub fn slope(self, x: f32) -> f32 {
        // The comparisons differ for NaN, and so do PyTorch's: hard-swish hands it on, hard-sigmoid has slope 0.
        match self {
            Self::HardSwish if x <= -3.0 => 0.0,
            Self::HardSwish if x >= 3.0 => 1.0,
            Self::HardSwish => x / 3.0 + 0.5,
            Self::HardSigmoid if x > -3.0 && x < 3.0 => 1.0 / 6.0,
            Self::HardSigmoid => 0.0,
        }
    }
}

/// `min(max(x + 3, 0), 6)`; NaN stays NaN.
#[inline(always)]
fn gate(x: f32) -> f32 {
    let shifted = x + 3.0;
    let floored = if shifted <= 0.0 { 0.0 } else { shifted };
    if floored >= 6.0 { 6.0 } else { floored }
}

/// [`crate::pointwise`].
pub(crate) fn pointwise<T: Value>(function: Pointwise, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "input and output of an activation");
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| match function {
        Pointwise::HardSwish => vectorised(
            #[inline(always)]
            || map(x, y, |x| Pointwise::HardSwish.apply(x)),
        ),
        Pointwise::HardSigmoid => vectorised(
            #[inline(always)]
            || map(x, y, |x| Pointwise::HardSigmoid.apply(x)),
        ),
    });
}

/// [`crate::pointwise_backward`].
pub(crate) fn pointwise_backward<T: Value>(function: Pointwise, x: &[T], dy: &[T], dx: &mut [T]) {
    assert_eq!(x.len(), dy.len(), "input and output gradient of an activation");
    assert_eq!(dy.len(), dx.len(), "gradients of an activation");
    let chunks = x.par_chunks(TASK).zip(dy.par_chunks(TASK));
    dx.par_chunks_mut(TASK).zip(chunks).for_each(|(dx, (x, dy))| match function {
        Pointwise::HardSwish => vectorised(
            #[inline(always)]
            || zip(x, dy, dx, |x, dy| dy * Pointwise::HardSwish.slope(x)),
        ),
        Pointwise::HardSigmoid => vectorised(
            #[inline(always)]
            || zip(x, dy, dx, |x, dy| dy * Pointwise::HardSigmoid.slope(x)),
        ),
    });
}
