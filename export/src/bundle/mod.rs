//! The bundle: a directory with the model in its formats and everything a device or a person needs to trust it.
//!
//! The directory is a temporary one of the caller's, who verifies it in every runtime before giving it its name.

mod add;
mod readme;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use attar_formats::bundle::{Manifest, ModelFile, file, labels_text};
use attar_formats::card::hf;
use attar_formats::graph::GRAPH_FILE;
use attar_formats::hash::sha256;
use attar_formats::onnx_metadata;
use attar_formats::run::file::REFERENCE;
use attar_formats::{Card, write};
use attar_models::{Graph, Op, Rewritten, Weights, fold};
use attar_onnx::{self as onnx, CONSTANT_MARK};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::source::{Goldens, Network, Source};

pub use add::{Addition, add, with_end_to_end};

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
    /// Trained parameters of the network, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Multiply-accumulates of one image, where the network is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// Size of `model.onnx` in bytes.
    pub onnx_bytes: usize,
    /// Its operator set.
    pub opset: i64,
    /// Number of goldens.
    pub goldens: usize,
    /// Number of test images under the recipe's attacks.
    pub attacked: usize,
    /// Whether reference answers to labelled images travel along.
    pub predictions: bool,
}

/// Writes a bundle into the empty directory `dir`: `graph.json` and `model.safetensors` (the network as it was trained),
/// `model.onnx` (batch norms folded), `config.json`, `preprocessor_config.json`, `labels.txt`, `reference/`, `README.md`, and `manifest.json` last.
/// Of a network that is no more than a file of others, `model.onnx` is that file, and the first two are not there.
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
    let predictions = source.predictions()?;
    let goldens = source.goldens(options.goldens)?;
    let attacks = source.attacks(options.goldens)?;
    let Models { listed, opset, parameters, macs, mut files } = models(source, card, options)?;
    let count = goldens.as_ref().map_or(0, |(_, count)| *count);
    let attacked = attacks.as_ref().map_or(0, |(_, count)| *count);
    let facts = readme::Facts {
        card,
        parameters: parameters.zip(macs),
        network: &source.network,
        onnx_bytes: files.get(file::ONNX).map_or(0, |model| model.len()),
        opset,
        goldens: options.goldens,
        golden_count: count,
        attacked,
        predictions: predictions.is_some(),
        answered_by: source.answered_by.as_ref(),
    };
    let onnx_bytes = facts.onnx_bytes;
    files.extend([
        (file::README, readme::text(&facts).into_bytes().into()),
        (file::CONFIG, json(&Config { architectures: [&card.network.name], card })?.into()),
        (file::LABELS, labels_text(&card.labels).into_bytes().into()),
        (file::PREPROCESSING, json(&hf::to_hf(&card.preprocessing)?)?.into()),
    ]);
    files.extend(predictions.map(|bytes| (file::PREDICTIONS, bytes.into())));
    files.extend(goldens.map(|(bytes, _)| (file::GOLDENS, bytes.into())));
    files.extend(attacks.map(|(bytes, _)| (file::ATTACKS, bytes.into())));
    let summary = Summary {
        parameters,
        macs,
        onnx_bytes,
        opset,
        goldens: count,
        attacked,
        predictions: files.contains_key(file::PREDICTIONS),
        files: files.iter().map(|(path, bytes)| ((*path).to_owned(), sha256(bytes))).collect(),
    };
    let reference = dir.join(REFERENCE);
    std::fs::create_dir_all(&reference).map_err(|source| Error::Io { path: reference, source })?;
    for (path, bytes) in &files {
        put(dir, path, bytes)?;
    }
    let models = vec![listed];
    let manifest = Manifest {
        bundle_version: Manifest::version_for(&models),
        files: summary.files.clone(),
        models,
        end_to_end: Vec::new(),
        opset: Some(opset),
        answered_by: source.answered_by.clone(),
        provenance: card.provenance.clone(),
    };
    manifest.write(dir)?;
    Ok(summary)
}

/// The network's files in a bundle.
struct Models<'s> {
    listed: ModelFile,
    opset: i64,
    parameters: Option<usize>,
    macs: Option<u64>,
    files: BTreeMap<&'static str, Cow<'s, [u8]>>,
}

/// Makes them, after checking that network, weights and card belong together.
fn models<'s>(source: &'s Source, card: &Card, options: &Options) -> Result<Models<'s>> {
    match &source.network {
        Network::Known { graph, model, weights } => {
            card.check_graph(graph)?;
            weights.check(graph)?;
            let made_from = source.network.weights_sha256();
            let onnx = onnx_model((graph, weights), (card, &made_from), options)?;
            let files = [
                (file::WEIGHTS, Cow::Borrowed(&model[..])),
                (GRAPH_FILE, graph.to_json()?.into_bytes().into()),
                (file::ONNX, onnx.into()),
            ];
            let (parameters, macs) = (Some(graph.parameter_count()), Some(graph.macs()));
            let in_integers = graph.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_)));
            let precision = if in_integers { "int8" } else { "f32" }.to_owned();
            let listed = ModelFile { precision, ..ModelFile::onnx(file::ONNX, &made_from) };
            Ok(Models { listed, opset: options.opset, parameters, macs, files: files.into() })
        }
        Network::File { bytes, precision, opset, .. } => {
            let files = [(file::ONNX, Cow::Borrowed(&bytes[..]))];
            let listed = ModelFile::of_others(file::ONNX, precision);
            Ok(Models { listed, opset: *opset, parameters: None, macs: None, files: files.into() })
        }
    }
}

/// `model.onnx`, checked to hold nothing that is not the network's.
fn onnx_model(
    (graph, weights): (&Graph, &Weights),
    (card, weights_sha256): (&Card, &str),
    options: &Options,
) -> Result<Vec<u8>> {
    let Rewritten { graph: folded, weights, .. } = fold::fold_batch_norm(graph, weights)?;
    let text = |value: serde_json::Result<String>| value.map_err(|error| not_json(&error));
    let metadata = BTreeMap::from([
        ("attar.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("attar.network".to_owned(), text(serde_json::to_string(&card.network))?),
        (onnx_metadata::LABELS.to_owned(), text(serde_json::to_string(&card.labels))?),
        (onnx_metadata::PREPROCESSING.to_owned(), hf::to_hf(&card.preprocessing)?.to_string()),
        ("attar.weights_sha256".to_owned(), weights_sha256.to_owned()),
    ]);
    let bytes =
        onnx::write(&folded, &weights, &onnx::Options { opset: options.opset, metadata, ..onnx::Options::default() })?;
    own_tensors_only(&bytes, &folded)?;
    Ok(bytes)
}

/// Reads a written model back: every tensor in it is a parameter of the graph, or a part or a constant of one of its nodes.
fn own_tensors_only(model: &[u8], graph: &Graph) -> Result<()> {
    let file = file::ONNX;
    let parts = graph.nodes().iter().flat_map(onnx::quantised_parts);
    let parameters: BTreeSet<String> = graph.params().map(|param| param.name).chain(parts).collect();
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
