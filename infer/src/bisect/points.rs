//! The values of a file at which two sides are compared, and what the numbers of quantised ones mean.
//!
//! Asking a runtime for a value changes what it fuses. So values between a `DequantizeLinear` and the `QuantizeLinear` behind
//! it are not asked for: a layer of a quantised network is compared at its bytes, and computed in integers as it would be
//! unwatched. What `DequantizeLinear` gives is what it was given; it is a name of those bytes.

use std::collections::{BTreeMap, BTreeSet};

use attar_onnx::cut::{Graph, Node, kind, numbers};

/// What the whole numbers of a value stand for: `(number - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Levels {
    pub(super) scale: f32,
    pub(super) zero: i32,
    /// Whether they are `i8`, else `u8`.
    pub(super) signed: bool,
}

impl Levels {
    /// The least and the largest number.
    pub(super) fn range(self) -> [i32; 2] {
        if self.signed { [-128, 127] } else { [0, 255] }
    }

    /// What a number stands for.
    pub(super) fn real(self, number: i32) -> f64 {
        f64::from(number - self.zero) * f64::from(self.scale)
    }

    /// The number of a real one: `round(x / scale) + zero`, ties to even, within the range.
    pub(super) fn number(self, real: f32) -> i32 {
        let [low, high] = self.range();
        let steps = (real / self.scale).round_ties_even();
        if steps.is_nan() {
            self.zero
        } else {
            (f64::from(steps) + f64::from(self.zero)).clamp(f64::from(low), f64::from(high)) as i32
        }
    }

    /// Whether numbers are the same step apart.
    pub(super) fn step_of(self, other: Self) -> bool {
        (self.scale - other.scale).abs() <= self.scale.abs() * 1e-6
    }
}

/// A value that is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// Its name in the file.
    pub(super) value: String,
    /// Other names of it: what was quantised, what dequantising gives.
    pub(super) aliases: BTreeSet<String>,
    /// The node that computes it, by its name or, where it has none, by that of its value; of a quantised layer the layer.
    pub(super) node: String,
    /// Its operation.
    pub(super) op: String,
    /// What its numbers stand for, where they are bytes of one scale.
    pub(super) levels: Option<Levels>,
    /// Whether some node on the way from the points before it quantises or dequantises.
    pub(super) quantised: bool,
    /// Whether it is made of bytes, however far before it.
    pub(super) behind_bytes: bool,
    /// The most points on a way from the input to it, itself included.
    pub(super) depth: usize,
}

/// Operations that keep the type of their input, and the meaning of its numbers.
const MOVES: [&str; 16] = [
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Dropout",
    "MaxPool",
    "Slice",
    "Pad",
    "Clip",
    "Concat",
    "Split",
    "Gather",
    "Expand",
    "Tile",
];

/// Functions that runtimes make part of the layer before them.
const FUNCTIONS: [&str; 7] = ["Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"];

/// Operations whose values are sizes, places or truths.
const NO_NUMBERS: [&str; 12] = [
    "Shape",
    "Size",
    "ArgMax",
    "ArgMin",
    "NonZero",
    "Equal",
    "Less",
    "Greater",
    "LessOrEqual",
    "GreaterOrEqual",
    "Not",
    "And",
];

/// Where an operation on bytes has the scale and the zero point of what it makes, among its inputs.
const BYTE_OPERATIONS: [(&str, usize); 14] = [
    ("QuantizeLinear", 1),
    ("QLinearConv", 6),
    ("QLinearMatMul", 6),
    ("QLinearAdd", 6),
    ("QLinearMul", 6),
    ("QGemm", 7),
    ("QLinearConcat", 0),
    ("QLinearGlobalAveragePool", 3),
    ("QLinearAveragePool", 3),
    ("QLinearSigmoid", 3),
    ("QLinearLeakyRelu", 3),
    ("QLinearSoftmax", 3),
    ("QLinearReduceMean", 3),
    ("QLinearWhere", 6),
];

/// What is known of a value's type.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    Float,
    Bytes(Option<Levels>),
    Other,
}

/// All points of a file, in its order.
pub(super) fn points(graph: &Graph<'_>) -> Vec<Point> {
    let types = types(graph);
    let readers = readers(graph);
    let kept: BTreeMap<&str, Option<Levels>> = graph
        .nodes()
        .iter()
        .flat_map(|node| node.outputs.first().map(|value| (*value, node)))
        .filter(|(value, _)| graph.is_live(value))
        .filter_map(|(value, node)| match types.get(value)? {
            Type::Other => None,
            Type::Bytes(levels) => Some((value, *levels)),
            Type::Float if graph.outputs().contains(&value) => Some((value, None)),
            Type::Float if node.op == "DequantizeLinear" || within(graph, &readers, value, 0) => None,
            Type::Float => Some((value, None)),
        })
        .collect();
    let mut found: Vec<Point> = Vec::new();
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for node in graph.nodes() {
        let Some((value, levels)) = node.outputs.first().and_then(|value| kept.get_key_value(value)) else { continue };
        let Some(segment) = graph.segment(value, |name| kept.contains_key(name) || graph.inputs().contains(&name))
        else {
            continue;
        };
        let mut before = segment.inputs.iter().filter_map(|name| found.iter().find(|point| point.value == *name));
        let behind_bytes = levels.is_some() || before.any(|point| point.behind_bytes);
        let depth = 1 + segment.inputs.iter().filter_map(|name| depths.get(name)).max().copied().unwrap_or(0);
        depths.insert(*value, depth);
        let computing = computing(graph, &segment.nodes, node);
        let named =
            if computing.name.is_empty() { computing.outputs.first().copied().unwrap_or("") } else { computing.name };
        found.push(Point {
            value: (*value).to_owned(),
            aliases: aliases(graph, &readers, node, value),
            node: named.to_owned(),
            op: computing.op.to_owned(),
            levels: *levels,
            quantised: levels.is_some()
                || segment.nodes.iter().any(|at| graph.nodes()[*at].op.contains("uantize"))
                || reads_quantised_weights(graph, &segment.nodes),
            behind_bytes,
            depth,
        });
    }
    found
}

