//! Operations that only move numbers about: nothing at all, or copies.

use attar_edge::arithmetic::{dequantize, quantize};
use attar_edge::plan::{Copy, Kind, Step};
use attar_models::{NodeId, Op};

use super::Lowering;
use super::bytes::is_bytes;
use crate::error::Result;

impl Lowering<'_> {
    /// What a node makes of values by moving their elements. Where its bytes are those of `quantiser`, each goes through the
    /// table that its source's levels and the quantiser's make.
    pub(super) fn moved(&mut self, id: NodeId, inputs: &[u32], quantiser: Option<NodeId>) -> Result<u32> {
        let node = self.node_of(id);
        let first = inputs[0];
        let [height, width, channels] = self.draft.tensor(first).size;
        let size = super::size_of(node);
        match &node.op {
            Op::Dropout(_) | Op::StochasticDepth(_) | Op::Flatten(_) => return Ok(first),
            // Pixels of more than one channel lie in another order than rows of features.
            Op::Reshape(_)
                if size == [height, width, channels] || ([height, width] == [1, 1] && size[..2] == [1, 1]) =>
            {
                return Ok(first);
            }
            Op::Reshape(_) => return self.refuse(id, "the engine does not move elements between pixels and channels"),
            _ => {}
        }
        if node.shape.len() == 1 && inputs.iter().any(|input| self.draft.tensor(*input).size[..2] != [1, 1]) {
            return self
                .refuse(id, "rows of features that were images; the engine has their elements in another order");
        }
        let output = match quantiser {
            Some(quantiser) => self.new_bytes(quantiser, size)?,
            None => self.draft.value(Kind::Floats, size),
        };
        let whole = |input: u32, channels: u32| Copy {
            input,
            output,
            channels,
            from: [0, 1],
            to: [0, 1],
            stride: [1, 1],
            at: [0, 0],
            fill: false,
            table: None,
        };
        let copies: Vec<Copy> = match &node.op {
            Op::Concat(_) => {
                let mut at = 0;
                let part = |input: &u32| {
                    let channels = self.draft.tensor(*input).size[2];
                    at += channels;
                    Copy { to: [at - channels, 1], ..whole(*input, channels) }
                };
                inputs.iter().map(part).collect()
            }
            Op::SliceChannels(slice) => vec![Copy { from: [slice.start as u32, 1], ..whole(first, size[2]) }],
            Op::ChannelShuffle(shuffle) => {
                let groups = shuffle.groups as u32;
                let each = channels / groups;
                let group = |group: u32| Copy { from: [group * each, 1], to: [group, groups], ..whole(first, each) };
                (0..groups).map(group).collect()
            }
            Op::Subsample(subsample) => vec![Copy { stride: [subsample.stride as u32; 2], ..whole(first, channels) }],
            Op::PadChannels(pad) => vec![Copy { to: [pad.before as u32, 1], fill: true, ..whole(first, channels) }],
            Op::Pad2d(pad) => {
                vec![Copy { at: [pad.top as u32, pad.left as u32], fill: true, ..whole(first, channels) }]
            }
            _ => return self.refuse(id, "it moves nothing; this is a fault of Attar's"),
        };
        for copy in copies {
            let table = self.between(copy.input, output);
            self.draft.step(Step::Copy(Copy { table, ..copy }), &node.name);
        }
        Ok(output)
    }

    /// The table from one value's bytes to another's; none where they mean the same, and of floats.
    fn between(&mut self, from: u32, to: u32) -> Option<u32> {
        let (from, to) = (self.draft.tensor(from), self.draft.tensor(to));
        if !is_bytes(to.kind) || from.kind == to.kind {
            return None;
        }
        let ((scale, zero), (to_scale, to_zero)) = (from.quantisation()?, to.quantisation()?);
        let entry = |byte: u8| quantize(dequantize(byte, scale, zero), to_scale, to_zero);
        Some(self.draft.constant((0..=255).map(entry).collect()))
    }
}
