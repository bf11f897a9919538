//! What a training pass keeps for its backward pass: per step, the tensors its gradient reads and nothing else.

use candle_core::{DType, Tensor};

use super::plan::Plan;
use crate::error::Result;
use crate::ops::{self, BatchStats};

/// A training pass, to be consumed by [`Network::backward`](super::Network::backward).
#[derive(Debug)]
pub struct Tape {
    pub(super) plan: Plan,
    /// One entry per step of the plan.
    pub(super) saved: Vec<Saved>,
    /// Samples in the batch.
    pub(super) batch: usize,
    /// What images were stored as, and their gradients will be.
    pub(super) stored: DType,
}

/// As values of a pass are stored: images as `images`, everything else as `f32`.
pub(super) fn as_stored(x: &Tensor, images: DType) -> Result<Tensor> {
    ops::convert(x, if x.rank() == 4 { images } else { DType::F32 })
}

/// What one step keeps.
#[derive(Debug)]
pub(super) enum Saved {
    /// Shapes say it all.
    Nothing,
    /// The input of a convolution or a linear layer, for the gradient of its weight.
    Input(Tensor),
    /// The output of an activation: where it was clamped.
    Output(Tensor),
    /// The input of a batch norm, the statistics of the batch, and the output if an activation is part of the step.
    Norm { x: Tensor, stats: BatchStats, activated: Option<Tensor> },
    /// Of a batch norm by running statistics: the output if an activation is part of the step.
    Still { activated: Option<Tensor> },
    /// Where each maximum was.
    Argmax(Tensor),
    /// What dropout multiplied by.
    Mask(Tensor),
}