/// The node of a segment that does the work: the heaviest of those that are neither quantisers nor functions, else the last.
fn computing<'g, 'm>(graph: &'g Graph<'m>, segment: &[usize], last: &'g Node<'m>) -> &'g Node<'m> {
    let nodes =
        segment.iter().map(|at| &graph.nodes()[*at]).filter(|node| node.inputs.iter().any(|name| graph.is_live(name)));
    let works = |node: &&Node<'_>| {
        !node.op.contains("uantizeLinear") && !FUNCTIONS.contains(&node.op) && !MOVES.contains(&node.op)
    };
    let (mut working, mut function) = (None, None);
    for node in nodes {
        if works(&node) {
            working = Some(node);
        } else if !node.op.contains("uantizeLinear") {
            function = Some(node);
        }
    }
    working.or(function).unwrap_or(last)
}

fn reads_quantised_weights(graph: &Graph<'_>, segment: &[usize]) -> bool {
    let inputs = segment.iter().flat_map(|at| graph.nodes()[*at].inputs.iter());
    inputs.filter_map(|name| graph.maker(name)).any(|at| graph.nodes()[at].op == "DequantizeLinear")
}

/// Who reads each value: places of nodes.
fn readers<'m>(graph: &Graph<'m>) -> BTreeMap<&'m str, Vec<usize>> {
    let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, node) in graph.nodes().iter().enumerate() {
        node.inputs.iter().for_each(|name| readers.entry(name).or_default().push(at));
    }
    readers
}

/// Whether all that reads a value quantises it, at once or behind functions.
fn within(graph: &Graph<'_>, readers: &BTreeMap<&str, Vec<usize>>, value: &str, deep: usize) -> bool {
    let Some(readers_) = readers.get(value).filter(|_| deep < 8) else { return false };
    readers_.iter().map(|at| &graph.nodes()[*at]).all(|node| match node.outputs.first() {
        Some(_) if node.op == "QuantizeLinear" => true,
        Some(made) if FUNCTIONS.contains(&node.op) && !graph.outputs().contains(made) => {
            within(graph, readers, made, deep + 1)
        }
        _ => false,
    })
}

/// Ends of names that quantisers append.
const ENDINGS: [&str; 3] = ["_QuantizeLinear_Output", "_DequantizeLinear_Output", "_quantized"];

fn aliases(graph: &Graph<'_>, readers: &BTreeMap<&str, Vec<usize>>, node: &Node<'_>, value: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if node.op == "QuantizeLinear" {
        names.extend(node.inputs.first().filter(|name| graph.is_live(name)).map(|name| (*name).to_owned()));
    }
    for at in readers.get(value).into_iter().flatten() {
        let reader = &graph.nodes()[*at];
        if reader.op == "DequantizeLinear" {
            names.extend(reader.outputs.first().map(|name| (*name).to_owned()));
        }
    }
    let bare: Vec<String> = names
        .iter()
        .map(String::as_str)
        .chain([value])
        .filter_map(|name| ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned))
        .collect();
    names.extend(bare);
    names.remove(value);
    names
}

/// Types of the values that depend on the input.
fn types<'m>(graph: &Graph<'m>) -> BTreeMap<&'m str, Type> {
    let mut types: BTreeMap<&str, Type> = graph.inputs().iter().map(|name| (*name, Type::Float)).collect();
    for node in graph.nodes() {
        let first = node.inputs.iter().find_map(|name| types.get(name)).copied().unwrap_or(Type::Float);
        let made = match node.op {
            "DequantizeLinear" => Type::Float,
            "Cast" => match node.int("to") {
                Some(1) => Type::Float,
                Some(2 | 3) => Type::Bytes(None),
                _ => Type::Other,
            },
            "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear" => Type::Other,
            op if NO_NUMBERS.contains(&op) => Type::Other,
            op => match BYTE_OPERATIONS.iter().find(|(name, _)| *name == op) {
                Some((_, at)) if node.inputs.get(*at).is_some_and(|name| !name.is_empty()) => {
                    Type::Bytes(levels(graph, node, *at))
                }
                Some(_) => Type::Float, // QGemm without a scale gives floats
                None if MOVES.contains(&op) => first,
                None if first == Type::Other => Type::Other,
                None => Type::Float,
            },
        };
        types.extend(node.outputs.iter().filter(|name| graph.is_live(name)).map(|name| (*name, made)));
    }
    types
}

/// Scale and zero point of what a node makes, where they are one for all.
fn levels(graph: &Graph<'_>, node: &Node<'_>, at: usize) -> Option<Levels> {
    let [scale] = numbers(graph.array(node.inputs.get(at)?)?)?[..] else { return None };
    let (zero, signed) = match node.inputs.get(at + 1).filter(|name| !name.is_empty()) {
        Some(name) => {
            let array = graph.array(name)?;
            let [zero] = numbers(array)?[..] else { return None };
            (zero as i32, kind(array) == Some(3))
        }
        None => (0, false),
    };
    let scale = scale as f32;
    (scale.is_finite() && scale > 0.0).then_some(Levels { scale, zero, signed })
}
