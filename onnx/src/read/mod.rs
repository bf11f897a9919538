//! An ONNX file as a network: what PyTorch's two exporters, tf2onnx, quantisers and our own writer write for one layer
//! comes to one operation.
//!
//! The walk goes over the operations in order and knows of each value what it is: a constant, something made of the images
//! and how its axes lie, or unknown. Constants and sizes are computed on the way, with the batch as a symbol. A function of
//! one number is recognised by what it computes, however it is written out. What is not understood becomes an [`Obstacle`],
//! and what only follows from it does not; the names and shapes of values are told in any case.

mod function;
mod node;
mod ops;
mod reader;
mod size;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use attar_formats::onnx_metadata::{self, Said};
use attar_models::{Graph, GraphBuilder, NodeId, Op, Outline, Weights};
use prost::Message;

use crate::error::{Error, Result};
use crate::external;
use crate::proto::{Dimension, GraphProto, ModelProto, ValueInfoProto};
use node::Node;
use reader::Reader;
use tensor::Tensor;
use value::{Value, View};

/// How to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// `[C, H, W]` of the input, where the file leaves sizes open; those that it states count in any case.
    pub input: Option<[usize; 3]>,
}

/// What was found in a file.
#[derive(Debug, Clone)]
pub struct Import {
    /// Version of ONNX's own operator set.
    pub opset: i64,
    /// Version of the file format.
    pub ir_version: i64,
    /// The program that wrote it, with its version.
    pub producer: String,
    /// Entries of the file's metadata.
    pub metadata: BTreeMap<String, String>,
    /// `[C, H, W]` of its input.
    pub input: [usize; 3],
    /// Its operations in order.
    pub operations: Vec<Operation>,
    /// The name of its answer.
    pub output: String,
    /// The network that it is; `None` where something stands in the way.
    pub network: Option<(Graph, Weights)>,
    /// What stands in the way.
    pub obstacles: Vec<Obstacle>,
    /// What parses but means something that people should know.
    pub notes: Vec<String>,
}

/// One operation of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the file; may be empty.
    pub name: String,
    /// Its kind, ONNX's word.
    pub op: String,
    /// The name of the (first) value that it makes.
    pub value: String,
    /// The values that it reads and that are no constants.
    pub inputs: Vec<String>,
    /// Shape of a sample of that value as the file sees it, where it depends on the images and is known.
    pub shape: Option<Vec<usize>>,
}

