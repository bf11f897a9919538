//! Convolution, batch norm, activation.

use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Activation, BatchNorm2d, Conv2d, Op};

/// Settings of a family's batch norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::zoo) struct Norm {
    pub(in crate::zoo) eps: f64,
    pub(in crate::zoo) momentum: f64,
}

impl Norm {
    /// PyTorch's defaults.
    pub(in crate::zoo) const DEFAULT: Self = Self { eps: 1e-5, momentum: 0.1 };

    fn op(self, channels: usize) -> Op {
        Op::BatchNorm2d(BatchNorm2d { channels, eps: self.eps, momentum: self.momentum })
    }
}

/// How the parts of a block are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::zoo) enum Naming {
    /// `name.0`, `name.1`, `name.2`: torchvision's `Conv2dNormActivation`.
    Numbered,
    /// `conv1`, `bn1`, `relu`: the stem of torchvision's ResNets, whatever the name of the row.
    ResNetStem,
}

/// A square, padded convolution without bias, its batch norm and, if set, an activation.
#[derive(Debug, Clone)]
pub(in crate::zoo) struct ConvNorm {
    pub(in crate::zoo) channels: usize,
    pub(in crate::zoo) kernel: usize,
    pub(in crate::zoo) stride: usize,
    /// One group a channel.
    pub(in crate::zoo) depthwise: bool,
    pub(in crate::zoo) norm: Norm,
    pub(in crate::zoo) activation: Option<Activation>,
    pub(in crate::zoo) naming: Naming,
}

impl ConvNorm {
    pub(in crate::zoo) fn add(&self, b: &mut GraphBuilder, name: &str, x: NodeId) -> Result<NodeId> {
        let names = match self.naming {
            Naming::Numbered => [0, 1, 2].map(|part| format!("{name}.{part}")),
            Naming::ResNetStem => ["conv1", "bn1", "relu"].map(str::to_owned),
        };
        let inside = b.shape(x)[0];
        let conv = Conv2d::square(inside, self.channels, self.kernel, self.stride, (self.kernel - 1) / 2)
            .with_groups(if self.depthwise { inside } else { 1 });
        let x = add_conv_norm(b, [&names[0], &names[1]], conv, self.norm, x)?;
        match self.activation {
            Some(activation) => b.add(names[2].as_str(), Op::Activation(activation), &[x]),
            None => Ok(x),
        }
    }
}

/// A convolution and its batch norm under names of their own.
pub(super) fn add_conv_norm(
    b: &mut GraphBuilder,
    names: [&str; 2],
    conv: Conv2d,
    norm: Norm,
    x: NodeId,
) -> Result<NodeId> {
    let norm = norm.op(conv.out_channels);
    let x = b.add(names[0], Op::Conv2d(conv), &[x])?;
    b.add(names[1], norm, &[x])
}
