//! The parity matrix: every network of the zoo, exported once, gives the trainer's answers in every runtime.
//!
//! Weights are generated, but batch norms have the statistics of real images and the last bias is set so that the mean
//! logits are 0: without that, random networks answer all images alike and a comparison would prove nothing. The test
//! therefore first asserts that the logits differ between images and that several classes win.

#![allow(clippy::expect_used)] // clippy.toml allows it in test functions, not in what they share

use std::collections::BTreeSet;
use std::path::Path;

use attar_data::{Dataset, Source, eval_batch};
use attar_distill::Network;
use attar_infer::engine::{self, EngineKind, EngineSpec};
use attar_measures::random::Stream;
use attar_models::fold::fold_batch_norm;
use attar_models::op::BatchNorm2d;
use attar_models::zoo::{NetworkSpec, Shortcut, Stem, build, catalog};
use attar_models::{Graph, Op, Rewritten, Weights, generated};
use attar_pixels::{Interpolation, Preprocessing, Resize, ResizeTo};
use candle_core::{Device, Tensor};

use crate::support::{full_tests, require_ort};

const CLASSES: usize = 10;

/// Images whose statistics the batch norms take, and images that are answered; from different splits.
const CALIBRATION: u32 = 24;
const ANSWERED: u32 = 12;

/// Batch sizes in each runtime: the one symbolic batch axis must take all of them. Both divide `ANSWERED`.
const BATCHES: [usize; 2] = [1, 3];

/// Largest difference of a logit, as a share of the standard deviation of logits over images.
const TOLERANCE: f32 = 1e-4;

/// Multiply-accumulates of one image above which a network gets smaller images.
const AFFORDABLE: u64 = 400_000_000;

/// Networks for `cargo xtask test --full`.
const LARGEST: [&str; 2] = ["resnet101", "resnet152"];

/// Every network with its default options, at a size that a test can afford, then what the options change.
fn networks() -> Vec<NetworkSpec> {
    let spec = |name: &str, input| NetworkSpec::new(name, CLASSES, input);
    let plain = catalog().into_iter().map(|entry| {
        let sizes = [64, 32, 16].into_iter().filter(|edge| *edge <= entry.input[1]);
        let specs: Vec<NetworkSpec> = sizes.map(|edge| spec(entry.name, [3, edge, edge])).collect();
        let affordable = |spec: &&NetworkSpec| build(spec).expect("the zoo builds").macs() <= AFFORDABLE;
        specs.iter().find(affordable).or(specs.last()).expect("at least one size").clone()
    });
    let options = [
        spec("resnet8", [1, 28, 28]),
        spec("resnet20", [3, 32, 32]).with("shortcut", Shortcut::A),
        spec("resnet8x4", [3, 19, 26]).with("shortcut", Shortcut::A),
        spec("resnet18", [3, 16, 16]).with("stem", Stem::Cifar),
        spec("resnet50", [3, 16, 16]).with("stem", Stem::Cifar),
        spec("resnet18", [3, 75, 50]),
        spec("mobilenet_v2", [3, 32, 32]).with("stem", Stem::Cifar),
        spec("mobilenet_v2", [3, 64, 64]).with("width", 0.5),
        spec("mobilenet_v2", [3, 32, 32]).with("stem", Stem::Cifar).with("width", 0.5),
        spec("mobilenet_v2", [3, 29, 31]).with("stem", Stem::Cifar).with("width", 0.35),
        spec("mobilenet_v3_small", [3, 75, 50]).with("width", 0.5),
    ];
    plain.chain(options).collect()
}

/// A line for people: name, size, options.
fn describe(spec: &NetworkSpec) -> String {
    let [c, h, w] = spec.input;
    let options: String = spec.options.iter().map(|(name, value)| format!(" {name} {value}")).collect();
    format!("{} {c}x{h}x{w}{}", spec.name, options.replace('"', ""))
}

/// The first `count` images, `[N, C, H, W]`, in the network's size.
fn images(dataset: &dyn Dataset, count: u32, [channels, height, width]: [usize; 3]) -> Tensor {
    let resize = Resize { to: ResizeTo::Exact([height, width]), interpolation: Interpolation::Bilinear };
    let how = Preprocessing {
        resize: Some(resize),
        ..Preprocessing::normalise(vec![0.286; channels], vec![0.353; channels])
    };
    let indices: Vec<u32> = (0..count).collect();
    let batch = eval_batch(dataset, &indices, &how).expect("images can be read");
    Tensor::from_vec(batch.pixels, &batch.shape, &Device::Cpu).expect("a batch is a tensor")
}

