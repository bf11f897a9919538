//! Inverted residuals (Sandler et al. 2018): expand, depthwise convolution, project without activation.

use super::conv_norm::{ConvNorm, Naming, Norm, add_conv_norm};
use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Activation, Add, Conv2d, Op};

/// A block whose parts are called `name.conv.0`, `name.conv.1`, ... as in torchvision's MobileNetV2, and `name.add`
/// where input and output have one shape.
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
        let mut part = 0;
        let mut branch = x;
        if self.hidden != inside {
            branch = activated(self.hidden, 1, 1, false).add(b, &format!("{name}.conv.0"), branch)?;
            part = 1;
        }
        let depthwise = activated(self.hidden, self.kernel, self.stride, true);
        branch = depthwise.add(b, &format!("{name}.conv.{part}"), branch)?;
        let project = Conv2d::square(self.hidden, self.channels, 1, 1, 0);
        let names = [&*format!("{name}.conv.{}", part + 1), &*format!("{name}.conv.{}", part + 2)];
        branch = add_conv_norm(b, names, project, self.norm, branch)?;
        if self.stride == 1 && inside == self.channels {
            return b.add(format!("{name}.add"), Op::Add(Add {}), &[x, branch]);
        }
        Ok(branch)
    }
}
