//! Operations bound to the parameters of a network: settings, and where its parameters stand. Made
//! once, so that a step looks nothing up by name.

use attar_models::op::{Activation, Conv2d, Pad2d, Pool2d};
use attar_models::{Graph, Node, Op};

use crate::error::{Error, Result};
use crate::ops::Levels;
use crate::params::{ParamId, Params};

/// Where the parameters of an operation stand that has a weight and perhaps a bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightSlots {
    pub(super) weight: ParamId,
    pub(super) bias: Option<ParamId>,
}

/// Where the parameters and buffers of a batch norm stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormSlots {
    pub(super) weight: ParamId,
    pub(super) bias: ParamId,
    pub(super) mean: ParamId,
    pub(super) variance: ParamId,
}

/// Where the buffers of a quantiser stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelSlots {
    pub(super) scale: ParamId,
    pub(super) zero_point: ParamId,
}

impl LevelSlots {
    /// What the numbers stand for.
    pub(super) fn levels(self, params: &Params) -> Levels<'_> {
        Levels { scale: params.value(self.scale), zero_point: params.value(self.zero_point) }
    }
}

/// An operation as it runs.
#[derive(Debug, Clone)]
pub(super) enum BoundOp {
    Input,
    Conv2d { conv: Conv2d, slots: WeightSlots },
    BatchNorm2d { eps: f64, momentum: f64, slots: NormSlots },
    Activation(Activation),
    LayerNorm2d { eps: f64, slots: WeightSlots },
    Scale { trained: bool, slots: WeightSlots },
    PRelu { weight: ParamId },
    Add,
    Mul,
    Subsample { stride: usize },
    PadChannels { before: usize, after: usize },
    MaxPool2d(Pool2d),
    AvgPool2d(Pool2d),
    GlobalAvgPool,
    Flatten,
    Dropout { p: f64 },
    StochasticDepth { p: f64 },
    Linear { slots: WeightSlots },
    Concat,
    SliceChannels { start: usize, end: usize },
    ChannelShuffle { groups: usize },
    Pad2d(Pad2d),
    Reshape { shape: Vec<usize> },
    Softmax,
    Quantize { range: [f32; 2], slots: LevelSlots },
    Dequantize { slots: LevelSlots },
}

impl BoundOp {
    /// One for each node of the graph, whose parameters these are.
    pub(super) fn all(graph: &Graph, params: &Params) -> Result<Vec<Self>> {
        graph.nodes().iter().map(|node| Self::of(node, params)).collect()
    }

    fn of(node: &Node, params: &Params) -> Result<Self> {
        let slot = |suffix: &str| params.id(&format!("{}.{suffix}", node.name));
        let weights = |bias: bool| -> Result<WeightSlots> {
            Ok(WeightSlots { weight: slot("weight")?, bias: bias.then(|| slot("bias")).transpose()? })
        };
        let levels = || Ok::<_, Error>(LevelSlots { scale: slot("scale")?, zero_point: slot("zero_point")? });
        Ok(match &node.op {
            Op::Input(_) => Self::Input,
            Op::Conv2d(conv) => Self::Conv2d { conv: conv.clone(), slots: weights(conv.bias)? },
            Op::BatchNorm2d(norm) => {
                let (mean, variance) = (slot("running_mean")?, slot("running_var")?);
                let slots = NormSlots { weight: slot("weight")?, bias: slot("bias")?, mean, variance };
                Self::BatchNorm2d { eps: norm.eps, momentum: norm.momentum, slots }
            }
            Op::Activation(activation) => Self::Activation(*activation),
            Op::LayerNorm2d(norm) => Self::LayerNorm2d { eps: norm.eps, slots: weights(true)? },
            Op::Scale(scale) => Self::Scale { trained: scale.trained, slots: weights(scale.bias)? },
            Op::PRelu(_) => Self::PRelu { weight: slot("weight")? },
            Op::Add(_) => Self::Add,
            Op::Mul(_) => Self::Mul,
            Op::Subsample(subsample) => Self::Subsample { stride: subsample.stride },
            Op::PadChannels(pad) => Self::PadChannels { before: pad.before, after: pad.after },
            Op::MaxPool2d(pool) => Self::MaxPool2d(pool.clone()),
            Op::AvgPool2d(pool) => Self::AvgPool2d(pool.clone()),
            Op::GlobalAvgPool(_) => Self::GlobalAvgPool,
            Op::Flatten(_) => Self::Flatten,
            Op::Dropout(dropout) => Self::Dropout { p: dropout.p },
            Op::StochasticDepth(depth) => Self::StochasticDepth { p: depth.p },
            Op::Linear(linear) => Self::Linear { slots: weights(linear.bias)? },
            Op::Concat(_) => Self::Concat,
            Op::SliceChannels(slice) => Self::SliceChannels { start: slice.start, end: slice.end },
            Op::ChannelShuffle(shuffle) => Self::ChannelShuffle { groups: shuffle.groups },
            Op::Pad2d(pad) => Self::Pad2d(*pad),
            Op::Softmax(_) => Self::Softmax,
            Op::Quantize(quantize) => Self::Quantize { range: quantize.range(), slots: levels()? },
            Op::Dequantize(_) => Self::Dequantize { slots: levels()? },
            Op::Reshape(reshape) => Self::Reshape { shape: reshape.shape.clone() },
        })
    }

    /// The parameters that learn, none of them a buffer.
    pub(super) fn trained(&self) -> impl Iterator<Item = ParamId> + use<> {
        let slots = match self {
            Self::Conv2d { slots, .. }
            | Self::Linear { slots }
            | Self::LayerNorm2d { slots, .. }
            | Self::Scale { trained: true, slots } => [Some(slots.weight), slots.bias],
            Self::PRelu { weight } => [Some(*weight), None],
            Self::BatchNorm2d { slots, .. } => [Some(slots.weight), Some(slots.bias)],
            Self::Input
            | Self::Scale { trained: false, .. }
            | Self::Activation(_)
            | Self::Add
            | Self::Mul
            | Self::Subsample { .. }
            | Self::PadChannels { .. }
            | Self::MaxPool2d(_)
            | Self::AvgPool2d(_)
            | Self::GlobalAvgPool
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::Concat
            | Self::SliceChannels { .. }
            | Self::ChannelShuffle { .. }
            | Self::Pad2d(_)
            | Self::Reshape { .. }
            | Self::StochasticDepth { .. }
            | Self::Softmax
            | Self::Quantize { .. }
            | Self::Dequantize { .. } => [None, None],
        };
        slots.into_iter().flatten()
    }

    /// The scale of a quantiser, which learns where the network is told so.
    pub(super) fn scale(&self) -> Option<ParamId> {
        let (Self::Quantize { slots, .. } | Self::Dequantize { slots }) = self else { return None };
        Some(slots.scale)
    }
}
