//! Squeeze-and-excitation (Hu et al. 2018) as in MobileNetV3: a gate for every channel, told from the channels' means.

use crate::error::Result;
use crate::graph::{GraphBuilder, NodeId};
use crate::op::{Activation, Conv2d, Mul, Op, Pool2d};

/// Adds `name.avgpool`, `name.fc1`, `name.activation`, `name.fc2`, `name.scale_activation` and `name.mul`, torchvision's
/// parts of `SqueezeExcitation`, with `squeezed` channels in the middle.
pub(super) fn add_squeeze_excite(b: &mut GraphBuilder, name: &str, squeezed: usize, x: NodeId) -> Result<NodeId> {
    let &[channels, height, width] = b.shape(x) else { return Ok(x) };
    let part = |part: &str| format!("{name}.{part}");
    let whole = Pool2d::new([height, width], [1, 1], [0, 0]);
    let mean = b.add(part("avgpool"), Op::AvgPool2d(whole), &[x])?;
    let squeeze = Conv2d::square(channels, squeezed, 1, 1, 0).with_bias();
    let at = b.add(part("fc1"), Op::Conv2d(squeeze), &[mean])?;
    let at = b.add(part("activation"), Op::Activation(Activation::Relu), &[at])?;
    let excite = Conv2d::square(squeezed, channels, 1, 1, 0).with_bias();
    let at = b.add(part("fc2"), Op::Conv2d(excite), &[at])?;
    let gate = b.add(part("scale_activation"), Op::Activation(Activation::HardSigmoid), &[at])?;
    b.add(part("mul"), Op::Mul(Mul {}), &[x, gate])
}
