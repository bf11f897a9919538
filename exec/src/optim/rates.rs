//! The learning rate of a step, and the parameters that have a multiple of it.

use std::collections::BTreeMap;

#[cfg(feature = "cuda")]
use candle_core::Tensor;

#[cfg(feature = "cuda")]
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::params::Params;

/// The learning rate of every parameter.
#[derive(Debug, Clone, Copy)]
pub struct Rates<'a> {
    base: f64,
    factors: Option<&'a BTreeMap<String, f64>>,
}

impl<'a> Rates<'a> {
    /// `base` for all parameters.
    pub fn uniform(base: f64) -> Self {
        Self { base, factors: None }
    }

    /// `base`, and of the parameters in `factors` so many times it.
    pub fn new(base: f64, factors: &'a BTreeMap<String, f64>) -> Self {
        Self { base, factors: (!factors.is_empty()).then_some(factors) }
    }

    /// Of the parameter called `name`.
    pub fn of(&self, name: &str) -> f64 {
        self.factors.and_then(|factors| factors.get(name)).map_or(self.base, |factor| self.base * factor)
    }

    /// Calls `step` for the parameters of each learning rate, with their gradients and that rate: a device that steps many
    /// parameters in one launch has one rate in each.
    #[cfg(feature = "cuda")]
    pub(super) fn each(
        &self,
        params: &mut Params,
        grads: &BTreeMap<String, Tensor>,
        mut step: impl FnMut(&mut Params, &BTreeMap<String, Tensor>, f64) -> Result<()>,
    ) -> Result<()> {
        if self.factors.is_none() {
            return step(params, grads, self.base);
        }
        let mut groups: BTreeMap<u64, f64> = BTreeMap::new();
        groups.extend(params.trained().map(|(name, ..)| (self.of(name).to_bits(), self.of(name))));
        for rate in groups.into_values() {
            let own = |name: &str| self.of(name).to_bits() == rate.to_bits();
            let mut part = params.clone();
            part.retain(own);
            let grads = grads.iter().filter(|(name, _)| own(name)).map(|(name, g)| (name.clone(), g.clone())).collect();
            step(&mut part, &grads, rate)?;
            params.take(&part)?;
        }
        Ok(())
    }
}
