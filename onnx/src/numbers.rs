//! Whole numbers of 8 bits as ONNX has them: in a type of their own from `QuantizeLinear` to `DequantizeLinear`, also through
//! what only moves them about, and as floats for whoever else reads them; the weights of layers as `int8` and their biases as
//! `int32` behind a `DequantizeLinear` each, which is what runtimes make integer layers of.

use attar_models::op::Quantize;
use attar_models::quantised::{Integers, integers, moves_numbers, param};
use attar_models::{Array, Graph, Node, NodeId, Op, Weights};

use super::proto::{FLOAT, INT8, INT32, TensorProto, UINT8};
use super::write::{CONSTANT_MARK, Writer, constant, int, proto, scalar};
use crate::error::{Error, Result};

/// For each node that makes whole numbers of 8 bits, ONNX's type of them: quantisers, and what moves such numbers about.
pub(super) fn types(graph: &Graph) -> Vec<Option<i32>> {
    let mut types: Vec<Option<i32>> = Vec::new();
    for node in graph.nodes() {
        let of = |id: &NodeId| types[id.index()];
        types.push(match &node.op {
            Op::Quantize(quantize) => Some(if quantize.signed { INT8 } else { UINT8 }),
            op if moves_numbers(op) => {
                let first = node.inputs.first().and_then(of);
                first.filter(|_| node.inputs.iter().all(|input| of(input) == first))
            }
            _ => None,
        });
    }
    types
}

/// Whether the parameters of an operation are not all floats in a file.
pub(super) fn has_types_of_its_own(op: &Op) -> bool {
    matches!(op, Op::Quantize(_) | Op::Dequantize(_)) || is_quantized(op)
}

/// Names under which a file has what it says of a quantised layer's weight and bias beside them; none of other nodes.
pub fn quantised_parts(node: &Node) -> Vec<String> {
    if !is_quantized(&node.op) {
        return Vec::new();
    }
    let parts = ["weight", "bias"].into_iter().flat_map(|what| ["_scale", "_zero_point"].map(|part| (what, part)));
    parts.map(|(what, part)| format!("{}.{what}{part}", node.name)).collect()
}

fn is_quantized(op: &Op) -> bool {
    match op {
        Op::Conv2d(conv) => conv.quantized,
        Op::Linear(linear) => linear.quantized,
        _ => false,
    }
}

