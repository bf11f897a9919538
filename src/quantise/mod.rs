//! A bundle's network becomes one of 8-bit integers: an ONNX file that every runtime knows, and a plan for Attar's own engine.

mod calibration;
mod in_floats;
mod into_bundle;
mod kept;
mod page;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use attar_compress::Settings;
use attar_infer::engine::EngineModel;
use attar_models::{Graph, Weights};
use attar_onnx::{ReadOptions, wire};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use attar_compress::{AdaRound, Calibrator, Scales, Tuning};
pub use attar_onnx::Storage;
pub use calibration::{Calibration, ImagesFrom};
pub use in_floats::InFloats;
pub use into_bundle::{Done, Job, Try, into_bundle, small_weights};
pub use kept::Kept;
pub use page::page;
pub use shares::{LayerShare, Shares, given_back};

/// How a network is quantised.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Which scales there may be.
    pub scales: Scales,
    /// Bits of a weight.
    pub weight_bits: u32,
    /// How ranges are found.
    pub calibrator: Calibrator,
    /// Nodes that stay in floats.
    pub keep: BTreeSet<String>,
    /// Whether channels between layers are scaled first; the same for all ways to quantise one [`InFloats`].
    pub equalise: bool,
    /// Whether rounding of weights is learned.
    pub adaround: Option<AdaRound>,
    /// Whether the deviations of convolutions' channels are brought back to those in floats; with free scales alone.
    pub re_estimate_norms: bool,
    /// Whether biases take back what rounding moves means by.
    pub correct_biases: bool,
    /// Whether scales and biases are tuned by the answers in floats; then weights are rounded to the nearest.
    pub tune: Option<Tuning>,
}

impl Default for Request {
    /// Exact scales, 7-bit weights rounded to the nearest, ranges by error, corrected biases.
    fn default() -> Self {
        let Settings { scales, weight_bits, calibrator } = Settings::default();
        Self {
            scales,
            weight_bits,
            calibrator,
            keep: BTreeSet::new(),
            equalise: false,
            adaround: None,
            re_estimate_norms: false,
            correct_biases: true,
            tune: None,
        }
    }
}

/// A network in integers, as files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The ONNX file.
    pub onnx: Vec<u8>,
    /// What was done.
    pub report: Report,
}

/// What was done to a network.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Which scales it has: `exact` (powers of two, even zero points) or `free`.
    pub scales: String,
    /// Bits of a weight.
    pub weight_bits: u32,
    /// How ranges were found.
    pub calibrator: String,
    /// Calibration images.
    pub images: usize,
    /// Where they come from.
    pub images_from: ImagesFrom,
    /// sha256 over the sha256 of each of them, in order; of made ones over their numbers, 32-bit floats.
    pub images_sha256: String,
    /// Layers in integers.
    pub integer_layers: usize,
    /// Nodes with multiply-accumulates that stay in floats.
    pub float_layers: Vec<String>,
    /// Pairs of layers that were equalised.
    pub equalised: usize,
    /// Pairs of layers with a ReLU6 between, which were not.
    pub across_relu6: usize,
    /// Steps of learned rounding for each layer; none: weights were rounded to the nearest.
    pub adaround_steps: Option<usize>,
    /// Whether batch norms were estimated anew.
    pub re_estimated_norms: bool,
    /// Whether biases were corrected.
    pub corrected_biases: bool,
    /// What tuning scales and biases came to, where it was asked for.
    pub tuned: Option<TunedReport>,
    /// Nodes at which runtimes may come to other bits; none: all come to the same.
    pub inexact: Vec<Node>,
    /// Bytes of the ONNX file.
    pub onnx_bytes: usize,
}

/// Mean KL divergence from the answers in floats, in nats, over the calibration images that were set aside.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
pub struct TunedReport {
    /// Steps that were taken.
    pub steps: usize,
    /// Before.
    pub before: f64,
    /// Of what was kept.
    pub after: f64,
}

/// A node and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// What is to be said.
    pub why: String,
}

impl Report {
    /// Whether every runtime comes to the same bits.
    pub fn is_exact(&self) -> bool {
        self.inexact.is_empty()
    }
}

/// A file in floats with its weights stored in fewer bits: with bytes about as small as one in integers, with halves twice as
/// large, and as quick as before. Biases and all arithmetic stay in floats.
///
/// # Errors
/// As [`InFloats::of`]; a weight that is beyond half precision.
pub fn weights_only(model: &EngineModel, input: [usize; 3], storage: Storage, opset: i64) -> Result<Vec<u8>> {
    let (graph, weights) = opened(model, input)?;
    let options = attar_onnx::Options { opset, weights: storage, metadata: metadata(model) };
    Ok(attar_onnx::write(&graph, &weights, &options)?)
}

/// What the file says of itself.
fn metadata(model: &EngineModel) -> BTreeMap<String, String> {
    let said = wire::metadata(model.bytes());
    said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The network of an ONNX file in floats.
fn opened(model: &EngineModel, input: [usize; 3]) -> Result<(Graph, Weights)> {
    if model.precision() != "f32" {
        bail!("{} is {} already, expected f32", model.origin().display(), model.precision());
    }
    let import = attar_onnx::read(model.bytes(), model.origin(), ReadOptions { input: Some(input) })?;
    let all: Vec<String> = import.obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
    match import.network {
        Some(network) => Ok(network),
        None => bail!("{}: not all of its operations are known{}", model.origin().display(), all.concat()),
    }
}
