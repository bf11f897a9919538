//! A small bundle around the tiny network, its reference made by an engine, so that a test can bend one thing at a time.

use std::collections::BTreeMap;
use std::path::Path;

use attar_data::{Dataset, InMemory};
use attar_formats::Card;
use attar_formats::card::{CARD_VERSION, NetworkFacts, Provenance, hf};
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_measures::random::Stream;
use attar_pixels::Preprocessing;
use safetensors::{Dtype, tensor::TensorView};

pub(crate) const CLASSES: usize = 5;

/// Everything the reference will say, one entry an image.
#[derive(Clone)]
pub(crate) struct Reference {
    pub hashes: Vec<[u8; 32]>,
    pub labels: Vec<u32>,
    pub logits: Vec<f32>,
    pub splits: Vec<u8>,
}

pub(crate) fn names() -> Vec<String> {
    ["rose", "iris", "lily", "mint", "sage"].map(str::to_owned).into()
}

fn preprocessing() -> Preprocessing {
    Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3])
}

fn pixels(n: usize) -> Vec<u8> {
    let mut pixels = vec![0; n * 192];
    Stream::of_number(5).fill(&mut pixels);
    pixels
}

/// `n` images of random pixels with these labels.
pub(crate) fn data(labels: &[u32], classes: Vec<String>) -> InMemory {
    InMemory::new([8, 8], 3, pixels(labels.len()), labels.to_vec(), classes, "test").unwrap()
}

/// The network's own answers to `n` images, with its decisions as labels.
pub(crate) fn perfect(n: usize) -> Reference {
    let model = std::fs::read(super::fixture("onnx/tiny.onnx")).unwrap();
    let mut engine = engine::open(&EngineSpec::new(EngineKind::Tract), &model, Path::new("tiny.onnx")).unwrap();
    let images = data(&vec![0; n], names());
    let input: Vec<f32> =
        (0..n).flat_map(|i| attar_pixels::preprocess(&images.image(i).unwrap(), &preprocessing()).unwrap()).collect();
    let logits = engine.run(&input, n).unwrap();
    let labels = logits.chunks(CLASSES).map(|row| order(row)[0]).collect();
    let hashes = (0..n).map(|i| images.image(i).unwrap().sha256()).collect();
    Reference { hashes, labels, logits, splits: vec![1; n] }
}

/// Classes by falling logit.
pub(crate) fn order(row: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..row.len() as u32).collect();
    order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
    order
}

fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|v| to(*v)).collect()
}

fn tensors(parts: &[(&str, Dtype, Vec<usize>, Vec<u8>)], meta: &[(&str, &str)]) -> Vec<u8> {
    let views = parts.iter().map(|(n, d, s, b)| (*n, TensorView::new(*d, s.clone(), b).unwrap()));
    let meta = meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    safetensors::serialize(views, Some(meta)).unwrap()
}

impl Reference {
    pub(crate) fn predictions(&self, weights_sha256: &str) -> Vec<u8> {
        let (m, k) = (self.labels.len(), CLASSES);
        let orders: Vec<Vec<u32>> = self.logits.chunks(k).map(order).collect();
        let top1: Vec<u32> = orders.iter().map(|o| o[0]).collect();
        let top5: Vec<u32> = orders.concat();
        let sorted: Vec<f32> = top5.iter().enumerate().map(|(i, c)| self.logits[i / k * k + *c as usize]).collect();
        let lse: Vec<f32> = self.logits.chunks(k).map(|row| row.iter().map(|v| v.exp()).sum::<f32>().ln()).collect();
        let u32s = |v: &[u32]| bytes(v, u32::to_le_bytes);
        let f32s = |v: &[f32]| bytes(v, f32::to_le_bytes);
        tensors(
            &[
                ("pixels_sha256", Dtype::U8, vec![m, 32], self.hashes.concat()),
                ("label", Dtype::U32, vec![m], u32s(&self.labels)),
                ("split", Dtype::U8, vec![m], self.splits.clone()),
                ("top1", Dtype::U32, vec![m], u32s(&top1)),
                ("top5", Dtype::U32, vec![m, k], u32s(&top5)),
                ("top5_logits", Dtype::F32, vec![m, k], f32s(&sorted)),
                ("log_sum_exp", Dtype::F32, vec![m], f32s(&lse)),
                ("logits", Dtype::F32, vec![m, k], f32s(&self.logits)),
            ],
            &[("weights_sha256", weights_sha256), ("classes", "5")],
        )
    }

    fn goldens(&self, n: usize) -> Vec<u8> {
        let images = data(&vec![0; n.max(1)], names());
        let input: Vec<f32> = (0..n)
            .flat_map(|i| attar_pixels::preprocess(&images.image(i).unwrap(), &preprocessing()).unwrap())
            .collect();
        let names: Vec<String> = (0..n).map(|i| format!("encoded.{i}")).collect();
        let mut parts = vec![
            ("input", Dtype::F32, vec![n, 3, 8, 8], bytes(&input, f32::to_le_bytes)),
            ("logits", Dtype::F32, vec![n, CLASSES], bytes(&self.logits[..n * CLASSES], f32::to_le_bytes)),
        ];
        for (i, name) in names.iter().enumerate() {
            let file = images.encoded(i).unwrap();
            parts.push((name, Dtype::U8, vec![file.len()], file));
        }
        tensors(&parts, &[("kind", "real"), ("count", &n.to_string())])
    }
}

/// The files of a good bundle; change them, then [`write`].
pub(crate) fn files(reference: &Reference) -> BTreeMap<String, Vec<u8>> {
    let card = Card {
        card_version: CARD_VERSION,
        network: NetworkFacts { name: "resnet8".to_owned(), classes: CLASSES, input: [3, 8, 8] },
        labels: names(),
        preprocessing: preprocessing(),
        provenance: Provenance::default(),
    };
    let mut config = serde_json::to_value(&card).unwrap();
    config["architectures"] = serde_json::json!(["resnet8"]);
    let weights = b"the weights".to_vec();
    BTreeMap::from([
        ("config.json".to_owned(), serde_json::to_vec(&config).unwrap()),
        ("preprocessor_config.json".to_owned(), serde_json::to_vec(&hf::to_hf(&card.preprocessing).unwrap()).unwrap()),
        ("labels.txt".to_owned(), names().iter().flat_map(|n| format!("{n}\n").into_bytes()).collect()),
        ("model.onnx".to_owned(), std::fs::read(super::fixture("onnx/tiny.onnx")).unwrap()),
        ("reference/golden.safetensors".to_owned(), reference.goldens(4.min(reference.labels.len()))),
        ("reference/predictions.safetensors".to_owned(), reference.predictions(&sha256(&weights))),
        ("model.safetensors".to_owned(), weights),
    ])
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    attar_formats::hash::sha256(bytes)
}

/// Writes the files and a manifest that fits them.
pub(crate) fn write(root: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let listed: BTreeMap<&String, String> = files.iter().map(|(name, bytes)| (name, sha256(bytes))).collect();
    let mut model = serde_json::json!({"file": "model.onnx", "precision": "f32"});
    // Without the weights it is a bundle of version 1, which need not say what its model was made from.
    let weights = files.get("model.safetensors").map(|weights| sha256(weights));
    let version = if weights.is_some() { 2 } else { 1 };
    if let Some(made_from) = weights {
        model["made_from"] = made_from.into();
    }
    let manifest = serde_json::json!({
        "bundle_version": version, "files": listed, "opset": 17, "provenance": {"program": "a test"}, "models": [model],
    });
    std::fs::write(root.join("manifest.json"), serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}
