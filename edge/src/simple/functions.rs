//! Functions of one float, written so that they become vectors.

use crate::layer::FloatFunction;

/// A function of one float.
#[inline(always)]
pub fn function(function: FloatFunction, x: f32) -> f32 {
    match function {
        FloatFunction::Clamp { low, high } => clamp(x, low, high),
        FloatFunction::HardSwish => x * (clamp(x + 3.0, 0.0, 6.0) / 6.0),
        FloatFunction::HardSigmoid => clamp(x + 3.0, 0.0, 6.0) / 6.0,
        FloatFunction::Sigmoid => 1.0 / (1.0 + exp(-x)),
        FloatFunction::Silu => x / (1.0 + exp(-x)),
        FloatFunction::Gelu => clamp(x, 0.0, f32::INFINITY) - x.abs() * normal_tail(x.abs()),
        FloatFunction::GeluTanh => x / (1.0 + exp(x * (GELU_TANH[0] + GELU_TANH[1] * (x * x)))),
        FloatFunction::LeakyRelu { slope } => {
            let below = slope * x;
            if x > 0.0 { x } else { below }
        }
    }
}

/// Comparisons that a NaN passes through, as `maxps` and `minps` do with the value second.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}

/// From here on to twice as much, floats are whole numbers, and those within `2^22` of it differ in their low bits.
pub(super) const WHOLE: f32 = 12_582_912.0;

/// `e^x` within 2 units in the last place, for `x` from -87 to 88 and kept to that (so it is never infinite): `x` is a whole
/// number of `ln 2` and a rest, whose power is a polynomial (Cephes' `expf`; coefficients of Moshier 1989).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = clamp(x, -87.0, 88.0);
    // Its low bits are the whole number's; a conversion to one has cases for what is no number and does not become a vector.
    let bits = x * core::f32::consts::LOG2_E + WHOLE;
    let whole = bits - WHOLE;
    let r = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 0.166_666_65;
    let p = p * r + 0.5;
    let e = p * r * r + r + 1.0;
    e * f32::from_bits(bits.to_bits().wrapping_add(127) << 23)
}

/// `-2 sqrt(2 / pi)` and 0.044715 times that: `1 + tanh(u)` is `2 / (1 + e^(-2 u))`.
pub(crate) const GELU_TANH: [f32; 2] = [-1.595_769, -0.071_354_814];

/// How far `normal_tail` stretches its argument.
pub(crate) const TAIL_SCALE: f32 = 0.26;

/// Coefficients of `normal_tail`, from that of `t^7` to that of `t`.
pub(crate) const TAIL: [f32; 7] =
    [-0.075_669_27, 0.239_340_51, -0.122_456_29, 0.179_142_1, 0.067_853_56, 0.108_377_25, 0.103_412_01];

/// The normal distribution's mass beyond `z`, 0 or above, within 4e-7 of itself: `e^(-z^2 / 2)` times a polynomial of
/// `t = 1 / (1 + 0.26 z)`, of the form of Abramowitz and Stegun 1964, 26.2.17, fitted to the least largest relative error.
#[inline(always)]
fn normal_tail(z: f32) -> f32 {
    let t = 1.0 / (1.0 + TAIL_SCALE * z);
    let [first, rest @ ..] = TAIL;
    let mut p = first;
    for coefficient in rest {
        p = p * t + coefficient;
    }
    p * t * exp(z * z * -0.5)
}
