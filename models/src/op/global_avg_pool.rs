//! The mean of each channel.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, image};

/// Mean over height and width: `[C, H, W] -> [C]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool {}

impl Operation for GlobalAvgPool {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(vec![image(inputs[0])?[0]])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self {}, vec![vec![4, 5, 6]])
    }
}
