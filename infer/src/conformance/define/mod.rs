//! What an ONNX file says, computed as its specification says it, by nobody who runs files for a living.
//!
//! Every operation is computed in `f64` of the numbers that it is given, and its answer rounded to the type that it has: floats
//! once to the nearest `f32`, whole numbers as the operation defines it. For sums, products, quotients and whatever reads one
//! number this is what `f32` arithmetic gives to the bit; sums of many products come out as if there were no rounding on the
//! way. There are loops and nothing else: no layout, no fusing, no fast path, nothing shared with the reader, the compiler or
//! the engine that are asked.

mod fault;
mod functions;
mod layers;
mod node;
mod numbers;
mod pools;
mod shapes;
mod tensor;

use std::collections::{BTreeMap, BTreeSet};

use attar_onnx::proto::{FLOAT, ModelProto};

pub use fault::Fault;
use node::Node;
pub(crate) use tensor::{INT4, Tensor};

/// The answer `[n, K]`, row-major, of `n` images, and the number `K`. With a fault, that of a runtime that has it.
///
/// # Errors
/// What the definition does not know, by the name of the node.
pub(crate) fn answer(
    model: &ModelProto,
    images: &[f32],
    n: usize,
    fault: Option<Fault>,
) -> Result<(Vec<f32>, usize), String> {
    let graph = model.graph.as_ref().ok_or("no graph")?;
    let opset = model.opset_import.iter().find(|set| set.domain().is_empty()).map_or(1, |set| set.version());
    let mut values = BTreeMap::new();
    for constant in &graph.initializer {
        values.insert(constant.name(), Tensor::read(constant)?);
    }
    let input = graph.input.iter().find(|input| !values.contains_key(input.name())).ok_or("no input")?;
    let shape = shape_of(input, n)?;
    let image: Vec<f64> = images.iter().map(|value| f64::from(*value)).collect();
    if shape.iter().product::<usize>() != image.len() {
        return Err(format!("{} numbers for images {shape:?}", image.len()));
    }
    values.insert(input.name(), Tensor::floats(shape, image));
    // What depends on the images.
    let mut live = BTreeSet::from([input.name()]);
    for proto in &graph.node {
        let given: Vec<Option<&Tensor>> = proto.input.iter().map(|name| values.get(name.as_str())).collect();
        let of_images = proto.input.iter().map(|name| live.contains(name.as_str())).collect::<Vec<_>>();
        if of_images.contains(&true) {
            live.extend(proto.output.iter().map(String::as_str));
        }
        let node = Node { proto, opset, given, of_images, fault };
        let made = node.run().map_err(|problem| format!("{} `{}`: {problem}", proto.op_type(), proto.name()))?;
        for (name, mut tensor) in proto.output.iter().zip(made) {
            if tensor.kind == FLOAT {
                tensor.values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
            }
            values.insert(name, tensor);
        }
    }
    let output = graph.output.first().and_then(|output| values.get(output.name())).ok_or("no output")?;
    let mut answer: Vec<f32> = output.values.iter().map(|value| *value as f32).collect();
    let classes = answer.len() / n.max(1);
    if fault == Some(Fault::FirstImage) {
        for image in 1..n {
            answer.copy_within(..classes, image * classes);
        }
    }
    Ok((answer, classes))
}

/// `[n, C, H, W]` of an input.
fn shape_of(input: &attar_onnx::proto::ValueInfoProto, n: usize) -> Result<Vec<usize>, String> {
    use attar_onnx::proto::Dimension;
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dim[..]).unwrap_or_default();
    let size = |dim: &attar_onnx::proto::DimensionProto| match dim.value {
        Some(Dimension::Value(size)) => usize::try_from(size).map_err(|_| "a negative size".to_owned()),
        _ => Err("an input whose sizes are free".to_owned()),
    };
    let rest: Vec<usize> = dims.iter().skip(1).map(size).collect::<Result<_, _>>()?;
    Ok([&[n], &rest[..]].concat())
}
