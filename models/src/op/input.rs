//! Where images come in.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, bounded};

/// The network's input, `[C, H, W]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Shape of one sample.
    pub shape: Vec<usize>,
}

impl Operation for Input {
    fn inputs(&self) -> usize {
        0
    }

    fn output_shape(&self, _inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("sizes", &self.shape)?;
        match self.shape.as_slice() {
            [c, h, w] if c * h * w > 0 => Ok(self.shape.clone()),
            _ => Err(format!("an input is [C, H, W] without zeros, got {:?}", self.shape)),
        }
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { shape: vec![3, 8, 7] }, Vec::new())
    }
}
