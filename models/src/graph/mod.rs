//! A network as data: named nodes in execution order, with the shape of each known from the moment it is added.

mod head;
mod json;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::op::{Input, Op, Param};

pub use json::GRAPH_VERSION;

/// Position of a node in its graph; later nodes read only earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

impl NodeId {
    /// Index into [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One named operation and what it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Unique name; parameters are `name.suffix`, torchvision's names.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads, in the operation's order.
    pub inputs: Vec<NodeId>,
    /// Shape of one output sample: `[C, H, W]` or `[F]`.
    pub shape: Vec<usize>,
}

impl Node {
    /// The node's parameters and buffers with their full names.
    pub fn params(&self) -> impl Iterator<Item = Param> + '_ {
        self.op.params().into_iter().map(|param| Param {
            name: format!("{}.{}", self.name, param.suffix),
            shape: param.shape,
            role: param.role,
            init: param.init,
        })
    }
}

/// A network: nodes in execution order, one input (the first node), one output, and the ends of its stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    name: String,
    nodes: Vec<Node>,
    output: NodeId,
    stages: Vec<(String, NodeId)>,
}

impl Graph {
    /// Name of the network, e.g. `resnet20`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All nodes in execution order; the first is the input.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes with their ids, in execution order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i), node))
    }

    /// The node behind an id of this graph.
    ///
    /// # Panics
    /// When the id comes from another, larger graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Id of the input node.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Shape of one input sample, `[C, H, W]`.
    pub fn input_shape(&self) -> &[usize] {
        &self.nodes[0].shape
    }

    /// Id of the node whose value is the network's answer.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Shape of one output sample; `[K]` logits for a classifier.
    pub fn output_shape(&self) -> &[usize] {
        &self.node(self.output).shape
    }

    /// The ends of the stages, shallow to deep: the taps that `"stages"` means in a recipe.
    pub fn stages(&self) -> &[(String, NodeId)] {
        &self.stages
    }

    /// The node that a recipe calls `name`: a stage (`layer1`) or a node (`layer1.0.conv1`).
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name and the stages.
    pub fn tap(&self, name: &str) -> Result<NodeId> {
        let stage = self.stages.iter().find(|(stage, _)| stage == name).map(|(_, id)| *id);
        let node = || self.nodes.iter().position(|node| node.name == name).map(NodeId);
        stage.or_else(node).ok_or_else(|| {
            let stages: Vec<&str> = self.stages.iter().map(|(stage, _)| stage.as_str()).collect();
            let nodes = self.nodes.iter().map(|node| node.name.as_str());
            Error::UnknownName {
                what: "tap",
                name: name.to_owned(),
                nearest: crate::error::nearest(name, stages.iter().copied().chain(nodes)).map(str::to_owned),
                known: format!("{} (stages of {}), or any node name", stages.join(", "), self.name),
            }
        })
    }

    /// Every parameter and buffer, in execution order.
    pub fn params(&self) -> impl Iterator<Item = Param> + '_ {
        self.nodes.iter().flat_map(Node::params)
    }

    /// Number of trained parameters (buffers not counted), as papers count them.
    pub fn parameter_count(&self) -> usize {
        self.params().filter(|param| param.role.is_trained()).map(|param| param.shape.iter().product::<usize>()).sum()
    }

    /// Multiply-accumulates of convolutions and linear layers for one sample.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|node| node.op.macs(&node.shape)).sum()
    }

    pub(crate) fn set_stages(&mut self, stages: Vec<(String, NodeId)>) {
        self.stages = stages;
    }

    /// For each node, how many nodes read it (the output counts as read once more).
    pub(crate) fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            counts[input.0] += 1;
        }
        counts[self.output.0] += 1;
        counts
    }
}

/// Builds a [`Graph`] node by node; a node that does not fit is refused with its name and the shapes.
#[derive(Debug)]
pub struct GraphBuilder {
    name: String,
    nodes: Vec<Node>,
    by_name: BTreeMap<String, NodeId>,
    stages: Vec<(String, NodeId)>,
}

