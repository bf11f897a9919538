//! How gradients become steps: SGD and AdamW with PyTorch's semantics, gradient clipping, a moving
//! average of weights.
//!
//! A step reads tensors and makes new ones; nothing is changed in place, so a copy of the
//! parameters taken before the step stays what it was. On the CPU each step is one pass over
//! memory, on CUDA one launch for all parameters, on other devices it is Candle operations.

mod adamw;
mod clip;
#[cfg(feature = "cuda")]
mod cuda;
mod ema;
mod rates;
mod sgd;
mod state;

use std::collections::BTreeMap;
use std::fmt;

use attar_models::Role;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::params::{ParamId, Params, Slots};

pub use adamw::AdamW;
pub use clip::clip_global_norm;
pub use ema::Ema;
pub use rates::Rates;
pub use sgd::Sgd;

/// Turns gradients into steps. All of its state is in [`Optimiser::state`], so that a run resumes
/// bit for bit.
pub trait Optimiser: fmt::Debug + Send {
    /// One step at these learning rates, for every trained parameter that has one. One without a
    /// gradient has the gradient zero: its weight decay and momentum go on, as in PyTorch where a
    /// loss has the weight 0. Buffers never move. `gradients` go by the slots of `params`, and so
    /// does all that an optimiser keeps: the parameters of every step are those of the first.
    ///
    /// # Errors
    /// A gradient for what does not move, or of another shape; a device that failed.
    fn step_at(&mut self, on: Backend, params: &mut Params, gradients: &Slots, rates: &Rates<'_>) -> Result<()>;

    /// One step at learning rate `lr` for all parameters.
    ///
    /// # Errors
    /// As [`Optimiser::step_at`].
    fn step(&mut self, on: Backend, params: &mut Params, gradients: &Slots, lr: f64) -> Result<()> {
        self.step_at(on, params, gradients, &Rates::uniform(lr))
    }

    /// Everything the next step of `params` depends on, by name: `momentum.<parameter>`, ...
    ///
    /// # Errors
    /// A device that failed.
    fn state(&self, params: &Params) -> Result<BTreeMap<String, Tensor>>;

    /// Goes on with `params` from what [`Optimiser::state`] returned.
    ///
    /// # Errors
    /// Names that this optimiser does not write, parameters that are not there, shapes that are not
    /// theirs.
    fn load(&mut self, params: &Params, state: BTreeMap<String, Tensor>) -> Result<()>;
}

/// An optimiser as a recipe writes it: `{ kind = "sgd", momentum = 0.9, weight_decay = 5e-4 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimiserSpec {
    /// Stochastic gradient descent; weight decay is added to the gradient.
    Sgd {
        /// Share of the last direction that is kept, in `[0, 1)`.
        #[serde(default)]
        momentum: f64,
        /// Look ahead along the momentum.
        #[serde(default)]
        nesterov: bool,
        /// Weight decay.
        #[serde(default)]
        weight_decay: f64,
        /// Exempt biases and the scales and shifts of norms from weight decay.
        #[serde(default)]
        no_decay_norm_and_bias: bool,
    },
    /// Adam with weight decay on the weights themselves (Loshchilov and Hutter 2019, arXiv
    /// 1711.05101).
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the averages of the gradient and of its square, in `[0, 1)`.
        #[serde(default = "default_betas")]
        betas: [f64; 2],
        /// Added to the root of the second average.
        #[serde(default = "default_eps")]
        eps: f64,
        /// Weight decay; multiplied by the learning rate.
        #[serde(default = "default_decay")]
        weight_decay: f64,
        /// Exempt biases and the scales and shifts of norms from weight decay.
        #[serde(default)]
        no_decay_norm_and_bias: bool,
    },
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_decay() -> f64 {
    0.01
}

impl OptimiserSpec {
    /// Checks the settings and makes the optimiser, before its first step.
    ///
    /// # Errors
    /// [`Error::Optimiser`] naming the setting.
    pub fn build(&self) -> Result<Box<dyn Optimiser>> {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay, no_decay_norm_and_bias } => {
                check("momentum", momentum, (0.0..1.0).contains(&momentum), "a number in [0, 1)")?;
                check("nesterov", momentum, !nesterov || momentum > 0.0, "momentum above 0 to go with nesterov")?;
                let decay = Decay::new(weight_decay, no_decay_norm_and_bias)?;
                Ok(Box::new(Sgd::new(momentum, nesterov, decay)))
            }
            Self::AdamW { betas, eps, weight_decay, no_decay_norm_and_bias } => {
                for beta in betas {
                    check("betas", beta, (0.0..1.0).contains(&beta), "numbers in [0, 1)")?;
                }
                check("eps", eps, eps.is_finite() && eps > 0.0, "a finite number above 0")?;
                let decay = Decay::new(weight_decay, no_decay_norm_and_bias)?;
                Ok(Box::new(AdamW::new(betas, eps, decay)))
            }
        }
    }
}

fn check(setting: &'static str, value: f64, fine: bool, expected: &str) -> Result<()> {
    if fine {
        return Ok(());
    }
    Err(Error::Optimiser { setting, problem: format!("{value} does not do, expected {expected}") })
}

/// Weight decay and whom it spares.
#[derive(Debug, Clone, Copy)]
pub struct Decay {
    rate: f64,
    spares_norm_and_bias: bool,
}

impl Decay {
    /// Decay at `rate`, for weights only if `spares_norm_and_bias`.
    ///
    /// # Errors
    /// [`Error::Optimiser`] for a rate that is negative or not finite.
    pub fn new(rate: f64, spares_norm_and_bias: bool) -> Result<Self> {
        check("weight_decay", rate, rate.is_finite() && rate >= 0.0, "a finite number, 0 or above")?;
        Ok(Self { rate, spares_norm_and_bias })
    }

    fn rate(self, role: Role) -> f64 {
        let spared = role == Role::Step || (self.spares_norm_and_bias && role != Role::Weight);
        if spared { 0.0 } else { self.rate }
    }
}

/// A parameter that moves in a step.
struct Moving {
    slot: ParamId,
    value: Tensor,
    gradient: Tensor,
    role: Role,
    rate: f64,
}

/// Every parameter that moves, checked: gradients fit, and none is left over.
fn moving(params: &Params, gradients: &Slots, rates: &Rates<'_>) -> Result<Vec<Moving>> {
    let entries: Vec<_> = params.iter().collect();
    for (slot, gradient) in gradients.iter() {
        let Some((name, value, role)) = entries.get(slot.index()) else {
            return Err(misfit("", format!("a gradient in slot {} of {} parameters", slot.index(), entries.len())));
        };
        if !role.is_trained() {
            return Err(misfit(name, "a gradient for a buffer".to_owned()));
        }
        if rates.of(slot).is_none() {
            return Err(misfit(name, "a gradient for a parameter that keeps still".to_owned()));
        }
        if value.shape() != gradient.shape() {
            return Err(misfit(name, format!("gradient of shape {:?} for {:?}", gradient.dims(), value.dims())));
        }
    }
    let mut all = Vec::with_capacity(entries.len());
    for slot in params.trained_slots() {
        let (Some(rate), (_, value, role)) = (rates.of(slot), entries[slot.index()]) else { continue };
        let gradient = gradients.get(slot).cloned().map_or_else(|| value.zeros_like(), Ok)?;
        all.push(Moving { slot, value: value.clone(), gradient, role, rate });
    }
    Ok(all)
}

fn misfit(name: &str, problem: String) -> Error {
    attar_models::Error::Node { node: name.to_owned(), problem }.into()
}
