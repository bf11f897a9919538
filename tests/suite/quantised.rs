//! Networks in integers, written as ONNX, in every runtime: exact ones to the bit, all of them fused, and the traps in which
//! runtimes are known to part.

use std::collections::BTreeSet;
use std::path::Path;

use attar_compress::{Calibrator, Images, Placement, Scales, Settings, exactness, observe, prepare, quantise};
use attar_exec::{Context, Network};
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_models::op::{Add, Conv2d, Dequantize, Linear, Quantize, SliceChannels};
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Array, Graph, GraphBuilder, NodeId, Op, Rewritten, Weights, generated};
use attar_onnx::{Options, ReadOptions, SUPPORTED_OPSETS, Storage, read, write};
use candle_core::{Device, Tensor};

use crate::support::require_ort;

const SIDE: usize = 32;

fn images(count: u64, seed: u64) -> Vec<Vec<f32>> {
    (0..count).map(|at| generated::input([1, 3, SIDE, SIDE], seed + at)).collect()
}

fn in_integers(spec: &NetworkSpec, settings: Settings) -> Rewritten {
    let graph = build(spec).unwrap();
    let prepared = prepare(&graph, &generated::weights(&graph, 9)).unwrap();
    let (graph, weights) = (&prepared.graph, &prepared.weights);
    let placement = Placement::of(graph, &BTreeSet::new()).unwrap();
    let all = images(8, 100);
    let seen = Images::new([3, SIDE, SIDE], &all).unwrap();
    let observed = observe(graph, weights, &placement.quantised(graph), &seen, &mut |_| {}).unwrap();
    quantise(graph, weights, &placement, &observed, settings).unwrap().rewritten
}

fn onnx(graph: &Graph, weights: &Weights) -> Vec<u8> {
    write(graph, weights, &Options::default()).unwrap()
}

/// Logits of images, one at a time.
fn answers(model: &[u8], spec: &EngineSpec, images: &[Vec<f32>]) -> Vec<f32> {
    let mut engine = engine::open(spec, model, Path::new("model.onnx")).unwrap();
    images.iter().flat_map(|image| engine.run(image, 1).unwrap()).collect()
}

/// Every runtime at hand, ONNX Runtime both as it fuses and as the file says.
fn runtimes(test: &str) -> Vec<(&'static str, EngineSpec)> {
    let mut all = Vec::new();
    if EngineKind::Tract.compiled() {
        all.push(("tract", EngineSpec::new(EngineKind::Tract)));
    }
    if EngineKind::Attar.compiled() {
        all.push(("attar", EngineSpec::new(EngineKind::Attar)));
    }
    if EngineKind::Ort.compiled() && require_ort(test) {
        all.push(("ort", EngineSpec::new(EngineKind::Ort)));
        all.push(("ort, unfused", EngineSpec { unfused: true, ..EngineSpec::new(EngineKind::Ort) }));
    }
    all
}

/// Networks with all that stands between layers: sums, pads of channels, strides, pools, ReLU6, a mean of 16.
fn networks() -> Vec<NetworkSpec> {
    let input = [3, SIDE, SIDE];
    vec![
        NetworkSpec::new("resnet20", 10, input),
        NetworkSpec::new("resnet8", 10, input).with("shortcut", "a"),
        NetworkSpec::new("resnet18", 10, input),
        NetworkSpec::new("mobilenet_v2", 10, input),
    ]
}

#[test]
fn exact_networks_have_the_same_bits_in_every_runtime_fused_or_not() {
    let runtimes = runtimes("exact networks");
    let test = images(6, 1);
    for spec in networks() {
        let Rewritten { graph, weights, .. } = in_integers(&spec, Settings::default());
        assert_eq!(exactness(&graph, &weights).unwrap(), [], "{}", spec.name);
        let model = onnx(&graph, &weights);
        // Plain sums: Winograd's fractions round.
        let network = Network::from_weights(graph, &weights, Context::composed(&Device::Cpu)).unwrap();
        let batch = Tensor::from_vec(test.concat(), (test.len(), 3, SIDE, SIDE), &Device::Cpu).unwrap();
        let own: Vec<f32> = network.eval(&batch, &[]).unwrap().logits.flatten_all().unwrap().to_vec1().unwrap();
        for (name, engine) in &runtimes {
            assert_eq!(answers(&model, engine, &test), own, "{}: {name} against the executor", spec.name);
        }
    }
}

