//! The sum of two values.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec};

/// Sum of two inputs of equal shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operation for Add {
    fn inputs(&self) -> usize {
        2
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        if inputs[0] != inputs[1] {
            return Err(format!("cannot add {:?} and {:?}", inputs[0], inputs[1]));
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
        (Self {}, vec![vec![4, 5, 6]; 2])
    }
}
