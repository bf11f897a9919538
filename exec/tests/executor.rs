//! The executor on a small network with everything in it: gradients against finite differences,
//! taps, memory, equal bits.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use attar_exec::{Context, Network, Outputs, Params, Precision};
use attar_measures::random::Stream;
use attar_models::op::{
    Activation, Add, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, PadChannels, Pool2d, Subsample,
};
use attar_models::{Graph, GraphBuilder, NodeId, Op};
use candle_core::{DType, Device, Tensor};

fn conv(from: usize, to: usize, kernel: usize, stride: usize, groups: usize, bias: bool) -> Op {
    let mut conv = Conv2d::square(from, to, kernel, stride, kernel / 2).with_groups(groups);
    conv.bias = bias;
    Op::Conv2d(conv)
}

fn norm(channels: usize) -> Op {
    Op::BatchNorm2d(BatchNorm2d { channels, eps: 1e-5, momentum: 0.1 })
}

/// A stem with a max pool, a residual block, an option A shortcut, a depthwise ReLU6 block without
/// a last activation, an average pool, a linear head. `smooth` replaces what has kinks
/// (activations, maxima), where finite differences lie.
fn graph(smooth: bool, dropout: f64) -> Graph {
    let relu = || if smooth { Op::Dropout(Dropout { p: 0.0 }) } else { Op::Activation(Activation::Relu) };
    let relu6 = || if smooth { Op::Dropout(Dropout { p: 0.0 }) } else { Op::Activation(Activation::Relu6) };
    let pool = Pool2d::square(3, 2, 1);
    let (mut b, x) = GraphBuilder::new("everything", [3, 12, 10]).unwrap();
    let mut chain = |at: NodeId, name: &str, op: Op| b.add(name, op, &[at]).unwrap();
    let mut at = chain(x, "conv1", conv(3, 4, 3, 1, 1, true));
    at = chain(at, "bn1", norm(4));
    at = chain(at, "relu1", relu());
    let stem = chain(at, "pool1", if smooth { Op::AvgPool2d(pool) } else { Op::MaxPool2d(pool) });
    at = chain(stem, "conv2", conv(4, 4, 3, 1, 1, false));
    let branch = chain(at, "bn2", norm(4));
    at = b.add("add2", Op::Add(Add {}), &[branch, stem]).unwrap();
    let mut chain = |at: NodeId, name: &str, op: Op| b.add(name, op, &[at]).unwrap();
    let block = chain(at, "relu2", relu());
    at = chain(block, "conv3", conv(4, 6, 3, 2, 1, false));
    let branch = chain(at, "bn3", norm(6));
    at = chain(block, "shortcut3.subsample", Op::Subsample(Subsample { stride: 2 }));
    let shortcut = chain(at, "shortcut3.pad", Op::PadChannels(PadChannels { before: 1, after: 1 }));
    at = b.add("add3", Op::Add(Add {}), &[shortcut, branch]).unwrap();
    let mut chain = |at: NodeId, name: &str, op: Op| b.add(name, op, &[at]).unwrap();
    let narrow = chain(at, "relu3", relu());
    at = chain(narrow, "conv4", conv(6, 6, 3, 1, 6, false));
    at = chain(at, "bn4", norm(6));
    at = chain(at, "relu4", relu6());
    at = chain(at, "conv5", conv(6, 6, 1, 1, 1, false));
    let branch = chain(at, "bn5", norm(6));
    at = b.add("add5", Op::Add(Add {}), &[branch, narrow]).unwrap();
    b.stage("layer1", block);
    b.stage("layer2", at);
    let mut chain = |at: NodeId, name: &str, op: Op| b.add(name, op, &[at]).unwrap();
    at = chain(at, "pool5", Op::AvgPool2d(Pool2d::square(2, 1, 0)));
    at = chain(at, "dropout", Op::Dropout(Dropout { p: dropout }));
    at = chain(at, "flatten", Op::Flatten(Flatten {}));
    at = chain(at, "fc", Op::Linear(Linear { in_features: 6 * 2 * 2, out_features: 5, bias: true, quantized: false }));
    b.finish(at)
}

