//! Bundles written from small made-up runs, and the runs that must not become one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use attar_formats::card::{CARD_VERSION, NetworkFacts, Origin, Provenance};
use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Array, Weights};
use attar_onnx::wire::put_bytes;
use attar_pixels::Preprocessing;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::{Value, json};

use super::*;

const CLASSES: usize = 3;

fn spec() -> NetworkSpec {
    NetworkSpec::new("resnet8", CLASSES, [3, 8, 8])
}

fn card() -> Card {
    Card {
        card_version: CARD_VERSION,
        network: NetworkFacts { name: "resnet8".to_owned(), classes: CLASSES, input: [3, 8, 8] },
        labels: ["cat", "dog | hound", "\"owl\""].map(str::to_owned).to_vec(),
        preprocessing: Preprocessing::normalise(vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        provenance: Provenance {
            program: "attar 0.1.0".to_owned(),
            metrics: BTreeMap::from([("test_top1".to_owned(), 91.2345)]),
            licence: Some("MIT".to_owned()),
            seed: Some(7),
            network: Some(Origin::Zoo(spec())),
            ..Provenance::default()
        },
    }
}

fn tensors(metadata: &[(&str, String)], tensors: &[(&str, Dtype, Vec<usize>)]) -> Vec<u8> {
    let data = vec![0u8; 1 << 12];
    let view = |dtype: Dtype, shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        TensorView::new(dtype, shape.to_vec(), &data[..bytes]).unwrap()
    };
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    serialize(tensors.iter().map(|(name, dtype, shape)| (*name, view(*dtype, shape))), Some(metadata)).unwrap()
}

fn golden(kind: &str) -> Vec<u8> {
    let shapes = [
        ("encoded.0", Dtype::U8, vec![5]),
        ("encoded.1", Dtype::U8, vec![4]),
        ("input", Dtype::F32, vec![2, 3, 8, 8]),
        ("logits", Dtype::F32, vec![2, CLASSES]),
    ];
    tensors(&[("kind", kind.to_owned()), ("count", "2".to_owned())], &shapes)
}

fn predictions(weights_sha256: &str) -> Vec<u8> {
    let shapes = [
        ("pixels_sha256", Dtype::U8, vec![4, 32]),
        ("label", Dtype::U32, vec![4]),
        ("split", Dtype::U8, vec![4]),
        ("top1", Dtype::U32, vec![4]),
        ("top5", Dtype::U32, vec![4, CLASSES]),
        ("top5_logits", Dtype::F32, vec![4, CLASSES]),
        ("log_sum_exp", Dtype::F32, vec![4]),
    ];
    tensors(&[("weights_sha256", weights_sha256.to_owned()), ("classes", CLASSES.to_string())], &shapes)
}

/// A run directory whose best checkpoint is the exported one.
struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new(change: impl FnOnce(&mut Weights)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = Self { folder };
        for name in ["checkpoints/best", "checkpoints/last", "reference"] {
            std::fs::create_dir_all(run.path(name)).unwrap();
        }
        let graph = zoo::build(&spec()).unwrap();
        let arrays = graph.params().map(|param| {
            let data = (0..param.shape.iter().product()).map(|i| 0.5 + (i % 7) as f32 / 10.0).collect();
            (param.name, Array::new::<f32>(param.shape, data).unwrap())
        });
        let mut weights = Weights(arrays.collect());
        write::safetensors(&run.path("checkpoints/last/model.safetensors"), &weights, &BTreeMap::new()).unwrap();
        weights.0.get_mut("fc.bias").unwrap().f32_mut().unwrap()[0] = 9.0;
        change(&mut weights);
        let best = run.path("checkpoints/best/model.safetensors");
        write::safetensors(&best, &weights, &BTreeMap::new()).unwrap();
        run.put("card.json", &serde_json::to_vec(&card()).unwrap());
        run.put("reference/predictions.safetensors", &predictions(&sha256(&std::fs::read(best).unwrap())));
        run.put("reference/golden.safetensors", &golden("real"));
        run.put("reference/golden-synthetic.safetensors", &golden("synthetic"));
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn export(&self, options: &Options) -> Result<(tempfile::TempDir, Summary)> {
        let out = tempfile::tempdir().unwrap();
        let summary = write_bundle(&Source::open(self.folder.path(), None)?, options, out.path())?;
        Ok((out, summary))
    }

    fn refusal(&self) -> String {
        self.export(&Options::default()).unwrap_err().to_string()
    }
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => names.extend(files_in(&entry.path()).iter().map(|inner| format!("{name}/{inner}"))),
            false => names.push(name),
        }
    }
    names.sort();
    names
}

