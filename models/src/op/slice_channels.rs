//! A run of channels.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, channels};

/// Keeps channels `start` up to, but without, `end`: `[C, H, W] -> [end - start, H, W]`, or features `[F] -> [end - start]`.
/// With two of them, ShuffleNet V2 (Ma et al. 2018) splits its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceChannels {
    /// The first channel that is kept.
    pub start: usize,
    /// The first one behind them that is not.
    pub end: usize,
}

impl Operation for SliceChannels {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let (count, Self { start, end }) = (channels(inputs[0])?, *self);
        if start >= end || end > count {
            return Err(format!("keeps channels {start} to {end} of {count}, expected start < end <= {count}"));
        }
        Ok([&[end - start], &inputs[0][1..]].concat())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { start: 2, end: 5 }, vec![vec![7, 5, 6]])
    }
}
