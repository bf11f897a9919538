//! Every network of the zoo against PyTorch: logits and stages in evaluation, gradients and
//! statistics in training. The fixtures and their layout come from
//! `tests/fixtures/make/networks.py`.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in test functions, not in what they share

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_exec::{Frozen, Network};
use attar_measures::random::Stream;
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Graph, NodeId, Weights, generated};
use candle_core::{Device, Tensor};
use serde::Deserialize;

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: PathBuf,
    mode: String,
    batch: usize,
    seed: u64,
    spec: NetworkSpec,
}

/// A case with everything that is needed to run it.
struct Ready {
    name: String,
    graph: Graph,
    weights: Weights,
    x: Tensor,
    expected: safetensors::SafeTensors<'static>,
}

impl Ready {
    fn floats(&self, name: &str) -> Vec<f32> {
        let view = self.expected.tensor(name).unwrap_or_else(|_| panic!("{}: no {name}", self.name));
        view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn stages(&self) -> Vec<NodeId> {
        self.graph.stages().iter().map(|(_, id)| *id).collect()
    }

    fn network(&self) -> Network {
        Network::from_weights(self.graph.clone(), &self.weights, &Device::Cpu).unwrap()
    }

    /// Compares a sample of each stage's elements, their mean and standard deviation.
    fn check_stages(&self, taps: &[Tensor], tolerance: f32) {
        for ((stage, _), tap) in self.graph.stages().iter().zip(taps) {
            let got = values(tap);
            let summary = self.floats(&format!("tap.{stage}.summary"));
            let limit = tolerance * summary[1];
            let what = format!("{} {stage}", self.name);
            close(&sample(&got, 64), &self.floats(&format!("tap.{stage}.sample")), limit, &what);
            let (mean, sd) = moments(&got);
            close(&[mean, sd], &summary, limit, &what);
        }
    }
}

/// Every s-th element, s = (n div about) | 1.
fn sample(values: &[f32], about: usize) -> Vec<f32> {
    values.iter().copied().step_by((values.len() / about) | 1).collect()
}

fn cases(mode: &str) -> Vec<Ready> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/networks");
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let ready = |case: Case| {
        let graph = build(&case.spec).unwrap();
        let [channels, height, width] = case.spec.input;
        let shape = [case.batch, channels, height, width];
        let x = Tensor::from_vec(generated::input(shape, case.seed), &shape, &Device::Cpu).unwrap();
        let bytes: &'static [u8] = std::fs::read(folder.join(&case.file)).unwrap().leak();
        let expected = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let weights = generated::weights(&graph, case.seed);
        Ready { name: case.file.display().to_string(), graph, weights, x, expected }
    };
    let all: Vec<Ready> = manifest.cases.into_iter().filter(|case| case.mode == mode).map(ready).collect();
    assert!(!all.is_empty(), "no case with mode {mode}");
    all
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Mean and standard deviation (n - 1).
fn moments(values: &[f32]) -> (f32, f32) {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let squares = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
    (mean as f32, (squares / (n - 1.0)).sqrt() as f32)
}

fn largest_difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

fn close(got: &[f32], expected: &[f32], limit: f32, what: &str) {
    let difference = largest_difference(got, expected);
    assert!(difference <= limit, "{what}: differs by {difference}, allowed {limit}");
}

#[test]
fn evaluation_agrees_with_pytorch_folded_and_unfolded() {
    for case in cases("eval") {
        let logits = case.floats("logits");
        let sd = moments(&logits).1;
        let outputs = case.network().eval(&case.x, &case.stages()).unwrap();
        let got = values(&outputs.logits);
        close(&got, &logits, 1e-4 * sd, &case.name);
        case.check_stages(&outputs.taps, 1e-4);

        // MobileNetV2's narrow sums without activations round more: both forms lie about 2e-5 from
        // f64 there.
        let folding = if case.name.starts_with("mobilenet") { 5e-5 } else { 1e-5 };
        let folded = Frozen::new(case.graph.clone(), &case.weights, &Device::Cpu).unwrap();
        let outputs = folded.eval(&case.x, &case.stages()).unwrap();
        close(&values(&outputs.logits), &got, folding * sd, &format!("{} folded", case.name));
        case.check_stages(&outputs.taps, 1e-4);
    }
}

#[test]
fn training_agrees_with_pytorch_in_outputs_gradients_and_statistics() {
    for case in cases("train") {
        let mut network = case.network();
        let mut rng = Stream::of_number(0);
        let (outputs, tape) = network.train(&case.x, &case.stages(), &mut rng).unwrap();
        let logits = case.floats("logits");
        let sd = moments(&logits).1;
        close(&values(&outputs.logits), &logits, 1e-4 * sd, &case.name);
        case.check_stages(&outputs.taps, 1e-4);

        let (loss, grad) = cross_entropy(&outputs.logits, &case.expected);
        close(&[loss], &case.floats("loss"), 1e-4 * loss.max(1.0), &case.name);
        let output = network.graph().output();
        let found = network.backward(tape, vec![(output, grad)], true).unwrap();
        let name = |slot| network.params().name(slot).to_owned();
        let mut grads: BTreeMap<String, Vec<f32>> = found.params.iter().map(|(n, g)| (name(n), values(g))).collect();
        grads.insert("input".to_owned(), values(found.input.as_ref().unwrap()));
        let largest = grads.values().map(|grad| rms(grad)).fold(0.0, f32::max);
        for (name, grad) in &grads {
            check_gradient(&case, name, grad, 1e-3 * largest);
        }
        assert_eq!(found.params.len(), network.params().trained().count(), "{}", case.name);
        for name in case.expected.names() {
            if let Some(buffer) = name.strip_prefix("buffer.") {
                let got = values(network.params().get(buffer).unwrap());
                close(&got, &case.floats(name), 1e-5 * (1.0 + moments(&got).1), &format!("{} {buffer}", case.name));
            }
        }
    }
}

/// Norm, mean and a sample of a gradient, to `GRADIENT` of its root mean square (plus `floor`:
/// shifts in front of another batch norm have gradient 0 up to rounding).
fn check_gradient(case: &Ready, name: &str, got: &[f32], floor: f32) {
    let what = format!("{} d loss / d {name}", case.name);
    let expected = case.floats(&format!("grad.{name}"));
    let count = got.len() as f32;
    let limit = GRADIENT * (expected[0] / count.sqrt() + floor);
    close(&[rms(got)], &[expected[0] / count.sqrt()], limit, &format!("{what}: norm"));
    close(&[moments(got).0], &expected[1..2], limit, &format!("{what}: mean"));
    close(&sample(got, 8), &expected[2..], limit, &what);
}

/// What single precision may do to a gradient that comes through a whole network with statistics of
/// four samples.
const GRADIENT: f32 = 2e-3;

fn rms(values: &[f32]) -> f32 {
    (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64).sqrt() as f32
}

/// Mean cross-entropy and its gradient, in f64.
fn cross_entropy(logits: &Tensor, expected: &safetensors::SafeTensors<'_>) -> (f32, Tensor) {
    let rows: Vec<Vec<f32>> = logits.to_vec2().unwrap();
    let labels = expected.tensor("labels").unwrap();
    let labels = labels.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize);
    let n = rows.len() as f64;
    let (mut loss, mut grad) = (0.0, Vec::new());
    for (row, label) in rows.iter().zip(labels) {
        let total: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
        loss += (total.ln() - f64::from(row[label])) / n;
        let slope =
            |(k, v): (usize, &f32)| ((f64::from(*v).exp() / total - f64::from(u8::from(k == label))) / n) as f32;
        grad.extend(row.iter().enumerate().map(slope));
    }
    (loss as f32, Tensor::from_vec(grad, logits.dims(), logits.device()).unwrap())
}
