//! Every loader that faces the world as a function of bytes: what `fuzz/` feeds and the mutations here feed too. Bad bytes are
//! an error, never a panic, and never more memory than a file of their size is worth.

use std::path::Path;

use attar_data::Source;
use attar_infer::engine::{self, EngineKind, EngineSpec};

/// One loader.
pub(crate) struct Loader {
    /// Of its fuzz target.
    pub(crate) name: &'static str,
    /// Takes what could be its file; whether it was taken.
    pub(crate) load: fn(&[u8]) -> bool,
}

/// All of them.
pub(crate) static LOADERS: [Loader; 15] = [
    Loader { name: "pth", load: |bytes| in_file("x.pth", bytes, |path| attar_formats::read::pth(path).is_ok()) },
    Loader {
        name: "safetensors",
        load: |bytes| in_file("x.safetensors", bytes, |path| attar_formats::read::safetensors(path).is_ok()),
    },
    Loader {
        name: "predictions",
        load: |bytes| in_file("x.safetensors", bytes, |path| attar_infer::bundle::Predictions::read(path).is_ok()),
    },
    Loader {
        name: "attacks",
        load: |bytes| attar_formats::reference::Attacks::parse(Path::new("x.safetensors"), bytes).is_ok(),
    },
    Loader { name: "idx", load: idx },
    Loader { name: "cifar", load: |bytes| attar_formats::read::python_batch(bytes).is_ok() },
    Loader { name: "image", load: |bytes| attar_pixels::decode(bytes, Path::new("x")).is_ok() },
    Loader { name: "card", load: |bytes| attar_formats::Card::from_json(&text(bytes), Path::new("card.json")).is_ok() },
    Loader {
        name: "preprocessor",
        load: |bytes| {
            serde_json::from_slice(bytes).is_ok_and(|value| attar_formats::card::stated::of_value(&value).is_ok())
        },
    },
    Loader { name: "labels", load: |bytes| attar_formats::labels::of_python(&text(bytes)).is_ok() },
    Loader { name: "graph", load: |bytes| attar_models::Graph::from_json(&text(bytes)).is_ok() },
    Loader {
        name: "manifest",
        load: |bytes| {
            in_file("manifest.json", bytes, |path| {
                path.parent().is_some_and(|root| attar_infer::Bundle::open(root).is_ok())
            })
        },
    },
    Loader {
        name: "certificate",
        load: |bytes| attar_formats::certificate::Certificate::from_json(bytes, Path::new("x.json")).is_ok(),
    },
    Loader { name: "onnx", load: onnx },
    Loader { name: "recipe", load: |bytes| attar_distill::Recipe::parse(&text(bytes), &[]).is_ok() },
];

/// The one of this name.
pub(crate) fn loader(name: &str) -> &'static Loader {
    LOADERS.iter().find(|loader| loader.name == name).expect("a loader of this name")
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// As a file of this name in a folder of its own.
fn in_file(name: &str, bytes: &[u8], load: impl FnOnce(&Path) -> bool) -> bool {
    in_folder(&[(name, bytes)], |folder| load(&folder.join(name)))
}

fn in_folder(files: &[(&str, &[u8])], load: impl FnOnce(&Path) -> bool) -> bool {
    let Ok(folder) = tempfile::tempdir() else { return false };
    let written = files.iter().all(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).is_ok());
    written && load(folder.path())
}

/// The images of a data set whose other files are as they should be for two images.
fn idx(bytes: &[u8]) -> bool {
    let labels: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 2, 0, 1];
    let files = [
        ("train-images-idx3-ubyte", bytes),
        ("train-labels-idx1-ubyte", labels),
        ("t10k-images-idx3-ubyte", bytes),
        ("t10k-labels-idx1-ubyte", labels),
    ];
    in_folder(&files, |root| Source::Idx { root: root.to_owned(), classes: None }.open().is_ok())
}

fn onnx(bytes: &[u8]) -> bool {
    let spec = EngineSpec::new(EngineKind::Tract);
    // As a network and in a runtime: both readers see the same bytes.
    drop(attar_onnx::read(bytes, Path::new("x.onnx"), attar_onnx::ReadOptions::default()));
    engine::open(&spec, bytes, Path::new("x.onnx")).is_ok()
}