/// With free scales ONNX Runtime's fused integers and ours are the same bytes; what the file says in floats differs from
/// them here and there by a rounding, which is why certificates name engines.
#[test]
fn free_networks_have_the_same_bits_in_onnx_runtime_and_in_ours() {
    if !(EngineKind::Ort.compiled() && EngineKind::Attar.compiled() && require_ort("free networks")) {
        return;
    }
    let test = images(6, 1);
    for spec in networks() {
        let settings = Settings { scales: Scales::Free, weight_bits: 8, calibrator: Calibrator::Mse };
        let Rewritten { graph, weights, .. } = in_integers(&spec, settings);
        let model = onnx(&graph, &weights);
        let [ours, theirs] =
            [EngineKind::Attar, EngineKind::Ort].map(|kind| answers(&model, &EngineSpec::new(kind), &test));
        assert_eq!(ours, theirs, "{}", spec.name);
    }
}

/// Nothing is left in floats once ONNX Runtime has optimised the file.
#[test]
fn every_layer_is_an_integer_one_in_onnx_runtime() {
    if !(EngineKind::Ort.compiled() && require_ort("fusing")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let count = |rewritten: &Rewritten, opset: i64| {
        let options = Options { opset, ..Options::default() };
        let model = write(&rewritten.graph, &rewritten.weights, &options).unwrap();
        let path = folder.path().join("optimised.onnx");
        engine::fused(&model, &EngineSpec::new(EngineKind::Ort).ort, &path).unwrap()
    };
    for spec in networks() {
        for scales in [Scales::Exact, Scales::Free] {
            let rewritten = in_integers(&spec, Settings { scales, ..Settings::default() });
            let opsets = if spec.name == "resnet20" { SUPPORTED_OPSETS.collect() } else { vec![17] };
            for opset in opsets {
                let counts = count(&rewritten, opset);
                let of = |op: &str| counts.get(op).copied().unwrap_or(0);
                let layers = rewritten.graph.nodes().iter();
                let layers = layers.filter(|node| matches!(node.op, Op::Conv2d(_))).count();
                let what = format!("{}, {scales:?}, opset {opset}: {counts:?}", spec.name);
                assert_eq!((of("QLinearConv"), of("QuantizeLinear"), of("QGemm")), (layers, 1, 1), "{what}");
                for float in ["Conv", "FusedConv", "Gemm", "Add", "DequantizeLinear", "GlobalAveragePool", "Relu"] {
                    assert_eq!(of(float), 0, "{what}");
                }
                if spec.name == "resnet20" {
                    assert_eq!((layers, of("QLinearAdd"), of("QLinearGlobalAveragePool")), (21, 9, 1), "{what}");
                }
            }
        }
    }
}

/// What is written is read again as the same network, clipped quantisers, moved numbers and integer weights included.
#[test]
fn integers_are_read_again_as_they_were_written() {
    for spec in networks() {
        for scales in [Scales::Exact, Scales::Free] {
            let Rewritten { graph, weights, .. } = in_integers(&spec, Settings { scales, ..Settings::default() });
            let model = onnx(&graph, &weights);
            let import = read(&model, Path::new("model.onnx"), ReadOptions::default()).unwrap();
            let (again, values) = import.network.expect("every operation is known");
            let kinds = |graph: &Graph| graph.nodes().iter().map(|node| node.op.clone()).collect::<Vec<_>>();
            assert_eq!(kinds(&again), kinds(&graph), "{}", spec.name);
            let numbers = |weights: &Weights| weights.0.values().map(|array| array.f32().unwrap().to_vec()).collect();
            let (before, mut after): (BTreeSet<_>, BTreeSet<_>) = (bits(&numbers(&weights)), bits(&numbers(&values)));
            after.retain(|array| !before.contains(array));
            assert!(after.is_empty(), "{}: {} arrays came back as others", spec.name, after.len());
        }
    }
}

fn bits(arrays: &Vec<Vec<f32>>) -> BTreeSet<Vec<u32>> {
    arrays.iter().map(|array| array.iter().map(|value| value.to_bits()).collect()).collect()
}

/// A layer of its own making: quantised input, weight as given, logits.
struct Small {
    builder: GraphBuilder,
    weights: Weights,
}

impl Small {
    fn new(shape: [usize; 3]) -> (Self, NodeId) {
        let (builder, input) = GraphBuilder::new("small", shape).unwrap();
        (Self { builder, weights: Weights::default() }, input)
    }

    fn give(&mut self, name: &str, shape: Vec<usize>, values: Vec<f32>) {
        self.weights.0.insert(name.to_owned(), Array::new(shape, values).unwrap());
    }

    fn rounded(&mut self, name: &str, of: NodeId, scale: f32, zero: f32) -> NodeId {
        let ops = [("q", Op::Quantize(Quantize { signed: false, high: None })), ("dq", Op::Dequantize(Dequantize {}))];
        ops.into_iter().fold(of, |at, (suffix, op)| {
            let name = format!("{name}.{suffix}");
            self.give(&format!("{name}.scale"), vec![1], vec![scale]);
            self.give(&format!("{name}.zero_point"), vec![1], vec![zero]);
            self.builder.add(name, op, &[at]).unwrap()
        })
    }

    fn layer(&mut self, op: Op, of: NodeId, steps: &[f32], scales: &[f32]) -> NodeId {
        let shape = op.params()[0].shape.clone();
        let depth = steps.len() / scales.len();
        let weight = steps.iter().enumerate().map(|(at, step)| step * scales[at / depth]).collect();
        self.give("layer.weight", shape, weight);
        self.give("layer.weight_scale", vec![scales.len()], scales.to_vec());
        self.builder.add("layer", op, &[of]).unwrap()
    }
}

/// Scales of a weight's channels a thousand apart: whoever takes the first for all (tract 0.23.5 did) is far off.
#[test]
fn every_runtime_takes_a_scale_for_each_channel() {
    let (mut small, input) = Small::new([3, 6, 6]);
    let x = small.rounded("input", input, 0.03125, 128.0);
    let conv = Conv2d { quantized: true, ..Conv2d::square(3, 4, 6, 1, 0) };
    let steps: Vec<f32> = (0..4 * 108i32).map(|at| f32::from((at * 37 % 127 - 63) as i16)).collect();
    let made = small.layer(Op::Conv2d(conv), x, &steps, &[1e-3, 1e-1, 1.0, 1e-2]);
    let answer = small.builder.add("flat", Op::Flatten(attar_models::op::Flatten {}), &[made]).unwrap();
    let graph = small.builder.finish(answer);
    let model = onnx(&graph, &small.weights);
    let image = generated::input([1, 3, 6, 6], 3);
    let quantised = |x: f32| ((x / 0.03125).round_ties_even() + 128.0).clamp(0.0, 255.0) - 128.0;
    let expected: Vec<f32> = (0..4)
        .map(|channel| {
            let row = &steps[channel * 108..][..108];
            let sum: f32 = row.iter().zip(&image).map(|(w, x)| w * quantised(*x)).sum();
            sum * 0.03125 * [1e-3, 1e-1, 1.0, 1e-2][channel]
        })
        .collect();
    for (name, engine) in runtimes("scales of channels") {
        let found = answers(&model, &engine, std::slice::from_ref(&image));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1e-3), "{name}: {found}, {expected}");
        }
    }
}

