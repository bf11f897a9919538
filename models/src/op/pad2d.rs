//! Zeros around an image.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, bounded, image};

/// Zeros around an image, as many on each side as it says: `[C, H, W] -> [C, top + H + bottom, left + W + right]`. Before a
/// convolution without padding it is TensorFlow's "SAME", which may pad one side more than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad2d {
    /// Rows of zeros above.
    pub top: usize,
    /// Columns of zeros before.
    pub left: usize,
    /// Rows of zeros below.
    pub bottom: usize,
    /// Columns of zeros behind.
    pub right: usize,
}

impl Operation for Pad2d {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let Self { top, left, bottom, right } = *self;
        bounded("rows and columns of zeros", &[top, left, bottom, right])?;
        let [c, h, w] = image(inputs[0])?;
        Ok(vec![c, top + h + bottom, left + w + right])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { top: 1, left: 0, bottom: 2, right: 3 }, vec![vec![4, 5, 6]])
    }
}
