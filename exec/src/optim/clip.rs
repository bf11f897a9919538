//! Gradient clipping by the norm of all gradients together, as PyTorch's `clip_grad_norm_`.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::error::Result;
use crate::ops::Backend;
use crate::ops::fused::{map, slice};
use crate::params::Slots;

/// Elements summed by one thread in one go; fixed, so that the sum does not depend on the number of
/// threads.
const CHUNK: usize = 1 << 15;

/// Scales all gradients by `max_norm / norm` where their common Euclidean norm is larger than
/// `max_norm`; returns the norm before that. A norm that is not finite is returned and nothing is
/// scaled: the caller decides.
///
/// # Errors
/// A device that failed.
pub fn clip_global_norm(on: Backend, gradients: &mut Slots, max_norm: f64) -> Result<f64> {
    #[cfg(feature = "cuda")]
    if on.is_cuda() && !gradients.is_empty() {
        return super::cuda::clip(gradients, max_norm);
    }
    let mut sum = 0.0;
    for (_, gradient) in gradients.iter() {
        sum += squared_norm(on, gradient)?;
    }
    let norm = sum.sqrt();
    if let Some(factor) = factor(norm, max_norm) {
        for gradient in gradients.values_mut() {
            *gradient = scaled(on, gradient, factor)?;
        }
    }
    Ok(norm)
}

/// What gradients of this norm are scaled by, if they are.
pub(super) fn factor(norm: f64, max_norm: f64) -> Option<f64> {
    // The small constant is PyTorch's.
    let factor = max_norm / (norm + 1e-6);
    (norm.is_finite() && factor < 1.0).then_some(factor)
}

fn squared_norm(on: Backend, gradient: &Tensor) -> Result<f64> {
    if on != Backend::Cpu {
        return Ok(f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    let square = |chunk: &[f32]| chunk.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let parts: Vec<f64> = slice(&storage, layout)?.par_chunks(CHUNK).map(square).collect();
    Ok(parts.iter().sum())
}

fn scaled(on: Backend, gradient: &Tensor, factor: f64) -> Result<Tensor> {
    if on != Backend::Cpu {
        return Ok((gradient * factor)?);
    }
    let factor = factor as f32;
    let [scaled] = map([gradient], |[g]| [g * factor])?;
    Ok(scaled)
}
