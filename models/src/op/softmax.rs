//! Shares of a whole.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, channels};

/// `y_c = exp(x_c) / sum_k exp(x_k)`, over the features of `[F]`, or over the channels of each pixel of `[C, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {}

impl Operation for Softmax {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        channels(inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self {}, vec![vec![7, 5, 6]])
    }
}
