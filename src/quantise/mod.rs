//! A bundle's network becomes one of 8-bit integers: an ONNX file that every runtime knows, and a plan for Attar's own engine.

mod calibration;
mod into_bundle;
mod page;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use attar_compress::{
    Inexact, Placement, Quantised, Settings, adaround, correct_biases, equalise, exactness, observe, prepare, quantise,
};
use attar_infer::engine::EngineModel;
use attar_models::{Graph, Weights};
use attar_onnx::{ReadOptions, wire};
use schemars::JsonSchema;
use serde::Serialize;

pub use attar_compress::{AdaRound, Calibrator, Scales};
pub use attar_onnx::Storage;
pub use calibration::Calibration;
pub use into_bundle::{Done, Job, Try, into_bundle, small_weights};
pub use page::page;
pub use shares::{LayerShare, Shares, given_back};

/// Images by which biases are corrected: each layer asks them all.
const BIAS_IMAGES: usize = 64;

/// How a network is quantised.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which scales there may be.
    pub scales: Scales,
    /// Bits of a weight.
    pub weight_bits: u32,
    /// How ranges are found.
    pub calibrator: Calibrator,
    /// Nodes that stay in floats.
    pub keep: BTreeSet<String>,
    /// Whether channels between layers are scaled first.
    pub equalise: bool,
    /// Whether rounding of weights is learned.
    pub adaround: Option<AdaRound>,
    /// Whether biases take back what rounding moves means by.
    pub correct_biases: bool,
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
            correct_biases: true,
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
    /// sha256 over the sha256 of each of them, in order.
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
    /// Whether biases were corrected.
    pub corrected_biases: bool,
    /// Nodes at which runtimes may come to other bits; none: all come to the same.
    pub inexact: Vec<Node>,
    /// Bytes of the ONNX file.
    pub onnx_bytes: usize,
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

/// Quantises the network of an ONNX file in floats, to one of an operator set. Same file, same images, same bytes.
///
/// # Errors
/// An operation that is not known; a file that is quantised already; as [`attar_compress`].
pub fn of_model(
    model: &EngineModel,
    calibration: &Calibration,
    request: &Request,
    opset: i64,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Files> {
    let (graph, weights) = opened(model, calibration.shape)?;
    let (quantised, mut report) = network(&graph, &weights, calibration, request, progress)?;
    let rewritten = &quantised.rewritten;
    let options = attar_onnx::Options { opset, metadata: metadata(model), ..attar_onnx::Options::default() };
    let onnx = attar_onnx::write(&rewritten.graph, &rewritten.weights, &options)?;
    report.onnx_bytes = onnx.len();
    Ok(Files { onnx, report })
}

/// A file in floats with its weights stored in fewer bits: as small, or half as small, as one in integers, and as quick as
/// before. Biases and all arithmetic stay in floats.
///
/// # Errors
/// As [`of_model`]; a weight that is beyond half precision.
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

fn network(
    graph: &Graph,
    weights: &Weights,
    calibration: &Calibration,
    request: &Request,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<(Quantised, Report)> {
    let prepared = prepare(graph, weights)?;
    let graph = &prepared.graph;
    let equalised = request.equalise.then(|| equalise(graph, &prepared.weights)).transpose()?;
    let weights = equalised.as_ref().map_or(&prepared.weights, |equalised| &equalised.weights);
    let placement = Placement::of(graph, &request.keep)?;
    let images = calibration.images()?;
    let observed = observe(graph, weights, &placement.quantised(graph), &images, &mut |done| {
        progress("ranges", done, 2 * images.len());
    })?;
    let settings =
        Settings { scales: request.scales, weight_bits: request.weight_bits, calibrator: request.calibrator };
    let mut quantised = quantise(graph, weights, &placement, &observed, settings)?;
    let layers = placement.layers(graph).len();
    if let Some(how) = request.adaround {
        let tick = &mut |done| progress("rounding", done, layers);
        adaround(graph, weights, &mut quantised, &images, how, tick)?;
    }
    if request.correct_biases {
        let few = images.first(BIAS_IMAGES);
        correct_biases(graph, weights, &mut quantised, &few, &mut |done| progress("biases", done, layers))?;
    }
    let inexact = exactness(&quantised.rewritten.graph, &quantised.rewritten.weights)?;
    let floats = graph.iter().filter(|(id, node)| node.op.macs(&node.shape) > 0 && !placement.is_integer(*id));
    let report = Report {
        scales: if request.scales == Scales::Exact { "exact" } else { "free" }.to_owned(),
        weight_bits: request.weight_bits,
        calibrator: name(request.calibrator),
        images: images.len(),
        images_sha256: calibration.sha256.clone(),
        integer_layers: layers,
        float_layers: floats.map(|(_, node)| node.name.clone()).collect(),
        equalised: equalised.as_ref().map_or(0, |equalised| equalised.pairs.len()),
        across_relu6: equalised.as_ref().map_or(0, |equalised| equalised.across_relu6.len()),
        adaround_steps: request.adaround.map(|how| how.steps),
        corrected_biases: request.correct_biases,
        inexact: inexact.into_iter().map(|Inexact { node, why }| Node { node, why }).collect(),
        onnx_bytes: 0,
    };
    Ok((quantised, report))
}

fn name(calibrator: Calibrator) -> String {
    match calibrator {
        Calibrator::MinMax => "min-max".to_owned(),
        Calibrator::Percentile { percent } => format!("percentile {percent}"),
        Calibrator::Mse => "mse".to_owned(),
    }
}
