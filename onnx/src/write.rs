//! Graph and weights to an ONNX model, node by node.
//!
//! Every value carries the name of the node that makes it, except the network's answer, which is called `logits`; so
//! runtimes can be compared node by node. Constants that are not parameters are called `node/what`.

mod end_to_end;
mod small;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

pub use end_to_end::{CLASSES, EndToEnd, IMAGE, PROBABILITIES, RESIZE, write_end_to_end};

use attar_models::op::{
    Activation, BatchNorm2d, ChannelShuffle, Pad2d, PadChannels, Reshape, SliceChannels, Subsample,
};
use attar_models::{Array, Graph, Node, NodeId, Op, Role, Weights};
use prost::Message;

use crate::error::{Error, Result};
use crate::numbers::{self, has_types_of_its_own};
use crate::proto::{
    AttributeProto, AttributeType, Dimension, DimensionProto, FLOAT, GraphProto, INT64, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::windows::window;

/// Operator sets that the writer knows; all of them define the operations used here alike.
pub const SUPPORTED_OPSETS: RangeInclusive<i64> = 13..=21;

/// Stands between a node and the name of a constant that is not a parameter (`layer1.0.shortcut/starts`).
pub const CONSTANT_MARK: char = '/';

/// The first operator set that has `HardSwish`; before, it is written out.
const HARD_SWISH: i64 = 14;

const INPUT: &str = "input";
const OUTPUT: &str = "logits";
const BATCH: &str = "batch";

/// What the weights of convolutions and linear layers are stored as. Runtimes make floats of them when they load the file, so
/// that it is smaller and no slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As they are.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// Whole numbers of 8 bits from -127 to 127, a scale for each output channel. They are multiplied out by plain operations,
    /// which runtimes compute when they load the file; a `DequantizeLinear` some would compute anew for each image.
    Int8,
}

/// How to write a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Version of the operator set, one of [`SUPPORTED_OPSETS`].
    pub opset: i64,
    /// What weights are stored as.
    pub weights: Storage,
    /// Entries of `metadata_props`.
    pub metadata: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { opset: 17, weights: Storage::F32, metadata: BTreeMap::new() }
    }
}

/// The bytes of an ONNX model with input `input` `[batch, C, H, W]`, output `logits` `[batch, K]` and a symbolic batch
/// axis. The same arguments give the same bytes.
///
/// # Errors
/// An unsupported opset, weights that do not fit the graph or are not finite, or node names that ONNX cannot tell apart.
pub fn write(graph: &Graph, weights: &Weights, options: &Options) -> Result<Vec<u8>> {
    Ok(model(graph, weights, options)?.encode_to_vec())
}

fn model(graph: &Graph, weights: &Weights, options: &Options) -> Result<ModelProto> {
    if !SUPPORTED_OPSETS.contains(&options.opset) {
        let (low, high) = (SUPPORTED_OPSETS.start(), SUPPORTED_OPSETS.end());
        let problem = format!("{} is not supported, expected {low} to {high}", options.opset);
        return Err(Error::Setting { setting: "opset", problem });
    }
    weights.check(graph)?;
    check_names(graph)?;
    let mut writer = Writer {
        graph,
        opset: options.opset,
        storage: options.weights,
        nodes: Vec::new(),
        constants: Vec::new(),
        numbers: numbers::types(graph),
    };
    for (id, node) in graph.iter() {
        writer.node(id, node, weights)?;
    }
    writer.check_written()?;
    let metadata = options.metadata.iter();
    Ok(ModelProto {
        ir_version: Some(ir_version(options.opset)),
        producer_name: Some("attar".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(options.opset) }],
        metadata_props: metadata
            .map(|(key, value)| StringStringEntryProto { key: Some(key.clone()), value: Some(value.clone()) })
            .collect(),
        graph: Some(GraphProto {
            name: Some(graph.name().to_owned()),
            node: writer.nodes,
            initializer: writer.constants,
            input: vec![value_info(INPUT, graph.input_shape())],
            output: vec![value_info(OUTPUT, graph.output_shape())],
            value_info: Vec::new(),
        }),
        functions: Vec::new(),
    })
}

/// The IR version that came with an operator set (ONNX releases 1.8 to 1.16); older runtimes refuse a newer one.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

