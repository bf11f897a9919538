//! A bundle's network becomes one of 8-bit integers: an ONNX file that every runtime knows, and a plan for Attar's own engine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use attar_compress::{
    Images, Inexact, Placement, Quantised, Settings, adaround, correct_biases, equalise, exactness, observe, prepare,
    quantise,
};
use attar_data::Dataset;
use attar_infer::engine::OnnxModel;
use attar_models::{Graph, Weights};
use attar_onnx::{ReadOptions, wire};
use attar_pixels::{Preprocessing, preprocess};
use schemars::JsonSchema;
use serde::Serialize;

pub use attar_compress::{AdaRound, Calibrator, Scales};

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
    /// Operator set of the file.
    pub opset: i64,
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

/// Images that ranges are found by, preprocessed.
#[derive(Debug)]
pub struct Calibration {
    shape: [usize; 3],
    images: Vec<Vec<f32>>,
    sha256: String,
}

impl Calibration {
    /// `count` images of a data set, of each class as many as of the others, spread evenly over it; all, where there are fewer.
    ///
    /// # Errors
    /// No image; one that cannot be read, or comes out in another shape than `[C, H, W]`.
    pub fn of(data: &dyn Dataset, how: &Preprocessing, shape: [usize; 3], count: usize) -> Result<Self> {
        let chosen = spread(&data.labels(), count);
        if chosen.is_empty() {
            bail!("there are no calibration images");
        }
        let (mut images, mut hashes) = (Vec::with_capacity(chosen.len()), String::new());
        for index in chosen {
            let image = data.image(index)?;
            hashes.extend(image.sha256().iter().map(|byte| format!("{byte:02x}")));
            let values = preprocess(&image, how).with_context(|| data.name(index))?;
            if values.len() != shape.iter().product::<usize>() {
                bail!("{} comes out in {} numbers, and the network takes {shape:?}", data.name(index), values.len());
            }
            images.push(values);
        }
        Ok(Self { shape, images, sha256: attar_formats::hash::sha256(hashes.as_bytes()) })
    }
}

/// Positions of `count` labels: every class in turn, each class's evenly.
fn spread(labels: &[u32], count: usize) -> Vec<usize> {
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(at, label)| by_class.entry(*label).or_default().push(at));
    let each = count.div_ceil(by_class.len().max(1)).max(1);
    let mut chosen: Vec<Vec<usize>> = by_class
        .into_values()
        .map(|all| {
            let take = each.min(all.len());
            (0..take).map(|at| all[at * all.len() / take]).collect()
        })
        .collect();
    let mut order = Vec::new();
    for round in 0..each {
        order.extend(chosen.iter_mut().filter_map(|class| class.get(round).copied()));
    }
    order.truncate(count);
    order
}

/// Quantises the network of an ONNX file in floats. Same file, same images, same bytes.
///
/// # Errors
/// An operation that is not known; a file that is quantised already; as [`attar_compress`].
pub fn of_model(
    model: &OnnxModel,
    calibration: &Calibration,
    request: &Request,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Files> {
    let import = attar_onnx::read(model.bytes(), model.origin(), ReadOptions { input: Some(calibration.shape) })?;
    let Some((graph, weights)) = &import.network else {
        let all: Vec<String> = import.obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
        bail!("{}: not all of its operations are known{}", model.origin().display(), all.concat());
    };
    if model.precision() != "f32" {
        bail!("{} is {} already, expected f32", model.origin().display(), model.precision());
    }
    let (quantised, mut report) = network(graph, weights, calibration, request, progress)?;
    let rewritten = &quantised.rewritten;
    let said = wire::metadata(model.bytes());
    let metadata = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = attar_onnx::Options { opset: request.opset, metadata };
    let onnx = attar_onnx::write(&rewritten.graph, &rewritten.weights, &options)?;
    report.onnx_bytes = onnx.len();
    Ok(Files { onnx, report })
}

fn network(
    graph: &Graph,
    weights: &Weights,
    calibration: &Calibration,
    request: &Request,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<(Quantised, Report)> {
    let prepared = prepare(graph, weights)?;
    let graph = &prepared.graph;
    let equalised = request.equalise.then(|| equalise(graph, &prepared.weights)).transpose()?;
    let weights = equalised.as_ref().map_or(&prepared.weights, |equalised| &equalised.weights);
    let placement = Placement::of(graph, &request.keep)?;
    let images = Images::new(calibration.shape, &calibration.images)?;
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
