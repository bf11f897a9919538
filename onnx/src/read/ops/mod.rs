//! What each operation of ONNX is in a network, by kind.

mod arithmetic;
mod fold;
mod functions;
mod joins;
mod linear;
mod moments;
mod norms;
mod pools;
mod positions;
mod quantised;
mod shapes;
mod windows;

use super::node::Node;
use super::reader::Reader;
use super::value::Value;

/// Reads one operation: what its outputs are, or why that is not known.
pub(super) fn read<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let domain = node.proto.domain();
    if !matches!(domain, "" | "ai.onnx" | "com.microsoft") {
        return Err(format!("is an operation of the domain `{domain}`, which is not known here"));
    }
    let inputs = node.proto.input.iter().filter(|name| !name.is_empty());
    let constant = |name: &String| matches!(reader.value(name), Some(Value::Constant(_)));
    let all_constant = node.proto.input.is_empty() || inputs.clone().all(constant);
    if all_constant || node.op() == "Shape" {
        return fold::fold(reader, node);
    }
    if let Some(missing) = inputs.clone().find(|name| reader.value(name).is_none()) {
        return Err(format!("reads `{missing}`, which nothing makes"));
    }
    if inputs.clone().any(|name| matches!(reader.value(name), Some(Value::Positions(_)))) {
        return positions::read(reader, node);
    }
    if inputs.clone().any(|name| matches!(reader.value(name), Some(Value::Moment(_)))) {
        return moments::read(reader, node);
    }
    let one = |value: Result<super::value::Live, String>| value.map(|live| vec![Value::Live(live)]);
    match node.op() {
        "Conv" => one(windows::conv(reader, node)),
        "Pad" => one(windows::pad(reader, node)),
        "MaxPool" => one(pools::max_pool(reader, node)),
        "AveragePool" => one(pools::average_pool(reader, node)),
        "GlobalAveragePool" | "GlobalMaxPool" => one(pools::global(reader, node)),
        "ReduceMean" => pools::reduce_mean(reader, node),
        "Gemm" => one(linear::gemm(reader, node)),
        "MatMul" => one(linear::matmul(reader, node)),
        "BatchNormalization" => one(norms::batch_norm(reader, node)),
        "LayerNormalization" => one(norms::layer_norm(reader, node)),
        "PRelu" => one(functions::prelu(reader, node)),
        "Softmax" | "LogSoftmax" => one(functions::softmax(reader, node)),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" => one(arithmetic::binary(reader, node)),
        "Pow" => one(functions::power(reader, node)),
        "Identity" | "Dropout" | "Cast" | "CastLike" => shapes::pass(reader, node),
        "Flatten" => one(shapes::flatten(reader, node)),
        "Reshape" => one(shapes::reshape(reader, node)),
        "Squeeze" => one(shapes::squeeze(reader, node)),
        "Unsqueeze" => one(shapes::unsqueeze(reader, node)),
        "Transpose" => one(shapes::transpose(reader, node)),
        "Expand" => one(shapes::expand(reader, node)),
        "Concat" => one(joins::concat(reader, node)),
        "Split" => joins::split(reader, node),
        "SplitToSequence" => joins::split_to_sequence(reader, node),
        "SequenceAt" => joins::sequence_at(reader, node),
        "Slice" => one(joins::slice(reader, node)),
        "Gather" => one(joins::gather(reader, node)),
        "QuantizeLinear" => one(quantised::quantize(reader, node)),
        "DequantizeLinear" => one(quantised::dequantize(reader, node)),
        op if op.starts_with("QLinear") || op == "QGemm" => one(quantised::qlinear(reader, node)),
        _ => one(functions::unary(reader, node)),
    }
}
