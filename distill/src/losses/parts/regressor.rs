//! Small trained networks between a map of the student and a loss that compares it with a map of the teacher.

use attar_models::op::{Activation, BatchNorm2d, Conv2d, Pool2d};
use attar_models::{Graph, GraphBuilder, NodeId, Op, Result};

/// Convolution, batch norm and, if asked for, ReLU, from a map of shape `from` to the channels of `to` and, along an
/// axis where it is longer, to its length: one twice as long is halved (kernel 3, stride 2), another is covered by a
/// kernel without padding, so that maps of one size get a 1x1 convolution. A shorter axis keeps its length. The
/// convolution has no bias, which the norm would take away again.
pub(in crate::losses) fn conv_norm(name: &str, from: [usize; 3], to: [usize; 3], relu: bool) -> Result<Graph> {
    let mut conv = Conv2d::square(from[0], to[0], 1, 1, 0);
    for axis in 0..2 {
        let (own, other) = (from[axis + 1], to[axis + 1]);
        if own == 2 * other {
            (conv.kernel[axis], conv.stride[axis], conv.padding[axis]) = (3, 2, 1);
        } else {
            conv.kernel[axis] = 1 + own.saturating_sub(other);
        }
    }
    let (mut builder, input) = GraphBuilder::new(name, from)?;
    let conv = builder.add("conv", Op::Conv2d(conv), &[input])?;
    let output = norm(&mut builder, conv, to[0], relu)?;
    Ok(builder.finish(output))
}

/// 1x1 convolution to `hidden` channels, 3x3, 1x1 to `channels`, then batch norm and ReLU; the size stays. Biases that
/// the norm would take away are left out.
pub(in crate::losses) fn bottleneck(name: &str, from: [usize; 3], hidden: usize, channels: usize) -> Result<Graph> {
    let (mut builder, mut at) = GraphBuilder::new(name, from)?;
    let first = Conv2d { bias: true, ..Conv2d::square(from[0], hidden, 1, 1, 0) };
    let convs = [first, Conv2d::square(hidden, hidden, 3, 1, 1), Conv2d::square(hidden, channels, 1, 1, 0)];
    for (i, conv) in convs.into_iter().enumerate() {
        at = builder.add(format!("conv{}", i + 1), Op::Conv2d(conv), &[at])?;
    }
    let output = norm(&mut builder, at, channels, true)?;
    Ok(builder.finish(output))
}

/// Average pooling by whole windows (where `pool` is not 1x1), then three 1x1 convolutions to `channels` with ReLU
/// between them.
pub(in crate::losses) fn three_convs(name: &str, from: [usize; 3], pool: [usize; 2], channels: usize) -> Result<Graph> {
    let (mut builder, mut at) = GraphBuilder::new(name, from)?;
    if pool != [1, 1] {
        at = builder.add("pool", Op::AvgPool2d(Pool2d::new(pool, pool, [0, 0])), &[at])?;
    }
    for (i, inputs) in [from[0], channels, channels].into_iter().enumerate() {
        if i > 0 {
            at = builder.add(format!("relu{i}"), Op::Activation(Activation::Relu), &[at])?;
        }
        let conv = Conv2d::square(inputs, channels, 1, 1, 0);
        at = builder.add(format!("conv{}", i + 1), Op::Conv2d(conv), &[at])?;
    }
    Ok(builder.finish(at))
}

/// Batch norm and, if asked for, ReLU.
pub(in crate::losses) fn norm(builder: &mut GraphBuilder, at: NodeId, channels: usize, relu: bool) -> Result<NodeId> {
    let norm = builder.add("bn", Op::BatchNorm2d(BatchNorm2d { channels, eps: 1e-5, momentum: 0.1 }), &[at])?;
    if relu { builder.add("relu", Op::Activation(Activation::Relu), &[norm]) } else { Ok(norm) }
}
