//! MobileNetV2 (Sandler et al. 2018) with torchvision's structure and names.

use super::resnet::add_conv_norm;
use super::{NetworkSpec, Stem};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphBuilder, NodeId};
use crate::op::{Activation, Add, Conv2d, Dropout, GlobalAvgPool, Linear, Op};

/// Expansion, channels, number of blocks, stride of the first one (the paper's table 2).
const SETTINGS: [[usize; 4]; 7] =
    [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];

/// The rows of [`SETTINGS`] whose last block ends a stage: the last of each resolution, before the stride grows.
const STAGE_ENDS: [usize; 4] = [1, 2, 4, 6];

/// Builds the graph. Stages are named as the torchvision module whose output they are: `features.3`, `features.6`,
/// `features.13`, `features.17`; each is linear (no ReLU6 at its end).
pub(super) fn build(spec: &NetworkSpec) -> Result<Graph> {
    let width = spec.width.unwrap_or(1.0);
    if !(width > 0.0 && width <= 10.0) {
        return Err(Error::Setting { setting: "width", problem: format!("{width}, expected more than 0, at most 10") });
    }
    let stem = spec.stem.unwrap_or_default();
    let (mut b, input) = GraphBuilder::new(spec.name.as_str(), spec.input)?;
    let first = Conv2d::square(spec.input[0], divisible(32.0 * width), 3, first_stride(stem), 1);
    let mut x = add_conv_relu6(&mut b, "features.0", first, input)?;
    let mut index = 1;
    for (row, [expansion, channels, count, stride]) in SETTINGS.into_iter().enumerate() {
        let channels = divisible(channels as f64 * width);
        for repeat in 0..count {
            let stride = match (repeat, row) {
                (0, 1) => first_stride(stem),
                (0, _) => stride,
                _ => 1,
            };
            x = add_block(&mut b, &format!("features.{index}"), x, expansion, channels, stride)?;
            index += 1;
        }
        if STAGE_ENDS.contains(&row) {
            b.stage(format!("features.{}", index - 1), x);
        }
    }
    let features = divisible(1280.0 * width.max(1.0));
    let last = Conv2d::square(b.shape(x)[0], features, 1, 1, 0);
    let x = add_conv_relu6(&mut b, &format!("features.{index}"), last, x)?;
    let x = b.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
    let x = b.add("classifier.0", Op::Dropout(Dropout { p: spec.dropout.unwrap_or(0.2) }), &[x])?;
    let head = Op::Linear(Linear { in_features: features, out_features: spec.classes, bias: true });
    let x = b.add("classifier.1", head, &[x])?;
    Ok(b.finish(x))
}

/// Stride of `features.0` and `features.2`: the two that the usual CIFAR adaptation sets to 1.
fn first_stride(stem: Stem) -> usize {
    match stem {
        Stem::Imagenet => 2,
        Stem::Cifar => 1,
    }
}

/// Inverted residual: expand 1x1 (unless the expansion is 1), depthwise 3x3, project 1x1 without activation.
fn add_block(
    b: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    expansion: usize,
    channels: usize,
    stride: usize,
) -> Result<NodeId> {
    let inside = b.shape(x)[0];
    let hidden = inside * expansion;
    let mut part = 0;
    let mut branch = x;
    if expansion != 1 {
        branch = add_conv_relu6(b, &format!("{name}.conv.0"), Conv2d::square(inside, hidden, 1, 1, 0), branch)?;
        part = 1;
    }
    let depthwise = Conv2d::square(hidden, hidden, 3, stride, 1).with_groups(hidden);
    branch = add_conv_relu6(b, &format!("{name}.conv.{part}"), depthwise, branch)?;
    let project = Conv2d::square(hidden, channels, 1, 1, 0);
    let names = [&*format!("{name}.conv.{}", part + 1), &*format!("{name}.conv.{}", part + 2)];
    branch = add_conv_norm(b, names, project, branch)?;
    if stride == 1 && inside == channels {
        return b.add(format!("{name}.add"), Op::Add(Add {}), &[x, branch]);
    }
    Ok(branch)
}

fn add_conv_relu6(b: &mut GraphBuilder, name: &str, conv: Conv2d, x: NodeId) -> Result<NodeId> {
    let x = add_conv_norm(b, [&format!("{name}.0"), &format!("{name}.1")], conv, x)?;
    b.add(format!("{name}.2"), Op::Activation(Activation::Relu6), &[x])
}

/// The multiple of 8 nearest to `channels`, at least 8 and never more than 10 % below (torchvision's
/// `_make_divisible`).
fn divisible(channels: f64) -> usize {
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
