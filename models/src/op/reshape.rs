//! The same elements in another shape.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, bounded, channels, countable};

/// The elements of a sample, row-major as `[C, H, W]` or `[F]`, in another shape of one of these two kinds with as many
/// elements: `[F] -> [F, 1, 1]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// Shape of an output sample, `[C, H, W]` or `[F]`.
    pub shape: Vec<usize>,
}

impl Operation for Reshape {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("sizes", &self.shape)?;
        channels(&self.shape)?;
        channels(inputs[0])?;
        countable("value", &self.shape)?;
        if self.shape.iter().product::<usize>() != inputs[0].iter().product::<usize>() {
            return Err(format!("makes {:?} of {:?}, which has another number of elements", self.shape, inputs[0]));
        }
        Ok(self.shape.clone())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { shape: vec![5, 2, 12] }, vec![vec![4, 5, 6]])
    }
}