/// Values and constants share one name space in ONNX.
fn check_names(graph: &Graph) -> Result<()> {
    let fail = |node: &Node, problem: String| Err(Error::Node { node: node.name.clone(), problem });
    let params: BTreeSet<String> = graph.params().map(|param| param.name).collect();
    for (id, node) in graph.iter() {
        if params.contains(&node.name) {
            return fail(node, "a parameter has the same name".to_owned());
        }
        if node.name.is_empty() {
            return fail(node, "a name must not be empty".to_owned());
        }
        if node.name == OUTPUT && id != graph.output() {
            return fail(node, format!("`{OUTPUT}` is the name of the network's output"));
        }
    }
    if graph.output() == graph.input() {
        return fail(graph.node(graph.input()), "the network does nothing".to_owned());
    }
    Ok(())
}

pub(super) struct Writer<'a> {
    pub(super) graph: &'a Graph,
    pub(super) opset: i64,
    storage: Storage,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
    /// For each node whose value is whole numbers of 8 bits, ONNX's type of them.
    pub(super) numbers: Vec<Option<i32>>,
}

impl Writer<'_> {
    /// What an operation is written out in has names behind [`CONSTANT_MARK`]; no node may have the name of one of them. Files
    /// of others, and ours read again, do have nodes called `a` and `a/b`.
    fn check_written(&self) -> Result<()> {
        let values = self.nodes.iter().flat_map(|node| node.output.iter().map(String::as_str));
        let constants = self.constants.iter().map(TensorProto::name);
        let mut seen = BTreeSet::new();
        match values.chain(constants).find(|name| !seen.insert(*name)) {
            None => Ok(()),
            Some(twice) => {
                let of = twice.rsplit_once(CONSTANT_MARK).map_or(twice, |(node, _)| node);
                let problem = format!("its name is that of a constant of `{of}`");
                Err(Error::Node { node: twice.to_owned(), problem })
            }
        }
    }
}