impl GraphBuilder {
    /// Starts a network with an input node `input` of shape `[C, H, W]`.
    ///
    /// # Errors
    /// When the shape is not three positive numbers.
    pub fn new(name: impl Into<String>, input: [usize; 3]) -> Result<(Self, NodeId)> {
        let mut builder = Self::empty(name.into());
        let id = builder.add("input", Op::Input(Input { shape: input.to_vec() }), &[])?;
        Ok((builder, id))
    }

    fn empty(name: String) -> Self {
        Self { name, nodes: Vec::new(), by_name: BTreeMap::new(), stages: Vec::new() }
    }

    /// Adds a node and returns its id.
    ///
    /// # Errors
    /// [`Error::Node`] when the name is taken or the input shapes do not fit the operation.
    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> Result<NodeId> {
        let name = name.into();
        let fail = |problem: String| Error::Node { node: name.clone(), problem };
        if name.is_empty() {
            return Err(fail("a node needs a name".to_owned()));
        }
        if self.by_name.contains_key(&name) {
            return Err(fail("this name is taken by an earlier node".to_owned()));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|id| self.shape(*id)).collect();
        let shape = op.output_shape(&shapes).map_err(fail)?;
        let id = NodeId(self.nodes.len());
        self.by_name.insert(name.clone(), id);
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), shape });
        Ok(id)
    }

    /// Shape of one sample of a node added before.
    ///
    /// # Panics
    /// When the id comes from another, larger graph.
    pub fn shape(&self, id: NodeId) -> &[usize] {
        &self.nodes[id.0].shape
    }

    /// Marks the end of a stage, a tap that recipes may name.
    pub fn stage(&mut self, name: impl Into<String>, id: NodeId) {
        self.stages.push((name.into(), id));
    }

    /// Ends the network at `output`.
    pub fn finish(self, output: NodeId) -> Graph {
        Graph { name: self.name, nodes: self.nodes, output, stages: self.stages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Activation, Conv2d, GlobalAvgPool, Linear};

    fn small() -> Result<Graph> {
        let (mut b, x) = GraphBuilder::new("small", [3, 8, 7])?;
        let conv = b.add("conv1", Op::Conv2d(Conv2d::square(3, 4, 3, 2, 1)), &[x])?;
        let relu = b.add("relu1", Op::Activation(Activation::Relu), &[conv])?;
        b.stage("layer1", relu);
        let pool = b.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[relu])?;
        let fc = b.add(
            "fc",
            Op::Linear(Linear { in_features: 4, out_features: 10, bias: true, quantized: false }),
            &[pool],
        )?;
        Ok(b.finish(fc))
    }

    #[test]
    fn shapes_counts_and_taps_are_known_before_anything_runs() -> Result<()> {
        let graph = small()?;
        let conv = graph.node(graph.tap("conv1")?);
        assert_eq!(conv.shape, [4, 4, 4]);
        assert_eq!(graph.tap("layer1")?, graph.tap("relu1")?);
        assert_eq!(graph.parameter_count(), 3 * 4 * 9 + 4 * 10 + 10);
        assert_eq!(graph.macs(), 4 * 4 * 4 * 27 + 40);
        Ok(())
    }

    #[test]
    fn an_unknown_tap_names_its_neighbour() -> Result<()> {
        let message = small()?.tap("layer2").unwrap_err().to_string();
        assert!(message.contains("did you mean `layer1`?"), "{message}");
        Ok(())
    }

    #[test]
    fn a_node_that_does_not_fit_is_refused_with_its_shapes() -> Result<()> {
        let (mut b, x) = GraphBuilder::new("bad", [3, 8, 8])?;
        let conv = Op::Conv2d(Conv2d::square(4, 4, 3, 1, 1));
        let message = b.add("conv1", conv, &[x]).unwrap_err().to_string();
        assert_eq!(message, "node `conv1`: expects 4 channels, got 3");
        let twice = b.add("input", Op::Activation(Activation::Relu), &[x]).unwrap_err().to_string();
        assert!(twice.contains("taken"), "{twice}");
        Ok(())
    }
}
