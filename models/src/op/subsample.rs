//! Rows and columns left out: the shortcut of option A (He et al. 2015, section 4.2).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, image};

/// Keeps every `stride`-th row and column, from the first: `x[:, ::stride, ::stride]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsample {
    /// Step in both directions.
    pub stride: usize,
}

impl Operation for Subsample {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [c, h, w] = image(inputs[0])?;
        if self.stride == 0 {
            return Err("a stride of 0".to_owned());
        }
        Ok(vec![c, h.div_ceil(self.stride), w.div_ceil(self.stride)])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { stride: 2 }, vec![vec![4, 7, 8]])
    }
}
