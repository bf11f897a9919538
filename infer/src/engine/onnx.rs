//! What an ONNX file says of itself that a runtime does not: what its answers are, its shapes, which numbers lie elsewhere.
//!
//! Its protocol buffers are read as they lie, so that the small program needs no compiler for them. What is damaged is
//! left out here; the runtime that is to run the file refuses it.

use std::collections::{BTreeMap, BTreeSet};

use attar_formats::onnx_metadata::LABELS;
use attar_onnx::wire::{fields, metadata, text, utf8};

/// An ONNX file's graph, as far as it is asked for here.
#[derive(Debug, Default)]
pub(crate) struct OnnxFile<'b> {
    nodes: Vec<Node<'b>>,
    inputs: Vec<ValueInfo<'b>>,
    outputs: Vec<ValueInfo<'b>>,
    /// Whether an array of half precision is among its weights.
    half: bool,
    /// Whether one of whole numbers of 8 bits is.
    bytes: bool,
    /// Names of classes as our exporter writes them, in JSON.
    labels: Option<&'b str>,
}

/// One operation.
#[derive(Debug, Default)]
struct Node<'b> {
    op: &'b str,
    inputs: Vec<&'b str>,
    outputs: Vec<&'b str>,
}

/// An input or output of the graph; a free size is `None`.
#[derive(Debug, Default)]
struct ValueInfo<'b> {
    name: &'b str,
    dims: Vec<Option<u64>>,
}

/// The operation that makes a file's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Probabilities that sum to one.
    Softmax,
    /// Their logarithms.
    LogSoftmax,
    /// A probability for each class by itself.
    Sigmoid,
    /// A product, a sum, a mean: any number.
    Linear,
    /// Anything else.
    Other,
}

/// Operations that hand on what they are given: shapes and number formats change, meanings do not.
const TRANSPARENT: [&str; 9] =
    ["Identity", "Reshape", "Flatten", "Cast", "Squeeze", "Unsqueeze", "Dropout", "QuantizeLinear", "DequantizeLinear"];

const LINEAR: [&str; 13] = [
    "Gemm",
    "MatMul",
    "FusedMatMul",
    "FusedGemm",
    "Add",
    "Conv",
    "GlobalAveragePool",
    "AveragePool",
    "ReduceMean",
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QLinearAdd",
];

/// Parts of the names of operations on whole numbers of 8 bits.
const QUANTISED: [&str; 5] = ["uantizeLinear", "QLinear", "QGemm", "ConvInteger", "MatMulInteger"];

/// FLOAT16 and BFLOAT16 in `TensorProto.DataType`.
const HALVES: [u64; 2] = [10, 16];

/// INT8 there.
const INT8: u64 = 3;

impl<'b> OnnxFile<'b> {
    /// Reads what is there.
    pub(crate) fn read(model: &'b [u8]) -> Self {
        let mut file = Self { labels: metadata(model).get(LABELS).copied(), ..Self::default() };
        let graphs = fields(model).filter(|field| field.number == 7);
        let mut arrays = BTreeSet::new();
        for field in graphs.filter_map(|field| field.bytes()).flat_map(fields) {
            let Some(bytes) = field.bytes() else { continue };
            match field.number {
                1 => file.nodes.push(Node::read(bytes)),
                5 => {
                    arrays.insert(text(bytes, 8));
                    let kind = fields(bytes).find(|field| field.number == 2).and_then(|field| field.varint());
                    file.half |= kind.is_some_and(|kind| HALVES.contains(&kind));
                    file.bytes |= kind == Some(INT8);
                }
                11 => file.inputs.push(ValueInfo::read(bytes)),
                12 => file.outputs.push(ValueInfo::read(bytes)),
                _ => {}
            }
        }
        // Before version 4 of the format weights were listed among the inputs, too.
        file.inputs.retain(|input| !arrays.contains(input.name));
        file
    }

