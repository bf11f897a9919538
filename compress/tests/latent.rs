//! Training in integers: the same numbers as rounding after training, gradients in closed form, and a network that learns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use attar_compress::{
    Calibrator, Images, Latent, Placement, Quantised, Scales, Settings, exactness, observe, prepare, quantise,
};
use attar_exec::{Network, Params, Slots};
use attar_measures::random::Stream;
use attar_models::op::{BatchNorm2d, Conv2d, GlobalAvgPool, Linear};
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Activation, Graph, GraphBuilder, NodeId, Op, Rewritten, Weights, generated};
use candle_core::{Device, Tensor};

const SHAPE: [usize; 3] = [3, 16, 16];

fn batch(count: usize, seed: u64) -> Tensor {
    let images: Vec<f32> = (0..count as u64).flat_map(|at| generated::input([1, 3, 16, 16], seed + at)).collect();
    Tensor::from_vec(images, (count, 3, 16, 16), &Device::Cpu).unwrap()
}

/// One of the zoo, or one whose norm stands behind a ReLU and folds into nothing.
fn graph(name: &str) -> Graph {
    if name != "norm-behind" {
        return build(&NetworkSpec::new(name, 5, SHAPE)).unwrap();
    }
    let (mut builder, x) = GraphBuilder::new(name, SHAPE).unwrap();
    let conv = |from, to| Op::Conv2d(Conv2d { bias: true, ..Conv2d::square(from, to, 3, 1, 1) });
    let a = builder.add("a", conv(3, 8), &[x]).unwrap();
    let relu = builder.add("relu", Op::Activation(Activation::Relu), &[a]).unwrap();
    let norm =
        builder.add("norm", Op::BatchNorm2d(BatchNorm2d { channels: 8, eps: 1e-5, momentum: 0.1 }), &[relu]).unwrap();
    let b = builder.add("b", conv(8, 8), &[norm]).unwrap();
    let means = builder.add("means", Op::GlobalAvgPool(GlobalAvgPool {}), &[b]).unwrap();
    let fc = Op::Linear(Linear { in_features: 8, out_features: 5, bias: true, quantized: false });
    let end = builder.add("fc", fc, &[means]).unwrap();
    builder.finish(end)
}

/// A network in floats, prepared, and in integers.
fn both(name: &str, keep: &[&str], settings: Settings) -> (Rewritten, Quantised) {
    let graph = graph(name);
    let mut network = Network::from_weights(graph.clone(), &generated::weights(&graph, 4), &Device::Cpu).unwrap();
    for seed in 0..12 {
        network.batch_stats(&batch(16, seed), &[], &mut Stream::of_number(1)).unwrap();
    }
    let prepared = prepare(&graph, &network.params().to_weights().unwrap()).unwrap();
    let keep: BTreeSet<String> = keep.iter().map(|name| (*name).to_owned()).collect();
    let placement = Placement::of(&prepared.graph, &keep).unwrap();
    let all: Vec<Vec<f32>> = (0..16).map(|seed| generated::input([1, 3, 16, 16], seed)).collect();
    let seen = Images::new(SHAPE, &all).unwrap();
    let points = placement.quantised(&prepared.graph);
    let observed = observe(&prepared.graph, &prepared.weights, &points, &seen, &mut |_| {}).unwrap();
    let quantised = quantise(&prepared.graph, &prepared.weights, &placement, &observed, settings).unwrap();
    (prepared, quantised)
}

fn settings(scales: Scales, weight_bits: u32) -> Settings {
    Settings { scales, weight_bits, calibrator: Calibrator::Mse }
}

fn latent(prepared: &Rewritten, quantised: &Quantised, learns: bool) -> Latent {
    Latent::of(&prepared.graph, &prepared.weights, quantised, learns).unwrap()
}