/// `round(v) + z` is not `round(v + z)` where `z` is odd and `v` on a tie: fused and unfused sums part there, and nowhere else.
#[test]
fn an_odd_zero_point_parts_fused_sums_from_others_and_is_not_called_exact() {
    let ort = EngineKind::Ort.compiled() && require_ort("odd zero points");
    for (zero, same) in [(128.0, true), (127.0, false)] {
        let (mut small, input) = Small::new([16, 8, 8]);
        let mut half = |name: &str, start: usize| {
            let op = Op::SliceChannels(SliceChannels { start, end: start + 8 });
            small.builder.add(name, op, &[input]).unwrap()
        };
        let (first, second) = (half("first", 0), half("second", 8));
        let x = small.rounded("first", first, 0.03125, 128.0);
        let y = small.rounded("second", second, 0.015625, 128.0);
        let sum = small.builder.add("sum", Op::Add(Add {}), &[x, y]).unwrap();
        let sum = small.rounded("sum", sum, 0.0625, zero);
        let flat = small.builder.add("flat", Op::Flatten(attar_models::op::Flatten {}), &[sum]).unwrap();
        let graph = small.builder.finish(flat);
        let why = exactness(&graph, &small.weights).unwrap();
        assert_eq!(why.is_empty(), same, "{why:?}");
        if !ort {
            continue;
        }
        let model = onnx(&graph, &small.weights);
        let image = [generated::input([1, 16, 8, 8], 3)];
        let fused = answers(&model, &EngineSpec::new(EngineKind::Ort), &image);
        let plain = answers(&model, &EngineSpec { unfused: true, ..EngineSpec::new(EngineKind::Ort) }, &image);
        let differ = fused.iter().zip(&plain).filter(|(a, b)| a != b).count();
        assert_eq!(differ == 0, same, "{differ} of {} at zero point {zero}", fused.len());
    }
}

