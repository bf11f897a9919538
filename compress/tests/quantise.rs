//! Whole networks: what quantising does to their function, and what it promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use attar_compress::{
    AdaRound, Calibrator, Images, Placement, Quantised, Scales, Settings, adaround, correct_biases, equalise,
    exactness, observe, prepare, quantise, re_estimate_norms, sensitivity,
};
use attar_exec::Network;
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Graph, Op, Rewritten, Weights, generated};
use candle_core::{Device, Tensor};

const SHAPE: [usize; 3] = [3, 24, 24];

fn images(count: usize) -> Vec<Vec<f32>> {
    (0..count as u64).map(|seed| generated::input([1, 3, 24, 24], seed + 5)).collect()
}

/// A network of the zoo whose statistics are those of images, so that its values are like those of a trained one.
fn network(name: &str) -> Rewritten {
    let graph = build(&NetworkSpec::new(name, 7, SHAPE)).unwrap();
    let mut network = Network::from_weights(graph.clone(), &generated::weights(&graph, 4), &Device::Cpu).unwrap();
    let mut rng = attar_measures::random::Stream::of_number(1);
    for chunk in images(64).chunks(16) {
        let batch = Tensor::from_vec(chunk.concat(), (chunk.len(), 3, 24, 24), &Device::Cpu).unwrap();
        for _ in 0..6 {
            network.batch_stats(&batch, &[], &mut rng).unwrap();
        }
    }
    prepare(&graph, &network.params().to_weights().unwrap()).unwrap()
}

fn logits(graph: &Graph, weights: &Weights, images: &[Vec<f32>]) -> Vec<f32> {
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu).unwrap();
    let batch = Tensor::from_vec(images.concat(), (images.len(), 3, 24, 24), &Device::Cpu).unwrap();
    network.eval(&batch, &[]).unwrap().logits.flatten_all().unwrap().to_vec1().unwrap()
}

/// Root of the mean squared difference, in units of the reference's standard deviation.
fn difference(reference: &[f32], other: &[f32]) -> f64 {
    let mean = reference.iter().map(|x| f64::from(*x)).sum::<f64>() / reference.len() as f64;
    let spread: f64 = reference.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
    let off: f64 = reference.iter().zip(other).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (off / spread).sqrt()
}

fn in_integers(prepared: &Rewritten, keep: &[&str], settings: Settings) -> Quantised {
    let keep: BTreeSet<String> = keep.iter().map(|name| (*name).to_owned()).collect();
    let placement = Placement::of(&prepared.graph, &keep).unwrap();
    let all = images(24);
    let seen = Images::new(SHAPE, &all).unwrap();
    let points = placement.quantised(&prepared.graph);
    let observed = observe(&prepared.graph, &prepared.weights, &points, &seen, &mut |_| {}).unwrap();
    quantise(&prepared.graph, &prepared.weights, &placement, &observed, settings).unwrap()
}

const NETWORKS: [&str; 4] = ["resnet8", "resnet18", "mobilenet_v2", "mobilenet_v3_small"];

#[test]
fn integers_answer_nearly_like_floats_and_the_same_network_gives_the_same_bits() {
    let test = images(16);
    for name in NETWORKS {
        let prepared = network(name);
        let reference = logits(&prepared.graph, &prepared.weights, &test);
        // Seventeen linear bottlenecks of random weights pass on little but what rounding adds; trained ones do not.
        let (free, exact) = if name == "mobilenet_v2" { (0.5, 0.6) } else { (0.07, 0.13) };
        for (scales, weight_bits, most) in [(Scales::Free, 8, free), (Scales::Exact, 7, exact)] {
            let settings = Settings { scales, weight_bits, calibrator: Calibrator::Mse };
            let quantised = in_integers(&prepared, &[], settings);
            let Rewritten { graph, weights, .. } = &quantised.rewritten;
            let off = difference(&reference, &logits(graph, weights, &test));
            assert!(off < most, "{name}, {settings:?}: {off}");
            assert!(off > 1e-3, "{name}: nothing was rounded");
        }
    }
    let prepared = network("resnet8");
    let [one, other] = [(); 2].map(|()| in_integers(&prepared, &[], Settings::default()).rewritten);
    assert_eq!(one, other);
}

