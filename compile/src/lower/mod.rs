//! Nodes become steps: first it is found which values are wanted as bytes and which as floats, from the answer back to the
//! image; then each node that is wanted is written down in order.

mod bytes;
mod floats;
mod layers;
mod moves;
mod pattern;
mod tables;

use attar_edge::plan::{Function, Kind, Step};
use attar_models::quantised::moves_numbers;
use attar_models::{Graph, Node, NodeId, Op, Weights};

use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::numbers::{Levels, levels_of};
use pattern::Pattern;

/// A network on its way to a plan.
pub(crate) struct Lowering<'n> {
    graph: &'n Graph,
    weights: &'n Weights,
    draft: Draft,
    /// For each node that makes whole numbers of 8 bits, what they mean.
    levels: Vec<Option<Levels>>,
    /// For each quantiser, the operations before it that can be computed in integers; of layers whose floats are wanted, how
    /// these are made of integers.
    patterns: Vec<Option<Pattern>>,
    /// What is wanted of each node.
    wants: Vec<Wants>,
    /// Values that hold a node's whole numbers.
    bytes: Vec<Option<u32>>,
    /// Values that hold a node's floats.
    floats: Vec<Option<u32>>,
}

/// In which form a node's value is wanted.
#[derive(Debug, Clone, Copy, Default)]
struct Wants {
    bytes: bool,
    floats: bool,
    /// How many steps want it, of either form.
    readers: usize,
}

pub(crate) fn lower(graph: &Graph, weights: &Weights) -> Result<Draft> {
    let count = graph.nodes().len();
    let mut lowering = Lowering {
        graph,
        weights,
        draft: Draft::default(),
        levels: levels(graph, weights)?,
        patterns: Vec::new(),
        wants: vec![Wants::default(); count],
        bytes: vec![None; count],
        floats: vec![None; count],
    };
    for (id, node) in graph.iter() {
        let pattern = match node.op {
            Op::Quantize(_) => lowering.pattern(id)?,
            _ => None,
        };
        lowering.patterns.push(pattern);
    }
    lowering.find_wants()?;
    for (id, _) in graph.iter() {
        let wants = lowering.wants[id.index()];
        if id == graph.input() || wants.bytes || wants.floats {
            lowering.node(id, wants)?;
        }
    }
    lowering.store()?;
    Ok(lowering.draft)
}

/// What the whole numbers of nodes mean: of quantisers, and of what only moves such numbers about.
fn levels(graph: &Graph, weights: &Weights) -> Result<Vec<Option<Levels>>> {
    let mut found: Vec<Option<Levels>> = Vec::new();
    for node in graph.nodes() {
        let of = |id: &NodeId| found[id.index()];
        let levels = match &node.op {
            Op::Quantize(quantize) => Some(levels_of(weights, node, quantize.signed)?),
            op if moves_numbers(op) => {
                let first = node.inputs.first().and_then(of).filter(|first| {
                    // Zeros among whole numbers are the number 0, not the zero point.
                    first.zero == first.shift || !matches!(op, Op::Pad2d(_) | Op::PadChannels(_))
                });
                first.filter(|first| node.inputs.iter().all(|input| of(input) == Some(*first)))
            }
            _ => None,
        };
        found.push(levels);
    }
    Ok(found)
}

