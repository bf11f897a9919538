//! ONNX files bent in one place: other heads, arrays beside the file, other shapes.

use attar_onnx::wire::{fields, put_bytes};

/// The model with these operations behind its output.
pub(crate) fn behind(model: &[u8], ops: &[&str]) -> Vec<u8> {
    let nodes = |output: &str| {
        let name = |at: usize| if at == ops.len() { output.to_owned() } else { format!("raw.{at}") };
        ops.iter().enumerate().map(|(at, op)| node(op, &[&name(at)], &name(at + 1))).collect()
    };
    append(model, nodes, &[])
}

/// The model with its answers rounded to steps of a 32nd, in the way of a quantised network.
pub(crate) fn quantised(model: &[u8]) -> Vec<u8> {
    let nodes = |output: &str| {
        vec![
            node("QuantizeLinear", &["raw.0", "step", "zero"], "raw.1"),
            node("DequantizeLinear", &["raw.1", "step", "zero"], output),
        ]
    };
    append(model, nodes, &[tensor("step", 1, &(1f32 / 32.0).to_le_bytes()), tensor("zero", 3, &[0])])
}

/// The model with its answers at other places: `columns` says for each of the new ones which of the old ones it is, if any.
pub(crate) fn rearranged(model: &[u8], old: usize, columns: &[Option<usize>]) -> Vec<u8> {
    let ones = (0..old).flat_map(|row| columns.iter().map(move |column| f32::from(u8::from(*column == Some(row)))));
    let raw: Vec<u8> = ones.flat_map(f32::to_le_bytes).collect();
    let mut order = vec![0x08, old as u8, 0x08, columns.len() as u8];
    order.extend(tensor("order", 1, &raw));
    let nodes = |output: &str| vec![node("MatMul", &["raw.0", "order"], output)];
    giving(&append(model, nodes, &[order]), &[0, columns.len() as u8])
}

/// The model with a node beside the others that counts the sizes of the value `of`, in whole numbers.
pub(crate) fn counting(model: &[u8], of: &str) -> Vec<u8> {
    let (mut more, mut whole) = (Vec::new(), model.to_vec());
    put_bytes(&mut more, 1, &node("Shape", &[of], "sizes"));
    put_bytes(&mut whole, 7, &more);
    whole
}

/// The model with properties in its metadata.
pub(crate) fn saying(model: &[u8], properties: &[(&str, &str)]) -> Vec<u8> {
    let mut whole = model.to_vec();
    for (key, value) in properties {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut whole, 14, &entry);
    }
    whole
}

/// The model without the bytes of its arrays, and those bytes, which are to lie in `location` beside it.
pub(crate) fn apart(model: &[u8], location: &str) -> (Vec<u8>, Vec<u8>) {
    let mut data = Vec::new();
    let model = graph(model, |number, bytes| {
        let raw = fields(bytes).find(|field| number == 5 && field.number == 9).and_then(|field| field.bytes())?;
        let mut moved = Vec::new();
        fields(bytes).filter(|field| field.number != 9).for_each(|field| moved.extend_from_slice(field.whole));
        for (key, value) in
            [("location", location), ("offset", &data.len().to_string()), ("length", &raw.len().to_string())]
        {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut moved, 13, &entry);
        }
        moved.extend([0x70, 1]);
        data.extend_from_slice(raw);
        Some(moved)
    });
    assert!(!data.is_empty(), "the fixture keeps its arrays in another way");
    (model, data)
}

/// The model with the floats of the array `name` multiplied.
pub(crate) fn rescaled(model: &[u8], name: &str, by: f32) -> Vec<u8> {
    let mut found = false;
    let model = graph(model, |number, bytes| {
        if number != 5 || text(bytes, 8) != name {
            return None;
        }
        found = true;
        let mut array = Vec::new();
        for field in fields(bytes) {
            match field.bytes().filter(|_| [4, 9].contains(&field.number)) {
                Some(floats) => {
                    let floats = floats.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four) * by);
                    put_bytes(&mut array, field.number, &floats.flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
                }
                None => array.extend_from_slice(field.whole),
            }
        }
        Some(array)
    });
    assert!(found, "the fixture has no array `{name}`");
    model
}

