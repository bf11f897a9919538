//! The linear layer.

use serde::{Deserialize, Serialize};

use super::{Init, Operation, ParamSpec, Role, bounded};

/// `[F] -> [F']`; parameters `weight [F', F]` and, if set, `bias [F']`, buffer `weight_scale [F']`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Features of the input.
    pub in_features: usize,
    /// Features of the output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the weight is quantised: whole numbers from -128 to 127, carried as floats, times the buffer `weight_scale [F']`.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub quantized: bool,
}

impl Operation for Linear {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        bounded("features", &[self.in_features, self.out_features])?;
        match inputs[0] {
            [f] if *f == self.in_features => Ok(vec![self.out_features]),
            other => Err(format!("expects [{}], got {other:?}", self.in_features)),
        }
    }

    /// Both begin uniform within 1 / sqrt(features), as PyTorch's do.
    fn params(&self) -> Vec<ParamSpec> {
        let init = Init::Uniform(1.0 / (self.in_features as f64).sqrt());
        let shape = vec![self.out_features, self.in_features];
        let mut params = vec![ParamSpec { suffix: "weight", shape, role: Role::Weight, init }];
        if self.bias {
            params.push(ParamSpec { suffix: "bias", shape: vec![self.out_features], role: Role::Bias, init });
        }
        if self.quantized {
            params.push(ParamSpec::constant("weight_scale", self.out_features, Role::Constant, 1.0));
        }
        params
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        (self.out_features * self.in_features) as u64
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { in_features: 12, out_features: 5, bias: true, quantized: false }, vec![vec![12]])
    }
}