#[test]
fn a_bundle_holds_every_file_and_its_sum() {
    let run = Run::new(|_| ());
    let (out, summary) = run.export(&Options::default()).unwrap();
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.path().join("manifest.json")).unwrap()).unwrap();
    let mut listed: Vec<String> = manifest["files"].as_object().unwrap().keys().cloned().collect();
    for name in &listed {
        let sum = sha256(&std::fs::read(out.path().join(name)).unwrap());
        assert_eq!(manifest["files"][name], json!(sum), "{name}");
    }
    listed.push("manifest.json".to_owned());
    listed.sort();
    assert_eq!(listed, files_in(out.path()));
    let expected = [
        "README.md",
        "config.json",
        "graph.json",
        "labels.txt",
        "manifest.json",
        "model.onnx",
        "model.safetensors",
        "preprocessor_config.json",
        "reference/golden.safetensors",
        "reference/predictions.safetensors",
    ];
    assert_eq!(listed, expected);
    let made_from = &manifest["files"]["model.safetensors"];
    let model = json!({"file": "model.onnx", "precision": "f32", "engine": "onnx", "made_from": made_from});
    assert_eq!(manifest["models"], json!([model]));
    assert_eq!((&manifest["bundle_version"], &manifest["opset"]), (&json!(2), &json!(17)));
    assert_eq!(manifest["provenance"]["seed"], json!(7));
    assert_eq!(summary.goldens, 2);
}

