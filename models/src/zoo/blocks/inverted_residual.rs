//! Inverted residuals (Sandler et al. 2018): expand, depthwise convolution, project without activation.

use super::conv_norm::{ConvNorm, Naming, Norm, add_conv_norm};
use super::squeeze_excite::add_squeeze_excite;
use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Activation, Add, Conv2d, Op};

/// What lies between the two 1x1 convolutions, and how the parts are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::zoo) enum Parts {
    /// `name.conv.0`, `name.conv.1`, ..., the projection and its norm in numbers of their own: MobileNetV2.
    Conv,
    /// `name.block.0`, `name.block.1`, ..., with squeeze-and-excitation to so many channels, if any, before the
    /// projection: MobileNetV3.
    Block {
        /// Channels in the middle of squeeze-and-excitation.
        squeezed: Option<usize>,
    },
}

/// A block with torchvision's names, and `name.add` where input and output have one shape.
#[derive(Debug, Clone)]
pub(in crate::zoo) struct InvertedResidual {
    /// Channels between expansion and projection; no expansion where the input has as many.
    pub(in crate::zoo) hidden: usize,
    /// Channels behind the projection.
    pub(in crate::zoo) channels: usize,
    /// Kernel of the depthwise convolution.
    pub(in crate::zoo) kernel: usize,
    pub(in crate::zoo) stride: usize,
    pub(in crate::zoo) norm: Norm,
    pub(in crate::zoo) activation: Activation,
    pub(in crate::zoo) parts: Parts,
}

impl InvertedResidual {
    pub(super) fn add(&self, b: &mut GraphBuilder, name: &str, x: NodeId) -> Result<NodeId> {
        let inside = b.shape(x)[0];
        let activated = |channels, kernel, stride, depthwise| ConvNorm {
            channels,
            kernel,
            stride,
            depthwise,
            norm: self.norm,
            activation: Some(self.activation),
            naming: Naming::Numbered,
        };
        let kind = match self.parts {
            Parts::Conv => "conv",
            Parts::Block { .. } => "block",
        };
        let mut names = (0..).map(|part| format!("{name}.{kind}.{part}"));
        let mut next = || names.next().unwrap_or_default();
        let mut branch = x;
        if self.hidden != inside {
            branch = activated(self.hidden, 1, 1, false).add(b, &next(), branch)?;
        }
        branch = activated(self.hidden, self.kernel, self.stride, true).add(b, &next(), branch)?;
        if let Parts::Block { squeezed: Some(squeezed) } = self.parts {
            branch = add_squeeze_excite(b, &next(), squeezed, branch)?;
        }
        let project = Conv2d::square(self.hidden, self.channels, 1, 1, 0);
        let names = match self.parts {
            Parts::Conv => [next(), next()],
            Parts::Block { .. } => {
                let last = next();
                [format!("{last}.0"), format!("{last}.1")]
            }
        };
        branch = add_conv_norm(b, [&names[0], &names[1]], project, self.norm, branch)?;
        if self.stride == 1 && inside == self.channels {
            return b.add(format!("{name}.add"), Op::Add(Add {}), &[x, branch]);
        }
        Ok(branch)
    }
}
