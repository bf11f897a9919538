//! A value inside of a file as the file's answer: a model whose logits are the numbers of an image in the middle of a network,
//! for a runtime that gives rows of logits and nothing else.
//!
//! Two convolutions of zeros and ones take the image apart, columns first, then rows: every number of the answer is one of
//! the image's, times one, plus zeros, which no rounding touches.

use crate::cut::{Graph, Info};
use crate::wire::{put_bytes, put_number};

/// Most weights of the two convolutions together, 64 MiB of floats.
const MOST: usize = 1 << 24;

/// What whole numbers stand for, `(number - zero) * scale`, and whether they are signed.
pub type Levels = (f32, i32, bool);

/// The model whose answer is the value `of`, of shape `shape` without the batch (`[C, H, W]` or `[F]`), in row-major order,
/// dequantised where it has `levels`. It takes one image of `input`, `[C, H, W]`. `None` where the value does not depend on the
/// image alone, or is too large to be taken apart.
pub fn row(graph: &Graph<'_>, of: &str, shape: &[usize], levels: Option<Levels>, input: [usize; 3]) -> Option<Vec<u8>> {
    let [image] = graph.inputs()[..] else { return None };
    let segment = graph.segment(of, |name| name == image)?;
    let taken = Info { name: image, kind: Some(1), shape: Some([&[1], &input[..]].concat()) };
    let mut model = graph.cut(&segment.nodes, &[taken], &[]);
    let mut more = Vec::new();
    let mut last = of.to_owned();
    if let Some((scale, zero, signed)) = levels {
        array(&mut more, "row/scale", &[], 1, &scale.to_le_bytes());
        array(&mut more, "row/zero", &[], if signed { 3 } else { 2 }, &[zero as u8]);
        node(&mut more, "DequantizeLinear", &[&last, "row/scale", "row/zero"], "row/floats", &[]);
        last = "row/floats".to_owned();
    }
    if let [channels, height, width] = *shape
        && [height, width] != [1, 1]
    {
        let columns = channels.checked_mul(height)?;
        let weights = [columns.checked_mul(height)?, columns.checked_mul(width)?.checked_mul(width)?];
        if weights[0].checked_add(weights[1])? > MOST {
            return None;
        }
        let [height_, width_, channels_, columns_] = [height, width, channels, columns].map(|size| size as u64);
        ones(&mut more, "row/columns", [columns, 1, height, 1], height);
        let attributes = [("kernel_shape", vec![height_, 1]), ("group", vec![channels_])];
        node(&mut more, "Conv", &[&last, "row/columns"], "row/apart", &attributes);
        ones(&mut more, "row/rows", [columns * width, 1, 1, width], width);
        let attributes = [("kernel_shape", vec![1, width_]), ("group", vec![columns_])];
        node(&mut more, "Conv", &["row/apart", "row/rows"], "row/pixels", &attributes);
        last = "row/pixels".to_owned();
    }
    if shape.len() == 3 {
        node(&mut more, "Flatten", &[&last], "row/answer", &[]);
        last = "row/answer".to_owned();
    } else if shape.len() != 1 {
        return None;
    }
    let mut output = Vec::new();
    put_bytes(&mut output, 1, last.as_bytes());
    put_bytes(&mut more, 12, &output);
    // A message that stands twice is merged, its lists one after the other.
    put_bytes(&mut model, 7, &more);
    Some(model)
}

/// Weights of which filter `i` takes number `i % period` of its window.
fn ones(graph: &mut Vec<u8>, name: &str, shape: [usize; 4], period: usize) {
    let window = shape[2] * shape[3];
    let mut weights = vec![0u8; shape[0] * window * 4];
    for filter in 0..shape[0] {
        weights[(filter * window + filter % period) * 4..][..4].copy_from_slice(&1f32.to_le_bytes());
    }
    array(graph, name, &shape, 1, &weights);
}

fn array(graph: &mut Vec<u8>, name: &str, shape: &[usize], kind: u64, data: &[u8]) {
    let mut tensor = Vec::new();
    shape.iter().for_each(|size| put_number(&mut tensor, 1, *size as u64));
    put_number(&mut tensor, 2, kind);
    put_bytes(&mut tensor, 8, name.as_bytes());
    put_bytes(&mut tensor, 9, data);
    put_bytes(graph, 5, &tensor);
}

fn node(graph: &mut Vec<u8>, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Vec<u64>)]) {
    let mut node = Vec::new();
    inputs.iter().for_each(|name| put_bytes(&mut node, 1, name.as_bytes()));
    put_bytes(&mut node, 2, output.as_bytes());
    put_bytes(&mut node, 3, output.as_bytes());
    put_bytes(&mut node, 4, op.as_bytes());
    for (name, numbers) in attributes {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, name.as_bytes());
        // `group` is a number (INT, 2), the others lists (INTS, 7).
        let (field, kind) = if *name == "group" { (3, 2) } else { (8, 7) };
        numbers.iter().for_each(|number| put_number(&mut attribute, field, *number));
        put_number(&mut attribute, 20, kind);
        put_bytes(&mut node, 5, &attribute);
    }
    put_bytes(graph, 1, &node);
}
