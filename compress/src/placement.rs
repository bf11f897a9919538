//! Which operations are computed in integers, and where quantisers stand.

use std::collections::BTreeSet;

use attar_models::quantised::moves_numbers;
use attar_models::{Activation, Graph, Node, NodeId, Op};

use crate::error::{Error, Result};

/// What becomes of each node of a prepared network.
///
/// * A convolution, linear layer, sum, product or mean is computed in integers, and so is any function of one number (as a
///   table of bytes); whoever only moves numbers about does that with bytes.
/// * A ReLU or ReLU6 that alone reads what such an operation makes is part of it: the quantiser behind clamps.
/// * The answer stays a float: the last layer reads bytes and gives floats.
/// * All else, and what `keep` names, stays in floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    integer: Vec<bool>,
    /// For an activation that is part of the operation before it, that operation.
    clamps: Vec<Option<NodeId>>,
    quantised: Vec<bool>,
}

impl Placement {
    /// Decides for a prepared network, of which the nodes in `keep` stay in floats.
    ///
    /// # Errors
    /// A name in `keep` that no node has.
    pub fn of(graph: &Graph, keep: &BTreeSet<String>) -> Result<Self> {
        let known = |name: &&String| graph.nodes().iter().any(|node| node.name == **name);
        if let Some(unknown) = keep.iter().find(|name| !known(name)) {
            let known = graph.nodes().iter().map(|node| node.name.as_str());
            return Err(Error::setting(
                format!("node `{unknown}`"),
                format!("is not in `{}`{}", graph.name(), attar_models::did_you_mean(unknown, known)),
            ));
        }
        let mut integer: Vec<bool> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            // A function of one number of a float that is not rounded yet is one of a float.
            let of_float = matches!(node.op, Op::Activation(_)) && !integer[node.inputs[0].index()];
            integer.push(is_integer(graph, node) && !of_float && !keep.contains(&node.name));
        }
        let readers = readers(graph);
        let clamp = |(id, node): (NodeId, &Node)| {
            let Op::Activation(Activation::Relu | Activation::Relu6) = node.op else { return None };
            let maker = node.inputs[0];
            let alone = readers[maker.index()] == [id] && maker != graph.output();
            (alone && integer[id.index()] && integer[maker.index()] && clamps(&graph.node(maker).op)).then_some(maker)
        };
        let clamps: Vec<Option<NodeId>> = graph.iter().map(clamp).collect();
        let mut placement = Self { quantised: vec![false; integer.len()], integer, clamps };
        placement.find_quantisers(graph, &readers);
        Ok(placement)
    }

    /// A value is quantised where somebody reads it in integers, directly or moved about; not where it is clamped first.
    fn find_quantisers(&mut self, graph: &Graph, readers: &[Vec<NodeId>]) {
        let mut wanted = vec![false; self.integer.len()];
        for (id, node) in graph.iter().rev() {
            let wants = |reader: &NodeId| match &graph.node(*reader).op {
                op if moves_numbers(op) => self.integer[reader.index()] && wanted[reader.index()],
                _ => self.integer[reader.index()],
            };
            wanted[id.index()] = readers[id.index()].iter().any(wants);
            let clamped = readers[id.index()].iter().any(|reader| self.clamps[reader.index()] == Some(id));
            self.quantised[id.index()] = wanted[id.index()] && !clamped && !moves(node, &self.integer, id);
        }
    }

    /// Whether a node is computed in integers.
    pub fn is_integer(&self, id: NodeId) -> bool {
        self.integer[id.index()]
    }

    pub(crate) fn all_integer(&self) -> &[bool] {
        &self.integer
    }

    /// The operation that a ReLU or ReLU6 is part of.
    pub fn clamps(&self, id: NodeId) -> Option<NodeId> {
        self.clamps[id.index()]
    }

    /// Whether a quantiser stands behind a node. What moves numbers about has those of its input.
    pub fn is_quantised(&self, id: NodeId) -> bool {
        self.quantised[id.index()]
    }

    /// The nodes with a quantiser behind them, in order: what is to be observed.
    pub fn quantised(&self, graph: &Graph) -> Vec<NodeId> {
        graph.iter().map(|(id, _)| id).filter(|id| self.is_quantised(*id)).collect()
    }

    /// The layers with weights that are computed in integers, in order.
    pub fn layers(&self, graph: &Graph) -> Vec<NodeId> {
        let is_layer = |node: &Node| matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
        graph.iter().filter(|(id, node)| is_layer(node) && self.is_integer(*id)).map(|(id, _)| id).collect()
    }
}

/// Whether a node passes its input's numbers on. A concatenation brings together numbers of several scales: it has its own.
pub(crate) fn moves(node: &Node, integer: &[bool], id: NodeId) -> bool {
    moves_numbers(&node.op) && !matches!(node.op, Op::Concat(_)) && integer[id.index()]
}

/// Who reads each node.
pub(crate) fn readers(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut readers = vec![Vec::new(); graph.nodes().len()];
    for (id, node) in graph.iter() {
        node.inputs.iter().for_each(|input| readers[input.index()].push(id));
    }
    readers
}

/// Operations whose quantiser may clamp for them.
fn clamps(op: &Op) -> bool {
    matches!(op, Op::Conv2d(_) | Op::Linear(_) | Op::Add(_) | Op::Mul(_) | Op::AvgPool2d(_))
}

/// Whether the engine has an operation in integers; a prepared network has no norm behind a convolution.
fn is_integer(graph: &Graph, node: &Node) -> bool {
    let shape = |at: usize| graph.node(node.inputs[at]).shape.as_slice();
    match &node.op {
        Op::Conv2d(conv) => !conv.quantized,
        Op::Linear(linear) => !linear.quantized,
        Op::Add(_) => shape(0) == shape(1),
        Op::Mul(_) => {
            shape(0) == shape(1) || matches!((shape(0), shape(1)), ([c, _, _], [d, 1, 1]) if c == d)
        }
        Op::AvgPool2d(_) | Op::Activation(_) => true,
        op if moves_numbers(op) => true,
        Op::Input(_)
        | Op::BatchNorm2d(_)
        | Op::LayerNorm2d(_)
        | Op::Scale(_)
        | Op::PRelu(_)
        | Op::Softmax(_)
        | Op::GlobalAvgPool(_)
        | Op::Quantize(_)
        | Op::Dequantize(_)
        // Named above, where it is asked whether they only move numbers.
        | Op::Subsample(_)
        | Op::PadChannels(_)
        | Op::MaxPool2d(_)
        | Op::Flatten(_)
        | Op::Dropout(_)
        | Op::StochasticDepth(_)
        | Op::Concat(_)
        | Op::SliceChannels(_)
        | Op::ChannelShuffle(_)
        | Op::Pad2d(_)
        | Op::Reshape(_) => false,
    }
}
