//! Residual blocks (He et al. 2015): a branch of convolutions beside a shortcut, activated behind their sum.

use super::conv_norm::{Norm, add_conv_norm};
use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Activation, Add, Conv2d, Op, PadChannels, Subsample};
use crate::zoo::Shortcut;

/// What a residual branch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::zoo) enum Branch {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1; four times as wide outside as inside, the stride in the 3x3 (torchvision's "v1.5").
    Bottleneck,
}

impl Branch {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// A block whose parts are called `conv1`, `bn1`, `relu1`, ..., `add`, and `downsample` or `subsample` and `pad`.
#[derive(Debug, Clone)]
pub(in crate::zoo) struct Residual {
    pub(in crate::zoo) branch: Branch,
    /// Channels inside.
    pub(in crate::zoo) width: usize,
    pub(in crate::zoo) stride: usize,
    /// Where the shape changes.
    pub(in crate::zoo) shortcut: Shortcut,
}

impl Residual {
    pub(super) fn add(&self, b: &mut GraphBuilder, name: &str, x: NodeId) -> Result<NodeId> {
        let (inside, width, stride) = (b.shape(x)[0], self.width, self.stride);
        let outside = width * self.branch.expansion();
        let convs = match self.branch {
            Branch::Basic => vec![Conv2d::square(inside, width, 3, stride, 1), Conv2d::square(width, width, 3, 1, 1)],
            Branch::Bottleneck => vec![
                Conv2d::square(inside, width, 1, 1, 0),
                Conv2d::square(width, width, 3, stride, 1),
                Conv2d::square(width, outside, 1, 1, 0),
            ],
        };
        let last = convs.len();
        let mut branch = x;
        for (i, conv) in (1..).zip(convs) {
            let names = [&*format!("{name}.conv{i}"), &*format!("{name}.bn{i}")];
            branch = add_conv_norm(b, names, conv, Norm::DEFAULT, branch)?;
            if i < last {
                branch = b.add(format!("{name}.relu{i}"), Op::Activation(Activation::Relu), &[branch])?;
            }
        }
        let same = stride == 1 && inside == outside;
        let identity = if same { x } else { self.add_shortcut(b, name, x, outside)? };
        let sum = b.add(format!("{name}.add"), Op::Add(Add {}), &[branch, identity])?;
        b.add(format!("{name}.relu{last}"), Op::Activation(Activation::Relu), &[sum])
    }

    fn add_shortcut(&self, b: &mut GraphBuilder, name: &str, x: NodeId, channels: usize) -> Result<NodeId> {
        let (inside, stride) = (b.shape(x)[0], self.stride);
        match self.shortcut {
            Shortcut::A => {
                let subsample = Op::Subsample(Subsample { stride });
                let kept = if stride == 1 { x } else { b.add(format!("{name}.subsample"), subsample, &[x])? };
                let missing = channels - inside;
                let pad = PadChannels { before: missing / 2, after: missing - missing / 2 };
                b.add(format!("{name}.pad"), Op::PadChannels(pad), &[kept])
            }
            Shortcut::B => {
                let conv = Conv2d::square(inside, channels, 1, stride, 0);
                let names = [&*format!("{name}.downsample.0"), &*format!("{name}.downsample.1")];
                add_conv_norm(b, names, conv, Norm::DEFAULT, x)
            }
        }
    }
}