    /// Its operations, in order.
    #[cfg(feature = "ort")]
    pub(crate) fn operations(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.op)
    }

    /// The operation behind the first output, seen through those that only hand on.
    pub(crate) fn head(&self) -> Head {
        let makers: BTreeMap<&str, &Node<'b>> =
            self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |name| (*name, node))).collect();
        let Some(output) = self.outputs.first() else { return Head::Other };
        match self.maker(&makers, output.name).map(|node| (node.op, node)) {
            Some(("Softmax" | "QLinearSoftmax", _)) => Head::Softmax,
            Some(("LogSoftmax", _)) => Head::LogSoftmax,
            Some(("Sigmoid" | "HardSigmoid" | "QLinearSigmoid", _)) => Head::Sigmoid,
            Some(("Log", log)) => {
                let inner = log.inputs.first().and_then(|name| self.maker(&makers, name));
                if inner.is_some_and(|node| node.op == "Softmax") { Head::LogSoftmax } else { Head::Other }
            }
            Some((op, _)) if LINEAR.contains(&op) => Head::Linear,
            _ => Head::Other,
        }
    }

    /// The operation that makes a value, behind at most as many that hand it on as there are.
    fn maker<'s>(&'s self, makers: &BTreeMap<&str, &'s Node<'b>>, name: &str) -> Option<&'s Node<'b>> {
        let mut node = *makers.get(name)?;
        for _ in 0..self.nodes.len() {
            if !TRANSPARENT.contains(&node.op) {
                return Some(node);
            }
            node = makers.get(node.inputs.first()?)?;
        }
        None
    }

    /// Whether the one image that it takes has its channels last, `[N, H, W, C]`.
    pub(crate) fn channels_last(&self) -> bool {
        let few = |dim: &Option<u64>| matches!(dim, Some(1 | 3));
        match &self.inputs[..] {
            [ValueInfo { dims, .. }] if dims.len() == 4 => few(&dims[3]) && !few(&dims[1]),
            _ => false,
        }
    }

    /// `[C, H, W]` of the one image that it takes; free sizes are `None`.
    pub(crate) fn sizes(&self) -> Option<[Option<usize>; 3]> {
        let size = |dim: &Option<u64>| dim.and_then(|size| usize::try_from(size).ok());
        match &self.inputs[..] {
            [ValueInfo { dims, .. }] if dims.len() == 4 => Some([size(&dims[1]), size(&dims[2]), size(&dims[3])]),
            _ => None,
        }
    }

    /// The name of its first input.
    pub(crate) fn input_name(&self) -> &str {
        self.inputs.first().map_or("", |input| input.name)
    }

    /// Precision: `int8` where whole numbers are computed with; `f16` and `w8` where weights are stored as halves or as whole
    /// numbers of 8 bits, and floats are computed with; else `f32`.
    pub(crate) fn precision(&self) -> &'static str {
        let quantised = |node: &Node<'_>| QUANTISED.iter().any(|part| node.op.contains(part));
        match () {
            () if self.nodes.iter().any(quantised) => "int8",
            () if self.half => "f16",
            () if self.bytes => "w8",
            () => "f32",
        }
    }

    /// Names of its classes, if it carries ours.
    pub(crate) fn labels(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.labels?).ok()
    }
}

impl<'b> Node<'b> {
    fn read(bytes: &'b [u8]) -> Self {
        let mut node = Self::default();
        for field in fields(bytes) {
            match field.number {
                1 => node.inputs.push(utf8(&field)),
                2 => node.outputs.push(utf8(&field)),
                4 => node.op = utf8(&field),
                _ => {}
            }
        }
        node
    }
}

