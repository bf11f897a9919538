//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2), as PyTorch's
//! `torch.optim.AdamW`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::{Decay, Moving, Optimiser, Rates, misfit, moving, state};
use crate::error::Result;
use crate::ops::Backend;
#[cfg(feature = "cuda")]
use crate::ops::cuda::AdamwStep;
use crate::ops::fused::map;
use crate::params::{Params, Slots};

/// `w *= 1 - lr decay`; `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`;
/// `w -= lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)` at the `t`-th step.
#[derive(Debug)]
pub struct AdamW {
    betas: [f64; 2],
    eps: f64,
    decay: Decay,
    first: Slots,
    second: Slots,
    steps: u32,
}

/// The numbers of one step, as PyTorch rounds them: computed in `f64`, applied in `f32`.
#[derive(Clone, Copy)]
struct Factors {
    keep: f64,
    step: f64,
    root: f64,
}

impl AdamW {
    /// An optimiser before its first step.
    pub fn new(betas: [f64; 2], eps: f64, decay: Decay) -> Self {
        Self { betas, eps, decay, first: Slots::default(), second: Slots::default(), steps: 0 }
    }

    /// New weights, first and second average.
    fn update(&self, on: Backend, [w, g, m, v]: [&Tensor; 4], factors: Factors) -> Result<[Tensor; 3]> {
        let [b1, b2] = self.betas;
        let Factors { keep, step, root } = factors;
        if on != Backend::Cpu {
            let m = ((m * b1)? + (g * (1.0 - b1))?)?;
            let v = ((v * b2)? + (g.sqr()? * (1.0 - b2))?)?;
            let divisor = ((v.sqrt()? / root)? + self.eps)?;
            return Ok([((w * keep)? - ((&m / divisor)? * step)?)?, m, v]);
        }
        let (rest1, rest2) = ((1.0 - b1) as f32, (1.0 - b2) as f32);
        let (b2, eps) = (b2 as f32, self.eps as f32);
        let (keep, step, root) = (keep as f32, step as f32, root as f32);
        map([w, g, m, v], |[w, g, m, v]| {
            let m = m + rest1 * (g - m);
            let v = b2 * v + rest2 * (g * g);
            [w * keep - step * (m / (v.sqrt() / root + eps)), m, v]
        })
    }
}

impl Optimiser for AdamW {
    fn step_at(&mut self, on: Backend, params: &mut Params, gradients: &Slots, rates: &Rates<'_>) -> Result<()> {
        let t = self.steps + 1;
        let power = |beta: f64| 1.0 - beta.powf(f64::from(t));
        let (first_power, root) = (power(self.betas[0]), power(self.betas[1]).sqrt());
        let all = moving(params, gradients, rates)?;
        #[cfg(feature = "cuda")]
        if on.is_cuda() {
            let [rest1, rest2] = self.betas.map(|beta| (1.0 - beta) as f32);
            let (b2, eps) = (self.betas[1] as f32, self.eps as f32);
            let decay = self.decay;
            super::cuda::each_rate(all, |all, lr| {
                let step = (lr / first_power) as f32;
                let numbers = AdamwStep { rest1, b2, rest2, step, root: root as f32, eps };
                let keep = |role| 1.0 - lr * decay.rate(role);
                super::cuda::adamw(params, all, [&mut self.first, &mut self.second], numbers, keep)
            })?;
            self.steps = t;
            return Ok(());
        }
        for Moving { slot, value, gradient, role, rate } in all {
            let zero = || value.zeros_like();
            let first = self.first.get(slot).cloned().map_or_else(zero, Ok)?;
            let second = self.second.get(slot).cloned().map_or_else(zero, Ok)?;
            let factors = Factors { keep: 1.0 - rate * self.decay.rate(role), step: rate / first_power, root };
            let [value, first, second] = self.update(on, [&value, &gradient, &first, &second], factors)?;
            params.replace(slot, value)?;
            self.first.put(slot, first);
            self.second.put(slot, second);
        }
        self.steps = t;
        Ok(())
    }

    fn state(&self, params: &Params) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        state::write(&mut all, "first", params, &self.first);
        state::write(&mut all, "second", params, &self.second);
        all.insert("step".to_owned(), Tensor::new(self.steps, &Device::Cpu)?);
        Ok(all)
    }

    fn load(&mut self, params: &Params, mut all: BTreeMap<String, Tensor>) -> Result<()> {
        let (first, second) = (state::take(&mut all, "first", params)?, state::take(&mut all, "second", params)?);
        let steps = all.remove("step").ok_or_else(|| misfit("step", "is missing in the saved state".to_owned()))?;
        state::finish(&all, "adamw")?;
        self.steps = steps.to_dtype(DType::U32)?.flatten_all()?.get(0)?.to_scalar()?;
        (self.first, self.second) = (first, second);
        Ok(())
    }
}
