//! What every operation must have, asked of all of them by their examples: gradients that finite
//! differences confirm, kernels that compute what `f64` does, images in `bf16`, and a fixture that
//! PyTorch made.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attar_exec::optim::{Ema, OptimiserSpec};
use attar_exec::{Context, Network, Params, Precision, check};
use attar_measures::random::Stream;
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Graph, Op, generated};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

const BATCH: usize = 3;

fn rng() -> Stream {
    Stream::of_number(5)
}

/// Numbers that `bf16` holds exactly, all different from their neighbours, so that no rounding
/// makes two of them equal.
fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let values: Vec<f32> = generated::uniform("numbers", seed, shape.iter().product());
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    tensor.to_dtype(DType::BF16).unwrap().to_dtype(DType::F64).unwrap()
}

fn network(graph: &Graph, context: &Context) -> Network {
    let params = Params::from_weights(graph, &generated::weights(graph, 3), context).unwrap();
    Network::new(graph.clone(), params, context).unwrap()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    wide(a).iter().zip(wide(b)).map(|(a, b)| a * b).sum()
}

/// Output, and gradients by name, of one pass in training.
fn pass(network: &Network, x: &Tensor, direction: &Tensor) -> (Tensor, Vec<(String, Tensor)>) {
    let kind = network.params().iter().next().map_or(x.dtype(), |(_, value, _)| value.dtype());
    let (x, direction) = (x.to_dtype(kind).unwrap(), direction.to_dtype(kind).unwrap());
    let mut network = network.clone();
    let (outputs, tape) = network.train(&x, &[], &mut rng()).unwrap();
    let found = network.backward(tape, vec![(network.graph().output(), direction)], true).unwrap();
    let name = |slot| network.params().name(slot).to_owned();
    let mut all: Vec<_> = found.params.iter().map(|(slot, gradient)| (name(slot), gradient.clone())).collect();
    all.push(("input".to_owned(), found.input.unwrap()));
    (outputs.logits, all)
}

fn shapes(graph: &Graph) -> ([Vec<usize>; 2], Context) {
    let with_batch = |shape: &[usize]| [&[BATCH], shape].concat();
    ([with_batch(graph.input_shape()), with_batch(graph.output_shape())], Context::exact(&Device::Cpu))
}

#[test]
fn gradients_are_what_finite_differences_say() {
    const STEP: f64 = 1e-6;
    for (name, graph) in check::examples().unwrap() {
        let ([x, y], exact) = shapes(&graph);
        let (network, x, direction) = (network(&graph, &exact), numbers(&x, 1), numbers(&y, 2));
        if check::rounds(&graph) {
            continue; // its slope is 0 nearly everywhere, and its gradient is not: see below
        }
        let (_, gradients) = pass(&network, &x, &direction);
        assert_eq!(gradients.len(), network.params().trained().count() + 1, "{name}: a gradient is missing");
        for (place, gradient) in gradients {
            let start = if place == "input" { x.clone() } else { network.params().get(&place).unwrap().clone() };
            let way = numbers(start.dims(), 3);
            let at = |sign: f64| {
                let moved = (&start + (&way * (sign * STEP)).unwrap()).unwrap();
                let (mut network, mut x) = (network.clone(), x.clone());
                match place.as_str() {
                    "input" => x = moved,
                    _ => network.params_mut().set(&place, moved).unwrap(),
                }
                dot(&network.train(&x, &[], &mut rng()).unwrap().0.logits, &direction)
            };
            let (expected, got) = ((at(1.0) - at(-1.0)) / (2.0 * STEP), dot(&gradient, &way));
            let scale = (dot(&gradient, &gradient) * dot(&way, &way)).sqrt();
            assert!((got - expected).abs() < 1e-7 * (scale + 1.0), "{name} {place}: {got}, {expected} by differences");
        }
    }
}

