//! Parameters and buffers: what they are for, and how they begin.

/// What a parameter is for; decides weight decay and whether it is trained at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or a linear layer.
    Weight,
    /// Bias of a convolution or a linear layer.
    Bias,
    /// Scale of a norm, or of channels by themselves.
    NormScale,
    /// Shift of a norm, or of channels by themselves.
    NormShift,
    /// Slope below zero of a parametric ReLU.
    Slope,
    /// Logarithm of a step of rounding, which no weight decay pulls at; only whoever trains in whole numbers has such.
    Step,
    /// Running mean of a batch norm: a buffer, never trained.
    RunningMean,
    /// Running variance of a batch norm: a buffer, never trained.
    RunningVar,
    /// A number that an operation computes with and nothing changes, e.g. the scale of a quantiser: a buffer.
    Constant,
}

impl Role {
    /// Whether an optimiser changes it (buffers follow the batches instead, or stay).
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar | Self::Constant)
    }
}

/// The distribution that values are drawn from before the first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform(f64),
    /// Normal around 0 with this standard deviation.
    Normal(f64),
}

/// A parameter or buffer as its operation describes it, without the name of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Last part of the name, PyTorch's: `weight`.
    pub suffix: &'static str,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// How it begins.
    pub init: Init,
}

impl ParamSpec {
    /// One of shape `[len]` that begins as `value` everywhere.
    pub(super) fn constant(suffix: &'static str, len: usize, role: Role, value: f64) -> Self {
        Self { suffix, shape: vec![len], role, init: Init::Constant(value) }
    }
}

/// A named parameter or buffer of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Full name, torchvision's: `layer1.0.conv1.weight`.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// How it begins.
    pub init: Init,
}
