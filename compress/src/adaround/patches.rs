//! What a layer reads and should come to, at positions drawn from images.

use attar_exec::Network;
use attar_measures::random::Stream;
use attar_models::op::Conv2d;
use attar_models::{Node, NodeId, Op};

use crate::error::Result;
use crate::images::Images;

/// Positions of images: for each the numbers that the layer's windows hold, by group, and its outputs in floats.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    /// `[position][group][channel of the group][row][column]`.
    pub(super) inputs: Vec<f32>,
    /// `[position][output channel]`, before a clamp.
    pub(super) outputs: Vec<f32>,
    /// How many there are.
    pub(super) count: usize,
}

/// Draws `most` positions, of each image as many: inputs as `reads` has them in the network in integers, outputs as `makes` has
/// them in the one in floats.
pub(super) fn patches(
    node: &Node,
    (integers, reads): (&Network, NodeId),
    (floats, makes): (&Network, NodeId),
    images: &Images<'_>,
    most: usize,
    stream: &mut Stream,
) -> Result<Samples> {
    let each = most.div_ceil(images.len().max(1)).max(1);
    let input = integers.graph().node(reads).shape.clone();
    let output = floats.graph().node(makes).shape.clone();
    let area: usize = output[1..].iter().product();
    let mut samples = Samples::default();
    for batch in images.batches() {
        let batch = batch?;
        let x = integers.eval(&batch, &[reads])?.taps.swap_remove(0).flatten_all()?.to_vec1::<f32>()?;
        let y = floats.eval(&batch, &[makes])?.taps.swap_remove(0).flatten_all()?.to_vec1::<f32>()?;
        let (of_image, to_image) = (input.iter().product::<usize>(), output.iter().product::<usize>());
        for (x, y) in x.chunks(of_image).zip(y.chunks(to_image)) {
            for _ in 0..each.min(area) {
                let at = if area > 1 { stream.below(area as u64) as usize } else { 0 };
                match &node.op {
                    Op::Conv2d(conv) => window(conv, x, &input, [at / output[2], at % output[2]], &mut samples.inputs),
                    _ => samples.inputs.extend_from_slice(x),
                }
                samples.outputs.extend((0..output[0]).map(|channel| y[channel * area + at]));
                samples.count += 1;
            }
        }
    }
    Ok(samples)
}

/// The window of a convolution at an output position, channel by channel; padding is 0.
fn window(conv: &Conv2d, image: &[f32], shape: &[usize], at: [usize; 2], into: &mut Vec<f32>) {
    let (height, width) = (shape[1], shape[2]);
    for plane in image.chunks(height * width) {
        for row in 0..conv.kernel[0] {
            for column in 0..conv.kernel[1] {
                let y = (at[0] * conv.stride[0] + row * conv.dilation[0]).checked_sub(conv.padding[0]);
                let x = (at[1] * conv.stride[1] + column * conv.dilation[1]).checked_sub(conv.padding[1]);
                into.push(match (y, x) {
                    (Some(y), Some(x)) if y < height && x < width => plane[y * width + x],
                    _ => 0.0,
                });
            }
        }
    }
}
