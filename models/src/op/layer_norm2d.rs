//! Layer normalisation over channels (Ba et al. 2016).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, Role, bounded, channels_of, same_channels};

/// `weight * (x - mean) / sqrt(variance + eps) + bias` with mean and (biased) variance over the channels at each position
/// of `[C, H, W]`, as ConvNeXt does (Liu et al. 2022), or over the features of `[F]`; parameters `weight`, `bias`, `[C]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm2d {
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl Operation for LayerNorm2d {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("layer norm", &[self.channels])?;
        same_channels(self.channels, channels_of(inputs[0])?)?;
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(format!("eps = {}, expected a finite number, 0 or above", self.eps));
        }
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        vec![
            ParamSpec::constant("weight", self.channels, Role::NormScale, 1.0),
            ParamSpec::constant("bias", self.channels, Role::NormShift, 0.0),
        ]
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { channels: 4, eps: 1e-6 }, vec![vec![4, 5, 6]])
    }
}
