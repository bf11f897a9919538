//! Logit standardisation (LSKD: Sun et al. 2024, arXiv 2403.01427): a loss reads the shape of the logits, not their
//! mean and spread, so that a small student need not reach the large logits of its teacher.
//!
//! `Z(z)_k = (z_k - mean(z)) / (std(z) + eps)` of each row, for both networks; gradients pass through the student's
//! mean and deviation. The paper divides by the deviation of the population, the authors' code by the unbiased one plus
//! 1e-7; the code is the default. Deviation from it: a row of equal logits becomes zeros and passes its gradient on
//! unscaled, where theirs divides the gradient by eps = 1e-7.

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::BuildContext;

/// Whether the logits of both networks are standardised before a loss reads them: `true`, `false`, or how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected true, false or { std = \"unbiased\" | \"population\", eps = 1e-7 }")]
pub enum Standardise {
    /// Not at all, or as in the authors' code.
    Switch(bool),
    /// By this deviation.
    By(Spread),
}

/// What logits are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spread {
    /// Which deviation.
    pub std: Deviation,
    /// Added to it.
    pub eps: f64,
}

/// The standard deviation of `K` numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deviation {
    /// Squares are divided by `K - 1`, as in the authors' code.
    #[default]
    Unbiased,
    /// Squares are divided by `K`, as in the paper.
    Population,
}

/// Off.
impl Default for Standardise {
    fn default() -> Self {
        Self::Switch(false)
    }
}

/// The authors' code.
impl Default for Spread {
    fn default() -> Self {
        Self { std: Deviation::default(), eps: 1e-7 }
    }
}

impl Standardise {
    /// Whether logits are standardised.
    pub(in crate::losses) fn is_on(self) -> bool {
        self != Self::Switch(false)
    }

    /// The logits of student and teacher as the loss reads them; the teacher's are constants.
    ///
    /// # Errors
    /// A device that failed.
    pub fn pair(self, student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.apply(student)?, self.apply(&teacher.detach())?))
    }

    /// The logits of one network as the loss reads them.
    fn apply(self, logits: &Tensor) -> Result<Tensor> {
        match self {
            Self::Switch(false) => Ok(logits.clone()),
            Self::Switch(true) => standardise(logits, Spread::default()),
            Self::By(spread) => standardise(logits, spread),
        }
    }

    pub(in crate::losses) fn check(self, context: &BuildContext<'_>) -> Result<()> {
        match self {
            Self::Switch(_) => Ok(()),
            Self::By(spread) => context.at_least_zero("standardise.eps", spread.eps),
        }
    }
}

/// `(z - mean(z)) / (std(z) + eps)` of each row of `[N, K]`. A row of equal logits gives zeros, as if its
/// deviation were 1.
///
/// # Errors
/// Anything but two axes, or a device that failed.
pub fn standardise(logits: &Tensor, spread: Spread) -> Result<Tensor> {
    let (_, classes) = logits.dims2()?;
    let freedom = match spread.std {
        Deviation::Unbiased => classes.saturating_sub(1).max(1),
        Deviation::Population => classes,
    };
    // Less the largest first, so that the mean of equal logits is exactly theirs, whatever their size.
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let centred = shifted.broadcast_sub(&shifted.mean_keepdim(D::Minus1)?)?;
    let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / freedom as f64)?;
    // Where the variance is 0 its root has no gradient.
    let flat = variance.detach().eq(0.0)?.to_dtype(logits.dtype())?;
    let std = ((variance + flat)?.sqrt()? + spread.eps)?;
    Ok(centred.broadcast_div(&std)?)
}
