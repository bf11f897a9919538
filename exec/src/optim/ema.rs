//! An exponential moving average of weights: `a = d a + (1 - d) w`. Buffers are copied, never
//! averaged.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::misfit;
use crate::error::Result;
use crate::ops::{self, Backend};
use crate::params::{ParamId, Params};

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
    pub fn update(&mut self, on: Backend, params: &Params, decay: f64) -> Result<()> {
        self.same(params)?;
        let trained: Vec<ParamId> = params.trained_slots().collect();
        let pairs: Vec<_> = trained.iter().map(|slot| (self.average.value(*slot), params.value(*slot))).collect();
        let mixed = ops::mix(on, &pairs, decay)?;
        for (slot, value) in trained.into_iter().zip(mixed) {
            self.average.replace(slot, value)?;
        }
        for slot in params.buffer_slots() {
            self.average.replace(slot, params.value(slot).clone())?;
        }
        Ok(())
    }

    /// Takes over the values of these slots from `params`: those of parameters that never move,
    /// which an average would round.
    ///
    /// # Errors
    /// As [`Ema::update`].
    pub fn hold(&mut self, params: &Params, slots: impl Iterator<Item = ParamId>) -> Result<()> {
        self.same(params)?;
        slots.into_iter().try_for_each(|slot| self.average.replace(slot, params.value(slot).clone()))
    }

    fn same(&self, params: &Params) -> Result<()> {
        let mut both = self.average.iter().zip(params.iter());
        if let Some(((ours, ..), (theirs, ..))) = both.find(|((ours, ..), (theirs, ..))| ours != theirs) {
            return Err(misfit(theirs, format!("the average has `{ours}` in its place")));
        }
        if self.average.len() != params.len() {
            let problem = format!("an average of {} tensors cannot follow {}", self.average.len(), params.len());
            return Err(misfit("average", problem));
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