fn network(quantised: &Quantised, latent: &Latent) -> Network {
    let Rewritten { graph, weights, .. } = &quantised.rewritten;
    let mut network = Network::from_weights(graph.clone(), weights, &Device::Cpu).unwrap();
    latent.let_learn(&mut network, BTreeSet::new());
    network
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Before a step nothing is other than what rounding after training makes, to the bit.
#[test]
fn untouched_floats_are_the_numbers_of_quantising_after_training() {
    for name in ["resnet8", "mobilenet_v2", "mobilenet_v3_small", "norm-behind"] {
        for (scales, bits) in [(Scales::Exact, 7), (Scales::Free, 8), (Scales::Exact, 3)] {
            for keep in [&[][..], &["fc", "classifier", "classifier.1", "classifier.3"]] {
                let keep: Vec<&str> = keep.iter().copied().filter(|node| has(name, node)).collect();
                let (prepared, quantised) = both(name, &keep, settings(scales, bits));
                for learns in [true, false] {
                    let latent = latent(&prepared, &quantised, learns);
                    let numbers = latent.numbers(latent.params()).unwrap();
                    assert_eq!(numbers, quantised.rewritten.weights, "{name}, {scales:?}, {bits} bits, {learns}");
                }
            }
        }
    }
}

fn has(network: &str, node: &str) -> bool {
    graph(network).nodes().iter().any(|own| own.name == node)
}

/// Wherever floats have moved, numbers stay whole numbers that every runtime computes alike: all exact, weights within their
/// bits, one scale for a quantiser and all that reads it.
#[test]
fn moved_floats_give_exact_numbers_again() {
    for (name, seed) in [("resnet8", 1), ("mobilenet_v2", 2)] {
        let (prepared, quantised) = both(name, &[], settings(Scales::Exact, 4));
        let mut latent = latent(&prepared, &quantised, true);
        let mut rng = Stream::of_number(seed);
        let slots: Vec<_> = latent.params().trained_slots().collect();
        let is_step = |name: &str| name.ends_with("step");
        let steps = slots.iter().filter(|slot| is_step(latent.params().name(**slot))).count();
        assert!(steps > 10, "{name}: {steps}");
        for slot in slots {
            let value = latent.params().value(slot);
            let most = if is_step(latent.params().name(slot)) { 3.0 } else { 0.5 };
            let moved: Vec<f32> = flat(value).iter().map(|v| v + (rng.unit_f32() * 2.0 - 1.0) * most).collect();
            let moved = Tensor::from_vec(moved, value.shape(), &Device::Cpu).unwrap();
            latent.params_mut().replace(slot, moved).unwrap();
        }
        let mut network = network(&quantised, &latent);
        let before = network.eval(&batch(4, 9), &[]).unwrap().logits;
        latent.settle(latent.params(), &mut network).unwrap();
        let graph = network.graph();
        let weights = network.params().to_weights().unwrap();
        assert_eq!(exactness(graph, &weights).unwrap(), [], "{name}");
        assert_ne!(flat(&before), flat(&network.eval(&batch(4, 9), &[]).unwrap().logits));
        let mut shifted = 0;
        for (id, node) in graph.iter() {
            if let Op::Conv2d(_) | Op::Linear(_) = node.op {
                let scale =
                    |id: NodeId| weights.get(&format!("{}.scale", graph.node(id).name)).unwrap().f32().unwrap()[0];
                let whole = attar_models::quantised::integers(graph, &weights, id, scale(node.inputs[0])).unwrap();
                let whole = whole.expect("whole steps");
                assert!(whole.weights.iter().all(|weight| weight.abs() <= 8), "{}", node.name);
                shifted += usize::from(whole.weights.iter().any(|weight| weight.abs() == 8));
            }
            if let Op::Dequantize(_) = node.op {
                let mut at = node.inputs[0];
                while !matches!(graph.node(at).op, Op::Quantize(_)) {
                    at = graph.node(at).inputs[0];
                }
                for suffix in ["scale", "zero_point"] {
                    let of = |name: &str| weights.get(&format!("{name}.{suffix}")).unwrap();
                    assert_eq!(of(&node.name), of(&graph.node(at).name), "{}", node.name);
                }
            }
        }
        assert!(shifted > 0, "{name}: no weight is clamped");
    }
}

/// The last layer's weight gradient is known by hand: of each image, what goes in times what comes back. From it follow those
/// of the floats behind: Esser et al. 2020 (arXiv 1902.08153), equations 3 and 5, and their factor.
#[test]
fn gradients_of_weights_and_of_their_steps_are_those_of_lsq() {
    let (prepared, quantised) = both("resnet8", &[], settings(Scales::Free, 3));
    let mut latent = latent(&prepared, &quantised, true);
    let step = latent.params().id("fc.weight_step").unwrap();
    latent.params_mut().replace(step, Tensor::new(&[-1.3f32, -0.4, 0.0, 0.3, 0.7], &Device::Cpu).unwrap()).unwrap();
    let mut network = network(&quantised, &latent);
    latent.settle(latent.params(), &mut network).unwrap();
    let x = batch(6, 3);
    let reads = network.graph().node(network.graph().tap("fc").unwrap()).inputs[0];
    let inputs = network.eval(&x, &[reads]).unwrap().taps[0].clone();
    let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1)).unwrap();
    let dy: Vec<f32> = generated::uniform("dy", 3, 6 * 5);
    let dy = Tensor::from_vec(dy, outputs.logits.shape(), &Device::Cpu).unwrap();
    let found = network.backward(tape, vec![(network.graph().output(), dy.clone())], false).unwrap().params;
    let gradients = latent.gradients(&network, &found).unwrap();
    let of = |name: &str| flat(gradients.get(latent.params().id(name).unwrap()).unwrap());
    let (weight, start) =
        (flat(latent.params().get("fc.weight").unwrap()), flat(latent.params().get("fc.weight_scale").unwrap()));
    let raw = flat(&dy.t().unwrap().matmul(&inputs).unwrap());
    let moved = [-1.3f32, -0.4, 0.0, 0.3, 0.7];
    let depth = weight.len() / 5;
    let (dweight, dstep, mut clamped) = (of("fc.weight"), of("fc.weight_step"), 0);
    for row in 0..5 {
        let scale = start[row] * moved[row].exp2();
        let mut sum = 0.0f64;
        for at in row * depth..(row + 1) * depth {
            let steps = f64::from(weight[at]) / f64::from(scale);
            let (slope, through) = match steps {
                steps if steps > 4.5 => (4.0, 0.0),
                steps if steps < -4.5 => (-4.0, 0.0),
                steps => (steps.round_ties_even() - steps, raw[at]),
            };
            clamped += usize::from(steps.abs() > 4.5);
            sum += f64::from(raw[at]) * slope;
            assert!((dweight[at] - through).abs() <= 1e-4 * raw[at].abs().max(1e-2), "{at}: {} {through}", dweight[at]);
        }
        let expected = sum / (depth as f64 * 4.0).sqrt() / (f64::from(scale) * std::f64::consts::LN_2);
        let off = (f64::from(dstep[row]) - expected).abs();
        assert!(off < 1e-3 * expected.abs().max(1e-3), "{row}: {}, expected {expected}", dstep[row]);
    }
    assert!(clamped > 0, "no weight is clamped");
    let bias = flat(&dy.sum(0).unwrap());
    assert!(of("fc.bias").iter().zip(&bias).all(|(a, b)| (a - b).abs() < 1e-5));
    // Every float behind has a gradient, and no other has.
    let names = |slots: &Slots| slots.iter().map(|(slot, _)| latent.params().name(slot).to_owned()).collect::<Vec<_>>();
    let trained: Vec<String> = latent.params().trained().map(|(name, ..)| name.to_owned()).collect();
    assert_eq!(names(&gradients), trained);
}