impl<'b> ValueInfo<'b> {
    fn read(bytes: &'b [u8]) -> Self {
        // type, tensor_type, shape, dim
        let within = |message: &'b [u8], number: u64| {
            fields(message).filter(move |field| field.number == number).filter_map(|field| field.bytes())
        };
        let shapes =
            within(bytes, 2).flat_map(|kind| within(kind, 1)).flat_map(|tensor| within(tensor, 2)).flat_map(fields);
        let dims = shapes.filter(|field| field.number == 1).filter_map(|field| field.bytes());
        let size = |dim: &'b [u8]| fields(dim).find(|field| field.number == 1).and_then(|field| field.varint());
        Self { name: text(bytes, 1), dims: dims.map(size).map(|size| size.filter(|size| *size > 0)).collect() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use attar_onnx::wire::put_bytes;

    /// A graph of operations one after the other, `x` in and `y` out.
    fn chain(ops: &[&str], shape: &[u64]) -> Vec<u8> {
        let mut graph = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let (mut node, last) = (Vec::new(), at + 1 == ops.len());
            put_bytes(&mut node, 1, if at == 0 { "x".to_owned() } else { format!("v{at}") }.as_bytes());
            put_bytes(&mut node, 2, if last { "y".to_owned() } else { format!("v{}", at + 1) }.as_bytes());
            put_bytes(&mut node, 4, op.as_bytes());
            put_bytes(&mut graph, 1, &node);
        }
        let (mut input, mut shaped, mut tensor, mut kind) = (Vec::new(), Vec::new(), vec![0x08, 1], Vec::new());
        for size in shape {
            put_bytes(&mut shaped, 1, &if *size == 0 { Vec::new() } else { vec![0x08, *size as u8] });
        }
        put_bytes(&mut tensor, 2, &shaped);
        put_bytes(&mut kind, 1, &tensor);
        put_bytes(&mut input, 1, b"x");
        put_bytes(&mut input, 2, &kind);
        put_bytes(&mut graph, 11, &input);
        let mut output = Vec::new();
        put_bytes(&mut output, 1, b"y");
        put_bytes(&mut graph, 12, &output);
        let mut model = Vec::new();
        put_bytes(&mut model, 7, &graph);
        model
    }

    #[test]
    fn heads_are_seen_through_what_only_hands_on() {
        let head = |ops: &[&str]| OnnxFile::read(&chain(ops, &[])).head();
        assert_eq!(head(&["Conv", "Softmax", "Identity", "Cast"]), Head::Softmax);
        assert_eq!(head(&["Softmax", "QuantizeLinear", "DequantizeLinear"]), Head::Softmax);
        assert_eq!(head(&["Gemm", "LogSoftmax"]), Head::LogSoftmax);
        assert_eq!(head(&["Softmax", "Reshape", "Log"]), Head::LogSoftmax);
        assert_eq!(head(&["Sigmoid", "Squeeze"]), Head::Sigmoid);
        assert_eq!(head(&["Softmax", "Gemm", "Flatten"]), Head::Linear);
        assert_eq!(head(&["Exp", "Div"]), Head::Other);
        assert_eq!(head(&["Identity"]), Head::Other);
        assert_eq!(OnnxFile::read(b"no model").head(), Head::Other);
    }

    #[test]
    fn channels_last_are_recognised() {
        let last = |shape: &[u64]| OnnxFile::read(&chain(&["Conv"], shape)).channels_last();
        assert!(last(&[1, 64, 64, 3]) && last(&[0, 0, 0, 3]) && last(&[0, 28, 28, 1]));
        assert!(!last(&[1, 3, 64, 64]) && !last(&[0, 3, 0, 0]) && !last(&[0, 3, 9, 3]) && !last(&[64, 64, 3]));
        assert_eq!(OnnxFile::read(&chain(&["Conv"], &[1])).input_name(), "x");
    }

    #[test]
    fn whole_numbers_are_seen() {
        let precision = |ops: &[&str]| OnnxFile::read(&chain(ops, &[])).precision();
        assert_eq!(precision(&["Conv", "Gemm"]), "f32");
        for op in ["QuantizeLinear", "QLinearConv", "DynamicQuantizeLinear", "MatMulInteger", "DequantizeLinear"] {
            assert_eq!(precision(&["Conv", op, "Gemm"]), "int8", "{op}");
        }
    }
}