#[test]
fn exact_scales_are_exact_in_every_node_and_free_ones_are_not() {
    for name in ["resnet8", "resnet18", "mobilenet_v2"] {
        let prepared = network(name);
        let of = |scales| {
            let quantised = in_integers(&prepared, &[], Settings { scales, ..Settings::default() });
            exactness(&quantised.rewritten.graph, &quantised.rewritten.weights).unwrap()
        };
        assert_eq!(of(Scales::Exact), [], "{name}");
        assert!(of(Scales::Free).iter().any(|inexact| inexact.why.contains("no power of two")), "{name}");
    }
    let prepared = network("mobilenet_v3_small");
    let quantised = in_integers(&prepared, &[], Settings::default());
    let found = exactness(&quantised.rewritten.graph, &quantised.rewritten.weights).unwrap();
    assert!(found.iter().all(|inexact| inexact.why.contains("in floats")), "{found:?}");
    assert!(found.iter().any(|inexact| inexact.why.contains("hard-swish")), "{found:?}");
}

/// Quantisers stand where the rules say: nothing is rounded twice, clamps are the quantiser's, the answer is a float.
#[test]
fn every_layer_reads_numbers_and_no_value_is_rounded_twice() {
    for name in NETWORKS {
        let prepared = network(name);
        let Rewritten { graph, .. } = in_integers(&prepared, &[], Settings::default()).rewritten;
        for node in graph.nodes() {
            let input = |at: usize| &graph.node(node.inputs[at]).op;
            match &node.op {
                Op::Conv2d(conv) => {
                    assert!(conv.quantized && conv.bias && matches!(input(0), Op::Dequantize(_)), "{}", node.name);
                }
                Op::Linear(linear) => {
                    assert!(linear.quantized && matches!(input(0), Op::Dequantize(_)), "{}", node.name);
                }
                Op::Quantize(_) => assert!(!matches!(input(0), Op::Dequantize(_)), "{}", node.name),
                Op::Flatten(_) | Op::MaxPool2d(_) | Op::Subsample(_) => {
                    assert!(!matches!(input(0), Op::Dequantize(_)), "{} moves floats", node.name);
                }
                _ => {}
            }
        }
        assert!(matches!(graph.node(graph.output()).op, Op::Linear(_)), "{name}: the answer is a float");
    }
    let Rewritten { graph, .. } = in_integers(&network("mobilenet_v2"), &[], Settings::default()).rewritten;
    let six = |op: &Op| matches!(op, Op::Activation(attar_models::Activation::Relu6));
    assert!(!graph.nodes().iter().any(|node| six(&node.op)), "with exact scales a ReLU6 is the end of its numbers");
}

#[test]
fn what_is_kept_stays_in_floats() {
    let prepared = network("resnet8");
    let quantised = in_integers(&prepared, &["layer2.0.conv1", "fc"], Settings::default());
    let Rewritten { graph, weights, .. } = &quantised.rewritten;
    let of = |name: &str| &graph.node(graph.tap(name).unwrap()).op;
    assert!(matches!(of("layer2.0.conv1"), Op::Conv2d(conv) if !conv.quantized));
    assert!(matches!(of("layer2.0.conv2"), Op::Conv2d(conv) if conv.quantized));
    assert_eq!(weights.get("layer2.0.conv1.weight"), prepared.weights.get("layer2.0.conv1.weight"));
    let why = exactness(graph, weights).unwrap();
    assert!(why.iter().any(|inexact| inexact.node == "layer2.0.conv1"), "{why:?}");
    let unknown = BTreeSet::from(["layer2.0.conv7".to_owned()]);
    let message = Placement::of(&prepared.graph, &unknown).unwrap_err().to_string();
    assert!(message.contains("did you mean `layer2.0.conv"), "{message}");
}

