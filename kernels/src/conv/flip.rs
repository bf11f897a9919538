//! The input gradient of a stride-1 convolution as another convolution, of `dy` with the turned kernel.

use crate::shape::ConvShape;

/// A convolution whose output is the input gradient of another one.
pub(super) struct Flipped {
    pub(super) shape: ConvShape,
    pub(super) weight: Vec<f32>,
}

/// The convolution that gives the input gradient, if there is one: stride 1 and no more padding than the kernel reaches.
pub(super) fn flipped(shape: &ConvShape, weight: &[f32]) -> Option<Flipped> {
    let reach = [0, 1].map(|i| shape.dilation[i] * (shape.kernel[i] - 1));
    if shape.stride != [1, 1] || (0..2).any(|i| shape.padding[i] > reach[i]) {
        return None;
    }
    let flipped = ConvShape {
        in_channels: shape.out_channels,
        in_h: shape.out_h(),
        in_w: shape.out_w(),
        out_channels: shape.in_channels,
        padding: [reach[0] - shape.padding[0], reach[1] - shape.padding[1]],
        ..*shape
    };
    Some(Flipped { shape: flipped, weight: turned(shape, weight) })
}

/// `[O, C / groups, kh, kw]` to `[C, O / groups, kh, kw]`, each kernel turned by 180 degrees.
fn turned(shape: &ConvShape, weight: &[f32]) -> Vec<f32> {
    let taps = shape.kernel[0] * shape.kernel[1];
    let (group_in, group_out) = (shape.group_in(), shape.group_out());
    let mut turned = Vec::with_capacity(weight.len());
    for group in weight.chunks_exact(group_out * group_in * taps) {
        for c in 0..group_in {
            for o in 0..group_out {
                turned.extend(group[(o * group_in + c) * taps..][..taps].iter().rev());
            }
        }
    }
    turned
}
