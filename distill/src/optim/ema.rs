//! An exponential moving average of weights: `a = d a + (1 - d) w`. Buffers are copied, never averaged.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::fused::map;
use super::misfit;
use crate::error::Result;
use crate::ops::Backend;
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
        #[cfg(feature = "cuda")]
        if super::cuda::steps(params) {
            return super::cuda::mix(&mut self.average, params, decay);
        }
        for (name, value, role) in params.iter() {
            let next = if role.is_trained() { mix(self.average.get(name)?, value, decay)? } else { value.clone() };
            self.average.set(name, next)?;
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

fn mix(average: &Tensor, value: &Tensor, decay: f64) -> Result<Tensor> {
    if Backend::of(average.device()) != Backend::Cpu {
        return Ok(((average * decay)? + (value * (1.0 - decay))?)?);
    }
    let (keep, rest) = (decay as f32, (1.0 - decay) as f32);
    let [mixed] = map([average, value], |[a, w]| [keep * a + rest * w])?;
    Ok(mixed)
}
