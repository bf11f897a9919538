//! Values as whole numbers of 8 bits, and back: ONNX's `QuantizeLinear` and `DequantizeLinear`, one scale a tensor (Jacob
//! et al. 2018, equation 1).

use serde::{Deserialize, Serialize};

use super::{Operation, ParamSpec, Role, channels};

/// `clamp(round(x / scale) + zero_point, lo, hi)`, ties to even. The value is a whole number, carried as a float.
///
/// Buffers, which nothing trains: `scale [1]`, above 0, and `zero_point [1]`, a whole number from `lo` to `hi`, stored as
/// `f32` like all parameters. Its gradient is that of a clamp: rounding passes it straight through (Bengio et al. 2013,
/// arXiv 1308.3432).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// Whether the numbers go from -128 to 127 (ONNX's `int8`) and not from 0 to 255 (`uint8`).
    pub signed: bool,
    /// The largest number, where it is less than the type's: ReLU6 in whole steps. Above the zero point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<u8>,
}

impl Quantize {
    /// The least and the largest number.
    pub fn range(&self) -> [f32; 2] {
        let [low, high] = if self.signed { [-128.0, 127.0] } else { [0.0, 255.0] };
        [low, self.high.map_or(high, |own| f32::from(own).min(high))]
    }
}

/// `(q - zero_point) * scale`, for whole numbers carried as floats. Buffers as of [`Quantize`]; whether the numbers are
/// signed is nothing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dequantize {}

fn levels() -> Vec<ParamSpec> {
    let param = |suffix, value| ParamSpec::constant(suffix, 1, Role::Constant, value);
    vec![param("scale", 1.0), param("zero_point", 0.0)]
}

impl Operation for Quantize {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        channels(inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        levels()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self { signed: false, high: None }, vec![vec![4, 5, 6]])
    }
}

impl Operation for Dequantize {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        channels(inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        levels()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self {}, vec![vec![4, 5, 6]])
    }
}