#[test]
fn images_that_are_no_numbers_are_refused_by_the_value_that_has_them() {
    let prepared = network("resnet8");
    let points = Placement::of(&prepared.graph, &BTreeSet::new()).unwrap().quantised(&prepared.graph);
    let mut all = images(2);
    all[1][7] = f32::NAN;
    let asked = |all: &[Vec<f32>]| {
        let seen = Images::new(SHAPE, all).unwrap();
        observe(&prepared.graph, &prepared.weights, &points, &seen, &mut |_| {}).unwrap_err().to_string()
    };
    assert_eq!(asked(&all), "node `input`: its values on calibration images are not finite");
    assert_eq!(asked(&[]), "calibration: there are no images");
    assert!(Images::new(SHAPE, &[vec![0.0; 5]]).unwrap_err().to_string().contains("5 numbers, expected [3, 24, 24]"));
}

/// Channels whose scales are far apart within a layer cost integers everything, and equalisation gives it back: the function in
/// floats is the same throughout.
#[test]
fn equalisation_undoes_skewed_channels() {
    let mut prepared = network("resnet8");
    let test = images(16);
    let reference = logits(&prepared.graph, &prepared.weights, &test);
    for block in ["layer1.0", "layer2.0", "layer3.0"] {
        skew(&mut prepared.weights, &format!("{block}.conv1"), &format!("{block}.conv2"));
    }
    let same = difference(&reference, &logits(&prepared.graph, &prepared.weights, &test));
    assert!(same < 1e-4, "{same}");
    let settings = Settings { scales: Scales::Free, weight_bits: 8, calibrator: Calibrator::MinMax };
    let off = |prepared: &Rewritten| {
        let Rewritten { graph, weights, .. } = in_integers(prepared, &[], settings).rewritten;
        difference(&reference, &logits(&graph, &weights, &test))
    };
    let skewed = off(&prepared);
    let equalised = equalise(&prepared.graph, &prepared.weights).unwrap();
    assert!(equalised.pairs.contains(&["layer1.0.conv1".to_owned(), "layer1.0.conv2".to_owned()]));
    let after = Rewritten { weights: equalised.weights, ..prepared.clone() };
    let same = difference(&reference, &logits(&after.graph, &after.weights, &test));
    assert!(same < 1e-4, "{same}");
    let mended = off(&after);
    assert!(mended < skewed / 3.0 && mended < 0.08, "{skewed} -> {mended}");
}

/// Multiplies channels between two layers by e^-3 to e^3, and divides what reads them.
fn skew(weights: &mut Weights, first: &str, second: &str) {
    let channels = weights.get(&format!("{first}.bias")).unwrap().shape[0];
    let factor = |channel: usize| ((channel * 7919 % 61) as f32 / 10.0 - 3.0).exp();
    for name in ["weight", "bias"] {
        let values = weights.0.get_mut(&format!("{first}.{name}")).unwrap().f32_mut().unwrap();
        let depth = values.len() / channels;
        values.iter_mut().enumerate().for_each(|(at, value)| *value *= factor(at / depth));
    }
    let values = weights.0.get_mut(&format!("{second}.weight")).unwrap().f32_mut().unwrap();
    values.iter_mut().enumerate().for_each(|(at, value)| *value /= factor(at / 9 % channels));
}

#[test]
fn a_relu6_between_is_left_alone() {
    let prepared = network("mobilenet_v2");
    let equalised = equalise(&prepared.graph, &prepared.weights).unwrap();
    assert!(!equalised.across_relu6.is_empty());
    let test = images(8);
    let [before, after] =
        [&prepared.weights, &equalised.weights].map(|weights| logits(&prepared.graph, weights, &test));
    assert!(difference(&before, &after) < 1e-4);
}

