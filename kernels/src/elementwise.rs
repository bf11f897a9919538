//! Activations that are no clamps: their gradient is told from the input, a sigmoid's from the output.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use rayon::prelude::*;

use crate::activation::{TASK, map, zip};
use crate::functions::{Fused, InTwo, MulAdd, erf, exp, sigmoid};
use crate::simd::{fuses, vectorised};
use crate::value::Value;

/// An activation whose gradient needs more than where it clamps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pointwise {
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, section 5.2).
    HardSwish,
    /// `min(max(x + 3, 0), 6) / 6`: the gate of MobileNetV3's squeeze-and-excitation.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x` above 0, so many times `x` elsewhere.
    LeakyRelu(f32),
}

/// `2 sqrt(2 / pi)`: `(1 + tanh(u)) / 2` is `sigmoid(2 u)`.
const TANH_SCALE: f32 = FRAC_2_SQRT_PI * SQRT_2;
/// Of the cube in the approximation of GELU.
const CUBE: f32 = 0.044_715;
/// `1 / sqrt(2 pi)`.
const DENSITY: f32 = 0.398_942_3;

impl Pointwise {
    /// The value at `x`; NaN stays NaN.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        self.value::<InTwo>(x)
    }

    /// The slope at the input `x`, of a sigmoid where its output is `x`; at kinks it is PyTorch's.
    #[must_use]
    pub fn slope(self, x: f32) -> f32 {
        self.gradient::<InTwo>(x)
    }

    #[inline(always)]
    fn value<M: MulAdd>(self, x: f32) -> f32 {
        match self {
            Self::HardSwish => x * gate(x) / 6.0,
            Self::HardSigmoid => gate(x) / 6.0,
            Self::Sigmoid => sigmoid::<M>(x),
            Self::Silu => x / (1.0 + exp::<M>(-x)),
            Self::Gelu => x * normal::<M>(x),
            Self::GeluTanh => x * sigmoid::<M>(TANH_SCALE * (x + CUBE * (x * x * x))),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    x * slope
                }
            }
        }
    }

    #[inline(always)]
    fn gradient<M: MulAdd>(self, x: f32) -> f32 {
        // The comparisons differ for NaN, and so do PyTorch's: hard-swish hands it on, hard-sigmoid has slope 0.
        match self {
            Self::HardSwish if x <= -3.0 => 0.0,
            Self::HardSwish if x >= 3.0 => 1.0,
            Self::HardSwish => x / 3.0 + 0.5,
            Self::HardSigmoid if x > -3.0 && x < 3.0 => 1.0 / 6.0,
            Self::HardSigmoid => 0.0,
            Self::Sigmoid => x * (1.0 - x),
            Self::Silu => {
                let gate = sigmoid::<M>(x);
                gate * M::mul_add(x, 1.0 - gate, 1.0)
            }
            Self::Gelu => M::mul_add(x, DENSITY * exp::<M>(-0.5 * (x * x)), normal::<M>(x)),
            Self::GeluTanh => {
                let gate = sigmoid::<M>(TANH_SCALE * (x + CUBE * (x * x * x)));
                gate + x * (gate * (1.0 - gate)) * (TANH_SCALE * (1.0 + 3.0 * CUBE * (x * x)))
            }
            Self::LeakyRelu(_) if x > 0.0 => 1.0,
            Self::LeakyRelu(slope) => slope,
        }
    }
}

/// The normal distribution, `(1 + erf(x / sqrt(2))) / 2`.
#[inline(always)]
fn normal<M: MulAdd>(x: f32) -> f32 {
    M::mul_add(0.5, erf::<M>(x * FRAC_1_SQRT_2), 0.5)
}

/// `min(max(x + 3, 0), 6)`; NaN stays NaN.
#[inline(always)]
fn gate(x: f32) -> f32 {
    let shifted = x + 3.0;
    let floored = if shifted <= 0.0 { 0.0 } else { shifted };
    if floored >= 6.0 { 6.0 } else { floored }
}

/// A loop for each function, so that none asks which it is per value; of those that are long sums of products, one more for
/// machines that multiply and add at once.
macro_rules! each {
    ($function:expr, |$known:ident, $by:ident| $run:expr) => {
        match ($function, fuses()) {
            (Pointwise::HardSwish, _) => each!(@run Pointwise::HardSwish, InTwo, |$known, $by| $run),
            (Pointwise::HardSigmoid, _) => each!(@run Pointwise::HardSigmoid, InTwo, |$known, $by| $run),
            (Pointwise::Sigmoid, true) => each!(@run Pointwise::Sigmoid, Fused, |$known, $by| $run),
            (Pointwise::Sigmoid, false) => each!(@run Pointwise::Sigmoid, InTwo, |$known, $by| $run),
            (Pointwise::Silu, true) => each!(@run Pointwise::Silu, Fused, |$known, $by| $run),
            (Pointwise::Silu, false) => each!(@run Pointwise::Silu, InTwo, |$known, $by| $run),
            (Pointwise::Gelu, true) => each!(@run Pointwise::Gelu, Fused, |$known, $by| $run),
            (Pointwise::Gelu, false) => each!(@run Pointwise::Gelu, InTwo, |$known, $by| $run),
            (Pointwise::GeluTanh, true) => each!(@run Pointwise::GeluTanh, Fused, |$known, $by| $run),
            (Pointwise::GeluTanh, false) => each!(@run Pointwise::GeluTanh, InTwo, |$known, $by| $run),
            (Pointwise::LeakyRelu(slope), _) => each!(@run Pointwise::LeakyRelu(slope), InTwo, |$known, $by| $run),
        }
    };
    (@run $function:expr, $fused:ident, |$known:ident, $by:ident| $run:expr) => {
        vectorised(
            #[inline(always)]
            || {
                type $by = $fused;
                let $known = $function;
                $run
            },
        )
    };
}

/// [`crate::pointwise`].
pub(crate) fn pointwise<T: Value>(function: Pointwise, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "input and output of an activation");
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        each!(function, |known, By| map(
            x,
            y,
            #[inline(always)]
            |x| known.value::<By>(x)
        ));
    });
}

/// [`crate::pointwise_backward`].
pub(crate) fn pointwise_backward<T: Value>(function: Pointwise, kept: &[T], dy: &[T], dx: &mut [T]) {
    assert_eq!(kept.len(), dy.len(), "what was kept and the output gradient of an activation");
    assert_eq!(dy.len(), dx.len(), "gradients of an activation");
    let chunks = kept.par_chunks(TASK).zip(dy.par_chunks(TASK));
    dx.par_chunks_mut(TASK).zip(chunks).for_each(|(dx, (kept, dy))| {
        each!(function, |known, By| zip(
            kept,
            dy,
            dx,
            #[inline(always)]
            |kept, dy| dy * known.gradient::<By>(kept)
        ));
    });
}
