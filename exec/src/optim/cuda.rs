//! Steps on CUDA: all parameters in one launch.

use std::collections::BTreeMap;

use attar_models::Role;
use candle_core::Tensor;

use super::{Decay, Moving, clip::factor};
use crate::error::Result;
use crate::ops::cuda::{self, AdamwStep, SgdStep, Stepped};
use crate::params::{Params, Slots};

/// Calls `step` for the parameters of each learning rate, and that rate: one launch has one.
pub(super) fn each_rate(all: Vec<Moving>, mut step: impl FnMut(&[Moving], f64) -> Result<()>) -> Result<()> {
    let mut groups: BTreeMap<u64, Vec<Moving>> = BTreeMap::new();
    for one in all {
        groups.entry(one.rate.to_bits()).or_default().push(one);
    }
    groups.into_values().try_for_each(|group| step(&group, group[0].rate))
}

pub(super) fn sgd(
    params: &mut Params,
    all: &[Moving],
    velocity: &mut Slots,
    step: SgdStep,
    decay: Decay,
) -> Result<()> {
    let stepped = |one: &Moving| decay.rate(one.role) as f32;
    let items: Vec<_> = all.iter().map(|one| (item(one, stepped(one)), velocity.get(one.slot))).collect();
    let next = cuda::sgd(&items, step)?;
    for (one, (weight, moved)) in all.iter().zip(next) {
        params.replace(one.slot, weight)?;
        if let Some(moved) = moved {
            velocity.put(one.slot, moved);
        }
    }
    Ok(())
}

pub(super) fn adamw(
    params: &mut Params,
    all: &[Moving],
    [first, second]: [&mut Slots; 2],
    step: AdamwStep,
    keep: impl Fn(Role) -> f64,
) -> Result<()> {
    let before = |one: &Moving| [first.get(one.slot), second.get(one.slot)];
    let items: Vec<_> = all.iter().map(|one| (item(one, keep(one.role) as f32), before(one))).collect();
    let next = cuda::adamw(&items, step)?;
    for (one, [weight, m, v]) in all.iter().zip(next) {
        params.replace(one.slot, weight)?;
        first.put(one.slot, m);
        second.put(one.slot, v);
    }
    Ok(())
}

fn item(one: &Moving, factor: f32) -> Stepped<'_> {
    Stepped { weight: &one.value, gradient: &one.gradient, factor }
}

pub(super) fn clip(gradients: &mut Slots, max_norm: f64) -> Result<f64> {
    let all: Vec<&Tensor> = gradients.iter().map(|(_, gradient)| gradient).collect();
    let norm = cuda::global_norm(&all)?;
    if let Some(factor) = factor(norm, max_norm) {
        let scaled = cuda::scale(&all, factor as f32)?;
        for (gradient, scaled) in gradients.values_mut().zip(scaled) {
            *gradient = scaled;
        }
    }
    Ok(norm)
}