impl<'n> Lowering<'n> {
    fn node_of(&self, id: NodeId) -> &'n Node {
        self.graph.node(id)
    }

    fn first(&self, id: NodeId) -> NodeId {
        self.node_of(id).inputs[0]
    }

    fn refuse<T>(&self, id: NodeId, problem: impl Into<String>) -> Result<T> {
        Err(Error::node(&self.node_of(id).name, problem))
    }

    /// From the answer back: who reads what, in which form.
    fn find_wants(&mut self) -> Result<()> {
        let output = self.answer();
        self.want(output.0, output.1);
        let ids: Vec<NodeId> = self.graph.iter().map(|(id, _)| id).collect();
        for id in ids.into_iter().rev() {
            let wants = self.wants[id.index()];
            if wants.bytes {
                match self.patterns[id.index()].clone() {
                    Some(pattern) => pattern.sources().into_iter().for_each(|source| self.want(source, true)),
                    None => {
                        let whole = !matches!(self.node_of(id).op, Op::Quantize(_));
                        self.node_of(id).inputs.iter().for_each(|input| self.want(*input, whole));
                    }
                }
            }
            if wants.floats {
                let mixed = self.mixed(id)?;
                match (&self.node_of(id).op, mixed) {
                    (Op::Dequantize(_), _) => {
                        self.dequantised(id)?;
                        self.want(self.first(id), true);
                    }
                    (_, Some(mixed)) => {
                        mixed.sources().into_iter().for_each(|source| self.want(source, true));
                        self.patterns[id.index()] = Some(mixed);
                    }
                    _ if self.levels[id.index()].is_some() => {
                        return self
                            .refuse(id, "its 8-bit numbers are computed with, without a DequantizeLinear between");
                    }
                    _ => self.float_inputs(id).into_iter().for_each(|input| self.want(input, false)),
                }
            }
        }
        Ok(())
    }

    fn want(&mut self, id: NodeId, bytes: bool) {
        let wants = &mut self.wants[id.index()];
        wants.bytes |= bytes;
        wants.floats |= !bytes;
        wants.readers += 1;
    }

    /// The node whose value becomes the logits, and whether it does so as bytes.
    fn answer(&self) -> (NodeId, bool) {
        let mut at = self.graph.output();
        while matches!(self.node_of(at).op, Op::Flatten(_) | Op::Reshape(_) | Op::Dropout(_)) {
            at = self.first(at);
        }
        match self.node_of(at).op {
            Op::Dequantize(_) if self.levels[self.first(at).index()].is_some() => (self.first(at), true),
            _ => (at, false),
        }
    }

    /// The whole numbers that a `Dequantize` node reads.
    ///
    /// # Errors
    /// When they do not mean to it what they meant to the quantiser.
    fn dequantised(&self, id: NodeId) -> Result<(NodeId, Levels)> {
        let source = self.first(id);
        let Some(levels) = self.levels[source.index()] else {
            return self.refuse(id, "it dequantises what is not quantised");
        };
        let own = levels_of(self.weights, self.node_of(id), levels.shift != 0)?;
        if own != levels {
            return self.refuse(id, "its scale or zero point is not that of the QuantizeLinear before it");
        }
        Ok((source, levels))
    }

    /// The bytes behind a value of floats, where they are dequantised ones, or those of a node of bytes itself.
    fn byte_source(&self, id: NodeId) -> Option<(NodeId, Levels)> {
        if let Some(levels) = self.levels[id.index()] {
            return Some((id, levels));
        }
        match self.node_of(id).op {
            Op::Dequantize(_) => self.dequantised(id).ok(),
            Op::Dropout(_) | Op::StochasticDepth(_) | Op::Flatten(_) => self.byte_source(self.first(id)),
            _ => None,
        }
    }

    fn node(&mut self, id: NodeId, wants: Wants) -> Result<()> {
        if id == self.graph.input() {
            return self.load();
        }
        if wants.bytes {
            let value = match self.patterns[id.index()].clone() {
                Some(pattern) => self.integer(id, &pattern)?,
                None => match self.node_of(id).op {
                    Op::Quantize(_) => self.quantize(id)?,
                    _ => self.moved_numbers(id)?,
                },
            };
            self.bytes[id.index()] = Some(value);
        }
        if wants.floats {
            let value = match (&self.node_of(id).op, self.patterns[id.index()].clone()) {
                (Op::Dequantize(_), _) => self.dequantize(id)?,
                (Op::Conv2d(_) | Op::Linear(_), Some(mixed)) => self.integer(id, &mixed)?,
                _ => self.float(id)?,
            };
            self.floats[id.index()] = Some(value);
        }
        Ok(())
    }

    /// The image: as bytes where all that reads it quantises it alike, else as floats.
    fn load(&mut self) -> Result<()> {
        let input = self.graph.input();
        let shape = self.graph.input_shape();
        let size = [shape[1], shape[2], shape[0]].map(|size| size as u32);
        let quantisers = self.graph.iter().filter(|(id, _)| self.wants[id.index()].bytes);
        let quantisers: Vec<NodeId> =
            quantisers.filter(|(_, node)| node.inputs.first() == Some(&input)).map(|(id, _)| id).collect();
        let levels: Vec<Levels> = quantisers.iter().filter_map(|id| self.levels[id.index()]).collect();
        let whole = quantisers.iter().all(|id| self.highest(*id) == 255);
        let alike = levels.first().copied().filter(|first| whole && levels.iter().all(|levels| levels == first));
        match alike.filter(|_| self.wants[input.index()].readers == quantisers.len()) {
            Some(levels) => {
                let value = self.draft.value(Kind::Bytes { scale: levels.scale, zero: levels.zero }, size);
                quantisers.iter().for_each(|id| self.bytes[id.index()] = Some(value));
                self.draft.step(Step::Load { output: value }, &self.node_of(input).name);
            }
            None => {
                let value = self.draft.value(Kind::Floats, size);
                self.floats[input.index()] = Some(value);
                self.draft.step(Step::Load { output: value }, &self.node_of(input).name);
            }
        }
        Ok(())
    }

    fn store(&mut self) -> Result<()> {
        let (id, bytes) = self.answer();
        let value = if bytes { self.byte_value(id)? } else { self.float_value(id)? };
        let value = self.laid_out(self.graph.output(), value);
        let [height, width, _] = self.draft.tensor(value).size;
        if [height, width] != [1, 1] {
            return self.refuse(id, "the answer is an image, expected one row of logits");
        }
        self.draft.step(Step::Store { input: value }, &self.node_of(self.graph.output()).name);
        Ok(())
    }

    /// Whether one step alone reads a value, under whichever node's name: then it may become part of another.
    fn alone(&self, value: u32) -> bool {
        let names = (0..self.wants.len()).filter(|at| [self.bytes[*at], self.floats[*at]].contains(&Some(value)));
        names.map(|at| self.wants[at].readers).all(|readers| readers == 1)
    }

    fn byte_value(&self, id: NodeId) -> Result<u32> {
        self.bytes[id.index()]
            .map_or_else(|| self.refuse(id, "its bytes were not computed; this is a fault of Attar's"), Ok)
    }

    fn float_value(&self, id: NodeId) -> Result<u32> {
        self.floats[id.index()]
            .map_or_else(|| self.refuse(id, "its floats were not computed; this is a fault of Attar's"), Ok)
    }

    /// The largest byte that a node makes.
    fn highest(&self, id: NodeId) -> u8 {
        match (&self.node_of(id).op, self.levels[id.index()]) {
            // Of signed numbers, the shifted one; whole numbers up to 255.
            (Op::Quantize(quantize), Some(levels)) => (quantize.range()[1] + f32::from(levels.shift)) as u8,
            _ => 255,
        }
    }

    /// Floats become bytes.
    fn quantize(&mut self, id: NodeId) -> Result<u32> {
        if let Some(value) = self.bytes[id.index()] {
            return Ok(value); // the image, loaded so
        }
        let input = self.float_value(self.first(id))?;
        let output = self.new_bytes(id, self.draft.tensor(input).size)?;
        let name = &self.node_of(id).name;
        self.draft.step(Step::Quantize { input, output }, name);
        let high = self.highest(id);
        if high == 255 {
            return Ok(output);
        }
        let kept = self.new_bytes(id, self.draft.tensor(input).size)?;
        let table = self.draft.constant((0..=255u8).map(|byte| byte.min(high)).collect());
        self.draft
            .step(Step::Apply { input: output, output: kept, function: Function::Bytes { low: 0, high }, table }, name);
        Ok(kept)
    }

    fn dequantize(&mut self, id: NodeId) -> Result<u32> {
        let (source, _) = self.dequantised(id)?;
        let input = self.byte_value(source)?;
        let output = self.draft.value(Kind::Floats, self.draft.tensor(input).size);
        self.draft.step(Step::Dequantize { input, output }, &self.node_of(id).name);
        Ok(output)
    }

    /// A value for the whole numbers of a node.
    fn new_bytes(&mut self, id: NodeId, size: [u32; 3]) -> Result<u32> {
        let Some(levels) = self.levels[id.index()] else { return self.refuse(id, "it makes no 8-bit numbers") };
        Ok(self.draft.value(Kind::Bytes { scale: levels.scale, zero: levels.zero }, size))
    }
}

/// `[H, W, C]` of a node's value, rows of features as one pixel.
fn size_of(node: &Node) -> [u32; 3] {
    match node.shape[..] {
        [c, h, w] => [h, w, c].map(|size| size as u32),
        _ => [1, 1, node.shape.iter().product::<usize>() as u32],
    }
}