impl Writer<'_> {
    /// The numbers, none above the quantiser's own highest, and floats of them where somebody reads those.
    pub(super) fn quantize(
        &mut self,
        id: NodeId,
        quantize: &Quantize,
        inputs: Vec<String>,
        weights: &Weights,
    ) -> Result<()> {
        let (node, numbers) = (self.graph.node(id), self.numbers_of(id));
        let levels = self.levels(node, weights, Some(quantize.range()))?;
        let inputs = [inputs, levels.into()].concat();
        match quantize.high {
            None => self.nodes.push(proto(&numbers, "QuantizeLinear", inputs, &numbers, Vec::new())),
            Some(high) => {
                let all = format!("{}{CONSTANT_MARK}unclipped", node.name);
                self.nodes.push(proto(&all, "QuantizeLinear", inputs, &all, Vec::new()));
                let byte = |value: u8| TensorProto { raw_data: Some(vec![value]), ..typed(UINT8, Vec::new()) };
                let [low, high] = [("min", 0), ("max", high)]
                    .map(|(what, value)| constant(&mut self.constants, node, what, byte(value)));
                self.nodes.push(proto(&numbers, "Clip", vec![all, low, high], &numbers, Vec::new()));
            }
        }
        self.also_as_floats(id);
        Ok(())
    }

    /// The numbers of a node as floats, where somebody reads those.
    pub(super) fn also_as_floats(&mut self, id: NodeId) {
        let (node, output, numbers) = (self.graph.node(id), self.value(id), self.numbers_of(id));
        if numbers != output {
            let (name, float) = (format!("{}{CONSTANT_MARK}floats", node.name), vec![int("to", FLOAT as usize)]);
            self.nodes.push(proto(&name, "Cast", vec![numbers], &output, float));
        }
    }

    /// What numbers stand for. Where they are in their type; of others they are floats, and it is arithmetic.
    pub(super) fn dequantize(&mut self, id: NodeId, inputs: Vec<String>, weights: &Weights) -> Result<()> {
        let (node, output) = (self.graph.node(id), self.value(id));
        let from = node.inputs[0];
        if let Some(kind) = self.numbers[from.index()] {
            let range = Quantize { signed: kind == INT8, high: None }.range();
            let levels = self.levels(node, weights, Some(range))?;
            let inputs = [vec![self.numbers_of(from)], levels.into()].concat();
            self.nodes.push(proto(&node.name, "DequantizeLinear", inputs, &output, Vec::new()));
            return Ok(());
        }
        let centred = format!("{}{CONSTANT_MARK}centred", node.name);
        let [scale, zero_point] = self.levels(node, weights, None)?;
        self.nodes.push(proto(&centred, "Sub", [inputs, vec![zero_point]].concat(), &centred, Vec::new()));
        self.nodes.push(proto(&node.name, "Mul", vec![centred, scale], &output, Vec::new()));
        Ok(())
    }

    /// The weight of a quantised layer, and its bias: in integers, each dequantised. A bias that is no whole number of steps
    /// stays a float, and so does that of a layer that reads floats. Nothing for other nodes.
    pub(super) fn integer_params(&mut self, id: NodeId, weights: &Weights) -> Result<Vec<String>> {
        let node = self.graph.node(id);
        if !is_quantized(&node.op) {
            return Ok(Vec::new());
        }
        let input = self.input_scale(node, weights)?;
        let whole = integers(self.graph, weights, id, input.unwrap_or(1.0))?.filter(|_| input.is_some());
        let array = |suffix: &str| weights.get(&format!("{}.{suffix}", node.name));
        let scales = param(weights, node, "weight_scale")?;
        let stored = match &whole {
            Some(Integers { weights, .. }) => weights.clone(),
            None => rounded(param(weights, node, "weight")?, scales),
        };
        let shape = array("weight").map(|array| array.shape.clone()).unwrap_or_default();
        let bytes = stored.iter().map(|weight| *weight as u8).collect();
        let mut inputs = vec![self.dequantised(node, "weight", (INT8, shape), bytes, scales)];
        let Some(bias) = array("bias") else { return Ok(inputs) };
        inputs.push(match (whole, input) {
            (Some(Integers { bias, .. }), Some(input)) => {
                let steps: Vec<f32> = scales.iter().map(|scale| input * scale).collect();
                let bytes = bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
                self.dequantised(node, "bias", (INT32, vec![scales.len()]), bytes, &steps)
            }
            _ => {
                let name = format!("{}.bias", node.name);
                self.constants.push(super::write::floats(name.clone(), bias)?);
                name
            }
        });
        Ok(inputs)
    }

    /// Adds `NODE.WHAT` in integers, its scales along the first axis and their zero points, and returns the name of the
    /// floats that they stand for.
    fn dequantised(
        &mut self,
        node: &Node,
        what: &str,
        (kind, shape): (i32, Vec<usize>),
        bytes: Vec<u8>,
        scales: &[f32],
    ) -> String {
        let width = if kind == INT32 { 4 } else { 1 };
        let floats = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let [name, scale, zero] = ["", "_scale", "_zero_point"].map(|suffix| format!("{}.{what}{suffix}", node.name));
        for (name, kind, shape, bytes) in [
            (&name, kind, shape, bytes),
            (&scale, FLOAT, vec![scales.len()], floats),
            (&zero, kind, vec![scales.len()], vec![0; scales.len() * width]),
        ] {
            let tensor = TensorProto { name: Some(name.clone()), raw_data: Some(bytes), ..typed(kind, shape) };
            self.constants.push(tensor);
        }
        let made = format!("{}{CONSTANT_MARK}{what}", node.name);
        let axis = vec![int("axis", 0)];
        self.nodes.push(proto(&made, "DequantizeLinear", vec![name, scale, zero], &made, axis));
        made
    }

    /// The scale of the numbers that a layer's input stands for.
    fn input_scale(&self, node: &Node, weights: &Weights) -> Result<Option<f32>> {
        let mut at = node.inputs[0];
        while matches!(self.graph.node(at).op, Op::Flatten(_) | Op::Dropout(_) | Op::StochasticDepth(_)) {
            at = self.graph.node(at).inputs[0];
        }
        match &self.graph.node(at).op {
            Op::Dequantize(_) => Ok(param(weights, self.graph.node(at), "scale")?.first().copied()),
            _ => Ok(None),
        }
    }

    /// Name of a node's numbers in their own type. It is its own name where nobody asks for floats.
    pub(super) fn numbers_of(&self, id: NodeId) -> String {
        let typed = |at: usize| self.numbers[at].is_some() && !matches!(self.graph.nodes()[at].op, Op::Quantize(_));
        let in_numbers = |(at, node): (usize, &Node)| {
            !node.inputs.contains(&id) || matches!(node.op, Op::Dequantize(_)) || typed(at)
        };
        if id != self.graph.output() && self.graph.nodes().iter().enumerate().all(in_numbers) {
            return self.value(id);
        }
        format!("{}{CONSTANT_MARK}numbers", self.graph.node(id).name)
    }

    /// Names of the scale and the zero point of a quantiser, both without axes. The zero point is one of the numbers, from
    /// `low` to `high`; of numbers that are floats, a float.
    fn levels(&mut self, node: &Node, weights: &Weights, range: Option<[f32; 2]>) -> Result<[String; 2]> {
        let [scale, zero_point] = ["scale", "zero_point"].map(|suffix| format!("{}.{suffix}", node.name));
        let one = |name: &str| -> Result<f32> {
            let values = weights.get(name).map(Array::f32).transpose()?.unwrap_or_default();
            let missing = || Error::Node { node: node.name.clone(), problem: format!("{name} is missing") };
            values.first().copied().ok_or_else(missing)
        };
        let (step, middle) = (one(&scale)?, one(&zero_point)?);
        let typed = match range {
            None => scalar(middle),
            Some([low, high]) if middle < low || middle > high => {
                let problem = format!("its zero point is {middle}, and its numbers go from {low} to {high}");
                return Err(Error::Node { node: node.name.clone(), problem });
            }
            Some([low, _]) => TensorProto {
                raw_data: Some(vec![(middle as i16) as u8]),
                ..typed(if low < 0.0 { INT8 } else { UINT8 }, Vec::new())
            },
        };
        for (name, tensor) in [(&scale, scalar(step)), (&zero_point, typed)] {
            self.constants.push(TensorProto { name: Some(name.clone()), ..tensor });
        }
        Ok([scale, zero_point])
    }
}

/// A tensor of a type and shape, without its numbers.
fn typed(kind: i32, shape: Vec<usize>) -> TensorProto {
    let dims = shape.into_iter().map(|size| size as i64).collect();
    TensorProto { data_type: Some(kind), dims, ..TensorProto::default() }
}

/// The nearest whole numbers of steps of each output channel.
fn rounded(floats: &[f32], scales: &[f32]) -> Vec<i8> {
    let depth = (floats.len() / scales.len().max(1)).max(1);
    let step = |(at, float): (usize, &f32)| (float / scales[at / depth]).round_ties_even().clamp(-128.0, 127.0) as i8;
    floats.iter().enumerate().map(step).collect()
}