/// What is not learned has no gradient: scales that stay, and those of quantisers that are a ReLU6, too.
#[test]
fn scales_learn_where_they_are_to_and_not_where_they_are_a_part_of_the_network() {
    let trained =
        |latent: &Latent, end: &str| latent.params().trained().filter(|(name, ..)| name.ends_with(end)).count();
    let (prepared, quantised) = both("mobilenet_v2", &[], settings(Scales::Exact, 7));
    let exact = latent(&prepared, &quantised, true);
    let graph = &quantised.rewritten.graph;
    let ends = graph.nodes().iter().filter(|node| matches!(&node.op, Op::Quantize(own) if own.high.is_some())).count();
    let all = graph.nodes().iter().filter(|node| matches!(node.op, Op::Quantize(_))).count();
    assert!(ends > 0 && trained(&exact, "q.step") > 0, "{ends}");
    assert!(trained(&exact, "q.step") + ends <= all);
    let still = latent(&prepared, &quantised, false);
    assert_eq!(trained(&still, "step"), 0);
    let mut network = network(&quantised, &still);
    let (outputs, tape) = network.train(&batch(4, 1), &[], &mut Stream::of_number(1)).unwrap();
    let end = network.graph().output();
    let found = network.backward(tape, vec![(end, outputs.logits.ones_like().unwrap())], false).unwrap().params;
    assert!(found.iter().all(|(slot, _)| !network.params().name(slot).ends_with("scale")));
}