/// Generated weights whose running statistics are exactly those of the batch `x` and whose logits on it have mean 0.
/// Also gives the root mean square of the logits before that.
fn calibrated(graph: &Graph, x: &Tensor) -> (Weights, f32) {
    let mut weights = generated::weights(graph, 1);
    calm(graph, &mut weights);
    let running: Vec<(String, f64)> = statistics(graph).collect();
    for (name, _) in &running {
        weights.0.get_mut(name).expect("a buffer of the graph").f32_mut().expect("floats").fill(0.0);
    }
    let mut network = Network::from_weights(graph.clone(), &weights, &Device::Cpu).expect("weights fit");
    network.batch_stats(x, &[], &mut Stream::of_number(0)).expect("a pass in training mode");
    let mut weights = network.params().to_weights().expect("tensors can be read");
    for (name, momentum) in &running {
        // From 0, one pass took them to momentum * the batch's.
        let data = weights.0.get_mut(name).expect("a buffer of the graph").f32_mut().expect("floats");
        data.iter_mut().for_each(|value| *value = (f64::from(*value) / momentum) as f32);
    }
    let logits = answers(graph, &weights, x);
    let head = format!("{}.bias", graph.node(graph.output()).name);
    let bias = weights.0.get_mut(&head).expect("the last layer has a bias").f32_mut().expect("floats");
    for (class, bias) in bias.iter_mut().enumerate() {
        *bias -= mean(logits.iter().skip(class).step_by(CLASSES));
    }
    (weights, mean(logits.iter().map(|v| v * v).collect::<Vec<f32>>().iter()).sqrt())
}

/// Raises the shift of each batch norm that an activation reads, so that most values pass and few are cut off. With half
/// of them cut off at random, as generated shifts do it, MobileNetV2 is chaotic: it amplifies a perturbation of its input
/// 600 times, and PyTorch's own single precision lies 5e-5 of the spread from double precision. Raised, it is 60 times
/// and 1e-5: a tolerance of 1e-4 then is about the exporter and the runtimes.
fn calm(graph: &Graph, weights: &mut Weights) {
    for node in graph.nodes().iter().filter(|node| matches!(node.op, Op::Activation(_))) {
        let norm = graph.node(node.inputs[0]);
        if matches!(norm.op, Op::BatchNorm2d(_)) {
            let shift = weights.0.get_mut(&format!("{}.bias", norm.name)).expect("a norm has a shift");
            shift.f32_mut().expect("floats").iter_mut().for_each(|value| *value += 1.0);
        }
    }
}

/// Names of the running means and variances with their momentum.
fn statistics(graph: &Graph) -> impl Iterator<Item = (String, f64)> {
    let norms = graph.nodes().iter().filter_map(|node| match node.op {
        Op::BatchNorm2d(BatchNorm2d { momentum, .. }) => Some((&node.name, momentum)),
        _ => None,
    });
    norms.flat_map(|(name, momentum)| ["mean", "var"].map(|what| (format!("{name}.running_{what}"), momentum)))
}

/// The trainer's logits in evaluation mode, batch norms not folded, `[N, K]`.
fn answers(graph: &Graph, weights: &Weights, x: &Tensor) -> Vec<f32> {
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu).expect("weights fit");
    flat(&network.eval(x, &[]).expect("the network runs").logits)
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().and_then(|x| x.to_vec1()).expect("tensors can be read")
}

fn mean<'a>(values: impl ExactSizeIterator<Item = &'a f32>) -> f32 {
    let count = values.len() as f64;
    (values.map(|v| f64::from(*v)).sum::<f64>() / count) as f32
}

/// Standard deviation over images, root mean square over classes.
fn spread(logits: &[f32]) -> f32 {
    let variance = |class: usize| {
        let of_class: Vec<f32> = logits.iter().skip(class).step_by(CLASSES).copied().collect();
        let middle = mean(of_class.iter());
        of_class.iter().map(|v| (v - middle).powi(2)).sum::<f32>() / (of_class.len() - 1) as f32
    };
    ((0..CLASSES).map(variance).sum::<f32>() / CLASSES as f32).sqrt()
}

/// The winner and its lead over the second.
fn decision(logits: &[f32]) -> (usize, f32) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    (order[0], logits[order[0]] - logits[order[1]])
}

