//! Parts of an ONNX model as models of their own: some of its nodes, with what they read as inputs and their constants.
//!
//! Works on the bytes as they lie ([`crate::wire`]): a node is copied with everything that it says, known here or not.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{Field, Value, fields, put_bytes, put_number, text, utf8, varints};

/// The graph of a model: who makes which value of what.
#[derive(Debug)]
pub struct Graph<'m> {
    model: &'m [u8],
    nodes: Vec<Node<'m>>,
    arrays: BTreeMap<&'m str, &'m [u8]>,
    inputs: Vec<&'m str>,
    outputs: Vec<&'m str>,
    makers: BTreeMap<&'m str, usize>,
    live: BTreeSet<&'m str>,
}

/// A node as the file has it.
#[derive(Debug, Clone)]
pub struct Node<'m> {
    /// Its name; may be empty.
    pub name: &'m str,
    /// Its operation, ONNX's word.
    pub op: &'m str,
    /// The values that it reads; an input that is left out is empty.
    pub inputs: Vec<&'m str>,
    /// The values that it makes.
    pub outputs: Vec<&'m str>,
    /// Whether graphs are within it, which may read values that it does not name.
    pub nested: bool,
    bytes: &'m [u8],
}

/// Name, element type (of `TensorProto.DataType`) and shape of an input or output; what is not known is left to the runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info<'n> {
    /// Its name.
    pub name: &'n str,
    /// The type of its elements.
    pub kind: Option<u64>,
    /// Its shape, batch included.
    pub shape: Option<Vec<usize>>,
}

/// What computes a value of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'m> {
    /// Places of its nodes, in the order of the file.
    pub nodes: Vec<usize>,
    /// The values that it begins with.
    pub inputs: Vec<&'m str>,
}

impl<'m> Graph<'m> {
    /// Reads the graph of a model; what is damaged is left out.
    pub fn read(model: &'m [u8]) -> Self {
        let mut graph = Self {
            model,
            nodes: Vec::new(),
            arrays: BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            makers: BTreeMap::new(),
            live: BTreeSet::new(),
        };
        let graphs = fields(model).filter(|field| field.number == 7).filter_map(|field| field.bytes());
        for field in graphs.flat_map(fields) {
            let Some(bytes) = field.bytes() else { continue };
            match field.number {
                1 => graph.nodes.push(Node::read(bytes)),
                5 => drop(graph.arrays.insert(text(bytes, 8), bytes)),
                11 => graph.inputs.push(text(bytes, 1)),
                12 => graph.outputs.push(text(bytes, 1)),
                _ => {}
            }
        }
        // Before version 4 of the format weights were listed among the inputs, too.
        graph.inputs.retain(|name| !graph.arrays.contains_key(name));
        graph.live.extend(&graph.inputs);
        for (at, node) in graph.nodes.iter().enumerate() {
            let named = node.outputs.iter().filter(|name| !name.is_empty());
            graph.makers.extend(named.clone().map(|name| (*name, at)));
            if node.nested || node.inputs.iter().any(|name| graph.live.contains(name)) {
                graph.live.extend(named);
            }
        }
        graph
    }

    /// Its nodes, in the order of the file.
    pub fn nodes(&self) -> &[Node<'m>] {
        &self.nodes
    }

    /// Names of its inputs that are no constants.
    pub fn inputs(&self) -> &[&'m str] {
        &self.inputs
    }

    /// Names of its outputs.
    pub fn outputs(&self) -> &[&'m str] {
        &self.outputs
    }

    /// The place of the node that makes a value.
    pub fn maker(&self, value: &str) -> Option<usize> {
        self.makers.get(value).copied()
    }

    /// Whether a value depends on the inputs.
    pub fn is_live(&self, value: &str) -> bool {
        self.live.contains(value)
    }

