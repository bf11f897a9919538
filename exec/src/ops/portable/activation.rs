//! Activations and their gradients, composed.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use attar_models::Activation;
use candle_core::Tensor;

use crate::error::Result;

pub(in crate::ops) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    Ok(match activation {
        Activation::Relu => x.relu()?,
        Activation::Relu6 => x.clamp(0f32, 6f32)?,
        Activation::HardSwish => (x * hard_sigmoid(x)?)?,
        Activation::HardSigmoid => hard_sigmoid(x)?,
        Activation::Sigmoid => sigmoid(x)?,
        Activation::Silu => (x * sigmoid(x)?)?,
        Activation::Gelu => (x * normal(x)?)?,
        Activation::GeluTanh => (x * sigmoid(&tanh_argument(x)?)?)?,
        Activation::LeakyRelu(slope) => x.gt(0f32)?.where_cond(x, &x.affine(f64::from(slope.value()), 0.0)?)?,
    })
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((x.neg()?.exp()? + 1.0)?.recip()?)
}

/// The normal distribution, `(1 + erf(x / sqrt(2))) / 2`.
fn normal(x: &Tensor) -> Result<Tensor> {
    Ok(x.affine(FRAC_1_SQRT_2, 0.0)?.erf()?.affine(0.5, 0.5)?)
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)`, of which a sigmoid is `(1 + tanh)` of half of it, halved.
fn tanh_argument(x: &Tensor) -> Result<Tensor> {
    Ok(((x.sqr()? * x)?.affine(CUBE, 0.0)? + x)?.affine(TANH_SCALE, 0.0)?)
}

/// `2 sqrt(2 / pi)`.
const TANH_SCALE: f64 = FRAC_2_SQRT_PI * SQRT_2;
/// Of the cube in the approximation of GELU.
const CUBE: f64 = 0.044_715;

fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(x.affine(1.0, 3.0)?.clamp(0f32, 6f32)?.affine(1.0 / 6.0, 0.0)?)
}

pub(in crate::ops) fn activate_backward(activation: Activation, kept: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let zero = dy.zeros_like()?;
    Ok(match activation {
        Activation::Relu => kept.gt(0f32)?.where_cond(dy, &zero)?,
        Activation::Relu6 => (kept.gt(0f32)? * kept.lt(6f32)?)?.where_cond(dy, &zero)?,
        Activation::HardSwish => {
            let slope = (dy * kept.affine(1.0 / 3.0, 0.5)?)?;
            kept.le(-3f32)?.where_cond(&zero, &kept.ge(3f32)?.where_cond(dy, &slope)?)?
        }
        Activation::HardSigmoid => {
            (kept.gt(-3f32)? * kept.lt(3f32)?)?.where_cond(&dy.affine(1.0 / 6.0, 0.0)?, &zero)?
        }
        // From its output.
        Activation::Sigmoid => ((dy * kept)? * kept.affine(-1.0, 1.0)?)?,
        Activation::Silu => {
            let gate = sigmoid(kept)?;
            ((dy * &gate)? * ((kept * gate.affine(-1.0, 1.0)?)? + 1.0)?)?
        }
        Activation::Gelu => {
            let density = kept.sqr()?.affine(-0.5, 0.0)?.exp()?.affine(FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * 0.5, 0.0)?;
            (dy * (normal(kept)? + (kept * density)?)?)?
        }
        Activation::GeluTanh => {
            let gate = sigmoid(&tanh_argument(kept)?)?;
            let inner = kept.sqr()?.affine(3.0 * CUBE * TANH_SCALE, TANH_SCALE)?;
            let slope = ((&gate * gate.affine(-1.0, 1.0)?)? * inner)?;
            (dy * (gate + (kept * slope)?)?)?
        }
        Activation::LeakyRelu(slope) => kept.gt(0f32)?.where_cond(dy, &dy.affine(f64::from(slope.value()), 0.0)?)?,
    })
}
