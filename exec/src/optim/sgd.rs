//! Stochastic gradient descent with momentum, as PyTorch's `torch.optim.SGD` (dampening 0).

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Decay, Moving, Optimiser, Rates, moving, state};
use crate::error::Result;
use crate::ops::Backend;
#[cfg(feature = "cuda")]
use crate::ops::cuda::SgdStep;
use crate::ops::fused::map;
use crate::params::{Params, Slots};

/// `d = g + decay w`; `v = momentum v + d` (at first `v = d`); `w -= lr v`, or
/// `w -= lr (d + momentum v)` with Nesterov.
#[derive(Debug)]
pub struct Sgd {
    momentum: f32,
    nesterov: bool,
    decay: Decay,
    velocity: Slots,
}

impl Sgd {
    /// An optimiser before its first step.
    pub fn new(momentum: f64, nesterov: bool, decay: Decay) -> Self {
        Self { momentum: momentum as f32, nesterov, decay, velocity: Slots::default() }
    }

    /// New weights, and the new velocity where there is momentum.
    fn update(
        &self,
        on: Backend,
        w: &Tensor,
        g: &Tensor,
        v: Option<&Tensor>,
        lr: f32,
        decay: f32,
    ) -> Result<[Tensor; 2]> {
        let (momentum, nesterov) = (self.momentum, self.nesterov);
        let ahead = |d: f32, v: f32| if nesterov { d + momentum * v } else { v };
        if on != Backend::Cpu {
            let d = if decay == 0.0 { g.clone() } else { (g + (w * f64::from(decay))?)? };
            let v = v.map_or_else(|| Ok(d.clone()), |v| (v * f64::from(momentum))? + &d)?;
            let direction = if nesterov { (&d + (&v * f64::from(momentum))?)? } else { v.clone() };
            return Ok([(w - (direction * f64::from(lr))?)?, v]);
        }
        match v {
            Some(v) => map([w, g, v], |[w, g, v]| {
                let d = g + decay * w;
                let v = momentum * v + d;
                [w - lr * ahead(d, v), v]
            }),
            None => map([w, g], |[w, g]| {
                let d = g + decay * w;
                [w - lr * ahead(d, d), d]
            }),
        }
    }
}

impl Optimiser for Sgd {
    fn step_at(&mut self, on: Backend, params: &mut Params, gradients: &Slots, rates: &Rates<'_>) -> Result<()> {
        let all = moving(params, gradients, rates)?;
        #[cfg(feature = "cuda")]
        if on.is_cuda() {
            let (momentum, nesterov, decay) = (self.momentum, self.nesterov, self.decay);
            return super::cuda::each_rate(all, |all, lr| {
                let step = SgdStep { lr: lr as f32, momentum, nesterov };
                super::cuda::sgd(params, all, &mut self.velocity, step, decay)
            });
        }
        for Moving { slot, value, gradient, role, rate } in all {
            let decay = self.decay.rate(role) as f32;
            let before = self.velocity.get(slot);
            let [value, velocity] = self.update(on, &value, &gradient, before, rate as f32, decay)?;
            params.replace(slot, value)?;
            if self.momentum != 0.0 {
                self.velocity.put(slot, velocity);
            }
        }
        Ok(())
    }

    fn state(&self, params: &Params) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        state::write(&mut all, "momentum", params, &self.velocity);
        Ok(all)
    }

    fn load(&mut self, params: &Params, mut all: BTreeMap<String, Tensor>) -> Result<()> {
        let velocity = state::take(&mut all, "momentum", params)?;
        state::finish(&all, "sgd")?;
        self.velocity = velocity;
        Ok(())
    }
}
