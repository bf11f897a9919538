//! The product of two values.

use serde::{Deserialize, Serialize};

use super::add::broadcast;
use super::{Operation, ParamSpec};

/// Product of two inputs. The first has the shape of the result; in the second an axis may be 1, whose values count all
/// along it (PyTorch's and ONNX's broadcasting). `[C, H, W]` and `[C, 1, 1]` is the end of squeeze-and-excitation (Hu et
/// al. 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mul {}

impl Operation for Mul {
    fn inputs(&self) -> usize {
        2
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        broadcast("multiply", inputs[0], inputs[1])
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
