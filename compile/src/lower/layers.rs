//! Convolutions and linear layers: geometry, and weights with channels last.

use attar_edge::plan::Convolution;
use attar_models::{NodeId, Op};

use super::Lowering;
use super::bytes::bare;
use crate::error::Result;
use crate::numbers::channels_last;

impl Lowering<'_> {
    /// `[H, W, C]` of what a layer makes.
    pub(super) fn layer_output(&self, id: NodeId, input: u32) -> Result<[u32; 3]> {
        let (node, [height, width, channels]) = (self.node_of(id), self.draft.tensor(input).size);
        if let Op::Linear(linear) = &node.op
            && linear.in_features != (height * width * channels) as usize
        {
            return self.refuse(id, "its features are not those of the value before it; this is a fault of Attar's");
        }
        Ok(super::size_of(node))
    }

    /// The geometry of a layer; a linear one is a convolution of one window as large as its image. Zeros that a node before
    /// it puts around the image are padding, too ([`Lowering::layer_input`]).
    pub(super) fn layer(&self, id: NodeId, input: u32, output: u32) -> Result<Convolution> {
        let layer = bare(input, output);
        let two = |pair: [usize; 2]| pair.map(|size| size as u32);
        match &self.node_of(id).op {
            Op::Conv2d(conv) => {
                let [top, left] = self.padded(self.first(id)).map_or([0, 0], |(_, pad)| pad);
                Ok(Convolution {
                    groups: conv.groups as u32,
                    kernel: two(conv.kernel),
                    stride: two(conv.stride),
                    dilation: two(conv.dilation),
                    padding: two([conv.padding[0] + top, conv.padding[1] + left]),
                    ..layer
                })
            }
            Op::Linear(_) => {
                let [height, width, _] = self.draft.tensor(input).size;
                Ok(Convolution { kernel: [height, width], ..layer })
            }
            _ => self.refuse(id, "it is no layer; this is a fault of Attar's"),
        }
    }

    /// A layer's weights as `[output][row][column][input]`.
    pub(super) fn layer_weights<T: Copy>(&self, id: NodeId, weights: &[T], input: u32) -> Vec<T> {
        match &self.node_of(id).op {
            Op::Conv2d(conv) => {
                let [kh, kw] = conv.kernel;
                channels_last(weights, conv.out_channels, conv.in_channels / conv.groups.max(1), kh * kw)
            }
            Op::Linear(linear) => {
                let [height, width, channels] = self.draft.tensor(input).size.map(|size| size as usize);
                channels_last(weights, linear.out_features, channels, height * width)
            }
            _ => weights.to_vec(),
        }
    }

    /// The node that a layer really reads, where the one before it puts zeros around an image, and rows above and columns
    /// left of it.
    /// Quantising zeros and dequantising them again changes nothing.
    pub(super) fn padded(&self, id: NodeId) -> Option<(NodeId, [usize; 2])> {
        match &self.node_of(id).op {
            Op::Pad2d(pad) => Some((self.first(id), [pad.top, pad.left])),
            Op::Dequantize(_) => {
                let (quantiser, levels) = self.dequantised(id).ok()?;
                let pad = match self.node_of(quantiser).op {
                    Op::Quantize(_) if self.highest(quantiser) < 255 => return None,
                    Op::Quantize(_) => self.first(quantiser),
                    _ => quantiser, // zeros among whole numbers
                };
                let Op::Pad2d(zeros) = &self.node_of(pad).op else { return None };
                let inner = self.first(pad);
                let same = matches!(self.byte_source(inner), Some((_, before)) if before == levels);
                same.then_some((inner, [zeros.top, zeros.left]))
            }
            _ => None,
        }
    }
}
