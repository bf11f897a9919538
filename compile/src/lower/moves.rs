//! Operations that only move numbers about: nothing at all, or copies.

use attar_edge::arithmetic::{dequantize, quantize};
use attar_edge::plan::{Copy, Function, Kind, Step};
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
        let size = super::size_of(node);
        match &node.op {
            Op::Dropout(_) | Op::StochasticDepth(_) | Op::Flatten(_) => return Ok(first),
            Op::Reshape(_) => {
                let moved = self.as_size(id, first, size);
                return match quantiser {
                    Some(quantiser) => self.with_levels(id, moved, quantiser),
                    None => Ok(moved),
                };
            }
            _ => {}
        }
        let inputs: Vec<u32> =
            node.inputs.iter().zip(inputs).map(|(from, input)| self.laid_out(*from, *input)).collect();
        let first = inputs[0];
        let channels = self.draft.tensor(first).size[2];
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

    /// A value as its node's shape lies: a row of features that was an image, one pixel.
    pub(super) fn laid_out(&mut self, id: NodeId, value: u32) -> u32 {
        self.as_size(id, value, super::size_of(self.node_of(id)))
    }

    /// Both operands of a sum or product as their nodes' shapes lie, which is how they go together; where they lie alike
    /// already, as they do.
    pub(super) fn pair(&mut self, id: NodeId, values: [u32; 2]) -> [u32; 2] {
        let [a, b] = values.map(|value| self.draft.tensor(value).size);
        if a == b {
            return values;
        }
        let inputs = &self.node_of(id).inputs;
        [0, 1].map(|at| self.laid_out(inputs[at], values[at]))
    }

    /// The same elements in another size.
    fn as_size(&mut self, id: NodeId, value: u32, size: [u32; 3]) -> u32 {
        let tensor = self.draft.tensor(value);
        if tensor.size == size {
            return value;
        }
        let output = self.draft.value(tensor.kind, size);
        self.draft.step(Step::Reshape { input: value, output }, &self.node_of(id).name);
        output
    }

    /// Bytes as they mean the same to a quantiser.
    fn with_levels(&mut self, id: NodeId, value: u32, quantiser: NodeId) -> Result<u32> {
        let output = self.new_bytes(quantiser, self.draft.tensor(value).size)?;
        let Some(table) = self.between(value, output) else { return Ok(value) };
        let function = Function::Bytes { low: 0, high: 255 };
        self.draft.step(Step::Apply { input: value, output, function, table }, &self.node_of(id).name);
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
