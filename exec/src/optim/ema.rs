//! An exponential moving average of weights: `a = d a + (1 - d) w`. Buffers are copied, never averaged.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::misfit;
use crate::error::Result;
use crate::ops;
use crate::params::Params;

/// The average, which starts as the weights themselves.
#[derive(Debug, Clone)]
pub struct Ema {
    average: Params,
}

impl Ema {
    /// Starts at `params`.
    pub fn new(params: &Params) -> Self {
        Self { average: params.clone() }
    }

    /// Moves towards `params`, keeping the share `decay` of the average.
    ///
    /// # Errors
    /// Parameters that are not those of the start, or a device that failed.
    pub fn update(&mut self, params: &Params, decay: f64) -> Result<()> {
        let trained: Vec<_> = params.trained().collect();
        let pairs = trained.iter().map(|(name, value, _)| Ok((self.average.get(name)?, *value)));
        let mixed = ops::mix(&pairs.collect::<Result<Vec<_>>>()?, decay)?;
        for ((name, ..), value) in trained.into_iter().zip(mixed) {
            self.average.set(name, value)?;
        }
        for (name, value, _) in params.iter().filter(|(.., role)| !role.is_trained()) {
            self.average.set(name, value.clone())?;
        }
        Ok(())
    }

    /// Takes over the values of `names` from `params`: those of parameters that never move, which an average would round.
    pub fn hold<'a>(&mut self, params: &Params, names: impl Iterator<Item = &'a String>) -> Result<()> {
        for name in names {
            if let (Ok(value), Some(_)) = (params.get(name), self.average.role(name)) {
                self.average.set(name, value.clone())?;
            }
        }
        Ok(())
    }

    /// The averaged weights, with the buffers of the last update.
    pub fn params(&self) -> &Params {
        &self.average
    }

    /// The averages and buffers, by parameter name.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.average.iter().map(|(name, tensor, _)| (name.to_owned(), tensor.clone())).collect()
    }

    /// Goes on from what [`Ema::state`] returned.
    ///
    /// # Errors
    /// Names or shapes that are not those of the start.
    pub fn load(&mut self, state: BTreeMap<String, Tensor>) -> Result<()> {
        if let Some((name, ..)) = self.average.iter().find(|(name, ..)| !state.contains_key(*name)) {
            return Err(misfit(name, "is missing in the saved average".to_owned()));
        }
        let mut average = self.average.clone();
        for (name, tensor) in state {
            average.set(&name, tensor)?;
        }
        self.average = average;
        Ok(())
    }
}
