//! Channels of zeros: the shortcut of option A (He et al. 2015, section 4.2).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, bounded, image};

/// Adds channels of zeros before and after: `[C, H, W] -> [before + C + after, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadChannels {
    /// Zero channels before.
    pub before: usize,
    /// Zero channels after.
    pub after: usize,
}

impl Operation for PadChannels {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("channels before and after", &[self.before, self.after])?;
        let [c, h, w] = image(inputs[0])?;
        Ok(vec![c + self.before + self.after, h, w])
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { before: 1, after: 2 }, vec![vec![4, 5, 6]])
    }
}
