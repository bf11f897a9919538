//! The parametric ReLU.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, Role, bounded, channels_of};

/// `x` above 0, `weight * x` elsewhere (He et al. 2015, "Delving deep into rectifiers", equation 1), of `[C, H, W]` or
/// `[F]`; parameter `weight [channels]`, which begins as 0.25: one slope a channel, or one for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PRelu {
    /// Slopes: as many as channels, or 1.
    pub channels: usize,
}

impl Operation for PRelu {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("prelu", &[self.channels])?;
        let channels = channels_of(inputs[0])?;
        if self.channels != channels && self.channels != 1 {
            return Err(format!("{} slopes for {channels} channels, expected as many, or 1", self.channels));
        }
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        vec![ParamSpec::constant("weight", self.channels, Role::Slope, 0.25)]
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { channels: 4 }, vec![vec![4, 5, 6]])
    }
}
