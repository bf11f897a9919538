//! Engines against the reference evaluator's answers, and against files that are not what they should be.

use std::path::Path;

use crate::support::{fixture, require_ort};
use attar_infer::engine::{self, EngineKind, EngineSpec, OrtSearch};
use safetensors::SafeTensors;

/// Two float32 implementations of a 5-layer network with logits near 1.
const ROUNDING: f32 = 1e-5;

fn floats(bytes: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn specs(test: &str) -> Vec<EngineSpec> {
    let mut specs = vec![EngineSpec::new(EngineKind::Tract)];
    if require_ort(test).is_some() {
        specs.push(EngineSpec::new(EngineKind::Ort));
    }
    specs
}

fn refusal(spec: &EngineSpec, model: &[u8]) -> String {
    match engine::open(spec, model, Path::new("model.onnx")) {
        Ok(_) => panic!("{} took it", spec.kind),
        Err(error) => error.to_string(),
    }
}

#[test]
fn answers_like_the_reference_at_every_batch_size_and_thread_count() {
    let model = std::fs::read(fixture("onnx/tiny.onnx")).unwrap();
    let expected = std::fs::read(fixture("onnx/tiny.safetensors")).unwrap();
    let (images, logits) = (floats(&expected, "input"), floats(&expected, "logits"));
    for mut spec in specs("infer engines") {
        for threads in [1, 3] {
            spec.threads = threads;
            let mut engine = engine::open(&spec, &model, Path::new("tiny.onnx")).unwrap();
            let signature = engine.signature();
            assert_eq!((signature.input, signature.classes, signature.fixed_batch), ([3, 8, 8], 5, None));
            for n in [5, 1, 3, 4, 2, 5] {
                let answer = engine.run(&images[..n * signature.input_len()], n).unwrap();
                let worst = answer.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                println!("{} {} threads {threads} batch {n}: {worst:e}", engine.name(), engine.version());
                assert_eq!(answer.len(), n * 5);
                assert!(worst < ROUNDING, "{} differs by {worst}", engine.name());
            }
            let busy = if spec.kind == EngineKind::Tract { [1, threads.min(2)] } else { [threads; 2] };
            assert_eq!([engine.threads(1), engine.threads(2)], busy, "what is not used is not reported");
            assert!(engine.run(&images[1..], 5).is_err(), "a batch of the wrong length");
            assert!(engine.run(&[], 0).unwrap().is_empty());
        }
    }
}

#[test]
fn a_fixed_batch_is_obeyed() {
    let model = std::fs::read(fixture("onnx/fixed_batch.onnx")).unwrap();
    let expected = std::fs::read(fixture("onnx/tiny.safetensors")).unwrap();
    let (images, logits) = (floats(&expected, "input"), floats(&expected, "logits"));
    for spec in specs("infer fixed batch") {
        let mut engine = engine::open(&spec, &model, Path::new("fixed_batch.onnx")).unwrap();
        assert_eq!(engine.signature().fixed_batch, Some(2));
        let answer = engine.run(&images[..4 * 192], 4).unwrap();
        assert!(answer.iter().zip(&logits).all(|(a, b)| (a - b).abs() < ROUNDING));
        // The last batch is filled up, and what fills it is not answered.
        for n in [1, 3] {
            let answer = engine.run(&images[..n * 192], n).unwrap();
            assert_eq!(answer.len(), n * 5);
            assert!(answer.iter().zip(&logits).all(|(a, b)| (a - b).abs() < ROUNDING));
        }
    }
}

#[test]
fn refuses_what_is_not_an_image_classifier_and_says_why() {
    let cases = [
        ("unknown_size", "expected [N, C, H, W]"),
        ("double", ""),
        ("opset_99", ""),
        ("unknown_operator", ""),
        ("missing_output", ""),
        ("feature_map", "expected"),
        ("two_inputs", "2 inputs"),
        ("flatten_beyond", ""), // tract 0.23.9 panics on it
    ];
    for spec in specs("infer refusals") {
        for (name, why) in cases {
            let model = std::fs::read(fixture(&format!("onnx/{name}.onnx"))).unwrap();
            let error = refusal(&spec, &model);
            println!("{name}: {error}");
            assert!(error.contains(why) && error.contains("model.onnx"), "{} on {name}: {error}", spec.kind);
        }
    }
}

#[test]
fn garbage_and_every_truncation_is_an_error() {
    let model = std::fs::read(fixture("onnx/tiny.onnx")).unwrap();
    let mut noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for spec in specs("infer garbage") {
        refusal(&spec, b"");
        refusal(&spec, b"not a model");
        refusal(&spec, &noise);
        noise.reverse();
        refusal(&spec, &noise);
        for length in (0..model.len() - 1).step_by(37) {
            // Protobuf has no length of its own: a cut between two fields may leave a smaller but valid model.
            if let Ok(mut engine) = engine::open(&spec, &model[..length], Path::new("model.onnx")) {
                let signature = engine.signature();
                let _ = engine.run(&vec![0.0; signature.input_len()], 1);
            }
        }
        // One broken byte: an error or an answer, never an end of the program.
        for at in (0..model.len()).step_by(53) {
            let mut broken = model.clone();
            broken[at] ^= 0x55;
            if let Ok(mut engine) = engine::open(&spec, &broken, Path::new("model.onnx")) {
                let signature = engine.signature();
                if signature.input_len() < 1 << 20 {
                    let _ = engine.run(&vec![0.0; signature.input_len()], 1);
                }
            }
        }
    }
}

#[test]
fn a_missing_library_is_said_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library").unwrap();
    for library in [folder.path().join("absent.so"), text] {
        let ort = OrtSearch { library: Some(library.clone()), folders: Vec::new() };
        let error = refusal(&EngineSpec { ort, ..EngineSpec::new(EngineKind::Ort) }, b"");
        assert!(error.contains(&library.display().to_string()), "{error}");
    }
}

#[test]
fn an_unknown_engine_names_the_known_ones() {
    let error = "tracd".parse::<EngineKind>().unwrap_err().to_string();
    assert!(error.contains("did you mean `tract`") && error.contains("ort"), "{error}");
}
