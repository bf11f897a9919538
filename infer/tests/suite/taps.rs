//! Values inside of an ONNX file: by their names, beside the logits, alike in every runtime.

use attar_infer::engine::{self, EngineKind, EngineSpec};

use crate::support::onnx::{counting, giving, taking};
use crate::support::{fixture, require_ort};

fn specs(test: &str) -> Vec<EngineSpec> {
    let mut specs = vec![EngineSpec::new(EngineKind::Tract)];
    if require_ort(test).is_some() {
        specs.push(EngineSpec::new(EngineKind::Ort));
    }
    specs
}

fn images(n: usize) -> Vec<f32> {
    (0..n * 192).map(|i| ((i * 37) % 101) as f32 / 25.0 - 2.0).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

#[test]
fn every_value_of_a_file_can_be_had() {
    let path = fixture("onnx/tiny.onnx");
    let values = engine::values(&std::fs::read(&path).unwrap());
    let (answer, inner) = values.split_last().unwrap();
    assert!(inner.len() >= 3, "{values:?}");
    let mut by_runtime = Vec::new();
    for mut spec in specs("infer taps") {
        spec.threads = 2;
        let mut plain = engine::open_file(&spec, &path, None).unwrap().engine;
        assert_eq!(plain.outputs().len(), 1);
        assert_eq!((plain.outputs()[0].name.as_str(), &plain.outputs()[0].shape[..]), (answer.as_str(), &[5][..]));
        let mut tapped = engine::open_with_taps(&spec, &path, None, inner).unwrap().engine;
        let names: Vec<&str> = tapped.outputs().iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names[1..], inner.iter().map(String::as_str).collect::<Vec<_>>()[..]);
        for n in [1, 3, 5] {
            let all = tapped.run_all(&images(n), n).unwrap();
            assert!(close(&all[0], &plain.run(&images(n), n).unwrap()), "{}", spec.kind);
            for (given, output) in all.iter().zip(tapped.outputs()) {
                assert_eq!(given.len(), n * output.sample_len(), "{output:?}");
            }
            assert!(tapped.run(&images(n), n).unwrap() == all[0]);
        }
        assert!(tapped.outputs().iter().any(|output| output.shape.len() == 3), "{:?}", tapped.outputs());
        by_runtime.push((tapped.outputs().to_vec(), tapped.run_all(&images(2), 2).unwrap()));
    }
    if let [(shapes, ours), (other_shapes, theirs)] = &by_runtime[..] {
        assert_eq!(shapes, other_shapes);
        assert!(ours.iter().zip(theirs).all(|(a, b)| close(a, b)));
    }
}

#[test]
fn free_sizes_and_fixed_batches_are_tapped_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("free.onnx");
    let tiny = std::fs::read(fixture("onnx/tiny.onnx")).unwrap();
    std::fs::write(&path, giving(&taking(&tiny, &[0, 3, 0, 0]), &[0, 5])).unwrap();
    let fixed = fixture("onnx/fixed_batch.onnx");
    for spec in specs("infer taps of other shapes") {
        let taps = [engine::values(&tiny)[0].clone()];
        let mut free = engine::open_with_taps(&spec, &path, Some([3, 8, 8]), &taps).unwrap().engine;
        let all = free.run_all(&images(2), 2).unwrap();
        let taps = [engine::values(&std::fs::read(&fixed).unwrap())[0].clone()];
        let mut two = engine::open_with_taps(&spec, &fixed, None, &taps).unwrap().engine;
        // The last batch is filled up, and what fills it is not answered.
        let three = two.run_all(&images(3), 3).unwrap();
        assert_eq!(three[1].len(), 3 * two.outputs()[1].sample_len());
        assert!(close(&three[1][..all[1].len()], &all[1]));
    }
}

#[test]
fn taps_that_are_none_are_refused_by_name() {
    let path = fixture("onnx/tiny.onnx");
    let values = engine::values(&std::fs::read(&path).unwrap());
    let (answer, first) = (values.last().unwrap().clone(), values[0].clone());
    let near = format!("{first}x");
    let cases = [
        (vec![near.clone()], format!("is called `{near}`")),
        (vec![near], format!("did you mean `{first}`?")),
        (vec![answer.clone()], format!("`{answer}` is its answer")),
        (vec![first.clone(), first.clone()], format!("`{first}` is tapped twice")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let counted = folder.path().join("counted.onnx");
    std::fs::write(&counted, counting(&std::fs::read(&path).unwrap(), &first)).unwrap();
    for spec in specs("infer taps that are none") {
        let problem = engine::open_with_taps(&spec, &counted, None, &["sizes".to_owned()]).err().unwrap().to_string();
        assert!(problem.contains("the value `sizes`") && problem.contains("32-bit floats"), "{problem}");
        for (taps, why) in &cases {
            let problem = engine::open_with_taps(&spec, &path, None, taps).err().unwrap().to_string();
            assert!(problem.contains(why) && problem.contains("tiny.onnx"), "{problem}");
        }
    }
}
