//! What networks are made of, one file a block; families are tables of them.

mod conv_norm;
mod inverted_residual;
mod residual;
mod squeeze_excite;

pub(super) use conv_norm::{ConvNorm, Naming, Norm};
pub(super) use inverted_residual::{InvertedResidual, Parts};
pub(super) use residual::{Branch, Residual};

use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Op, Pool2d};

/// One block. Channels of its input follow from what stands before it.
#[derive(Debug)]
pub(super) enum Block {
    /// Convolution, batch norm, activation.
    ConvNorm(ConvNorm),
    /// Maximum over a window.
    MaxPool(Pool2d),
    /// Two or three convolutions beside a shortcut (ResNets).
    Residual(Residual),
    /// Expansion, depthwise convolution, projection (MobileNets).
    InvertedResidual(InvertedResidual),
}

impl Block {
    /// Adds the block behind `x` under `name`.
    pub(super) fn add(&self, b: &mut GraphBuilder, name: &str, x: NodeId) -> Result<NodeId> {
        match self {
            Self::ConvNorm(block) => block.add(b, name, x),
            Self::MaxPool(pool) => b.add(name, Op::MaxPool2d(pool.clone()), &[x]),
            Self::Residual(block) => block.add(b, name, x),
            Self::InvertedResidual(block) => block.add(b, name, x),
        }
    }
}

impl From<ConvNorm> for Block {
    fn from(block: ConvNorm) -> Self {
        Self::ConvNorm(block)
    }
}

impl From<Residual> for Block {
    fn from(block: Residual) -> Self {
        Self::Residual(block)
    }
}

impl From<InvertedResidual> for Block {
    fn from(block: InvertedResidual) -> Self {
        Self::InvertedResidual(block)
    }
}

/// The multiple of 8 nearest to `channels`, at least 8 and never more than 10 % below (torchvision's
/// `_make_divisible`).
pub(super) fn divisible(channels: f64) -> usize {
    let rounded = (((channels + 4.0) as usize) / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::divisible;

    #[test]
    fn widths_round_as_in_torchvision() {
        let widths = [(1.0, 8), (11.9, 16), (11.2, 16), (16.0, 16), (8.4, 8), (43.0, 40), (3.0, 8), (1792.0, 1792)];
        for (channels, rounded) in widths {
            assert_eq!(divisible(channels), rounded, "{channels}");
        }
    }
}
