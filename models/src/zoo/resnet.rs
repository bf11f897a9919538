//! Residual networks (He et al. 2015): the CIFAR family and torchvision's ImageNet family, one builder for both.

use super::{NetworkSpec, Shortcut, Stem};
use crate::error::Result;
use crate::graph::{Graph, GraphBuilder, NodeId};
use crate::op::{Activation, Add, BatchNorm2d, Conv2d, GlobalAvgPool, Linear, Op, PadChannels, Pool2d, Subsample};

/// What a residual branch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; four times as wide outside as inside.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// A residual network: stage `i` has `blocks[i]` blocks of `widths[i + 1]` channels; `widths[0]` is the stem's.
#[derive(Debug, Clone)]
pub(super) struct ResNet {
    pub(super) block: Block,
    pub(super) widths: Vec<usize>,
    pub(super) blocks: Vec<usize>,
}

impl ResNet {
    /// Builds the graph. Stages `layer1`, ... end at the last ReLU of their last block; the head is `fc`.
    /// `chooses_stem`: ImageNet family; the CIFAR family always has a 3x3 convolution of stride 1.
    pub(super) fn build(&self, spec: &NetworkSpec, chooses_stem: bool) -> Result<Graph> {
        let stem = if chooses_stem { spec.stem.unwrap_or_default() } else { Stem::Cifar };
        let shortcut = spec.shortcut.unwrap_or_default();
        let (mut b, input) = GraphBuilder::new(spec.name.as_str(), spec.input)?;
        let mut x = add_stem(&mut b, input, self.widths[0], stem)?;
        for (stage, (&width, &count)) in self.widths[1..].iter().zip(&self.blocks).enumerate() {
            let name = format!("layer{}", stage + 1);
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                x = add_block(&mut b, &format!("{name}.{index}"), x, self.block, width, stride, shortcut)?;
            }
            b.stage(name, x);
        }
        let in_features = b.shape(x)[0];
        let pooled = b.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
        let fc = b.add("fc", Op::Linear(Linear { in_features, out_features: spec.classes, bias: true }), &[pooled])?;
        Ok(b.finish(fc))
    }
}

fn add_stem(b: &mut GraphBuilder, input: NodeId, width: usize, stem: Stem) -> Result<NodeId> {
    let channels = b.shape(input)[0];
    let conv = match stem {
        Stem::Imagenet => Conv2d::square(channels, width, 7, 2, 3),
        Stem::Cifar => Conv2d::square(channels, width, 3, 1, 1),
    };
    let x = add_conv_norm(b, ["conv1", "bn1"], conv, input)?;
    let x = b.add("relu", Op::Activation(Activation::Relu), &[x])?;
    match stem {
        Stem::Imagenet => b.add("maxpool", Op::MaxPool2d(Pool2d::square(3, 2, 1)), &[x]),
        Stem::Cifar => Ok(x),
    }
}

fn add_block(
    b: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    block: Block,
    width: usize,
    stride: usize,
    shortcut: Shortcut,
) -> Result<NodeId> {
    let inside = b.shape(x)[0];
    let outside = width * block.expansion();
    let convs = match block {
        Block::Basic => vec![Conv2d::square(inside, width, 3, stride, 1), Conv2d::square(width, width, 3, 1, 1)],
        Block::Bottleneck => vec![
            Conv2d::square(inside, width, 1, 1, 0),
            Conv2d::square(width, width, 3, stride, 1),
            Conv2d::square(width, outside, 1, 1, 0),
        ],
    };
    let last = convs.len();
    let mut branch = x;
    for (i, conv) in (1..).zip(convs) {
        branch = add_conv_norm(b, [&format!("{name}.conv{i}"), &format!("{name}.bn{i}")], conv, branch)?;
        if i < last {
            branch = b.add(format!("{name}.relu{i}"), Op::Activation(Activation::Relu), &[branch])?;
        }
    }
    let identity =
        if stride == 1 && inside == outside { x } else { add_shortcut(b, name, x, outside, stride, shortcut)? };
    let sum = b.add(format!("{name}.add"), Op::Add(Add {}), &[branch, identity])?;
    b.add(format!("{name}.relu{last}"), Op::Activation(Activation::Relu), &[sum])
}

fn add_shortcut(
    b: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    channels: usize,
    stride: usize,
    shortcut: Shortcut,
) -> Result<NodeId> {
    let inside = b.shape(x)[0];
    match shortcut {
        Shortcut::A => {
            let kept = if stride == 1 {
                x
            } else {
                b.add(format!("{name}.subsample"), Op::Subsample(Subsample { stride }), &[x])?
            };
            let missing = channels - inside;
            let pad = Op::PadChannels(PadChannels { before: missing / 2, after: missing - missing / 2 });
            b.add(format!("{name}.pad"), pad, &[kept])
        }
        Shortcut::B => {
            let conv = Conv2d::square(inside, channels, 1, stride, 0);
            add_conv_norm(b, [&format!("{name}.downsample.0"), &format!("{name}.downsample.1")], conv, x)
        }
    }
}

/// A convolution and its batch norm, with PyTorch's default settings of the latter.
pub(super) fn add_conv_norm(b: &mut GraphBuilder, names: [&str; 2], conv: Conv2d, x: NodeId) -> Result<NodeId> {
    let norm = Op::BatchNorm2d(BatchNorm2d { channels: conv.out_channels, eps: 1e-5, momentum: 0.1 });
    let x = b.add(names[0], Op::Conv2d(conv), &[x])?;
    b.add(names[1], norm, &[x])
}
