//! Files that ONNX Runtime's tool quantised, `tests/fixtures/onnx/quantised` by `make/onnx_zoo/quantised.py`: QDQ of unsigned
//! and of signed activations, and operations on quantised values, which no other reader of ours runs.

use std::path::{Path, PathBuf};

use attar_models::Op;

use super::{executed, import, largest_difference};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/quantised")
}

#[test]
fn quantised_files_answer_as_onnx_runtime_does_up_to_a_step() {
    let answers = attar_formats::read::safetensors(&folder().join("answers.safetensors")).unwrap().weights;
    let images = &answers.get("images").unwrap().f32().unwrap()[..2 * 3 * 33 * 33];
    for (name, steps) in [("f32", 0.0), ("qdq", 1.01), ("qdq-s8s8", 1.01), ("qoperator", 1.01)] {
        let found = import(name, &std::fs::read(folder().join(format!("{name}.onnx"))).unwrap());
        assert!(found.obstacles.is_empty(), "{name}: {:?}", found.obstacles);
        let (graph, weights) = found.network.unwrap();
        let quantised = graph.nodes().iter().filter(|node| matches!(node.op, Op::Quantize(_))).count();
        assert_eq!(quantised > 5, name != "f32", "{name}: {quantised}");
        let expected = &answers.get(name).unwrap().f32().unwrap()[..20];
        // A step of the logits: sums in floats may round to the next one.
        let last = graph.nodes().iter().rev().find(|node| matches!(node.op, Op::Quantize(_)));
        let step = last.map_or(1e-5, |node| weights.get(&format!("{}.scale", node.name)).unwrap().f32().unwrap()[0]);
        let difference = largest_difference(&executed(&graph, &weights, images), expected);
        assert!(difference <= f64::from(step) * f64::max(steps, 1.0), "{name}: {difference} of {step}");
    }
}
