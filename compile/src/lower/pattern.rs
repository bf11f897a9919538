//! What stands before a quantiser and can be computed in integers, and layers whose sums can.

use attar_edge::arithmetic::quantize;
use attar_models::quantised::{Integers, integers};
use attar_models::{Activation, NodeId, Op};

use super::Lowering;
use crate::error::Result;
use crate::numbers::{Levels, scaled_multipliers};

/// Operations between dequantised values and a quantiser; [`Pattern::Mixed`] stands before none.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// A function of one byte.
    Table { source: NodeId, table: Box<[u8; 256]> },
    /// A function of one byte for each channel, 256 entries each.
    Tables { node: NodeId, source: NodeId, tables: Vec<u8> },
    /// A convolution or linear layer.
    Layer { node: NodeId, source: NodeId, integers: Box<Integers>, range: [u8; 2] },
    /// A convolution or linear layer whose answer is floats.
    Mixed { source: NodeId, integers: Box<Integers>, multipliers: Vec<f32> },
    /// A sum of two values.
    Add { node: NodeId, sources: [NodeId; 2], range: [u8; 2] },
    /// A product of two values.
    Multiply { node: NodeId, sources: [NodeId; 2], range: [u8; 2] },
    /// Means of windows.
    Mean { node: NodeId, source: NodeId, range: [u8; 2] },
    /// Maxima of windows.
    Max { node: NodeId, source: NodeId },
    /// Numbers that are moved about; each source's bytes may become others on the way.
    Move { node: NodeId, sources: Vec<NodeId> },
}

impl Pattern {
    /// The nodes whose bytes it reads.
    pub(super) fn sources(&self) -> Vec<NodeId> {
        match self {
            Self::Table { source, .. } | Self::Layer { source, .. } | Self::Mixed { source, .. } => vec![*source],
            Self::Mean { source, .. } | Self::Max { source, .. } | Self::Tables { source, .. } => vec![*source],
            Self::Add { sources, .. } | Self::Multiply { sources, .. } => sources.to_vec(),
            Self::Move { sources, .. } => sources.clone(),
        }
    }
}

impl Lowering<'_> {
    /// What a quantiser's bytes can be computed from in integers, if they can.
    pub(super) fn pattern(&self, id: NodeId) -> Result<Option<Pattern>> {
        let Some(levels) = self.levels[id.index()] else { return Ok(None) };
        if let Some(of) = self.byte_table(id) {
            return Ok(Some(Pattern::Table { source: of.source, table: Box::new(of.table) }));
        }
        let (core, mut range) = self.clamped(self.first(id), levels);
        range[1] = range[1].min(self.highest(id));
        let node = self.node_of(core);
        let Some(sources) = self.dequantised_inputs(core) else { return Ok(None) };
        let ids: Vec<NodeId> = sources.iter().map(|(id, _)| *id).collect();
        let source = ids[0];
        Ok(match &node.op {
            Op::Conv2d(_) | Op::Linear(_) => {
                let integers = integers(self.graph, self.weights, core, sources[0].1.scale)?;
                integers.map(|integers| Pattern::Layer { node: core, source, integers: Box::new(integers), range })
            }
            Op::Add(_) => Some(Pattern::Add { node: core, sources: [ids[0], ids[1]], range }),
            Op::Mul(_) => Some(Pattern::Multiply { node: core, sources: [ids[0], ids[1]], range }),
            Op::PRelu(_) => {
                let tables = self.sloped_tables(core, sources[0].1, (levels, range))?;
                Some(Pattern::Tables { node: core, source, tables })
            }
            Op::GlobalAvgPool(_) | Op::AvgPool2d(_) => Some(Pattern::Mean { node: core, source, range }),
            Op::MaxPool2d(_) if sources[0].1 == levels && range == [0, 255] => {
                Some(Pattern::Max { node: core, source })
            }
            Op::Concat(_) | Op::SliceChannels(_) | Op::ChannelShuffle(_) | Op::Subsample(_) if range == [0, 255] => {
                Some(Pattern::Move { node: core, sources: ids })
            }
            Op::PadChannels(_) | Op::Pad2d(_) | Op::Reshape(_) if range == [0, 255] => {
                Some(Pattern::Move { node: core, sources: ids })
            }
            _ => None,
        })
    }

    /// A layer whose floats can be made of integer sums, as dequantised values are all that it reads.
    pub(super) fn mixed(&self, id: NodeId) -> Result<Option<Pattern>> {
        if !matches!(self.node_of(id).op, Op::Conv2d(_) | Op::Linear(_)) {
            return Ok(None);
        }
        let Some((source, levels)) = self.dequantised_inputs(id).map(|sources| sources[0]) else { return Ok(None) };
        let integers = integers(self.graph, self.weights, id, levels.scale)?;
        let scaled = integers.and_then(|integers| Some((scaled_multipliers(levels.scale, &integers)?, integers)));
        Ok(scaled.map(|(multipliers, integers)| Pattern::Mixed { source, integers: Box::new(integers), multipliers }))
    }

    /// The nodes whose bytes, dequantised, are all that a node reads, if there are any; not one that reads the whole numbers
    /// themselves.
    fn dequantised_inputs(&self, id: NodeId) -> Option<Vec<(NodeId, Levels)>> {
        let whole = self.node_of(id).inputs.iter().any(|input| self.levels[input.index()].is_some());
        let sources = self.float_inputs(id).into_iter().map(|input| self.byte_source(input));
        sources.collect::<Option<Vec<_>>>().filter(|sources| !whole && !sources.is_empty())
    }

    /// The node below clamps to 0 and above, and the bytes that these leave.
    fn clamped(&self, mut id: NodeId, levels: Levels) -> (NodeId, [u8; 2]) {
        let mut range = [0u8, 255];
        loop {
            let highest = match &self.node_of(id).op {
                Op::Activation(activation @ (Activation::Relu | Activation::Relu6)) => Activation::clamp(*activation),
                Op::Dropout(_) | Op::StochasticDepth(_) | Op::Flatten(_) => {
                    id = self.first(id);
                    continue;
                }
                _ => return (id, range),
            };
            let byte = |x: f32| quantize(x, levels.scale, levels.zero);
            range[0] = range[0].max(byte(0.0));
            range[1] = range[1].min(highest.map_or(255, byte));
            id = self.first(id);
        }
    }
}