/// Few bits move means a lot; corrected biases bring them back, and stay whole and exact.
#[test]
fn corrected_biases_bring_means_back() {
    let prepared = network("resnet18");
    let test = images(16);
    let reference = logits(&prepared.graph, &prepared.weights, &test);
    let settings = Settings { scales: Scales::Exact, weight_bits: 4, calibrator: Calibrator::Mse };
    let mut quantised = in_integers(&prepared, &[], settings);
    let means_off = |quantised: &Quantised| {
        let other = logits(&quantised.rewritten.graph, &quantised.rewritten.weights, &test);
        let mean = |values: &[f32], class: usize| values.iter().skip(class).step_by(7).sum::<f32>() / 16.0;
        (0..7).map(|class| (mean(&reference, class) - mean(&other, class)).abs()).fold(0.0, f32::max)
    };
    let before = means_off(&quantised);
    let all = images(24);
    let seen = Images::new(SHAPE, &all).unwrap();
    correct_biases(&prepared.graph, &prepared.weights, &mut quantised, &seen, &mut |_| {}).unwrap();
    let after = means_off(&quantised);
    assert!(after < before / 2.0, "{before} -> {after}");
    assert_eq!(exactness(&quantised.rewritten.graph, &quantised.rewritten.weights).unwrap(), []);
}

/// Three bits make channels quieter or louder; their norms, estimated anew, bring them back, and the whole numbers of weights stay.
#[test]
fn norms_estimated_anew_bring_deviations_back() {
    let prepared = network("resnet8");
    let test = images(16);
    let reference = logits(&prepared.graph, &prepared.weights, &test);
    let settings = Settings { scales: Scales::Free, weight_bits: 3, calibrator: Calibrator::Mse };
    let mut quantised = in_integers(&prepared, &[], settings);
    let all = images(24);
    let seen = Images::new(SHAPE, &all).unwrap();
    let (graph, weights) = (&prepared.graph, &prepared.weights);
    let mut corrected = quantised.clone();
    correct_biases(graph, weights, &mut corrected, &seen, &mut |_| {}).unwrap();
    let before = quantised.rewritten.weights.clone();
    re_estimate_norms(graph, weights, &mut quantised, &seen, &mut |_| {}).unwrap();
    let off = |quantised: &Quantised| {
        difference(&reference, &logits(&quantised.rewritten.graph, &quantised.rewritten.weights, &test))
    };
    let (means, deviations) = (off(&corrected), off(&quantised));
    assert!(deviations < means, "biases alone {means}, norms {deviations}");
    let of =
        |quantised: &Quantised, name: &str| channels(&quantised.rewritten.graph, &quantised.rewritten.weights, name);
    for name in ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv2"] {
        for (float, integer) in channels(graph, weights, name).into_iter().zip(of(&quantised, name)) {
            assert!((float[1] / integer[1] - 1.0).abs() < 0.02, "{name}: deviations {float:?} {integer:?}");
            assert!((float[0] - integer[0]).abs() < 0.02 * float[1], "{name}: means {float:?} {integer:?}");
        }
        let steps = |weights: &Weights| {
            let part = |suffix: &str| weights.get(&format!("{name}.{suffix}")).unwrap().f32().unwrap().to_vec();
            let (weight, scales) = (part("weight"), part("weight_scale"));
            let depth = weight.len() / scales.len();
            weight.iter().enumerate().map(|(at, weight)| (weight / scales[at / depth]).round()).collect::<Vec<f32>>()
        };
        assert_eq!(steps(&before), steps(&quantised.rewritten.weights), "{name}");
    }
    let mut exact = in_integers(&prepared, &[], Settings { scales: Scales::Exact, ..settings });
    let error = re_estimate_norms(graph, weights, &mut exact, &seen, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("powers of two stay"), "{error}");
}

