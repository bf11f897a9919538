//! Batch normalisation (Ioffe and Szegedy 2015).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, Role, image, same_channels};

/// Batch normalisation over `N, H, W`; parameters `weight`, `bias`, buffers `running_mean`, `running_var`, all `[C]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm2d {
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Share of the new batch statistic in the running one (PyTorch's convention; 0.1 is usual).
    pub momentum: f64,
}

impl BatchNorm2d {
    /// With PyTorch's defaults: `eps` 1e-5, `momentum` 0.1.
    pub fn new(channels: usize) -> Self {
        Self { channels, eps: 1e-5, momentum: 0.1 }
    }
}

impl Operation for BatchNorm2d {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        let [c, ..] = image(inputs[0])?;
        same_channels(self.channels, c)?;
        if !(self.eps.is_finite() && self.eps >= 0.0 && (0.0..=1.0).contains(&self.momentum)) {
            let (eps, momentum) = (self.eps, self.momentum);
            return Err(format!("eps = {eps} and momentum = {momentum}, expected eps >= 0 and momentum in [0, 1]"));
        }
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        let param = |suffix, role, value| ParamSpec::constant(suffix, self.channels, role, value);
        vec![
            param("weight", Role::NormScale, 1.0),
            param("bias", Role::NormShift, 0.0),
            param("running_mean", Role::RunningMean, 0.0),
            param("running_var", Role::RunningVar, 1.0),
        ]
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self::new(4), vec![vec![4, 5, 6]])
    }
}
