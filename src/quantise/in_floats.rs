//! A network in floats with the ranges of its values: what every way to quantise it begins with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use attar_compress::{
    Calibrator, Equalised, Images, Inexact, Observed, Placement, Quantised, Sensitivity, Settings, adaround,
    correct_biases, equalise, exactness, observe, prepare, quantise, sensitivity, tune,
};
use attar_infer::engine::EngineModel;
use attar_models::{Graph, Weights};

use super::{Calibration, Files, Node, Report, Request, Scales, TunedReport, metadata, opened};

/// The property of an ONNX file that says which images its ranges were found by.
const CALIBRATION: &str = "attar.calibration";

/// Images by which biases are corrected: each layer asks them all.
const BIAS_IMAGES: usize = 64;

/// A network in floats as it is deployed, its channels equalised where that was asked for, with the ranges of its values on
/// calibration images: looked at once, quantised in one way after the other.
#[derive(Debug)]
pub struct InFloats<'a> {
    graph: Graph,
    weights: Weights,
    equalised: Option<Equalised>,
    observed: Observed,
    images: Images<'a>,
    calibration: &'a Calibration,
    metadata: BTreeMap<String, String>,
}

impl<'a> InFloats<'a> {
    /// Runs the calibration images through the network of an ONNX file. `request` says what stays in floats in any case, and
    /// whether channels are equalised; its other settings may differ from way to way.
    ///
    /// # Errors
    /// An operation that is not known; a file that is no f32 one; as [`attar_compress`].
    pub fn of(
        model: &EngineModel,
        calibration: &'a Calibration,
        request: &Request,
        progress: &mut dyn FnMut(&'static str, usize, usize),
    ) -> Result<Self> {
        let (graph, weights) = opened(model, calibration.shape)?;
        let prepared = prepare(&graph, &weights)?;
        let (graph, mut weights) = (prepared.graph, prepared.weights);
        let equalised = request.equalise.then(|| equalise(&graph, &weights)).transpose()?;
        if let Some(equalised) = &equalised {
            weights.clone_from(&equalised.weights);
        }
        let images = calibration.images()?;
        let points = Placement::of(&graph, &request.keep)?.quantised(&graph);
        let observed = observe(&graph, &weights, &points, &images, &mut |done| {
            progress("ranges", done, 2 * images.len());
        })?;
        let mut metadata = metadata(model);
        let said = format!("{} images, {}, sha256 {}", images.len(), calibration.from.name(), calibration.sha256);
        metadata.insert(CALIBRATION.to_owned(), said);
        Ok(Self { graph, weights, equalised, observed, images, calibration, metadata })
    }

    /// Quantises it as `request` says, as an ONNX file of an operator set. Same network, same images, same bytes.
    ///
    /// # Errors
    /// As [`attar_compress`].
    pub fn quantised(
        &self,
        request: &Request,
        opset: i64,
        progress: &mut dyn FnMut(&'static str, usize, usize),
    ) -> Result<Files> {
        let (graph, weights) = (&self.graph, &self.weights);
        let placement = Placement::of(graph, &request.keep)?;
        let mut quantised = quantise(graph, weights, &placement, &self.observed, settings(request))?;
        let layers = placement.layers(graph).len();
        if let Some(how) = request.adaround {
            let tick = &mut |done| progress("rounding", done, layers);
            adaround(graph, weights, &mut quantised, &self.images, how, tick)?;
        }
        if request.correct_biases {
            let few = self.images.first(BIAS_IMAGES);
            correct_biases(graph, weights, &mut quantised, &few, &mut |done| progress("biases", done, layers))?;
        }
        let mut tuned = None;
        if let Some(how) = request.tune {
            let tick = &mut |done| progress("tuning", done, how.steps);
            let found = tune(graph, weights, &mut quantised, &self.images, how, tick)?;
            tuned = Some(TunedReport { steps: how.steps, before: found.before, after: found.after });
        }
        let rewritten = &quantised.rewritten;
        let metadata = self.metadata.clone();
        let options = attar_onnx::Options { opset, metadata, ..attar_onnx::Options::default() };
        let onnx = attar_onnx::write(&rewritten.graph, &rewritten.weights, &options)?;
        let report = Report { tuned, onnx_bytes: onnx.len(), ..self.report(request, &placement, &quantised)? };
        Ok(Files { onnx, report })
    }

    /// What was done, but for what comes of tuning and writing.
    fn report(&self, request: &Request, placement: &Placement, quantised: &Quantised) -> Result<Report> {
        let graph = &self.graph;
        let floats = graph.iter().filter(|(id, node)| node.op.macs(&node.shape) > 0 && !placement.is_integer(*id));
        let inexact = exactness(&quantised.rewritten.graph, &quantised.rewritten.weights)?;
        let equalised = |count: &dyn Fn(&Equalised) -> usize| self.equalised.as_ref().map_or(0, count);
        Ok(Report {
            scales: if request.scales == Scales::Exact { "exact" } else { "free" }.to_owned(),
            weight_bits: request.weight_bits,
            calibrator: name(request.calibrator),
            images: self.images.len(),
            images_from: self.calibration.from,
            images_sha256: self.calibration.sha256.clone(),
            integer_layers: placement.layers(graph).len(),
            float_layers: floats.map(|(_, node)| node.name.clone()).collect(),
            equalised: equalised(&|done| done.pairs.len()),
            across_relu6: equalised(&|done| done.across_relu6.len()),
            adaround_steps: request.adaround.map(|how| how.steps),
            corrected_biases: request.correct_biases,
            tuned: None,
            inexact: inexact.into_iter().map(|Inexact { node, why }| Node { node, why }).collect(),
            onnx_bytes: 0,
        })
    }

    /// What the rounding of each layer that `request` puts in integers costs, by the first `images` of them.
    pub(super) fn sensitivity(
        &self,
        request: &Request,
        images: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Sensitivity> {
        let (graph, keep): (&Graph, &BTreeSet<String>) = (&self.graph, &request.keep);
        let layers = Placement::of(graph, keep)?.layers(graph).len();
        let few = self.images.first(images);
        let tick = &mut |done| progress(done, layers);
        Ok(sensitivity(graph, &self.weights, keep, &self.observed, settings(request), &few, tick)?)
    }
}

fn settings(request: &Request) -> Settings {
    Settings { scales: request.scales, weight_bits: request.weight_bits, calibrator: request.calibrator }
}

fn name(calibrator: Calibrator) -> String {
    match calibrator {
        Calibrator::MinMax => "min-max".to_owned(),
        Calibrator::Percentile { percent } => format!("percentile {percent}"),
        Calibrator::Mse => "mse".to_owned(),
    }
}