impl Writer<'_> {
    fn node(&mut self, id: NodeId, node: &Node, weights: &Weights) -> Result<()> {
        let moves = self.numbers[id.index()].is_some() && !matches!(node.op, Op::Quantize(_));
        let source = |id: &NodeId| if moves { self.numbers_of(*id) } else { self.value(*id) };
        let mut inputs: Vec<String> = node.inputs.iter().map(source).collect();
        for param in node.params().filter(|_| !has_types_of_its_own(&node.op)) {
            if let Some(array) = weights.get(&param.name) {
                if matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) && param.role == Role::Weight {
                    inputs.push(self.stored(&param.name, array)?);
                    continue;
                }
                let mut tensor = floats(param.name.clone(), array)?;
                match constant_of(&node.op, array)? {
                    Some(value) => (tensor.dims, tensor.raw_data) = (Vec::new(), Some(value.to_le_bytes().to_vec())),
                    None if self.broadcasts(node) => tensor.dims.extend([1, 1]),
                    None => {}
                }
                self.constants.push(tensor);
                inputs.push(param.name);
            }
        }
        inputs.extend(self.integer_params(id, weights)?);
        let output = if moves { self.numbers_of(id) } else { self.value(id) };
        let mut emit = |op_type: &str, inputs: Vec<String>, attributes: Vec<AttributeProto>| {
            self.nodes.push(proto(&node.name, op_type, inputs, &output, attributes));
        };
        match &node.op {
            Op::Input(_) => {}
            Op::Conv2d(conv) => emit(
                "Conv",
                inputs,
                vec![
                    ints("dilations", conv.dilation),
                    int("group", conv.groups),
                    ints("kernel_shape", conv.kernel),
                    ints("pads", both_sides(conv.padding)),
                    ints("strides", conv.stride),
                ],
            ),
            Op::BatchNorm2d(BatchNorm2d { eps, .. }) => {
                emit("BatchNormalization", inputs, vec![float("epsilon", *eps as f32)]);
            }
            Op::Activation(Activation::Relu) => emit("Relu", inputs, Vec::new()),
            Op::Activation(Activation::Relu6) => {
                inputs.push(constant(&mut self.constants, node, "min", scalar(0.0)));
                inputs.push(constant(&mut self.constants, node, "max", scalar(6.0)));
                emit("Clip", inputs, Vec::new());
            }
            Op::Activation(Activation::HardSigmoid) => emit("HardSigmoid", inputs, hard_sigmoid()),
            Op::Activation(Activation::HardSwish) if self.opset >= HARD_SWISH => emit("HardSwish", inputs, Vec::new()),
            Op::Activation(Activation::HardSwish) => {
                let gate = format!("{}{CONSTANT_MARK}gate", node.name);
                let x = inputs.clone();
                self.nodes.push(proto(&gate, "HardSigmoid", inputs, &gate, hard_sigmoid()));
                self.nodes.push(proto(&node.name, "Mul", [x, vec![gate]].concat(), &output, Vec::new()));
            }
            Op::Activation(Activation::Sigmoid) => emit("Sigmoid", inputs, Vec::new()),
            Op::Activation(Activation::Silu) => self.silu(node, &inputs, &output),
            Op::Activation(Activation::Gelu) => self.gelu(node, "none", &inputs, &output),
            Op::Activation(Activation::GeluTanh) => self.gelu(node, "tanh", &inputs, &output),
            Op::Activation(Activation::LeakyRelu(slope)) => {
                emit("LeakyRelu", inputs, vec![float("alpha", slope.value())]);
            }
            Op::LayerNorm2d(norm) => self.layer_norm(node, norm.eps, &inputs, &output),
            Op::Scale(_) => self.scale(node, &inputs, &output),
            Op::PRelu(_) => emit("PRelu", inputs, Vec::new()),
            Op::Add(_) => emit("Add", inputs, Vec::new()),
            Op::Mul(_) => emit("Mul", inputs, Vec::new()),
            Op::Subsample(Subsample { stride }) => {
                let size = &self.graph.node(node.inputs[0]).shape[1..];
                let step = [*stride; 2];
                inputs.push(constant(&mut self.constants, node, "starts", indices([0, 0])));
                inputs.push(constant(&mut self.constants, node, "ends", indices([size[0], size[1]])));
                inputs.push(constant(&mut self.constants, node, "axes", indices([2, 3])));
                inputs.push(constant(&mut self.constants, node, "steps", indices(step)));
                emit("Slice", inputs, Vec::new());
            }
            Op::PadChannels(PadChannels { before, after }) => {
                let pads = indices([0, *before, 0, 0, 0, *after, 0, 0]);
                inputs.push(constant(&mut self.constants, node, "pads", pads));
                emit("Pad", inputs, vec![string("mode", "constant")]);
            }
            Op::MaxPool2d(pool) => {
                emit("MaxPool", inputs, window(pool, &self.graph.node(node.inputs[0]).shape, &node.shape));
            }
            Op::AvgPool2d(pool) => {
                let image = &self.graph.node(node.inputs[0]).shape;
                self.mean(node, pool, image, inputs, &output);
            }
            Op::GlobalAvgPool(_) => {
                let pooled = format!("{}{CONSTANT_MARK}pooled", node.name);
                self.nodes.push(proto(&pooled, "GlobalAveragePool", inputs, &pooled, Vec::new()));
                self.nodes.push(proto(&node.name, "Flatten", vec![pooled], &output, vec![int("axis", 1)]));
            }
            Op::Flatten(_) => emit("Flatten", inputs, vec![int("axis", 1)]),
            // In evaluation it does nothing; the node stays so that its value keeps its name.
            Op::Dropout(_) | Op::StochasticDepth(_) => emit("Identity", inputs, Vec::new()),
            Op::Linear(_) => emit("Gemm", inputs, vec![int("transB", 1)]),
            Op::Concat(_) => emit("Concat", inputs, vec![int("axis", 1)]),
            Op::SliceChannels(SliceChannels { start, end }) => {
                inputs.push(constant(&mut self.constants, node, "starts", indices([*start])));
                inputs.push(constant(&mut self.constants, node, "ends", indices([*end])));
                inputs.push(constant(&mut self.constants, node, "axes", indices([1])));
                emit("Slice", inputs, Vec::new());
            }
            Op::ChannelShuffle(ChannelShuffle { groups }) => {
                let piles = [&[*groups, node.shape[0] / groups], &node.shape[1..]].concat();
                let [cut, turned] = ["piles", "turned"].map(|what| format!("{}{CONSTANT_MARK}{what}", node.name));
                let mut dims = |what: &str, shape| constant(&mut self.constants, node, what, any_batch(shape));
                let (apart, whole) = (dims("apart", &piles), dims("whole", &node.shape));
                self.nodes.push(proto(&cut, "Reshape", [inputs, vec![apart]].concat(), &cut, Vec::new()));
                let turn = vec![ints("perm", [0, 2, 1, 3, 4])];
                self.nodes.push(proto(&turned, "Transpose", vec![cut], &turned, turn));
                self.nodes.push(proto(&node.name, "Reshape", vec![turned, whole], &output, Vec::new()));
            }
            Op::Softmax(_) => emit("Softmax", inputs, vec![int("axis", 1)]),
            Op::Quantize(quantize) => self.quantize(id, quantize, inputs, weights)?,
            Op::Dequantize(_) => self.dequantize(id, inputs, weights)?,
            Op::Pad2d(Pad2d { top, left, bottom, right }) => {
                let pads = indices([0, 0, *top, *left, 0, 0, *bottom, *right]);
                inputs.push(constant(&mut self.constants, node, "pads", pads));
                emit("Pad", inputs, vec![string("mode", "constant")]);
            }
            Op::Reshape(Reshape { shape }) => {
                inputs.push(constant(&mut self.constants, node, "shape", any_batch(shape)));
                emit("Reshape", inputs, Vec::new());
            }
        }
        if moves {
            self.also_as_floats(id);
        }
        Ok(())
    }

    /// Adds a layer's weight, and returns the name of its floats.
    fn stored(&mut self, name: &str, array: &Array) -> Result<String> {
        match self.storage {
            Storage::F32 => {
                self.constants.push(floats(name.to_owned(), array)?);
                Ok(name.to_owned())
            }
            Storage::F16 => small::half(self, name, array),
            Storage::Int8 => small::bytes(self, name, array),
        }
    }

    /// Whether a node's parameters `[C]` lie along the channels of an image as ONNX broadcasts: `[C, 1, 1]`.
    fn broadcasts(&self, node: &Node) -> bool {
        matches!(node.op, Op::LayerNorm2d(_) | Op::Scale(_) | Op::PRelu(_)) && node.shape.len() == 3
    }

    /// Name of the value that a node makes.
    pub(super) fn value(&self, id: NodeId) -> String {
        match id {
            _ if id == self.graph.input() => INPUT.to_owned(),
            _ if id == self.graph.output() => OUTPUT.to_owned(),
            _ => self.graph.node(id).name.clone(),
        }
    }
}

