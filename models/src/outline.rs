//! A network seen from outside: what goes in, what comes out, and the names and shapes of the values in between that it can
//! hand over.
//!
//! A [`Graph`] has an outline, and so do networks of which there is no graph here: a file that another runtime executes, stored
//! answers, a network of somebody else's program. Whoever only asks a network needs its outline and nothing more.

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};
use crate::op::Op;

/// Values by name and shape. An id of a graph's node is the id of its value in the graph's outline.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    name: String,
    input: Vec<usize>,
    values: Vec<Value>,
    output: NodeId,
    stages: Vec<(String, NodeId)>,
    /// Other names of values, which count before their own.
    aliases: Vec<(String, NodeId)>,
}

/// A value that a network can hand over.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Unique name.
    pub name: String,
    /// Shape of one sample: `[C, H, W]` or `[F]`.
    pub shape: Vec<usize>,
    /// What is known of how it is made.
    pub kind: ValueKind,
    /// The values that it is made of, as far as they are known.
    pub inputs: Vec<NodeId>,
}

/// How a value is made, as far as somebody who asks for it may care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// The input itself.
    Input,
    /// A batch norm's.
    BatchNorm,
    /// Of a function of each number.
    Activation,
    /// Noise in training, its input in evaluation.
    Dropout,
    /// The mean over all positions.
    GlobalMean,
    /// A linear layer's.
    Linear,
    /// Another way, or unknown.
    Other,
}

impl From<&Graph> for Outline {
    fn from(graph: &Graph) -> Self {
        let values = graph.nodes().iter().map(|node| Value {
            name: node.name.clone(),
            shape: node.shape.clone(),
            kind: ValueKind::of(&node.op),
            inputs: node.inputs.clone(),
        });
        Self {
            name: graph.name().to_owned(),
            input: graph.input_shape().to_vec(),
            values: values.collect(),
            output: graph.output(),
            stages: graph.stages().to_vec(),
            aliases: Vec::new(),
        }
    }
}

impl ValueKind {
    fn of(op: &Op) -> Self {
        match op {
            Op::Input(_) => Self::Input,
            Op::BatchNorm2d(_) => Self::BatchNorm,
            Op::Activation(_) | Op::PRelu(_) => Self::Activation,
            Op::Dropout(_) | Op::StochasticDepth(_) => Self::Dropout,
            Op::GlobalAvgPool(_) => Self::GlobalMean,
            Op::Linear(_) => Self::Linear,
            Op::Conv2d(_)
            | Op::LayerNorm2d(_)
            | Op::Scale(_)
            | Op::Add(_)
            | Op::Mul(_)
            | Op::Subsample(_)
            | Op::PadChannels(_)
            | Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::Flatten(_)
            | Op::Concat(_)
            | Op::SliceChannels(_)
            | Op::ChannelShuffle(_)
            | Op::Pad2d(_)
            | Op::Reshape(_)
            | Op::Softmax(_)
            | Op::Quantize(_)
            | Op::Dequantize(_) => Self::Other,
        }
    }
}

