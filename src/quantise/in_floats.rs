//! A network in floats with the ranges of its values: what every way to quantise it begins with.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use attar_compress::{
    Calibrator, Equalised, Images, Inexact, Observed, Placement, Quantised, Sensitivity, Settings, adaround,
    correct_biases, equalise, exactness, observe, prepare, quantise, re_estimate_norms, sensitivity, tune,
};
use attar_formats::hash;
use attar_infer::engine::EngineModel;
use attar_models::{Graph, Weights};

use super::kept::{Done, Kept};
use super::{Calibration, Files, Node, Report, Request, Scales, TunedReport, metadata, opened};

/// The property of an ONNX file that says which images its ranges were found by.
const CALIBRATION: &str = "attar.calibration";

/// Images by which biases are corrected and norms estimated anew: each layer asks them all.
const MOMENTS_IMAGES: usize = 64;

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
    model_sha256: String,
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
        Ok(Self {
            graph,
            weights,
            equalised,
            observed,
            images,
            calibration,
            metadata,
            model_sha256: hash::sha256(model.bytes()),
        })
    }

    /// Quantises it as `request` says, as an ONNX file of an operator set. Same network, same images, same bytes, whether
    /// or not some of it is `kept` of a time before.
    ///
    /// # Errors
    /// As [`attar_compress`]; what is kept cannot be read or written.
    pub fn quantised(
        &self,
        request: &Request,
        opset: i64,
        kept: &Kept,
        progress: &mut dyn FnMut(&'static str, usize, usize),
    ) -> Result<Files> {
        let (graph, weights) = (&self.graph, &self.weights);
        let placement = Placement::of(graph, &request.keep)?;
        let mut quantised = quantise(graph, weights, &placement, &self.observed, settings(request))?;
        let layers = placement.layers(graph).len();
        let way = kept.way(&(&self.model_sha256, &self.calibration.sha256, request))?;
        let mut done = Done::Layers(0);
        if let Some((before, weights)) = way.read()? {
            weights.check(&quantised.rewritten.graph)?;
            (done, quantised.rewritten.weights) = (before, weights);
        }
        if let (Some(how), Done::Layers(first)) = (request.adaround, done) {
            for at in first..layers {
                adaround(graph, weights, &mut quantised, &self.images, how, at..at + 1)?;
                way.write(Done::Layers(at + 1), &quantised.rewritten.weights)?;
                progress("rounding", at + 1, layers);
            }
        }
        let few = self.images.first(MOMENTS_IMAGES);
        if re_estimates_norms(request) && done < Done::Norms {
            let tick = &mut |done| progress("norms", done, layers);
            re_estimate_norms(graph, weights, &mut quantised, &few, tick)?;
            way.write(Done::Norms, &quantised.rewritten.weights)?;
        }
        if request.correct_biases && done < Done::Biases {
            correct_biases(graph, weights, &mut quantised, &few, &mut |done| progress("biases", done, layers))?;
            way.write(Done::Biases, &quantised.rewritten.weights)?;
        }
        let tuned = match (request.tune, done) {
            (None, _) => None,
            (Some(_), Done::Tuned(found)) => Some(found),
            (Some(how), _) => {
                let tick = &mut |done| progress("tuning", done, how.steps);
                let found = tune(graph, weights, &mut quantised, &self.images, how, tick)?;
                let found = TunedReport { steps: how.steps, before: found.before, after: found.after };
                way.write(Done::Tuned(found), &quantised.rewritten.weights)?;
                Some(found)
            }
        };
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
            re_estimated_norms: re_estimates_norms(request),
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

fn re_estimates_norms(request: &Request) -> bool {
    request.re_estimate_norms && request.scales == Scales::Free
}

fn name(calibrator: Calibrator) -> String {
    match calibrator {
        Calibrator::MinMax => "min-max".to_owned(),
        Calibrator::Percentile { percent } => format!("percentile {percent}"),
        Calibrator::Mse => "mse".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use attar_compress::{AdaRound, Tuning};
    use attar_models::generated;
    use attar_models::zoo::{NetworkSpec, build};

    use super::super::ImagesFrom;
    use super::*;

    const SHAPE: [usize; 3] = [3, 16, 16];

    /// Wherever it is interrupted, what is done is not done again, and the file has the bytes that it would have had.
    #[test]
    fn what_was_interrupted_goes_on_where_it_was() {
        let graph = build(&NetworkSpec::new("resnet8", 5, SHAPE)).unwrap();
        let weights = generated::weights(&graph, 4);
        let onnx = attar_onnx::write(&graph, &weights, &attar_onnx::Options::default()).unwrap();
        let model = EngineModel::from_bytes(onnx, "model.onnx").unwrap();
        let calibration = Calibration {
            shape: SHAPE,
            images: (0..8).map(|seed| generated::input([1, 3, 16, 16], seed)).collect(),
            sha256: "these".to_owned(),
            from: ImagesFrom::Data,
        };
        let rounded = Request {
            scales: Scales::Free,
            weight_bits: 4,
            adaround: Some(AdaRound { steps: 5, positions: 64, ..AdaRound::default() }),
            re_estimate_norms: true,
            ..Request::default()
        };
        let tuned = Request {
            weight_bits: 4,
            tune: Some(Tuning { steps: 4, batch: 2, ..Tuning::default() }),
            ..Request::default()
        };
        let floats = InFloats::of(&model, &calibration, &rounded, &mut |_, _, _| {}).unwrap();
        for (request, interruptions) in [
            // Where it stops, and what each run hears first.
            (
                &rounded,
                &[(("rounding", 3), ("rounding", 1)), (("norms", 2), ("rounding", 4)), (("biases", 5), ("norms", 1))][..],
            ),
            (&tuned, &[(("biases", 1), ("biases", 1)), (("tuning", 2), ("biases", 1))]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let kept = |name: &str| Kept::beside(folder.path(), name);
            let whole = floats.quantised(request, 17, &kept("whole"), &mut |_, _, _| {}).unwrap();
            let parts = kept("parts");
            for (stop, first) in interruptions {
                let mut heard = Vec::new();
                let stopped = catch_unwind(AssertUnwindSafe(|| {
                    floats.quantised(request, 17, &parts, &mut |now, done, _| {
                        heard.push((now, done));
                        assert_ne!((now, done), *stop, "interrupted");
                    })
                }));
                assert!(stopped.is_err(), "{stop:?} was not reached: {heard:?}");
                assert_eq!(heard.first(), Some(first), "what was done before is not done again");
            }
            let resumed = floats.quantised(request, 17, &parts, &mut |_, _, _| {}).unwrap();
            assert_eq!((resumed.onnx, resumed.report), (whole.onnx, whole.report));
            let again = floats.quantised(request, 17, &parts, &mut |now, _, _| panic!("{now} again")).unwrap();
            let other = Request { weight_bits: 5, ..request.clone() };
            let other = floats.quantised(&other, 17, &parts, &mut |_, _, _| {}).unwrap();
            assert_ne!(other.onnx, again.onnx, "another request goes its own way");
        }
    }
}