/// Sums beyond 2^24 are rounded by whoever adds in floats.
#[test]
fn sums_beyond_what_floats_hold_are_named() {
    let (mut small, input) = Small::new([512, 3, 3]);
    let x = small.rounded("input", input, 0.0625, 0.0);
    let conv = Conv2d { quantized: true, ..Conv2d::square(512, 1, 3, 1, 0) };
    let made = small.layer(Op::Conv2d(conv), x, &vec![63.0; 4608], &[0.0078125]);
    let graph = small.builder.finish(made);
    let why = exactness(&graph, &small.weights).unwrap();
    assert!(matches!(&why[..], [one] if one.node == "layer" && one.why.contains("beyond 2^24")), "{why:?}");
}

/// A linear layer whose input stays in floats keeps its weight in 8 bits and its bias in floats.
#[test]
fn a_quantised_weight_alone_is_written_and_read() {
    let (mut small, input) = Small::new([3, 2, 2]);
    let flat = small.builder.add("flat", Op::Flatten(attar_models::op::Flatten {}), &[input]).unwrap();
    let linear = Linear { in_features: 12, out_features: 2, bias: true, quantized: true };
    small.give("layer.bias", vec![2], vec![0.37, -1.3]);
    let steps: Vec<f32> = (0..24i16).map(|at| f32::from(at * 9 - 100)).collect();
    let made = small.layer(Op::Linear(linear), flat, &steps, &[0.01, 0.3]);
    let graph = small.builder.finish(made);
    let model = onnx(&graph, &small.weights);
    let image = generated::input([1, 3, 2, 2], 5);
    let expected: Vec<f32> = (0..2)
        .map(|row| {
            let weights = &steps[row * 12..][..12];
            let sum: f32 = weights.iter().zip(&image).map(|(w, x)| w * [0.01, 0.3][row] * x).sum();
            sum + [0.37, -1.3][row]
        })
        .collect();
    for (name, engine) in runtimes("a quantised weight") {
        let found = answers(&model, &engine, std::slice::from_ref(&image));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {found:?}, {expected:?}");
    }
}

/// Weights in fewer bits make the file smaller and are the same floats in every runtime, and to whoever reads the file again.
#[test]
fn small_weights_are_small_and_alike_everywhere() {
    let graph = build(&NetworkSpec::new("resnet8", 10, [3, SIDE, SIDE])).unwrap();
    let prepared = prepare(&graph, &generated::weights(&graph, 9)).unwrap();
    let (graph, weights) = (&prepared.graph, &prepared.weights);
    let test = images(3, 1);
    let whole = onnx(graph, weights);
    for (storage, share, off) in [(Storage::F16, 0.55, 2e-3), (Storage::Int8, 0.32, 5e-2)] {
        let model = write(graph, weights, &Options { weights: storage, ..Options::default() }).unwrap();
        assert!((model.len() as f64) < share * whole.len() as f64, "{storage:?}: {} of {}", model.len(), whole.len());
        let (again, values) = read(&model, Path::new("small.onnx"), ReadOptions::default()).unwrap().network.unwrap();
        let network = |graph: &Graph, weights: &Weights| -> Vec<f32> {
            let network = Network::from_weights(graph.clone(), weights, &Device::Cpu).unwrap();
            let batch = Tensor::from_vec(test.concat(), (test.len(), 3, SIDE, SIDE), &Device::Cpu).unwrap();
            network.eval(&batch, &[]).unwrap().logits.flatten_all().unwrap().to_vec1().unwrap()
        };
        let (own, floats) = (network(&again, &values), network(graph, weights));
        let spread = floats.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs() / spread).fold(0.0, f32::max);
        assert!(
            largest(&own, &floats) < off && largest(&own, &floats) > 1e-6,
            "{storage:?}: {}",
            largest(&own, &floats)
        );
        for (name, engine) in runtimes("small weights") {
            let found = answers(&model, &engine, &test);
            assert!(largest(&found, &own) < 1e-5, "{storage:?}: {name} is {} off", largest(&found, &own));
        }
    }
    let mut large = weights.clone();
    large.0.get_mut("fc.weight").unwrap().f32_mut().unwrap()[5] = 7e4;
    let refused =
        write(graph, &large, &Options { weights: Storage::F16, ..Options::default() }).unwrap_err().to_string();
    assert!(refused.contains("fc.weight") && refused.contains("half precision ends at 65504"), "{refused}");
}