/// The one number of a factor or shift that nobody trained: it is none of each channel, and read again it is none either.
fn constant_of(op: &Op, array: &Array) -> Result<Option<f32>> {
    let values = array.f32()?;
    let all_alike = values.iter().all(|value| value.to_bits() == values[0].to_bits());
    Ok(matches!(op, Op::Scale(scale) if !scale.trained && all_alike).then(|| values.first().copied()).flatten())
}

/// One node. A value that no node of the graph makes has a constant's name, and so has its node.
pub(super) fn proto(
    name: &str,
    op_type: &str,
    input: Vec<String>,
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    let (name, op_type) = (Some(name.to_owned()), Some(op_type.to_owned()));
    NodeProto { input, output: vec![output.to_owned()], name, op_type, attribute, domain: None }
}

/// `min(max(x / 6 + 1/2, 0), 1)`.
fn hard_sigmoid() -> Vec<AttributeProto> {
    vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)]
}

/// ONNX lists the beginnings of all axes, then the ends.
fn both_sides([h, w]: [usize; 2]) -> [usize; 4] {
    [h, w, h, w]
}

/// Adds a constant `node/what` and returns its name.
pub(super) fn constant(constants: &mut Vec<TensorProto>, node: &Node, what: &str, tensor: TensorProto) -> String {
    let name = format!("{}{CONSTANT_MARK}{what}", node.name);
    constants.push(TensorProto { name: Some(name.clone()), ..tensor });
    name
}

pub(super) fn floats(name: String, array: &Array) -> Result<TensorProto> {
    Ok(TensorProto {
        dims: array.shape.iter().map(|&size| size as i64).collect(),
        data_type: Some(FLOAT),
        name: Some(name),
        raw_data: Some(array.f32()?.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    })
}

pub(super) fn scalar(value: f32) -> TensorProto {
    TensorProto { data_type: Some(FLOAT), raw_data: Some(value.to_le_bytes().to_vec()), ..TensorProto::default() }
}

pub(super) fn indices<const N: usize>(values: [usize; N]) -> TensorProto {
    TensorProto {
        dims: vec![N as i64],
        data_type: Some(INT64),
        raw_data: Some(values.iter().flat_map(|&value| (value as i64).to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// `[-1, ...sample]`: a shape of any batch.
fn any_batch(sample: &[usize]) -> TensorProto {
    let sizes = std::iter::once(-1).chain(sample.iter().map(|&size| size as i64));
    TensorProto {
        dims: vec![sample.len() as i64 + 1],
        data_type: Some(INT64),
        raw_data: Some(sizes.flat_map(i64::to_le_bytes).collect()),
        ..TensorProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(value as i64), ..attribute(name, AttributeType::Int) }
}

pub(super) fn ints<const N: usize>(name: &str, values: [usize; N]) -> AttributeProto {
    AttributeProto { ints: values.map(|value| value as i64).to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub(super) fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

/// `[batch, ...sample]` of `f32`.
fn value_info(name: &str, sample: &[usize]) -> ValueInfoProto {
    let batch = Dimension::Param(BATCH.to_owned());
    let sizes = sample.iter().map(|&size| Dimension::Value(size as i64));
    let dim = std::iter::once(batch).chain(sizes).map(|value| DimensionProto { value: Some(value) }).collect();
    let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
