//! Activations: functions of one element.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Operation, ParamSpec};

/// A function of one element; the shape stays. In files: `{"function": "relu"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, section 5.2).
    HardSwish,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
}

impl Activation {
    /// Every activation, for tables and tests.
    pub const ALL: [Self; 4] = [Self::Relu, Self::Relu6, Self::HardSwish, Self::HardSigmoid];

    /// Its word in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::HardSwish => "hard-swish",
            Self::HardSigmoid => "hard-sigmoid",
        }
    }

    /// The largest value, where it is a clamp to 0 and above; `None` for what is no clamp.
    ///
    /// A clamp's derivative can be told from its output, so a pass that goes back need not keep its input, and an
    /// operation before it may take it in.
    pub fn clamp(self) -> Option<f32> {
        match self {
            Self::Relu => Some(f32::INFINITY),
            Self::Relu6 => Some(6.0),
            Self::HardSwish | Self::HardSigmoid => None,
        }
    }
}

/// Its settings as an object, so that a function may get numbers of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    function: String,
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text { function: self.name().to_owned() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text { function } = Text::deserialize(deserializer)?;
        Self::ALL.into_iter().find(|known| known.name() == function).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            serde::de::Error::custom(format!("unknown function `{function}`, expected one of {known}"))
        })
    }
}

impl Operation for Activation {
    fn inputs(&self) -> usize {
        1
    }

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(inputs[0].to_vec())
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn macs(&self, _output: &[usize]) -> u64 {
        0
    }

    fn example() -> (Self, Vec<Vec<usize>>) {
        (Self::Relu, vec![vec![4, 5, 6]])
    }
}