fn largest_difference(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

/// One network in one runtime: the largest |Δ| over the spread, or what is wrong.
fn compare(spec: &EngineSpec, name: &str, onnx: &[u8], x: &[f32], expected: &[f32]) -> Result<f32, String> {
    let mut engine = engine::open(spec, onnx, Path::new("model.onnx")).map_err(|error| format!("{name}: {error}"))?;
    let (one, sd) = (x.len() / ANSWERED as usize, spread(expected));
    let mut worst = 0.0f32;
    for batch in BATCHES {
        let what = format!("{name} in {} at batch {batch}", spec.kind);
        let mut got = Vec::new();
        for part in x.chunks(batch * one) {
            got.extend(engine.run(part, batch).map_err(|error| format!("{what}: {error}"))?);
        }
        let difference = largest_difference(&got, expected);
        worst = worst.max(difference / sd);
        if difference.is_nan() || difference > TOLERANCE * sd {
            return Err(format!("{what}: differs by {difference:e}, {:e} of the spread", difference / sd));
        }
        for (image, (got, expected)) in got.chunks(CLASSES).zip(expected.chunks(CLASSES)).enumerate() {
            let ((winner, _), (right, lead)) = (decision(got), decision(expected));
            if winner != right && lead > 2.0 * difference {
                return Err(format!("{what}: image {image} is {winner} instead of {right}, which leads by {lead:e}"));
            }
        }
    }
    Ok(worst)
}

/// What makes a comparison worth something: images are told apart, and not all get the same answer.
fn check_expected(name: &str, expected: &[f32], scale: f32) {
    let winners: BTreeSet<usize> = expected.chunks(CLASSES).map(|row| decision(row).0).collect();
    let sd = spread(expected);
    assert!(sd.is_finite() && sd > 0.05 * scale, "{name}: logits of size {scale} differ by {sd} between images");
    assert!(winners.len() >= 3, "{name}: only the classes {winners:?} win");
}

#[test]
fn every_network_answers_alike_in_every_runtime() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/data");
    let data = Source::Idx { root: demo, classes: None }.open().unwrap();
    let ort = EngineKind::Ort.compiled() && require_ort("parity matrix");
    let kinds = EngineKind::ALL.into_iter().filter(|kind| kind.compiled() && (ort || *kind != EngineKind::Ort));
    let engines: Vec<EngineSpec> = kinds.map(EngineSpec::new).collect();
    let mut worst = vec![(0.0f32, String::new()); engines.len()];
    let mut failures = Vec::new();
    for spec in networks() {
        let name = describe(&spec);
        if LARGEST.contains(&spec.name.as_str()) && !full_tests() {
            eprintln!("{name}: not asked for (--full)");
            continue;
        }
        let graph = build(&spec).unwrap();
        let (weights, scale) = calibrated(&graph, &images(&*data.train, CALIBRATION, spec.input));
        let x = images(&*data.test, ANSWERED, spec.input);
        let expected = answers(&graph, &weights, &x);
        check_expected(&name, &expected, scale);
        let Rewritten { graph: folded, weights, .. } = fold_batch_norm(&graph, &weights).unwrap();
        let onnx = attar_onnx::write(&folded, &weights, &attar_onnx::Options::default()).unwrap();
        let mut line = format!("{name}: spread {:.3}", spread(&expected));
        for (engine, worst) in engines.iter().zip(&mut worst) {
            match compare(engine, &name, &onnx, &flat(&x), &expected) {
                Ok(share) => {
                    line += &format!(", {} {share:.1e}", engine.kind);
                    if share >= worst.0 {
                        *worst = (share, name.clone());
                    }
                }
                Err(problem) => failures.push(problem),
            }
        }
        eprintln!("{line}");
    }
    for (engine, (share, name)) in engines.iter().zip(&worst) {
        eprintln!("{}: largest |difference| is {share:.2e} of the spread ({name})", engine.kind);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_wrong_number_would_be_seen() {
    let expected: Vec<f32> = (0..ANSWERED as usize * CLASSES).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let limit = TOLERANCE * spread(&expected);
    let mut got = expected.clone();
    got[77] += 2.0 * limit;
    assert!(largest_difference(&got, &expected) > limit);
    got[3] = f32::NAN;
    assert!(largest_difference(&got, &expected).is_nan());
    assert_eq!(decision(&[0.5, 2.0, 1.5]), (1, 0.5));
    assert!(spread(&[1.0; 120]) == 0.0);
}
