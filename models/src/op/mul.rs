//! The product of an image and one factor a channel.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, image};

/// Product of an image `[C, H, W]` and factors `[C, 1, 1]`, which count for every position (PyTorch's and ONNX's
/// broadcasting): the end of squeeze-and-excitation (Hu et al. 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mul {}

impl Operation for Mul {
    fn inputs(&self) -> usize {
        2
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [c, ..] = image(inputs[0])?;
        if inputs[1] != [c, 1, 1] {
            return Err(format!("multiplies {:?} by [{c}, 1, 1], got {:?}", inputs[0], inputs[1]));
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
        (Self {}, vec![vec![4, 5, 6], vec![4, 1, 1]])
    }
}
