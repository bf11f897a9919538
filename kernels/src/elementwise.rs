//! Activations that are no clamps: their gradient is told from the input, a sigmoid's from the output.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use rayon::prelude::*;

use crate::activation::{TASK, map, zip};
use crate::functions::{erf, exp, sigmoid};
use crate::simd::vectorised;
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
    #[inline(always)]
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::HardSwish => x * gate(x) / 6.0,
            Self::HardSigmoid => gate(x) / 6.0,
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x / (1.0 + exp(-x)),
            Self::Gelu => x * normal(x),
            Self::GeluTanh => x * sigmoid(TANH_SCALE * (x + CUBE * (x * x * x))),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    x * slope
                }
            }
        }
    }

    /// The slope at the input `x`, of a sigmoid where its output is `x`; at kinks it is PyTorch's.
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
            Self::Sigmoid => x * (1.0 - x),
            Self::Silu => {
                let gate = sigmoid(x);
                gate * (1.0 + x * (1.0 - gate))
            }
            Self::Gelu => normal(x) + x * (DENSITY * exp(-0.5 * (x * x))),
            Self::GeluTanh => {
                let gate = sigmoid(TANH_SCALE * (x + CUBE * (x * x * x)));
                gate + x * (gate * (1.0 - gate)) * (TANH_SCALE * (1.0 + 3.0 * CUBE * (x * x)))
            }
            Self::LeakyRelu(_) if x > 0.0 => 1.0,
            Self::LeakyRelu(slope) => slope,
        }
    }
}

/// The normal distribution, `(1 + erf(x / sqrt(2))) / 2`.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

/// `min(max(x + 3, 0), 6)`; NaN stays NaN.
#[inline(always)]
fn gate(x: f32) -> f32 {
    let shifted = x + 3.0;
    let floored = if shifted <= 0.0 { 0.0 } else { shifted };
    if floored >= 6.0 { 6.0 } else { floored }
}

/// A loop for each function, so that none asks which it is per value.
macro_rules! each {
    ($function:expr, |$known:ident| $run:expr) => {
        each!(@arms $function, |$known| $run, HardSwish HardSigmoid Sigmoid Silu Gelu GeluTanh)
    };
    (@arms $function:expr, |$known:ident| $run:expr, $($name:ident)*) => {
        match $function {
            $(Pointwise::$name => {
                vectorised(
                    #[inline(always)]
                    || {
                        let $known = Pointwise::$name;
                        $run
                    },
                );
            })*
            Pointwise::LeakyRelu(slope) => {
                vectorised(
                    #[inline(always)]
                    || {
                        let $known = Pointwise::LeakyRelu(slope);
                        $run
                    },
                );
            }
        }
    };
}

/// [`crate::pointwise`].
pub(crate) fn pointwise<T: Value>(function: Pointwise, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "input and output of an activation");
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        each!(function, |known| map(
            x,
            y,
            #[inline(always)]
            |x| known.apply(x)
        ));
    });
}

/// [`crate::pointwise_backward`].
pub(crate) fn pointwise_backward<T: Value>(function: Pointwise, kept: &[T], dy: &[T], dx: &mut [T]) {
    assert_eq!(kept.len(), dy.len(), "what was kept and the output gradient of an activation");
    assert_eq!(dy.len(), dx.len(), "gradients of an activation");
    let chunks = kept.par_chunks(TASK).zip(dy.par_chunks(TASK));
    dx.par_chunks_mut(TASK).zip(chunks).for_each(|(dx, (kept, dy))| {
        each!(function, |known| zip(
            kept,
            dy,
            dx,
            #[inline(always)]
            |kept, dy| dy * known.slope(kept)
        ));
    });
}
