//! Steps on CUDA: all parameters in one launch.

use std::collections::BTreeMap;

use attar_models::Role;
use candle_core::Tensor;

use super::{Decay, clip::factor, pairs, state};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::cuda::{self, AdamwStep, SgdStep, Stepped};
use crate::params::Params;

/// Whether these parameters are stepped here.
pub(super) fn steps(params: &Params) -> bool {
    params.iter().next().is_some_and(|(_, value, _)| Backend::of(value.device()) == Backend::Cuda)
}

pub(super) fn sgd(
    params: &mut Params,
    grads: &BTreeMap<String, Tensor>,
    velocity: &mut BTreeMap<String, Tensor>,
    step: SgdStep,
    decay: Decay,
) -> Result<()> {
    let all = pairs(params, grads)?;
    let mut items = Vec::with_capacity(all.len());
    for (name, weight, role, gradient) in &all {
        let before = state::fitting(velocity, name, weight)?;
        items.push((Stepped { weight, gradient, factor: decay.rate(*role) as f32 }, before));
    }
    let next = cuda::sgd(&items, step)?;
    for ((name, ..), (weight, moved)) in all.into_iter().zip(next) {
        params.set(&name, weight)?;
        if let Some(moved) = moved {
            velocity.insert(name, moved);
        }
    }
    Ok(())
}

pub(super) fn adamw(
    params: &mut Params,
    grads: &BTreeMap<String, Tensor>,
    [first, second]: [&mut BTreeMap<String, Tensor>; 2],
    step: AdamwStep,
    keep: impl Fn(Role) -> f64,
) -> Result<()> {
    let all = pairs(params, grads)?;
    let mut items = Vec::with_capacity(all.len());
    for (name, weight, role, gradient) in &all {
        let before = [state::fitting(first, name, weight)?, state::fitting(second, name, weight)?];
        items.push((Stepped { weight, gradient, factor: keep(*role) as f32 }, before));
    }
    let next = cuda::adamw(&items, step)?;
    for ((name, ..), [weight, m, v]) in all.into_iter().zip(next) {
        params.set(&name, weight)?;
        first.insert(name.clone(), m);
        second.insert(name, v);
    }
    Ok(())
}

pub(super) fn clip(grads: &mut BTreeMap<String, Tensor>, max_norm: f64) -> Result<f64> {
    let all: Vec<&Tensor> = grads.values().collect();
    let norm = cuda::global_norm(&all)?;
    if let Some(factor) = factor(norm, max_norm) {
        let scaled = cuda::scale(&all, factor as f32)?;
        for (gradient, scaled) in grads.values_mut().zip(scaled) {
            *gradient = scaled;
        }
    }
    Ok(norm)
}
