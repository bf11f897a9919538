//! A factor, and perhaps a shift, of each channel.

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, Role, bounded, channels_of, same_channels};

/// `y = x * weight + bias` along the channels of `[C, H, W]`, or of `[F]`; parameters `weight [C]` and, if set, `bias [C]`.
///
/// Trained, it is LayerScale (Touvron et al. 2021, "Going deeper with image transformers", equation 3), whose weight
/// decays no more than a norm's. Otherwise both are constants of the network that no optimiser touches, e.g. the
/// normalisation that a file does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Channels.
    pub channels: usize,
    /// Whether something is added, too.
    pub bias: bool,
    /// Whether an optimiser changes them.
    pub trained: bool,
}

impl Operation for Scale {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("scale", &[self.channels])?;
        same_channels(self.channels, channels_of(inputs[0])?)?;
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        let role = |trained| if self.trained { trained } else { Role::Constant };
        let weight = ParamSpec::constant("weight", self.channels, role(Role::NormScale), 1.0);
        let bias = ParamSpec::constant("bias", self.channels, role(Role::NormShift), 0.0);
        std::iter::once(weight).chain(self.bias.then_some(bias)).collect()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { channels: 4, bias: true, trained: true }, vec![vec![4, 5, 6]])
    }
}
