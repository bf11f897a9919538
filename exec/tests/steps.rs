//! Gradients of the scales of quantisers through a network, against the closed form of learned step sizes.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use std::collections::BTreeSet;

use attar_exec::{Context, Network, Params};
use attar_measures::random::Stream;
use attar_models::op::{Add, Dequantize, Flatten, Pool2d, Quantize};
use attar_models::{Array, Graph, GraphBuilder, Op, Weights};
use candle_core::{Device, Tensor};

const SCALE: f32 = 0.171;
const ZERO: f32 = 90.0;

/// The bytes of an image go to a pool and past it, and both are dequantised.
fn network(context: &Context) -> Network {
    let (mut builder, x) = GraphBuilder::new("steps", [3, 6, 4]).unwrap();
    let q = builder.add("q", Op::Quantize(Quantize { signed: false, high: Some(160) }), &[x]).unwrap();
    let pool = builder.add("pool", Op::MaxPool2d(Pool2d::new([1, 1], [1, 1], [0, 0])), &[q]).unwrap();
    let [a, b] =
        [("a", q), ("b", pool)].map(|(name, at)| builder.add(name, Op::Dequantize(Dequantize {}), &[at]).unwrap());
    let sum = builder.add("sum", Op::Add(Add {}), &[a, b]).unwrap();
    let end = builder.add("end", Op::Flatten(Flatten {}), &[sum]).unwrap();
    let graph: Graph = builder.finish(end);
    let mut weights = Weights::default();
    for node in ["q", "a", "b"] {
        for (suffix, value) in [("scale", SCALE), ("zero_point", ZERO)] {
            weights.0.insert(format!("{node}.{suffix}"), Array::new(vec![1], vec![value]).unwrap());
        }
    }
    let params = Params::from_weights(&graph, &weights, context).unwrap();
    Network::new(graph, params, context).unwrap()
}

fn image(seed: u64, most: f32) -> Tensor {
    let mut rng = Stream::of_number(seed);
    let values: Vec<f32> = (0..2 * 3 * 6 * 4).map(|_| (rng.unit_f32() * 2.0 - 1.0) * most).collect();
    Tensor::from_vec(values, (2, 3, 6, 4), &Device::Cpu).unwrap()
}

/// Esser et al. 2020 (arXiv 1902.08153), equation 3: of a step `s`, `round(x / s) - x / s` inside and the end outside. Both
/// dequantisers have the same step, so each value counts twice.
#[test]
fn a_quantiser_and_its_readers_add_up_to_a_learned_step() {
    let (x, dy) = (image(1, 30.0), image(2, 1.0));
    let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (below, above) = (-ZERO, 160.0 - ZERO);
    let slope = |x: &f32| match x / SCALE {
        steps if steps <= below => below,
        steps if steps >= above => above,
        steps => steps.round_ties_even() - steps,
    };
    let expected: f32 = flat(&x).iter().zip(flat(&dy)).map(|(x, dy)| 2.0 * dy * slope(x)).sum();
    for context in [Context::new(&Device::Cpu), Context::composed(&Device::Cpu)] {
        let mut network = network(&context);
        let run = |network: &mut Network| {
            let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1)).unwrap();
            let dy = dy.reshape(outputs.logits.dims()).unwrap();
            network.backward(tape, vec![(network.graph().output(), dy)], true).unwrap()
        };
        assert!(run(&mut network).params.is_empty(), "nobody asked for them");
        network.learn_scales();
        let found = run(&mut network);
        let scales: Vec<f32> = found.params.iter().map(|(_, gradient)| flat(gradient)[0]).collect();
        assert_eq!(scales.len(), 3);
        let sum: f32 = scales.iter().sum();
        assert!((sum - expected).abs() < 1e-3 * expected.abs().max(1.0), "{sum}, expected {expected}");
        let through = |x: &f32| (x / SCALE > below) && (x / SCALE < above);
        for ((x, dy), dx) in flat(&x).iter().zip(flat(&dy)).zip(flat(&found.input.unwrap())) {
            let expected = if through(x) { 2.0 * dy } else { 0.0 };
            assert!((dx - expected).abs() < 1e-5, "{x}: {dx}, expected {expected}");
        }
        network.fix(&BTreeSet::from(["q.scale".to_owned(), "b.scale".to_owned()]));
        let slots = run(&mut network).params;
        let names: Vec<&str> = slots.iter().map(|(slot, _)| network.params().name(slot)).collect();
        assert_eq!(names, ["a.scale"]);
    }
}
