//! The learning rate of a step, the parameters that have a multiple of it, and those that keep
//! still.

use crate::params::ParamId;

/// The learning rate of every parameter.
#[derive(Debug, Clone, Copy)]
pub struct Rates<'a> {
    base: f64,
    factors: &'a [Option<f64>],
}

impl<'a> Rates<'a> {
    /// `base` for all parameters.
    pub fn uniform(base: f64) -> Self {
        Self { base, factors: &[] }
    }

    /// By slot, so many times `base`, or none at all: such a parameter does not move. Slots beyond
    /// the list have `base`.
    pub fn new(base: f64, factors: &'a [Option<f64>]) -> Self {
        Self { base, factors }
    }

    /// Of the parameter in a slot, if it moves.
    pub fn of(&self, slot: ParamId) -> Option<f64> {
        match self.factors.get(slot.index()) {
            None => Some(self.base),
            Some(factor) => factor.map(|factor| self.base * factor),
        }
    }
}
