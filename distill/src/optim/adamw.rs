//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2), as PyTorch's `torch.optim.AdamW`.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::fused::map;
use super::{Decay, Optimiser, misfit, state, target};
use crate::error::Result;
use crate::params::Params;

/// `w *= 1 - lr decay`; `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`;
/// `w -= lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)` at a parameter's `t`-th step.
#[derive(Debug)]
pub struct AdamW {
    betas: [f64; 2],
    eps: f64,
    decay: Decay,
    first: BTreeMap<String, Tensor>,
    second: BTreeMap<String, Tensor>,
    steps: BTreeMap<String, u32>,
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
        Self { betas, eps, decay, first: BTreeMap::new(), second: BTreeMap::new(), steps: BTreeMap::new() }
    }

    /// New weights, first and second average.
    fn update(&self, [w, g, m, v]: [&Tensor; 4], factors: Factors) -> Result<[Tensor; 3]> {
        let [b1, b2] = self.betas;
        let Factors { keep, step, root } = factors;
        if !w.device().is_cpu() {
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
    fn step(&mut self, params: &mut Params, grads: &BTreeMap<String, Tensor>, lr: f64) -> Result<()> {
        for (name, gradient) in grads {
            let (value, role) = target(params, name, gradient)?;
            let zero = || value.zeros_like();
            let first = state::fitting(&self.first, name, value)?.cloned().map_or_else(zero, Ok)?;
            let second = state::fitting(&self.second, name, value)?.cloned().map_or_else(zero, Ok)?;
            let t = self.steps.get(name).copied().unwrap_or_default() + 1;
            let power = |beta: f64| 1.0 - beta.powf(f64::from(t));
            let factors = Factors {
                keep: 1.0 - lr * self.decay.rate(role),
                step: lr / power(self.betas[0]),
                root: power(self.betas[1]).sqrt(),
            };
            let [value, first, second] = self.update([value, gradient, &first, &second], factors)?;
            params.set(name, value)?;
            self.first.insert(name.clone(), first);
            self.second.insert(name.clone(), second);
            self.steps.insert(name.clone(), t);
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        state::write(&mut all, "first", &self.first);
        state::write(&mut all, "second", &self.second);
        let step = |(name, t): (&String, &u32)| Ok((name.clone(), Tensor::new(*t, &Device::Cpu)?));
        state::write(&mut all, "step", &self.steps.iter().map(step).collect::<Result<_>>()?);
        Ok(all)
    }

    fn load(&mut self, mut all: BTreeMap<String, Tensor>) -> Result<()> {
        let (first, second) = (state::take(&mut all, "first"), state::take(&mut all, "second"));
        let steps = state::take(&mut all, "step");
        state::finish(&all, "adamw")?;
        if !first.keys().eq(second.keys()) || !first.keys().eq(steps.keys()) {
            return Err(misfit("step", "averages and step counts are not of the same parameters".to_owned()));
        }
        let count = |(name, t): (String, Tensor)| Ok((name, t.to_dtype(DType::U32)?.to_scalar()?));
        self.steps = steps.into_iter().map(count).collect::<Result<_>>()?;
        (self.first, self.second) = (first, second);
        Ok(())
    }
}
