//! Channels dealt out anew, so that groups learn of each other.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, image};

/// Sees the channels of `[C, H, W]` as `[groups, C / groups]` and transposes that: channel `g * (C / groups) + i` becomes
/// channel `i * groups + g` (Zhang et al. 2018, ShuffleNet, figure 1c; PyTorch's `channel_shuffle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelShuffle {
    /// Groups; they divide the channels.
    pub groups: usize,
}

impl Operation for ChannelShuffle {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [c, ..] = image(inputs[0])?;
        if self.groups == 0 || !c.is_multiple_of(self.groups) {
            return Err(format!("{} groups do not divide {c} channels", self.groups));
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
        (Self { groups: 3 }, vec![vec![12, 5, 6]])
    }
}