/// A quantiser's gradient is that of a clamp in whole steps.
#[test]
fn rounding_passes_gradients_straight_through() {
    let quantisers = check::examples().unwrap().into_iter().filter(|(_, graph)| check::rounds(graph));
    let mut seen = 0;
    for (name, graph) in quantisers {
        let ([x, y], exact) = shapes(&graph);
        let Some(Op::Quantize(quantize)) =
            graph.nodes().iter().map(|node| &node.op).find(|op| matches!(op, Op::Quantize(_)))
        else {
            panic!("{name}")
        };
        let [low, high] = quantize.range().map(f64::from);
        let (x, direction) = ((numbers(&x, 1) * 8.0).unwrap(), numbers(&y, 2));
        let network = network(&graph, &exact);
        let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let param = |suffix: &str| flat(network.params().get(&format!("op.{suffix}")).unwrap())[0];
        let (scale, zero_point) = (param("scale"), param("zero_point"));
        let (_, gradients) = pass(&network, &x, &direction);
        assert_eq!(gradients.len(), 1, "{name}: scales learn where it is asked for");
        let mut through = 0;
        for ((x, dy), dx) in flat(&x).iter().zip(flat(&direction)).zip(flat(&gradients[0].1)) {
            let number = x / scale + zero_point;
            let expected = if number > low && number < high { dy / scale } else { 0.0 };
            assert!((dx - expected).abs() < 1e-9, "{name}: {dx}, expected {expected}");
            through += usize::from(expected != 0.0);
        }
        assert!(through > 0 && through < flat(&x).len(), "{name}: {through}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// Length of the difference in units of the length of `expected`.
fn apart(got: &Tensor, expected: &Tensor) -> f64 {
    let difference = (got.to_dtype(DType::F64).unwrap() - expected.to_dtype(DType::F64).unwrap()).unwrap();
    (dot(&difference, &difference) / dot(expected, expected).max(1e-12)).sqrt()
}

#[test]
fn kernels_and_images_in_bf16_compute_what_64_bits_do() {
    for (name, graph) in check::examples().unwrap() {
        let ([x, y], exact) = shapes(&graph);
        let (x, direction) = (numbers(&x, 1), numbers(&y, 2));
        if check::rounds(&graph) {
            assert_same_numbers(&name, &graph, &x);
            continue;
        }
        let (expected, gradients) = pass(&network(&graph, &exact), &x, &direction);
        // What one rounding to 8 bits loses, a few times over.
        for (precision, limit) in [(Precision::F32, 1e-6), (Precision::Bf16, 1e-2)] {
            let context = Context::new(&Device::Cpu).with_precision(precision);
            let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            let (got, found) = pass(&network(&graph, &context), &single(&x), &single(&direction));
            assert_eq!(got.dtype(), DType::F32);
            assert!(apart(&got, &expected) < limit, "{name} at {precision:?}: {}", apart(&got, &expected));
            for ((place, found), (_, expected)) in found.iter().zip(&gradients) {
                let apart = apart(found, expected);
                assert!(apart < limit, "{name} {place} at {precision:?}: {apart}");
            }
        }
    }
}

/// Whole numbers, which kernels and images in `bf16` hold as they are.
fn assert_same_numbers(name: &str, graph: &Graph, x: &Tensor) {
    let context = Context::new(&Device::Cpu);
    let expected = network(graph, &Context::exact(&Device::Cpu)).eval(x, &[]).unwrap().logits;
    for precision in [Precision::F32, Precision::Bf16] {
        let network = network(graph, &context.with_precision(precision));
        let got = network.eval(&x.to_dtype(DType::F32).unwrap(), &[]).unwrap().logits;
        let apart = (got.to_dtype(DType::F64).unwrap() - &expected).unwrap().abs().unwrap();
        let most = apart.max_all().unwrap().to_scalar::<f64>().unwrap();
        // A tie of `f64` may be none of `f32`, whose quotient is rounded.
        assert!(most <= 1.0 && apart.mean_all().unwrap().to_scalar::<f64>().unwrap() < 0.02, "{name}: {most}");
    }
}

/// Neither a step, nor weight decay, nor an average over time moves what is a constant of the
/// network.
#[test]
fn constants_stay_as_they_are() {
    let (_, graph) = check::examples().unwrap().into_iter().find(|(name, _)| name == "scale that stays").unwrap();
    let context = Context::new(&Device::Cpu);
    let mut network = network(&graph, &context);
    let before = network.params().to_weights().unwrap();
    assert_eq!((before.0.len(), network.params().trained().count()), (2, 0));
    let mut average = Ema::new(network.params());
    let spec = r#"{"kind": "sgd", "momentum": 0.9, "weight_decay": 0.5}"#;
    let mut optimiser = serde_json::from_str::<OptimiserSpec>(spec).unwrap().build().unwrap();
    let ([x, y], _) = shapes(&graph);
    let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    let (outputs, tape) = network.train(&single(&numbers(&x, 1)), &[], &mut rng()).unwrap();
    assert_eq!(outputs.logits.dims(), y);
    let found = network.backward(tape, vec![(graph.output(), single(&numbers(&y, 2)))], true).unwrap();
    assert!(found.params.is_empty() && found.input.is_some());
    optimiser.step(context.backend(), network.params_mut(), &found.params, 0.1).unwrap();
    average.update(context.backend(), network.params(), 0.3).unwrap();
    assert_eq!(network.params().to_weights().unwrap(), before);
    assert_eq!(average.params().to_weights().unwrap(), before);
}

#[derive(serde::Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    mode: String,
    spec: NetworkSpec,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The operations whose values and gradients `tests/networks.rs` compares with PyTorch's, inside of
/// networks that train.
fn in_networks() -> BTreeSet<String> {
    let text = std::fs::read_to_string(fixtures().join("networks/manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_str(&text).unwrap();
    let graphs = manifest.cases.iter().filter(|case| case.mode == "train").map(|case| build(&case.spec).unwrap());
    let name = |op: &Op| match op {
        Op::Activation(activation) => activation.name().to_owned(),
        other => other.kind().to_owned(),
    };
    graphs.flat_map(|graph| graph.nodes().iter().map(|node| name(&node.op)).collect::<Vec<_>>()).collect()
}

/// Whether a fixture of its own, which the kernels' tests or those of small graphs read, has cases of this name.
fn has_cases(file: &str, beginning: &str) -> bool {
    let bytes = std::fs::read(fixtures().join(format!("ops/{file}.safetensors"))).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().as_ref().unwrap().keys().any(|case| case.starts_with(beginning))
}

/// Operations of no network of the zoo: the beginnings of their names, the file of their cases, and
/// the beginnings of those.
const CASES: [(&str, &str, &str); 10] = [
    ("sigmoid", "smooth", "sigmoid"),
    ("silu", "smooth", "silu"),
    ("gelu", "smooth", "gelu"),
    ("gelu-tanh", "smooth", "gelu-tanh"),
    ("leaky-relu", "smooth", "leaky-relu"),
    ("add of", "broadcast", "add-"),
    ("mul of", "broadcast", "mul-"),
    ("scale", "channels", "scale-"),
    ("prelu", "channels", "prelu-"),
    ("layer-norm2d", "channels", "layer-norm-"),
];

#[test]
fn pytorch_made_a_fixture_of_every_operation() {
    let in_networks = in_networks();
    let missing: Vec<String> = check::examples()
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !in_networks.contains(name))
        .filter(|name| name != "avg-pool2d" || !has_cases("pool", "avg-"))
        .filter(|name| !has_cases("graphs", name))
        .filter(|name| name != "flatten") // changes no number
        .filter(|name| !CASES.iter().any(|(op, file, case)| name.starts_with(op) && has_cases(file, case)))
        .filter(|name| !name.starts_with("stochastic-depth")) // its draws are ours; `tests/broadcast.rs` counts them
        .collect();
    assert!(
        missing.is_empty(),
        "no fixture of {missing:?}\n  hint: a network that trains in tests/fixtures/make/networks.py, or cases in make/ops.py"
    );
}
