//! What a pass keeps for its way back: of each operation a record of its own, with all that its
//! gradient reads and nothing else.

use std::sync::Arc;

use attar_models::Schedule;
use attar_models::op::{Activation, Conv2d, Pad2d, Pool2d};
use candle_core::{DType, Tensor};

use super::bound::{LevelSlots, NormSlots, WeightSlots};
use crate::context::Context;
use crate::error::Result;
use crate::ops::{self, BatchStats};
use crate::params::ParamId;

/// A training pass, to be consumed by [`Network::backward`](super::Network::backward).
#[derive(Debug)]
pub struct Tape {
    pub(super) schedule: Arc<Schedule>,
    /// One of each operation of the schedule.
    pub(super) records: Vec<Record>,
    /// Samples in the batch.
    pub(super) batch: usize,
    /// As the pass computed, and its way back will.
    pub(super) context: Context,
}

/// As values of a pass are stored: images in one type, everything else in another.
pub(super) fn as_stored(context: &Context, x: &Tensor) -> Result<Tensor> {
    let to: DType = if x.rank() == 4 { context.images() } else { context.values() };
    ops::convert(context.backend(), x, to)
}

/// The output of an operation that ended in an activation, which tells where it was clamped.
pub(super) type Activated = Option<(Tensor, Activation)>;

/// What one operation keeps. The way back reads this and not the operation, so that the two cannot
/// disagree.
#[derive(Debug)]
pub(super) enum Record {
    Conv2d {
        conv: Conv2d,
        slots: WeightSlots,
        x: Tensor,
    },
    /// By the statistics of the batch.
    BatchNorm2d {
        slots: NormSlots,
        x: Tensor,
        stats: BatchStats,
        activated: Activated,
        /// Whether something was added before the activation.
        residual: bool,
    },
    /// By running statistics.
    RunningNorm {
        slots: NormSlots,
        eps: f64,
        activated: Activated,
        /// Whether something was added before the activation.
        residual: bool,
    },
    Activation {
        activation: Activation,
        /// Its output or its input, as [`Activation::keeps_output`] says.
        kept: Tensor,
    },
    LayerNorm2d {
        eps: f64,
        slots: WeightSlots,
        x: Tensor,
    },
    Scale {
        slots: WeightSlots,
        /// Where weight and bias learn.
        x: Option<Tensor>,
    },
    PRelu {
        weight: ParamId,
        x: Tensor,
    },
    Add {
        /// `[N, ...]`, of the second input.
        other: Vec<usize>,
    },
    Mul {
        x: Tensor,
        factor: Tensor,
    },
    Subsample {
        stride: usize,
    },
    PadChannels {
        before: usize,
    },
    MaxPool2d {
        pool: Pool2d,
        /// Where each maximum was.
        argmax: Tensor,
    },
    AvgPool2d(Pool2d),
    GlobalAvgPool,
    Flatten,
    Dropout {
        /// What was multiplied by, if anything was dropped.
        mask: Option<Tensor>,
    },
    StochasticDepth {
        /// What was multiplied by, if anything was dropped.
        mask: Option<Tensor>,
    },
    Linear {
        slots: WeightSlots,
        x: Tensor,
    },
    Concat {
        /// Channels of each input.
        widths: Vec<usize>,
    },
    SliceChannels {
        start: usize,
    },
    ChannelShuffle {
        groups: usize,
    },
    Pad2d(Pad2d),
    Reshape,
    Softmax {
        y: Tensor,
    },
    Quantize {
        slots: LevelSlots,
        range: [f32; 2],
        x: Tensor,
    },
    Dequantize {
        slots: LevelSlots,
        /// Whole numbers.
        x: Tensor,
    },
}