    /// A constant, a `TensorProto`: an array of the graph or a `Constant` node's.
    pub fn array(&self, name: &str) -> Option<&'m [u8]> {
        let of_node = || {
            let node = self.nodes.get(self.maker(name)?).filter(|node| node.op == "Constant")?;
            let attributes = fields(node.bytes).filter(|field| field.number == 5).filter_map(|field| field.bytes());
            attributes.flat_map(fields).find(|field| field.number == 5)?.bytes()
        };
        self.arrays.get(name).copied().or_else(of_node)
    }

    /// The nodes that compute the value `of` from values for which `known` holds, and from constants. `None` where it depends
    /// on an input that is not known, or on a node with graphs within it.
    pub fn segment(&self, of: &str, known: impl Fn(&str) -> bool) -> Option<Segment<'m>> {
        let (mut nodes, mut inputs) = (BTreeSet::new(), Vec::new());
        let mut open = vec![self.maker(of)?];
        while let Some(at) = open.pop() {
            if !nodes.insert(at) {
                continue;
            }
            let node = &self.nodes[at];
            if node.nested {
                return None;
            }
            for name in node.inputs.iter().copied().filter(|name| self.is_live(name)) {
                if known(name) {
                    if !inputs.contains(&name) {
                        inputs.push(name);
                    }
                } else {
                    open.push(self.maker(name)?);
                }
            }
        }
        Some(Segment { nodes: nodes.into_iter().collect(), inputs })
    }

    /// A model of these nodes with the constants that they read; versions and functions are those of the whole.
    pub fn cut(&self, nodes: &[usize], inputs: &[Info<'_>], outputs: &[Info<'_>]) -> Vec<u8> {
        let given: BTreeSet<&str> = inputs.iter().map(|info| info.name).collect();
        let (mut kept, mut arrays) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<usize> = nodes.to_vec();
        while let Some(at) = open.pop().filter(|at| *at < self.nodes.len()) {
            if !kept.insert(at) {
                continue;
            }
            for name in self.nodes[at].inputs.iter().filter(|name| !given.contains(*name) && !self.is_live(name)) {
                match self.maker(name) {
                    Some(maker) => open.push(maker),
                    None => drop(arrays.insert(*name)),
                }
            }
        }
        let mut graph = Vec::new();
        kept.into_iter().for_each(|at| put_bytes(&mut graph, 1, self.nodes[at].bytes));
        put_bytes(&mut graph, 2, b"cut");
        arrays.iter().filter_map(|name| self.arrays.get(name)).for_each(|array| put_bytes(&mut graph, 5, array));
        inputs.iter().for_each(|info| put_bytes(&mut graph, 11, &info.bytes()));
        outputs.iter().for_each(|info| put_bytes(&mut graph, 12, &info.bytes()));
        let mut model = Vec::new();
        let whole = fields(self.model).filter(|field| matches!(field.number, 1 | 8 | 25));
        whole.for_each(|field| model.extend_from_slice(field.whole));
        put_bytes(&mut model, 7, &graph);
        model
    }
}

impl<'m> Node<'m> {
    fn read(bytes: &'m [u8]) -> Self {
        let mut node = Self { name: "", op: "", inputs: Vec::new(), outputs: Vec::new(), nested: false, bytes };
        for field in fields(bytes) {
            match field.number {
                1 => node.inputs.push(utf8(&field)),
                2 => node.outputs.push(utf8(&field)),
                3 => node.name = utf8(&field),
                4 => node.op = utf8(&field),
                // AttributeProto: `g` and `graphs`.
                5 => {
                    node.nested |= field
                        .bytes()
                        .is_some_and(|attribute| fields(attribute).any(|field| matches!(field.number, 6 | 11)));
                }
                _ => {}
            }
        }
        node
    }

    /// Its attributes, each an `AttributeProto`, by name.
    pub fn attributes(&self) -> BTreeMap<&'m str, &'m [u8]> {
        let attributes = fields(self.bytes).filter(|field| field.number == 5).filter_map(|field| field.bytes());
        attributes.map(|attribute| (text(attribute, 1), attribute)).collect()
    }

    /// A whole number among its attributes.
    pub fn int(&self, name: &str) -> Option<i64> {
        let own = *self.attributes().get(name)?;
        fields(own).find(|field| field.number == 3)?.varint().map(|number| number as i64)
    }
}