/// Mean and standard deviation of each channel of a node, over the images and positions that norms are estimated by.
fn channels(graph: &Graph, weights: &Weights, name: &str) -> Vec<[f64; 2]> {
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu).unwrap();
    let batch = Tensor::from_vec(images(24).concat(), (24, 3, 24, 24), &Device::Cpu).unwrap();
    let values = network.eval(&batch, &[graph.tap(name).unwrap()]).unwrap().taps[0].transpose(0, 1).unwrap();
    let of = |values: Vec<f32>| {
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        let off = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / values.len() as f64;
        [mean, off.sqrt()]
    };
    let count = values.dim(0).unwrap();
    (0..count).map(|at| of(values.get(at).unwrap().flatten_all().unwrap().to_vec1().unwrap())).collect()
}

/// With four bits, rounding as the outputs ask halves what rounding to the nearest costs.
#[test]
fn learned_rounding_is_nearer_than_the_nearest() {
    let prepared = network("resnet8");
    let test = images(24);
    let reference = logits(&prepared.graph, &prepared.weights, &test);
    let settings = Settings { scales: Scales::Free, weight_bits: 4, calibrator: Calibrator::Mse };
    let mut quantised = in_integers(&prepared, &[], settings);
    let off = |quantised: &Quantised| {
        difference(&reference, &logits(&quantised.rewritten.graph, &quantised.rewritten.weights, &test))
    };
    let nearest = off(&quantised);
    let all: Vec<Vec<f32>> = (100..164u64).map(|seed| generated::input([1, 3, 24, 24], seed)).collect();
    let seen = Images::new(SHAPE, &all).unwrap();
    let how = AdaRound { steps: 400, positions: 2048, ..AdaRound::default() };
    let before = quantised.rewritten.weights.clone();
    let (graph, weights) = (&prepared.graph, &prepared.weights);
    adaround(graph, weights, &mut quantised, &seen, how, 0..usize::MAX).unwrap();
    let learned = off(&quantised);
    assert!(learned < nearest / 2.0, "{nearest} -> {learned}");
    for (name, array) in &before.0 {
        let after = quantised.rewritten.weights.get(name).unwrap();
        let Some(scales) = name.strip_suffix(".weight").and_then(|node| before.get(&format!("{node}.weight_scale")))
        else {
            assert_eq!(array, after, "{name}");
            continue;
        };
        let (scales, depth) = (scales.f32().unwrap(), array.elements.len() / scales.shape[0]);
        let steps = |values: &[f32], at: usize| (values[at] / scales[at / depth]).round();
        let (old, new) = (array.f32().unwrap(), after.f32().unwrap());
        assert!((0..old.len()).all(|at| (steps(old, at) - steps(new, at)).abs() <= 1.0), "{name}: up or down alone");
    }
}

/// One layer whose channels are skewed is the guilty one, seen from both sides; whatever is kept has no share.
#[test]
fn the_guilty_layer_has_the_largest_share() {
    let mut prepared = network("resnet8");
    skew(&mut prepared.weights, "layer2.0.conv1", "layer2.0.conv2");
    let (graph, weights) = (&prepared.graph, &prepared.weights);
    let keep = BTreeSet::from(["fc".to_owned()]);
    let all = images(16);
    let seen = Images::new(SHAPE, &all).unwrap();
    let points = Placement::of(graph, &keep).unwrap().quantised(graph);
    let observed = observe(graph, weights, &points, &seen, &mut |_| {}).unwrap();
    let settings = Settings { scales: Scales::Free, weight_bits: 8, calibrator: Calibrator::MinMax };
    let mut told = 0;
    let found = sensitivity(graph, weights, &keep, &observed, settings, &seen, &mut |done| told = done).unwrap();
    assert_eq!((found.layers.len(), told), (9, 9), "nine convolutions; fc is kept");
    let worst = found.layers.iter().max_by(|a, b| a.gain().total_cmp(&b.gain())).unwrap();
    assert_eq!(worst.layer, "layer2.0.conv2", "{found:?}");
    assert!(worst.given_back > found.all / 2.0 && worst.alone > found.all / 3.0, "{found:?}");
}