impl Outline {
    /// A network that answers images `[C, H, W]` with `classes` logits and hands over nothing else.
    pub fn logits_only(name: impl Into<String>, input: [usize; 3], classes: usize) -> Self {
        let logits =
            Value { name: "logits".to_owned(), shape: vec![classes], kind: ValueKind::Other, inputs: Vec::new() };
        Self {
            name: name.into(),
            input: input.to_vec(),
            values: vec![logits],
            output: NodeId(0),
            stages: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// The same network, which hands over one value more: `[C, H, W]` or `[F]` for a sample.
    ///
    /// # Errors
    /// [`Error::Node`] when there is such a name, or the shape is none.
    pub fn with_value(mut self, name: impl Into<String>, shape: &[usize]) -> Result<Self> {
        let name = name.into();
        let fail = |problem: String| Err(Error::Node { node: name.clone(), problem });
        if name.is_empty() || self.values.iter().any(|value| value.name == name) {
            return fail("a value needs a name of its own".to_owned());
        }
        if shape.is_empty() || shape.contains(&0) {
            return fail(format!("{shape:?} is no shape of a sample, expected [C, H, W] or [F]"));
        }
        self.values.push(Value { name, shape: shape.to_vec(), kind: ValueKind::Other, inputs: Vec::new() });
        Ok(self)
    }

    /// The same network, whose next stage ends at `value`: what `"stages"`, `"middle"` and `"last"` mean in a recipe. Stages
    /// go from shallow to deep.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when there is no such value.
    pub fn with_stage(mut self, name: impl Into<String>, value: &str) -> Result<Self> {
        let id = self.tap(value)?;
        self.stages.push((name.into(), id));
        Ok(self)
    }

    /// The same network, in which a recipe's `name` means this value: of one that was rewritten, where a value of the network
    /// before is found. It counts before a value that has the name itself, and behind a stage.
    #[must_use]
    pub fn with_alias(mut self, name: impl Into<String>, id: NodeId) -> Self {
        self.aliases.push((name.into(), id));
        self
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of one input sample, `[C, H, W]`.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value behind an id of this outline.
    ///
    /// # Panics
    /// When the id comes from another, larger outline.
    pub fn value(&self, id: NodeId) -> &Value {
        &self.values[id.0]
    }

    /// The value that is the network's answer.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Shape of one answer; `[K]` logits for a classifier.
    pub fn output_shape(&self) -> &[usize] {
        &self.value(self.output).shape
    }

    /// Numbers in one answer: logits of a classifier.
    pub fn classes(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// The ends of the stages, shallow to deep.
    pub fn stages(&self) -> &[(String, NodeId)] {
        &self.stages
    }

    /// Whether it hands over its answer and nothing from inside.
    pub fn is_closed(&self) -> bool {
        self.values.len() == 1
    }

    /// The value that a recipe calls `name`: a stage (`layer1`) or any value (`layer1.0.conv1`).
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name and the stages.
    pub fn tap(&self, name: &str) -> Result<NodeId> {
        let stage = self.stages.iter().find(|(stage, _)| stage == name).map(|(_, id)| *id);
        let alias = || self.aliases.iter().find(|(alias, _)| alias == name).map(|(_, id)| *id);
        let value = || self.values.iter().position(|value| value.name == name).map(NodeId);
        stage.or_else(alias).or_else(value).ok_or_else(|| {
            let stages: Vec<&str> = self.stages.iter().map(|(stage, _)| stage.as_str()).collect();
            let values = self.values.iter().map(|value| value.name.as_str());
            let values = values.chain(self.aliases.iter().map(|(alias, _)| alias.as_str()));
            Error::UnknownName {
                what: "tap",
                name: name.to_owned(),
                nearest: crate::error::nearest(name, stages.iter().copied().chain(values)).map(str::to_owned),
                known: match stages.as_slice() {
                    [] => format!("any value of {}", self.name),
                    stages => format!("{} (stages of {}), or any node name", stages.join(", "), self.name),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{NetworkSpec, build};

    #[test]
    fn a_graph_and_its_outline_name_the_same_values() {
        let graph = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let outline = Outline::from(&graph);
        assert_eq!((outline.name(), outline.input_shape()), (graph.name(), graph.input_shape()));
        assert_eq!((outline.output_shape(), outline.classes()), (graph.output_shape(), 3));
        for (id, node) in graph.iter() {
            assert_eq!((&outline.value(id).name, &outline.value(id).shape), (&node.name, &node.shape));
            assert_eq!(outline.tap(&node.name).unwrap(), graph.tap(&node.name).unwrap());
        }
        assert_eq!(outline.stages(), graph.stages());
        let message = outline.tap("layer9").unwrap_err().to_string();
        assert_eq!(message, graph.tap("layer9").unwrap_err().to_string());
    }

    #[test]
    fn an_outline_without_a_graph_hands_over_what_it_says() {
        let closed = Outline::logits_only("vit", [3, 8, 8], 10);
        assert!(closed.is_closed() && closed.stages().is_empty() && closed.classes() == 10);
        assert!(closed.tap("blocks.11").is_err());
        let open = closed.with_value("blocks.11", &[192]).unwrap().with_stage("last", "blocks.11").unwrap();
        assert!(!open.is_closed());
        assert_eq!(open.value(open.tap("last").unwrap()).shape, [192]);
        assert_eq!(open.output_shape(), [10]);
        for (name, shape) in [("blocks.11", &[192][..]), ("", &[1]), ("empty", &[]), ("none", &[4, 0, 4])] {
            assert!(open.clone().with_value(name, shape).is_err(), "{name}");
        }
        let named = open.clone().with_alias("blocks.11", open.output()).with_alias("first", NodeId(1));
        assert_eq!((named.tap("blocks.11").unwrap(), named.tap("first").unwrap()), (open.output(), NodeId(1)));
        assert!(named.tap("firs").unwrap_err().to_string().contains("did you mean `first`?"));
        assert!(open.with_stage("first", "blocks.0").unwrap_err().to_string().contains("did you mean"));
    }
}
