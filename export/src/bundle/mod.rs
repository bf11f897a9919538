//! The bundle: a directory with the model in its formats and everything a device or a person needs to trust it.
//!
//! The directory is a temporary one of the caller's, who verifies it in every runtime before giving it its name.

mod readme;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use attar_formats::bundle::{BUNDLE_VERSION, Manifest, ModelFile, file, labels_text};
use attar_formats::card::hf;
use attar_formats::graph::GRAPH_FILE;
use attar_formats::hash::sha256;
use attar_formats::onnx_metadata;
use attar_formats::run::file::REFERENCE;
use attar_formats::{Card, write};
use attar_models::{Graph, Rewritten, fold};
use attar_onnx::{self as onnx, CONSTANT_MARK};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::source::{Goldens, Source};

/// How to write a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// ONNX operator set, one of [`onnx::SUPPORTED_OPSETS`].
    pub opset: i64,
    /// Which goldens travel along.
    pub goldens: Goldens,
    /// Licence of the weights; without one, what the run's card says.
    pub licence: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { opset: onnx::Options::default().opset, goldens: Goldens::Real, licence: None }
    }
}

/// What was written, for the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// sha256 of each file by its path in the bundle; `manifest.json` itself is not in it.
    pub files: BTreeMap<String, String>,
    /// Trained parameters of the network.
    pub parameters: usize,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Size of `model.onnx` in bytes.
    pub onnx_bytes: usize,
    /// Number of goldens.
    pub goldens: usize,
}

/// Writes a bundle into the empty directory `dir`: `graph.json` and `model.safetensors` (the network as it was trained),
/// `model.onnx` (batch norms folded), `config.json`, `preprocessor_config.json`, `labels.txt`, `reference/`, `README.md`, and `manifest.json` last.
///
/// # Errors
/// Weights that do not fit the card's network, hold a NaN or anything that is not the network's own; labels or
/// reference answers that do not fit; an unsupported opset; a file that cannot be written.
pub fn write_bundle(source: &Source, options: &Options, dir: &Path) -> Result<Summary> {
    // Everything that can be wrong is found before the first byte is written.
    let mut card = source.card.clone();
    if let Some(licence) = &options.licence {
        card.provenance.licence = Some(licence.clone());
    }
    let card = &card;
    card.check()?;
    let graph = &source.graph;
    card.check_graph(graph)?;
    source.weights.check(graph)?;
    let predictions = source.predictions()?;
    let goldens = source.goldens(options.goldens)?;
    let model = onnx_model(graph, source, options)?;
    let count = goldens.as_ref().map_or(0, |(_, count)| *count);
    let facts = readme::Facts {
        card,
        parameters: graph.parameter_count(),
        macs: graph.macs(),
        onnx_bytes: model.len(),
        opset: options.opset,
        goldens: options.goldens,
        golden_count: count,
    };
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        (file::README, readme::text(&facts).into_bytes()),
        (file::CONFIG, json(&Config { architectures: [&card.network.name], card })?),
        (GRAPH_FILE, graph.to_json()?.into_bytes()),
        (file::LABELS, labels_text(&card.labels).into_bytes()),
        (file::ONNX, model),
        (file::PREPROCESSING, json(&hf::to_hf(&card.preprocessing)?)?),
        (file::PREDICTIONS, predictions),
    ]);
    if let Some((bytes, _)) = goldens {
        files.insert(file::GOLDENS, bytes);
    }
    let summary = Summary {
        parameters: facts.parameters,
        macs: facts.macs,
        onnx_bytes: facts.onnx_bytes,
        goldens: count,
        files: std::iter::once((file::WEIGHTS, &source.model))
            .chain(files.iter().map(|(path, bytes)| (*path, bytes)))
            .map(|(path, bytes)| (path.to_owned(), sha256(bytes)))
            .collect(),
    };
    let reference = dir.join(REFERENCE);
    std::fs::create_dir_all(&reference).map_err(|source| Error::Io { path: reference, source })?;
    put(dir, file::WEIGHTS, &source.model)?;
    for (path, bytes) in &files {
        put(dir, path, bytes)?;
    }
    let manifest = Manifest {
        bundle_version: BUNDLE_VERSION,
        files: summary.files.clone(),
        models: vec![ModelFile::onnx(file::ONNX, &source.weights_sha256())],
        opset: Some(options.opset),
        provenance: card.provenance.clone(),
    };
    manifest.write(dir)?;
    Ok(summary)
}

/// `model.onnx`, checked to hold nothing that is not the network's.
fn onnx_model(graph: &Graph, source: &Source, options: &Options) -> Result<Vec<u8>> {
    let Rewritten { graph: folded, weights, .. } = fold::fold_batch_norm(graph, &source.weights)?;
    let card = &source.card;
    let text = |value: serde_json::Result<String>| value.map_err(|error| not_json(&error));
    let metadata = BTreeMap::from([
        ("attar.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("attar.network".to_owned(), text(serde_json::to_string(&card.network))?),
        (onnx_metadata::LABELS.to_owned(), text(serde_json::to_string(&card.labels))?),
        (onnx_metadata::PREPROCESSING.to_owned(), hf::to_hf(&card.preprocessing)?.to_string()),
        ("attar.weights_sha256".to_owned(), source.weights_sha256()),
    ]);
    let bytes = onnx::write(&folded, &weights, &onnx::Options { opset: options.opset, metadata })?;
    own_tensors_only(&bytes, &folded)?;
    Ok(bytes)
}

/// Reads a written model back: every tensor in it is a parameter of the graph or a constant of one of its nodes.
fn own_tensors_only(model: &[u8], graph: &Graph) -> Result<()> {
    let file = file::ONNX;
    let parameters: BTreeSet<String> = graph.params().map(|param| param.name).collect();
    let nodes: BTreeSet<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    let own = |name: &str| {
        parameters.contains(name) || name.rsplit_once(CONSTANT_MARK).is_some_and(|(node, _)| nodes.contains(node))
    };
    let tensors = onnx::wire::initialisers(model).into_iter();
    let names: Vec<String> = tensors.filter(|name| !own(name)).map(str::to_owned).collect();
    if names.is_empty() { Ok(()) } else { Err(Error::Foreign { file, names }) }
}

/// The card, plus the key by which other tools recognise a configuration.
#[derive(Serialize)]
struct Config<'a> {
    architectures: [&'a str; 1],
    #[serde(flatten)]
    card: &'a Card,
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| not_json(&error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::Setting { setting: "card", problem: format!("cannot be written as JSON: {error}") }
}

fn put(dir: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    Ok(write::bytes(&dir.join(path), bytes)?)
}

#[cfg(test)]
mod tests;
