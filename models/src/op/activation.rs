//! Activations: functions of one element.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Operation, ParamSpec};

/// A function of one element; the shape stays. In files: `{"function": "relu"}`, `{"function": "leaky-relu", "slope": 0.1}`.
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
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`, also called swish (Ramachandran et al. 2017; Elfwing et al. 2018).
    Silu,
    /// `x / 2 * (1 + erf(x / sqrt(2)))` (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`, the same paper's approximation.
    GeluTanh,
    /// `x` above 0, `slope * x` elsewhere (Maas et al. 2013).
    LeakyRelu(Slope),
}

/// What a leaky ReLU multiplies by below 0: a finite number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slope(u32);

impl Slope {
    /// PyTorch's default, 0.01.
    pub const DEFAULT: Self = Self(0.01f32.to_bits());

    /// A slope; `None` for what is not finite.
    pub fn new(slope: f32) -> Option<Self> {
        slope.is_finite().then(|| Self(slope.to_bits()))
    }

    /// The number.
    pub fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl fmt::Debug for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl Activation {
    /// Every activation, for tables and tests; of those with settings, one.
    pub const ALL: [Self; 9] = [
        Self::Relu,
        Self::Relu6,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Sigmoid,
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::LeakyRelu(Slope::DEFAULT),
    ];

    /// Its word in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::HardSwish => "hard-swish",
            Self::HardSigmoid => "hard-sigmoid",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::LeakyRelu(_) => "leaky-relu",
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
            Self::HardSwish
            | Self::HardSigmoid
            | Self::Sigmoid
            | Self::Silu
            | Self::Gelu
            | Self::GeluTanh
            | Self::LeakyRelu(_) => None,
        }
    }

    /// Whether a pass that goes back keeps the output, from which the derivative can be told (a clamp's and a sigmoid's),
    /// and not the input.
    pub fn keeps_output(self) -> bool {
        self.clamp().is_some() || matches!(self, Self::Sigmoid)
    }

    fn slope(self) -> Option<f32> {
        match self {
            Self::LeakyRelu(slope) => Some(slope.value()),
            _ => None,
        }
    }
}

/// Its settings as an object; a function has the numbers that it needs and no others.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    function: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slope: Option<f32>,
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text { function: self.name().to_owned(), slope: self.slope() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text { function, slope } = Text::deserialize(deserializer)?;
        let fail = |problem: String| Err(serde::de::Error::custom(problem));
        let Some(known) = Self::ALL.into_iter().find(|known| known.name() == function) else {
            let known = Self::ALL.map(Self::name).join(", ");
            return fail(format!("unknown function `{function}`, expected one of {known}"));
        };
        match (known, slope) {
            (Self::LeakyRelu(_), None) => fail(format!("`{function}` without its `slope`")),
            (Self::LeakyRelu(_), Some(slope)) => match Slope::new(slope) {
                Some(slope) => Ok(Self::LeakyRelu(slope)),
                None => fail(format!("slope = {slope}, expected a finite number")),
            },
            (_, Some(_)) => fail(format!("`{function}` has no `slope`")),
            (_, None) => Ok(known),
        }
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