/// Batch norms that do not fold normalise as they do on the device.
#[test]
fn a_norm_that_does_not_fold_stays_as_it_is() {
    let (prepared, quantised) = both("norm-behind", &[], settings(Scales::Exact, 7));
    let left = |graph: &Graph| graph.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm2d(_)));
    assert!(left(&quantised.rewritten.graph), "all norms fold");
    let latent = latent(&prepared, &quantised, true);
    let mut network = network(&quantised, &latent);
    let x = batch(3, 2);
    let before = network.params().to_weights().unwrap();
    let expected = flat(&network.eval(&x, &[]).unwrap().logits);
    let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1)).unwrap();
    assert_eq!(flat(&outputs.logits), expected);
    let end = network.graph().output();
    let found = network.backward(tape, vec![(end, outputs.logits)], false).unwrap().params;
    assert_eq!(network.params().to_weights().unwrap(), before);
    assert_eq!(latent.gradients(&network, &found).unwrap().iter().count(), latent.params().trained().count());
}

/// Cross-entropy to what a network in floats answers, by steps of plain gradient descent.
fn learn(prepared: &Rewritten, quantised: &Quantised, learns: bool, rate: f64) -> [f64; 2] {
    let float = Network::from_weights(prepared.graph.clone(), &prepared.weights, &Device::Cpu).unwrap();
    let x = batch(32, 40);
    let wanted = candle_softmax(&float.eval(&x, &[]).unwrap().logits);
    let mut latent = latent(prepared, quantised, learns);
    let mut network = network(quantised, &latent);
    let mut losses = Vec::new();
    for step in 0..40u64 {
        let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(step)).unwrap();
        let own = candle_softmax(&outputs.logits);
        let divergence = (&wanted * (wanted.log().unwrap() - own.log().unwrap()).unwrap()).unwrap();
        losses.push(f64::from(divergence.sum_all().unwrap().to_scalar::<f32>().unwrap()) / 32.0);
        let slope = ((own - &wanted).unwrap() / 32.0).unwrap();
        let end = network.graph().output();
        let found = network.backward(tape, vec![(end, slope)], false).unwrap().params;
        let gradients = latent.gradients(&network, &found).unwrap();
        let moved: Params = latent.params().clone();
        for (slot, gradient) in gradients.iter() {
            let next = (moved.value(slot) - (gradient * rate).unwrap()).unwrap();
            latent.params_mut().replace(slot, next).unwrap();
        }
        latent.settle(latent.params(), &mut network).unwrap();
    }
    let weights: Weights = network.params().to_weights().unwrap();
    assert_eq!(weights, latent.numbers(latent.params()).unwrap());
    [losses[0], losses.iter().rev().take(5).sum::<f64>() / 5.0]
}

fn candle_softmax(logits: &Tensor) -> Tensor {
    let shares = logits.broadcast_sub(&logits.max_keepdim(1).unwrap()).unwrap().exp().unwrap();
    shares.broadcast_div(&shares.sum_keepdim(1).unwrap()).unwrap()
}

/// Three bits a weight cost much, and steps along these gradients give most of it back, whether scales learn or not.
#[test]
fn steps_bring_a_network_in_integers_back_to_the_one_in_floats() {
    for scales in [Scales::Exact, Scales::Free] {
        let (prepared, quantised) = both("resnet8", &[], settings(scales, 3));
        for learns in [true, false] {
            let [first, last] = learn(&prepared, &quantised, learns, 0.02);
            println!("{scales:?}, scales learn: {learns}: {first:.4} -> {last:.4}");
            assert!(last < 0.5 * first, "{scales:?}, {learns}: {first} -> {last}");
        }
    }
}
