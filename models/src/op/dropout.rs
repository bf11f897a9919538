//! Dropout (Srivastava et al. 2014).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec};

/// Zeroes each element with probability `p` in training and scales the rest by `1 / (1 - p)`; identity otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of a zero.
    pub p: f64,
}

impl Operation for Dropout {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(format!("dropout probability {} is not in [0, 1)", self.p));
        }
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { p: 0.5 }, vec![vec![12]])
    }
}
