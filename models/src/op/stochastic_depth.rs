//! Stochastic depth (Huang et al. 2016).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec};

/// Zeroes the whole value of a sample with probability `p` in training and scales the others by `1 / (1 - p)`; identity
/// otherwise. At the end of a residual branch it leaves the branch out (Huang et al. 2016, "Deep networks with stochastic
/// depth", equation 2; the paper scales in evaluation instead, torchvision's `StochasticDepth` in training).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StochasticDepth {
    /// Probability that a sample is zeroed.
    pub p: f64,
}

impl Operation for StochasticDepth {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(format!("probability {} of a sample without the branch is not in [0, 1)", self.p));
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
        (Self { p: 0.5 }, vec![vec![4, 5, 6]])
    }
}