#[test]
fn the_files_say_what_the_card_says() {
    let run = Run::new(|_| ());
    let (out, _) = run.export(&Options::default()).unwrap();
    let text = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    assert_eq!(text("labels.txt"), "cat\ndog | hound\n\"owl\"\n");
    let config = out.path().join("config.json");
    assert_eq!(Card::from_json(&text("config.json"), &config).unwrap(), card());
    assert!(
        text("config.json").contains("\"architectures\": [\n    \"resnet8\"") && text("config.json").contains("0.485")
    );
    assert_eq!(Graph::from_json(&text("graph.json")).unwrap(), zoo::build(&spec()).unwrap());
    let preprocessing: Value = serde_json::from_str(&text("preprocessor_config.json")).unwrap();
    assert_eq!(hf::from_hf(&preprocessing).unwrap(), card().preprocessing);
    let readme = text("README.md");
    for part in ["license: \"MIT\"", "| test_top1 | 91.235 |", "2 **real images that were held out**", "| Seed | 7 |"] {
        assert!(readme.contains(part), "{part} is not in {readme}");
    }
    let best = std::fs::read(run.path("checkpoints/best/model.safetensors")).unwrap();
    assert_eq!(std::fs::read(out.path().join("model.safetensors")).unwrap(), best);
    let model = std::fs::read(out.path().join("model.onnx")).unwrap();
    let props = onnx::wire::metadata(&model);
    assert_eq!(props["attar.labels"], r#"["cat","dog | hound","\"owl\""]"#);
    assert_eq!(props["attar.weights_sha256"], sha256(&best));
    assert_eq!(serde_json::from_str::<Value>(props["attar.preprocessing"]).unwrap(), preprocessing);
}

#[test]
fn the_same_run_gives_the_same_bundle() {
    let run = Run::new(|_| ());
    let once = run.export(&Options::default()).unwrap().1;
    assert_eq!(once, run.export(&Options::default()).unwrap().1);
}

#[test]
fn goldens_are_real_made_up_or_absent_and_the_card_says_which() {
    let run = Run::new(|_| ());
    for (goldens, count, statement) in
        [(Goldens::Synthetic, 2, "2 synthetic images"), (Goldens::None, 0, "No goldens: no image is in this bundle.")]
    {
        let (out, summary) = run.export(&Options { goldens, ..Options::default() }).unwrap();
        assert_eq!(summary.goldens, count);
        assert!(std::fs::read_to_string(out.path().join("README.md")).unwrap().contains(statement));
        let file = out.path().join("reference/golden.safetensors");
        let chosen = run.path("reference/golden-synthetic.safetensors");
        assert_eq!(std::fs::read(file).ok(), (count > 0).then(|| std::fs::read(chosen).unwrap()));
        assert!(out.path().join("reference/predictions.safetensors").is_file());
    }
    run.put("reference/golden.safetensors", &golden("synthetic"));
    assert!(run.refusal().contains("these goldens are synthetic, expected real"));
}

#[test]
fn a_teacher_or_connector_tensor_stops_the_export() {
    let run = Run::new(|weights| {
        weights.0.insert("losses.cd.layer1.weight".to_owned(), Array::new::<f32>(vec![1], vec![1.0]).unwrap());
    });
    assert!(run.refusal().contains("left over losses.cd.layer1.weight"), "{}", run.refusal());
}

#[test]
fn a_foreign_tensor_in_the_onnx_file_is_found() {
    let graph = zoo::build(&spec()).unwrap();
    let named = |name: &str| {
        let (mut tensor, mut graph, mut model) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(&mut tensor, 8, name.as_bytes());
        put_bytes(&mut graph, 5, &tensor);
        put_bytes(&mut model, 7, &graph);
        model
    };
    assert!(own_tensors_only(&named("fc.weight"), &graph).is_ok());
    let message = own_tensors_only(&named("teacher.fc.weight"), &graph).unwrap_err().to_string();
    assert!(message.contains("teacher.fc.weight"), "{message}");
    assert!(own_tensors_only(&named("losses.cd/x"), &graph).is_err());
}

#[test]
fn a_nan_stops_the_export_before_anything_is_written() {
    let run = Run::new(|weights| weights.0.get_mut("fc.weight").unwrap().f32_mut().unwrap()[2] = f32::NAN);
    let out = tempfile::tempdir().unwrap();
    let source = Source::open(run.folder.path(), None).unwrap();
    let message = write_bundle(&source, &Options::default(), out.path()).unwrap_err().to_string();
    assert!(message.contains("fc.weight[2] is NaN"), "{message}");
    assert_eq!(files_in(out.path()), [""; 0]);
}

#[test]
fn answers_of_other_weights_or_damaged_ones_stop_the_export() {
    let run = Run::new(|_| ());
    let last = Source::open(run.folder.path(), Some("last")).unwrap();
    let out = tempfile::tempdir().unwrap();
    let message = write_bundle(&last, &Options::default(), out.path()).unwrap_err().to_string();
    assert!(message.contains("given by other weights"), "{message}");
    run.put("reference/predictions.safetensors", &predictions("00"));
    assert!(run.refusal().contains("neither of"), "{}", run.refusal());
    run.put("reference/predictions.safetensors", b"garbage");
    assert!(run.refusal().contains("predictions.safetensors"), "{}", run.refusal());
    std::fs::remove_file(run.path("reference/predictions.safetensors")).unwrap();
    assert!(run.refusal().contains("predictions.safetensors"), "{}", run.refusal());
}

#[test]
fn a_card_that_does_not_fit_stops_the_export() {
    let run = Run::new(|_| ());
    let two = Card { labels: vec!["a".to_owned(), "b".to_owned()], ..card() };
    run.put("card.json", &serde_json::to_vec(&two).unwrap());
    assert!(run.refusal().contains("2 labels for 3 classes"), "{}", run.refusal());
    run.put("card.json", b"{}");
    assert!(run.refusal().contains("card.json: missing field"), "{}", run.refusal());
}