impl Info<'_> {
    /// As a `ValueInfoProto`.
    fn bytes(&self) -> Vec<u8> {
        let mut info = Vec::new();
        put_bytes(&mut info, 1, self.name.as_bytes());
        let Some(kind) = self.kind else { return info };
        let (mut tensor, mut r#type) = (Vec::new(), Vec::new());
        put_number(&mut tensor, 1, kind);
        if let Some(shape) = &self.shape {
            let mut dims = Vec::new();
            for size in shape {
                let mut dim = Vec::new();
                put_number(&mut dim, 1, *size as u64);
                put_bytes(&mut dims, 1, &dim);
            }
            put_bytes(&mut tensor, 2, &dims);
        }
        put_bytes(&mut r#type, 1, &tensor);
        put_bytes(&mut info, 2, &r#type);
        info
    }
}

/// An attribute's value for people, where it is a whole number, a list of them or a text.
pub fn shown(attribute: &[u8]) -> Option<String> {
    let of = |number: u64| fields(attribute).filter(move |field| field.number == number);
    let list: Vec<i64> = of(8).flat_map(|field| varints(&field)).map(|number| number as i64).collect();
    let number = of(3).find_map(|field| field.varint()).map(|number| (number as i64).to_string());
    let text = of(4).map(|field| utf8(&field).to_owned()).next();
    (!list.is_empty()).then(|| format!("{list:?}")).or(number).or(text)
}

/// Element type of a `TensorProto`, a number of `TensorProto.DataType`.
pub fn kind(tensor: &[u8]) -> Option<u64> {
    fields(tensor).find(|field| field.number == 2)?.varint()
}

/// The numbers of a `TensorProto` of 32-bit floats or of whole numbers of at most 32 bits; `None` of other types.
pub fn numbers(tensor: &[u8]) -> Option<Vec<f64>> {
    let data = |number: u64| fields(tensor).filter(move |field| field.number == number);
    let raw = data(9).find_map(|field| field.bytes()).filter(|raw| !raw.is_empty());
    let float = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|chunk| f64::from(f32::from_le_bytes(*chunk))).collect()
    };
    let packed = |field: Field<'_>| match field.value {
        Value::Bytes(bytes) => float(bytes),
        Value::Varint(_) | Value::Fixed => Vec::new(),
    };
    let whole = || data(5).flat_map(|field| varints(&field)).map(|number| f64::from(number as i32)).collect();
    Some(match (kind(tensor)?, raw) {
        (1, Some(raw)) => float(raw),
        (1, None) => data(4).flat_map(packed).collect(),
        (2, Some(raw)) => raw.iter().map(|byte| f64::from(*byte)).collect(),
        (3, Some(raw)) => raw.iter().map(|byte| f64::from(*byte as i8)).collect(),
        (6, Some(raw)) => raw.as_chunks().0.iter().map(|chunk| f64::from(i32::from_le_bytes(*chunk))).collect(),
        (2 | 3 | 6, None) => whole(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn node(name: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
        let mut node = Vec::new();
        inputs.iter().for_each(|name| put_bytes(&mut node, 1, name.as_bytes()));
        outputs.iter().for_each(|name| put_bytes(&mut node, 2, name.as_bytes()));
        put_bytes(&mut node, 3, name.as_bytes());
        put_bytes(&mut node, 4, op.as_bytes());
        node
    }

    fn array(name: &str, floats: &[f32]) -> Vec<u8> {
        let mut tensor = vec![0x08, floats.len() as u8, 0x10, 1];
        put_bytes(&mut tensor, 8, name.as_bytes());
        put_bytes(&mut tensor, 9, &floats.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        tensor
    }

    /// `y = Relu(x * w + Neg(c))`, and a diamond behind it.
    fn model() -> Vec<u8> {
        let (mut graph, mut model) = (Vec::new(), vec![0x08, 9]);
        let nodes = [
            node("", "Neg", &["c"], &["minus"]),
            node("mul", "Mul", &["x", "w"], &["product"]),
            node("add", "Add", &["product", "minus"], &["sum"]),
            node("relu", "Relu", &["sum"], &["a"]),
            node("both", "Add", &["a", "sum"], &["y"]),
        ];
        nodes.iter().for_each(|node| put_bytes(&mut graph, 1, node));
        [("c", 1.0), ("w", 2.0), ("unused", 3.0)]
            .iter()
            .for_each(|(name, value)| put_bytes(&mut graph, 5, &array(name, &[*value])));
        put_bytes(&mut graph, 11, &Info { name: "x", kind: Some(1), shape: Some(vec![1]) }.bytes());
        put_bytes(&mut graph, 12, &Info { name: "y", ..Info::default() }.bytes());
        put_bytes(&mut model, 8, &[0x10, 17]);
        put_bytes(&mut model, 7, &graph);
        model
    }

    #[test]
    fn a_segment_goes_back_to_what_is_known_and_brings_its_constants() {
        let model = model();
        let graph = Graph::read(&model);
        assert!(graph.is_live("a") && !graph.is_live("minus") && !graph.is_live("w"));
        let of = |value: &str, known: &[&str]| graph.segment(value, |name| known.contains(&name));
        assert_eq!(of("y", &["a", "sum"]).unwrap(), Segment { nodes: vec![4], inputs: vec!["a", "sum"] });
        assert_eq!(of("y", &["sum"]).unwrap(), Segment { nodes: vec![3, 4], inputs: vec!["sum"] });
        let back = of("sum", &["x"]).unwrap();
        assert_eq!(back, Segment { nodes: vec![1, 2], inputs: vec!["x"] });
        assert_eq!((of("sum", &[]), of("nobody", &["x"])), (None, None));
        let x = Info { name: "x", kind: Some(1), shape: Some(vec![1]) };
        let cut = graph.cut(&back.nodes, &[x], &[Info { name: "sum", ..Info::default() }]);
        let part = Graph::read(&cut);
        let ops: Vec<&str> = part.nodes().iter().map(|node| node.op).collect();
        assert_eq!((ops, part.inputs(), part.outputs()), (vec!["Neg", "Mul", "Add"], &["x"][..], &["sum"][..]));
        assert_eq!(wire::initialisers(&cut), ["c", "w"]);
        assert!(cut.starts_with(&[0x08, 9]) && wire::fields(&cut).any(|field| field.number == 8));
        assert_eq!(numbers(part.array("w").unwrap()), Some(vec![2.0]));
        assert_eq!(part.array("unused"), None);
    }

    #[test]
    fn damage_is_left_out() {
        let model = model();
        for length in 0..model.len() {
            let graph = Graph::read(&model[..length]);
            let segment = graph.segment("y", |name| name == "x");
            segment.into_iter().for_each(|segment| drop(graph.cut(&segment.nodes, &[], &[])));
        }
        let graph = Graph::read(&model);
        assert_eq!(Graph::read(&graph.cut(&[99], &[], &[])).nodes().len(), 0);
    }
}