fn network(graph: Graph) -> Network {
    network_at(graph, &Context::new(&Device::Cpu))
}

fn network_at(graph: Graph, context: &Context) -> Network {
    let params = Params::init(&graph, 3, "", context).unwrap();
    Network::new(graph, params, context).unwrap()
}

/// The same network composed of Candle's operations, in `f64`.
fn exact(graph: Graph) -> Network {
    network_at(graph, &Context::exact(&Device::Cpu))
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Stream::of_number(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn batch(n: usize, seed: u64) -> Tensor {
    random(&[n, 3, 12, 10], seed)
}

fn rng() -> Stream {
    Stream::of_number(9)
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Inner product in f64.
fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    wide(a).iter().zip(wide(b)).map(|(a, b)| a * b).sum()
}

/// A made-up loss: fixed directions times logits and taps, so that its gradients are the
/// directions.
fn loss(outputs: &Outputs, directions: &[(NodeId, Tensor)]) -> f64 {
    let all = std::iter::once(&outputs.logits).chain(&outputs.taps);
    all.zip(directions).map(|(value, (_, direction))| dot(value, direction)).sum()
}

fn directions(graph: &Graph, taps: &[NodeId], n: usize) -> Vec<(NodeId, Tensor)> {
    let ids = std::iter::once(graph.output()).chain(taps.iter().copied());
    let shape = |id: NodeId| std::iter::once(n).chain(graph.node(id).shape.iter().copied()).collect::<Vec<_>>();
    ids.map(|id| (id, random(&shape(id), 100 + id.index() as u64))).collect()
}

fn stages(graph: &Graph) -> Vec<NodeId> {
    graph.stages().iter().map(|(_, id)| *id).collect()
}

/// The derivative of the loss along a random direction of one parameter (or the input) by central
/// differences, of a network in `f64`.
fn slope(network: &Network, x: &Tensor, name: &str) -> (f64, Tensor) {
    const STEP: f64 = 1e-6;
    let taps = stages(network.graph());
    let directions = directions(network.graph(), &taps, x.dims()[0]);
    let place = if name == "input" { x.clone() } else { network.params().get(name).unwrap().clone() };
    let way = random(place.dims(), 77).to_dtype(DType::F64).unwrap();
    let at = |sign: f64| {
        let moved = (&place + (&way * (sign * STEP)).unwrap()).unwrap();
        let mut network = network.clone();
        let x = if name == "input" { moved.clone() } else { x.clone() };
        if name != "input" {
            network.params_mut().set(name, moved).unwrap();
        }
        loss(&network.train(&x, &taps, &mut rng()).unwrap().0, &directions)
    };
    ((at(1.0) - at(-1.0)) / (2.0 * STEP), way)
}

fn gradients(network: &Network, x: &Tensor) -> attar_exec::Gradients {
    let taps = stages(network.graph());
    let directions = directions(network.graph(), &taps, x.dims()[0]);
    let mut network = network.clone();
    let (_, tape) = network.train(x, &taps, &mut rng()).unwrap();
    network.backward(tape, directions, true).unwrap()
}

/// Gradients of the parameters by name, then that of the input.
fn named(network: &Network, found: &attar_exec::Gradients) -> Vec<(String, Tensor)> {
    let params = found.params.iter().map(|(slot, gradient)| (network.params().name(slot).to_owned(), gradient.clone()));
    params.chain(found.input.iter().map(|gradient| ("input".to_owned(), gradient.clone()))).collect()
}

/// In `f64` a difference over a step of 1e-6 holds nine digits, so a wrong component would show
/// however small its share is.
#[test]
fn every_gradient_agrees_with_finite_differences() {
    for (smooth, dropout) in [(true, 0.3), (false, 0.0), (false, 0.3)] {
        let network = exact(graph(smooth, dropout));
        let x = batch(4, 1).to_dtype(DType::F64).unwrap();
        let found = gradients(&network, &x);
        let gradients = named(&network, &found);
        for (name, gradient) in &gradients {
            let (expected, way) = slope(&network, &x, name);
            let got = dot(gradient, &way);
            // Along a random direction a gradient's share is about its norm times the direction's
            // rms (1/sqrt(3)). A bias in front of a batch norm changes nothing: its gradient is 0
            // but for rounding.
            let scale = dot(gradient, gradient).sqrt() / 3f64.sqrt();
            let limit = 1e-6 * scale + 1e-7;
            assert!((got - expected).abs() < limit, "{name}: {got} by backward, {expected} by differences, {scale}");
        }
        assert_eq!(gradients.len(), network.params().trained().count() + 1);
    }
}

/// Far from the edges of activations the kernels' gradients are those of `f64` but for rounding.
#[test]
fn the_kernels_gradients_are_those_in_64_bits() {
    for smooth in [true, false] {
        let (kernels, exact) = (network(graph(smooth, 0.3)), exact(graph(smooth, 0.3)));
        let x = batch(4, 1);
        let found = named(&kernels, &gradients(&kernels, &x));
        let expected = named(&exact, &gradients(&exact, &x.to_dtype(DType::F64).unwrap()));
        assert_eq!(found.len(), expected.len());
        for ((name, found), (same, expected)) in found.iter().zip(&expected) {
            assert_eq!(name, same);
            let apart = (found.to_dtype(DType::F64).unwrap() - expected).unwrap();
            let (apart, scale) = (dot(&apart, &apart).sqrt(), dot(expected, expected).sqrt());
            assert!(apart < 1e-5 * scale + 1e-4, "{name}: {apart} of {scale}");
        }
    }
}

#[test]
fn a_gradient_at_a_tap_reaches_what_lies_before_it_and_nothing_behind() {
    let mut network = network(graph(false, 0.0));
    let x = batch(2, 1);
    let tap = network.graph().tap("layer1").unwrap();
    let (outputs, tape) = network.train(&x, &[tap], &mut rng()).unwrap();
    let found = network.backward(tape, vec![(tap, outputs.taps[0].ones_like().unwrap())], false).unwrap();
    let names: Vec<&str> = found.params.iter().map(|(slot, _)| network.params().name(slot)).collect();
    assert_eq!(
        names,
        ["bn1.bias", "bn1.weight", "bn2.bias", "bn2.weight", "conv1.bias", "conv1.weight", "conv2.weight"]
    );
    assert!(found.input.is_none());
}

#[test]
fn gradients_of_output_and_taps_add_up() {
    let network = network(graph(false, 0.0));
    let x = batch(2, 1);
    let taps = stages(network.graph());
    let all = directions(network.graph(), &taps, 2);
    let back = |grads: Vec<(NodeId, Tensor)>| {
        let mut network = network.clone();
        let (_, tape) = network.train(&x, &taps, &mut rng()).unwrap();
        network.backward(tape, grads, true).unwrap()
    };
    let apart: Vec<_> = all.iter().map(|one| back(vec![one.clone()]).params).collect();
    for (slot, expected) in back(all).params.iter() {
        let name = network.params().name(slot);
        if name == "conv1.bias" {
            continue; // in front of a batch norm: 0 up to rounding
        }
        let reached = apart.iter().filter_map(|params| params.get(slot));
        let sum = reached.fold(expected.zeros_like().unwrap(), |sum, gradient| (sum + gradient).unwrap());
        let difference = (expected - sum).unwrap();
        let scale = dot(expected, expected).sqrt().max(1e-3);
        assert!(dot(&difference, &difference).sqrt() < 1e-4 * scale, "{name}");
    }
}

#[test]
fn no_gradient_in_no_gradient_out_and_a_wrong_one_is_refused() {
    let mut network = network(graph(false, 0.0));
    let x = batch(2, 1);
    let (_, tape) = network.train(&x, &[], &mut rng()).unwrap();
    let found = network.backward(tape, Vec::new(), true).unwrap();
    assert!(found.params.is_empty() && found.input.is_none());

    let (_, tape) = network.train(&x, &[], &mut rng()).unwrap();
    let inside = network.graph().tap("bn2").unwrap();
    let message = network.backward(tape, vec![(inside, batch(2, 1))], false).unwrap_err().to_string();
    assert!(message.contains("bn2") && message.contains("neither output nor tap"), "{message}");

    let (_, tape) = network.train(&x, &[], &mut rng()).unwrap();
    let output = network.graph().output();
    let message = network.backward(tape, vec![(output, random(&[2, 4], 1))], false).unwrap_err().to_string();
    assert!(message.contains("[2, 4], expected [2, 5]"), "{message}");
}

#[test]
fn a_tap_anywhere_has_the_value_it_has_without_fusing() {
    let mut network = network(graph(false, 0.0));
    let x = batch(3, 1);
    let every: Vec<NodeId> = network.graph().iter().map(|(id, _)| id).collect();
    let whole = network.clone().train(&x, &every, &mut rng()).unwrap().0;
    for (id, expected) in every.iter().zip(&whole.taps) {
        let outputs = network.clone().train(&x, &[*id], &mut rng()).unwrap().0;
        let name = &network.graph().node(*id).name;
        let difference = (expected - &outputs.taps[0]).unwrap();
        assert!(dot(&difference, &difference).sqrt() < 1e-4, "{name} in training");
    }
    network.train(&x, &[], &mut rng()).unwrap();
    let whole = network.eval(&x, &every).unwrap();
    for (id, expected) in every.iter().zip(&whole.taps) {
        let difference = (expected - &network.eval(&x, &[*id]).unwrap().taps[0]).unwrap();
        assert!(dot(&difference, &difference).sqrt() < 1e-4, "{} in evaluation", network.graph().node(*id).name);
    }
    let twice = network.graph().tap("layer1").unwrap();
    assert_eq!(network.eval(&x, &[twice, twice]).unwrap().taps.len(), 2);
}

#[test]
fn running_statistics_follow_in_training_only() {
    let mut network = network(graph(false, 0.5));
    let x = batch(4, 1);
    let running = |network: &Network, suffix: &str| values(network.params().get(&format!("bn1.{suffix}")).unwrap());
    network.eval(&x, &[]).unwrap();
    assert_eq!(running(&network, "running_mean"), [0.0; 4]);

    let conv1 = network.graph().tap("conv1").unwrap();
    let y = network.clone().train(&x, &[conv1], &mut rng()).unwrap().0.taps.remove(0);
    let channel = values(&y.narrow(1, 2, 1).unwrap());
    let count = channel.len() as f32;
    let mean = channel.iter().sum::<f32>() / count;
    let variance = channel.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / (count - 1.0);
    let mut batch_stats = network.clone();
    let (trained, _) = network.train(&x, &[], &mut rng()).unwrap();
    assert!((running(&network, "running_mean")[2] - 0.1 * mean).abs() < 1e-6);
    assert!((running(&network, "running_var")[2] - (0.9 + 0.1 * variance)).abs() < 1e-6);

    let outputs = batch_stats.batch_stats(&x, &[], &mut rng()).unwrap();
    assert_eq!(values(&outputs.logits), values(&trained.logits));
    for suffix in ["running_mean", "running_var"] {
        assert_eq!(running(&batch_stats, suffix), running(&network, suffix));
    }
}

#[test]
fn one_sample_trains_where_there_are_positions_and_is_refused_where_there_are_none() {
    let mut network = network(graph(false, 0.0));
    let (outputs, tape) = network.train(&batch(1, 1), &[], &mut rng()).unwrap();
    let output = network.graph().output();
    let found = network.backward(tape, vec![(output, outputs.logits.ones_like().unwrap())], true).unwrap();
    assert!(found.params.iter().all(|(_, grad)| values(grad).iter().all(|v| v.is_finite())));

    let (mut b, x) = GraphBuilder::new("point", [3, 1, 1]).unwrap();
    let bn = b.add("bn", norm(3), &[x]).unwrap();
    let mut point = self::network(b.finish(bn));
    let before = point.params().to_weights().unwrap();
    let message = point.train(&random(&[1, 3, 1, 1], 1), &[], &mut rng()).unwrap_err().to_string();
    assert!(message.contains("node `bn`") && message.contains("one value per channel"), "{message}");
    assert_eq!(point.params().to_weights().unwrap(), before);
}

#[test]
fn two_runs_give_the_same_bits() {
    let run = || {
        let mut network = network(graph(false, 0.3));
        let x = batch(4, 1);
        let (outputs, tape) = network.train(&x, &[], &mut rng()).unwrap();
        let output = network.graph().output();
        let found = network.backward(tape, vec![(output, outputs.logits)], true).unwrap();
        let grads: Vec<Vec<f32>> = found.params.iter().map(|(_, grad)| grad).chain(&found.input).map(values).collect();
        (grads, network.params().to_weights().unwrap(), values(&network.eval(&x, &[]).unwrap().logits))
    };
    assert_eq!(run(), run());
}

/// Length of the difference in units of the length of `a`.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let difference = (a - b).unwrap();
    (dot(&difference, &difference) / dot(a, a)).sqrt()
}

/// `bf16` holds 8 bits: what one rounding loses is up to 2^-9 of a value, evenly spread 2^-9 /
/// sqrt(3) of it on average, and a value of this network has passed about twenty of them. Gradients
/// pass as many again, on a network without edges, at which a rounded value may fall on the other
/// side.
#[test]
fn images_stored_as_bf16_give_nearly_the_same_values_and_gradients_and_f32_comes_out() {
    let x = batch(8, 1);
    for smooth in [true, false] {
        let exact = network(graph(smooth, 0.3));
        let mut narrow = exact.clone();
        narrow.set_precision(Precision::Bf16);
        let pass = |network: &Network| {
            let taps = stages(network.graph());
            let outputs = network.clone().train(&x, &taps, &mut rng()).unwrap().0;
            let eval = network.eval(&x, &taps).unwrap();
            let all = [vec![outputs.logits, eval.logits], outputs.taps, eval.taps].concat();
            (all, named(network, &gradients(network, &x)))
        };
        let ((values, grads), (narrow_values, narrow_grads)) = (pass(&exact), pass(&narrow));
        for (value, narrow) in values.iter().zip(&narrow_values) {
            assert_eq!(narrow.dtype(), DType::F32);
            let apart = apart(value, narrow);
            assert!(apart > 0.0 && apart < 0.015, "values are {apart} apart");
        }
        for ((name, grad), (_, narrow)) in grads.iter().zip(&narrow_grads) {
            assert_eq!(narrow.dtype(), DType::F32);
            // Both shift a whole channel in front of a norm, which makes rounding of it and nothing
            // else.
            if smooth && name != "conv1.bias" && name != "bn4.bias" {
                let apart = apart(grad, narrow);
                assert!(apart < 0.03, "{name}: {apart} apart");
            }
        }
    }
}

#[test]
fn inputs_and_parameters_that_do_not_fit_are_refused_with_names() {
    let network = network(graph(false, 0.0));
    let message = network.eval(&random(&[2, 3, 10, 12], 1), &[]).unwrap_err().to_string();
    assert!(message.contains("expects a batch of [3, 12, 10], got [2, 3, 10, 12]"), "{message}");
    let empty = Tensor::zeros((0, 3, 12, 10), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(network.eval(&empty, &[]).is_err());
    let halves = batch(2, 1).to_dtype(candle_core::DType::F16).unwrap();
    assert!(network.eval(&halves, &[]).unwrap_err().to_string().contains("expects F32"));

    let (mut b, x) = GraphBuilder::new("other", [3, 12, 10]).unwrap();
    let fc = b.add("conv1", conv(3, 5, 3, 1, 1, true), &[x]).unwrap();
    let message = Network::new(b.finish(fc), network.params().clone(), &Device::Cpu).unwrap_err().to_string();
    assert!(message.contains("conv1.weight") && message.contains("expected [5, 3, 3, 3]"), "{message}");
}

#[test]
fn a_candle_variable_as_input_is_cut_off() {
    let network = network(graph(false, 0.0));
    let x = candle_core::Var::from_tensor(&batch(2, 1)).unwrap();
    let grads = network.eval(&x, &[]).unwrap().logits.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&x).is_none());
}