/// An operation that no network here can have, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Name of the operation in the file, or of what it makes.
    pub node: String,
    /// Its kind.
    pub op: String,
    /// Why not.
    pub problem: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`: {}", self.op, self.node, self.problem)
    }
}

impl Import {
    /// What its metadata says of classes, preprocessing and the size of an image.
    ///
    /// # Errors
    /// As [`onnx_metadata::said`].
    pub fn said(&self) -> attar_formats::Result<Said> {
        onnx_metadata::said(&self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
    }

    /// Values by name and shape: all of the network's where it is one, else those of the file that are known.
    pub fn outline(&self) -> Option<Outline> {
        if let Some((graph, _)) = &self.network {
            return Some(Outline::from(graph));
        }
        let shaped = |operation: &&Operation| operation.shape.as_ref().is_some_and(|shape| !shape.is_empty());
        let answer = self.operations.iter().find(|operation| operation.value == self.output).filter(shaped)?;
        let classes = answer.shape.as_ref()?.iter().product();
        let start = Outline::logits_only(self.output.clone(), self.input, classes);
        let inner = self.operations.iter().filter(|operation| operation.value != self.output).filter(shaped);
        Some(inner.fold(start, |outline, operation| {
            let with =
                outline.clone().with_value(operation.value.clone(), operation.shape.as_deref().unwrap_or_default());
            with.unwrap_or(outline)
        }))
    }
}

/// Oldest operator set that is read; files of older ones mean other things by the same words.
const OLDEST: i64 = 7;

/// Reads the bytes of a file; `origin` is where it lies, for the arrays beside it and for errors.
///
/// # Errors
/// [`Error::File`] for what is no ONNX file of one image in and one answer out, whatever its operations.
pub fn read(bytes: &[u8], origin: &Path, options: ReadOptions) -> Result<Import> {
    let fail = |problem: String| Error::File { path: origin.to_owned(), problem };
    let whole = if external::any(bytes) { Some(external::inline(bytes, origin).map_err(fail)?.model) } else { None };
    let model = ModelProto::decode(whole.as_deref().unwrap_or(bytes));
    let model = model.map_err(|error| fail(format!("is no ONNX file: {error}")))?;
    let name = origin.file_stem().map_or_else(|| "onnx".to_owned(), |stem| stem.to_string_lossy().into_owned());
    decoded(&model, &name, options).map_err(fail)
}

fn decoded(model: &ModelProto, name: &str, options: ReadOptions) -> Result<Import, String> {
    let graph = model.graph.as_ref().ok_or("is no ONNX file: no graph is in it")?;
    let own = model.opset_import.iter().find(|set| matches!(set.domain(), "" | "ai.onnx"));
    let opset = own.map(|set| set.version()).ok_or("does not say its operator set")?;
    if opset < OLDEST {
        return Err(format!("operator set {opset}, expected {OLDEST} or newer\n  hint: export it anew"));
    }
    let mut notes = Vec::new();
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|array| array.name()).collect();
    let images = image_input(graph, &constants, options)?;
    let [c, h, w] = images.shape;
    if images.view == View::ChannelsLast {
        notes.push(format!("its images are [N, {h}, {w}, {c}], channels last; the network's are [N, {c}, {h}, {w}]"));
    }
    let (answer, cut) = answer(graph)?;
    notes.extend(cut.iter().map(|op| format!("it ends in a {op}; the network's logits are what goes into that")));

    let nodes = graph.node.iter().map(|proto| Node { proto, opset }).collect();
    let (builder, id) = GraphBuilder::new(name, [c, h, w]).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(builder, nodes, &[answer]);
    reader.fixed_batch = images.batch;
    reader.input(images.name, id, images.view);
    for array in &graph.initializer {
        reader.constant(array.name(), Tensor::read(array)?);
    }
    reader.walk();

    let shapes = declared(graph);
    let operations = graph.node.iter().filter_map(|proto| operation(&reader, &shapes, proto)).collect();
    let mut obstacles = Vec::new();
    let network = finish(&mut reader, answer).map_err(|problem| {
        let end = Obstacle { node: answer.to_owned(), op: "output".to_owned(), problem };
        obstacles.extend(std::iter::once(end).filter(|_| reader.obstacles.is_empty()));
    });
    let (weights, builder) = (reader.weights, reader.builder);
    obstacles.extend(reader.obstacles);
    let network = match network {
        Ok(output) => Some(pruned(&builder.finish(output), &weights).map_err(|error| error.to_string())?),
        Err(()) => None,
    };
    let producer = [model.producer_name(), model.producer_version()].join(" ").trim().to_owned();
    let metadata = model.metadata_props.iter().map(|entry| (entry.key().to_owned(), entry.value().to_owned()));
    Ok(Import {
        opset,
        ir_version: model.ir_version(),
        producer,
        metadata: metadata.collect(),
        input: [c, h, w],
        operations,
        output: answer.to_owned(),
        network,
        obstacles,
        notes,
    })
}

/// The images that a file takes.
struct Images<'f> {
    name: &'f str,
    /// `[C, H, W]`.
    shape: [usize; 3],
    view: View,
    /// The batch size where the file fixes it.
    batch: Option<i64>,
}

/// The one input that is no constant.
fn image_input<'f>(
    graph: &'f GraphProto,
    constants: &BTreeSet<&str>,
    options: ReadOptions,
) -> Result<Images<'f>, String> {
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !constants.contains(input.name())).collect();
    let [input] = inputs[..] else {
        let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
        return Err(format!("{} inputs, expected one image: {}", inputs.len(), names.join(", ")));
    };
    let name = input.name();
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dim[..]).unwrap_or_default();
    let size = |at: usize| match dims[at].value {
        Some(Dimension::Value(size)) if size > 0 => Some(size),
        _ => None,
    };
    if dims.len() != 4 {
        return Err(format!("its input `{name}` has {} axes, expected images [N, C, H, W]", dims.len()));
    }
    let sizes = [1, 2, 3].map(size);
    let channels = |size: Option<i64>| matches!(size, Some(1 | 3 | 4));
    let last = channels(sizes[2]) && !channels(sizes[0]);
    let [c, h, w] = if last { [sizes[2], sizes[0], sizes[1]] } else { sizes };
    let given = options.input.map(|input| input.map(|size| Some(size as i64))).unwrap_or_default();
    let all = [c.or(given[0]), h.or(given[1]), w.or(given[2])];
    let all: Vec<usize> = all.iter().flatten().filter_map(|&size| usize::try_from(size).ok()).collect();
    let shape = <[usize; 3]>::try_from(all)
        .map_err(|_| format!("its input `{name}` leaves sizes open\n  hint: say them, `--input-shape 3,224,224`"))?;
    let view = if last { View::ChannelsLast } else { View::Plain };
    Ok(Images { name, shape, view, batch: size(0) })
}

/// The name of the logits, and which functions of them were cut off behind.
fn answer(graph: &GraphProto) -> Result<(&str, Vec<&str>), String> {
    let [output] = &graph.output[..] else {
        return Err(format!("{} outputs, expected one of logits", graph.output.len()));
    };
    let mut name = output.name();
    let mut cut = Vec::new();
    for proto in graph.node.iter().rev() {
        if proto.output.first().is_some_and(|output| output == name) {
            match (proto.op_type(), proto.input.first()) {
                ("Softmax" | "LogSoftmax", Some(input)) => {
                    cut.push(proto.op_type());
                    name = input;
                }
                ("Identity", Some(input)) => name = input,
                _ => break,
            }
        }
    }
    Ok((name, cut))
}

/// Shapes of values that the file states.
fn declared(graph: &GraphProto) -> BTreeMap<&str, Vec<usize>> {
    let sample = |info: &ValueInfoProto| -> Option<Vec<usize>> {
        let dims = &info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?.dim;
        let size = |dim: &crate::proto::DimensionProto| match dim.value {
            Some(Dimension::Value(size)) => usize::try_from(size).ok(),
            _ => None,
        };
        dims.iter().skip(1).map(size).collect()
    };
    let infos = graph.value_info.iter().chain(&graph.output);
    infos.filter_map(|info| Some((info.name(), sample(info)?))).collect()
}

/// What is told of an operation; nothing of one that only computes constants.
fn operation(
    reader: &Reader<'_>,
    declared: &BTreeMap<&str, Vec<usize>>,
    proto: &crate::proto::NodeProto,
) -> Option<Operation> {
    let value = proto.output.first()?;
    let shape = match reader.value(value) {
        Some(Value::Constant(_)) => return None,
        Some(Value::Live(live)) => Some(live.seen()),
        _ => declared.get(value.as_str()).cloned(),
    };
    let live = |name: &&String| !name.is_empty() && !matches!(reader.value(name), Some(Value::Constant(_)));
    Some(Operation {
        name: proto.name().to_owned(),
        op: proto.op_type().to_owned(),
        value: value.clone(),
        inputs: proto.input.iter().filter(live).cloned().collect(),
        shape,
    })
}

/// The node of the answer, one row an image.
fn finish(reader: &mut Reader<'_>, answer: &str) -> Result<NodeId, String> {
    let live = match reader.value(answer) {
        Some(Value::Live(live)) => live.clone(),
        Some(Value::Unknown) => return Err("is not understood".to_owned()),
        _ => return Err("does not depend on the images".to_owned()),
    };
    let id = reader.id(&live)?;
    match (&live.shape[..], live.view) {
        ([_], View::RowsOfChannels { .. }) => {
            Err("is a row of features in another order than the network's, expected logits".to_owned())
        }
        ([_], _) => Ok(id),
        ([_, 1, 1], _) => {
            let flat = Op::Flatten(attar_models::op::Flatten {});
            let name = format!("{answer}.flat");
            reader.builder.add(name, flat, &[id]).map_err(|error| error.to_string())
        }
        _ => Err(format!("is [N, {}], expected one row of logits an image", value::join(&live.seen()))),
    }
}

/// The network without what its answer does not need, and with the stages that its structure shows.
fn pruned(graph: &Graph, weights: &Weights) -> attar_models::Result<(Graph, Weights)> {
    let mut needed = vec![false; graph.nodes().len()];
    needed[graph.output().index()] = true;
    needed[graph.input().index()] = true;
    for (id, node) in graph.iter().rev() {
        if needed[id.index()] {
            node.inputs.iter().for_each(|input| needed[input.index()] = true);
        }
    }
    let shape = <[usize; 3]>::try_from(graph.input_shape()).unwrap_or_default();
    let (mut builder, input) = GraphBuilder::new(graph.name(), shape)?;
    let mut moved = vec![input; graph.nodes().len()];
    for (id, node) in graph.iter().skip(1).filter(|(id, _)| needed[id.index()]) {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.index()]).collect();
        moved[id.index()] = builder.add(node.name.as_str(), node.op.clone(), &inputs)?;
    }
    let graph = builder.finish(moved[graph.output().index()]).with_found_stages();
    let kept = graph.params().filter_map(|param| weights.get(&param.name).map(|array| (param.name, array.clone())));
    let weights = Weights(kept.collect());
    weights.check(&graph)?;
    Ok((graph, weights))
}

/// What should be known of a network to train whose batch norms are gone; nothing where they are there.
pub fn without_norms(graph: &Graph) -> Option<String> {
    let convolutions = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv2d(_))).count();
    let norms = graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm2d(_) | Op::LayerNorm2d(_))).count();
    (convolutions > 1 && norms == 0).then(|| {
        "it has no norms: they were folded into the convolutions, or there were none; trained, it is trained as it is\n  \
         hint: `torch.onnx.export(..., training=TrainingMode.PRESERVE, do_constant_folding=False)`, or `optimize=False` with \
         dynamo, keeps them"
            .to_owned()
    })
}
