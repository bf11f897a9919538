//! Gradient clipping by the norm of all gradients together, as PyTorch's `clip_grad_norm_`.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::error::Result;
use crate::ops::Backend;
use crate::ops::fused::{map, slice};

/// Elements summed by one thread in one go; fixed, so that the sum does not depend on the number of threads.
const CHUNK: usize = 1 << 15;

/// Scales all gradients by `max_norm / norm` where their common Euclidean norm is larger than `max_norm`; returns the
/// norm before that. A norm that is not finite is returned and nothing is scaled: the caller decides.
///
/// # Errors
/// A device that failed.
pub fn clip_global_norm(grads: &mut BTreeMap<String, Tensor>, max_norm: f64) -> Result<f64> {
    #[cfg(feature = "cuda")]
    if grads.values().next().is_some_and(|gradient| Backend::of(gradient.device()) == Backend::Cuda) {
        return super::cuda::clip(grads, max_norm);
    }
    let mut sum = 0.0;
    for gradient in grads.values() {
        sum += squared_norm(gradient)?;
    }
    let norm = sum.sqrt();
    if let Some(factor) = factor(norm, max_norm) {
        for gradient in grads.values_mut() {
            *gradient = scaled(gradient, factor)?;
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

fn squared_norm(gradient: &Tensor) -> Result<f64> {
    if Backend::of(gradient.device()) != Backend::Cpu {
        return Ok(f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    let gradient = gradient.contiguous()?;
    let (storage, layout) = gradient.storage_and_layout();
    let square = |chunk: &[f32]| chunk.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let parts: Vec<f64> = slice(&storage, layout)?.par_chunks(CHUNK).map(square).collect();
    Ok(parts.iter().sum())
}

fn scaled(gradient: &Tensor, factor: f64) -> Result<Tensor> {
    if Backend::of(gradient.device()) != Backend::Cpu {
        return Ok((gradient * factor)?);
    }
    let factor = factor as f32;
    let [scaled] = map([gradient], |[g]| [g * factor])?;
    Ok(scaled)
}