/// The model with another shape of its input; 0 is free.
pub(crate) fn taking(model: &[u8], shape: &[u8]) -> Vec<u8> {
    graph(model, |number, bytes| (number == 11).then(|| value_info(&text(bytes, 1), shape)))
}

/// The model with another shape of its output; 0 is free.
pub(crate) fn giving(model: &[u8], shape: &[u8]) -> Vec<u8> {
    graph(model, |number, bytes| (number == 12).then(|| value_info(&text(bytes, 1), shape)))
}

fn append(model: &[u8], nodes: impl Fn(&str) -> Vec<Vec<u8>>, arrays: &[Vec<u8>]) -> Vec<u8> {
    let mut output = String::new();
    graph(model, |number, bytes| {
        if number == 12 {
            output = text(bytes, 1);
        }
        None
    });
    let model = graph(model, |number, bytes| {
        let mut renamed = Vec::new();
        for field in fields(bytes) {
            match number == 1 && field.number == 2 && field.bytes() == Some(output.as_bytes()) {
                true => put_bytes(&mut renamed, 2, b"raw.0"),
                false => renamed.extend_from_slice(field.whole),
            }
        }
        Some(renamed)
    });
    let mut more = Vec::new();
    nodes(&output).iter().for_each(|node| put_bytes(&mut more, 1, node));
    arrays.iter().for_each(|array| put_bytes(&mut more, 5, array));
    // A message that stands twice is merged, its lists one after the other.
    let mut whole = model;
    put_bytes(&mut whole, 7, &more);
    whole
}

/// Goes through the graph's parts: field and bytes; what is returned stands in their place.
fn graph(model: &[u8], mut change: impl FnMut(u64, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut whole = Vec::new();
    for field in fields(model) {
        if field.number != 7 {
            whole.extend_from_slice(field.whole);
            continue;
        }
        let mut graph = Vec::new();
        for part in fields(field.bytes().unwrap()) {
            match part.bytes().and_then(|bytes| change(part.number, bytes)) {
                Some(changed) => put_bytes(&mut graph, part.number, &changed),
                None => graph.extend_from_slice(part.whole),
            }
        }
        put_bytes(&mut whole, 7, &graph);
    }
    whole
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut node = Vec::new();
    inputs.iter().for_each(|input| put_bytes(&mut node, 1, input.as_bytes()));
    put_bytes(&mut node, 2, output.as_bytes());
    put_bytes(&mut node, 3, format!("{op} of {output}").as_bytes());
    put_bytes(&mut node, 4, op.as_bytes());
    node
}

/// A number as an array without sizes.
fn tensor(name: &str, kind: u8, raw: &[u8]) -> Vec<u8> {
    let mut tensor = vec![0x10, kind];
    put_bytes(&mut tensor, 8, name.as_bytes());
    put_bytes(&mut tensor, 9, raw);
    tensor
}

fn value_info(name: &str, shape: &[u8]) -> Vec<u8> {
    let (mut info, mut sizes, mut tensor, mut kind) = (Vec::new(), Vec::new(), vec![0x08, 1], Vec::new());
    for (at, size) in shape.iter().enumerate() {
        let mut dim = Vec::new();
        match size {
            0 => put_bytes(&mut dim, 2, format!("free{at}").as_bytes()),
            size => dim.extend([0x08, *size]),
        }
        put_bytes(&mut sizes, 1, &dim);
    }
    put_bytes(&mut tensor, 2, &sizes);
    put_bytes(&mut kind, 1, &tensor);
    put_bytes(&mut info, 1, name.as_bytes());
    put_bytes(&mut info, 2, &kind);
    info
}

fn text(message: &[u8], number: u64) -> String {
    let found = fields(message).find(|field| field.number == number).and_then(|field| field.bytes());
    String::from_utf8(found.unwrap_or_default().to_vec()).unwrap()
}
