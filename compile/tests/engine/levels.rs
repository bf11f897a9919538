//! Every level computes what the reference does, and that is what the network means.

use std::collections::BTreeSet;

use attar_edge::{Alone, Input, Level, Model, reference};
use attar_models::op::{Add, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, Pool2d};
use attar_models::{Activation, GraphBuilder, NodeId, Op, generated};

use crate::networks::{How, Network, Random, network};
use crate::tried::{exact, scales};
use crate::{bits, compiled, levels, logits, oracle};

const NETWORKS: u64 = 120;

fn each(how: How, mut check: impl FnMut(u64, &Network, &[u8], &[f32])) {
    for seed in 0..NETWORKS {
        let network = network(1000 * how as u64 + seed, how);
        let plan = compiled(&network);
        assert!(plan == compiled(&network), "seed {seed}: other bytes the second time");
        let image = Random(seed).floats(network.elements());
        check(seed, &network, &plan, &image);
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

fn largest(logits: &[f32]) -> f64 {
    furthest(logits, &vec![0.0; logits.len()])
}

#[test]
fn bytes_are_the_references_to_the_bit() {
    are_the_references_to_the_bit(How::Bytes);
}

/// The last layer makes floats of its sums, whose bits are defined as bytes are.
#[test]
fn logits_of_a_quantised_layer_are_the_references_to_the_bit() {
    are_the_references_to_the_bit(How::Logits);
    each(How::Logits, |seed, _, plan, _| {
        let model = Model::load(plan).unwrap();
        let (tensors, steps): (Vec<_>, Vec<_>) = (model.tensors().collect(), model.steps().collect());
        assert!(scales(&tensors, &steps[steps.len() - 2]), "seed {seed}: {steps:?}");
    });
}

fn are_the_references_to_the_bit(how: How) {
    let mut all_integers = 0;
    each(how, |seed, network, plan, image| {
        let expected = reference::run(&Model::load(plan).unwrap(), Input::Floats(image)).unwrap();
        let meant: Vec<f32> = oracle::run(network, image).into_iter().map(|x| x as f32).collect();
        // A value next to half a step may go the other way, and carry some others with it.
        let (apart, most) = (furthest(&expected, &meant), largest(&meant).max(1.0));
        assert!(apart <= 0.12 * most, "seed {seed}: {expected:?}, meant {meant:?}");
        if exact(plan) {
            all_integers += 1;
            for level in levels() {
                assert_eq!(bits(&logits(plan, level, Input::Floats(image))), bits(&expected), "seed {seed}, {level}");
            }
        }
    });
    assert!(all_integers > NETWORKS * 3 / 4, "only {all_integers} of {NETWORKS} networks became integers alone");
}

#[test]
fn floats_are_the_references_to_rounding() {
    each(How::Floats, |seed, network, plan, image| {
        let meant: Vec<f32> = oracle::run(network, image).into_iter().map(|x| x as f32).collect();
        let bound = 2e-5 * largest(&meant).max(1.0);
        let expected = reference::run(&Model::load(plan).unwrap(), Input::Floats(image)).unwrap();
        assert!(furthest(&expected, &meant) < bound, "seed {seed}: {expected:?}, meant {meant:?}");
        for level in levels() {
            let found = logits(plan, level, Input::Floats(image));
            assert!(furthest(&found, &meant) < bound, "seed {seed}, {level}: {found:?}, meant {meant:?}");
        }
    });
}

#[test]
fn mixed_plans_stay_near_what_they_mean() {
    each(How::Mixed, |seed, network, plan, image| {
        let meant: Vec<f32> = oracle::run(network, image).into_iter().map(|x| x as f32).collect();
        for level in levels() {
            let found = logits(plan, level, Input::Floats(image));
            let most = largest(&meant).max(1.0);
            assert!(furthest(&found, &meant) <= 0.12 * most, "seed {seed}, {level}: {found:?}, meant {meant:?}");
        }
    });
}

/// A layer's value under two names, one of which goes through a function or a sum: the other must still be there.
#[test]
fn what_two_nodes_read_is_not_made_part_of_one() {
    let add =
        |builder: &mut GraphBuilder, name: &str, op: Op, inputs: &[NodeId]| builder.add(name, op, inputs).unwrap();
    for of_sum in [false, true] {
        let (mut builder, input) = GraphBuilder::new("shared", [3, 6, 5]).unwrap();
        let b = &mut builder;
        let layer = add(b, "layer", Op::Conv2d(Conv2d { bias: true, ..Conv2d::square(3, 3, 3, 1, 1) }), &[input]);
        let name = add(b, "name", Op::Dropout(Dropout { p: 0.5 }), &[layer]);
        let made = if of_sum {
            add(b, "sum", Op::Add(Add {}), &[name, input])
        } else {
            add(b, "function", Op::Activation(Activation::Relu), &[name])
        };
        let both = add(b, "both", Op::Concat(Concat { inputs: 2 }), &[layer, made]);
        let output = add(b, "row", Op::GlobalAvgPool(GlobalAvgPool {}), &[both]);
        let graph = builder.finish(output);
        let weights = generated::weights(&graph, 3);
        let network = Network { graph, weights };
        let image = Random(1).floats(network.elements());
        let meant: Vec<f32> = oracle::run(&network, &image).into_iter().map(|x| x as f32).collect();
        for level in levels() {
            let found = logits(&compiled(&network), level, Input::Floats(&image));
            assert!(furthest(&found, &meant) < 1e-5, "{level}: {found:?}, meant {meant:?}");
        }
    }
}

/// A network of one operation, behind a convolution; of a row of features where `row` says so.
fn alone(op: &Op, shapes: &[Vec<usize>], row: bool) -> Option<Network> {
    let (mut builder, input) = GraphBuilder::new("one", [3, 5, 6]).unwrap();
    let channels = shapes[0][0];
    let conv = Conv2d { bias: true, ..Conv2d::square(3, channels, 3, 1, 1) };
    let mut value = builder.add("before", Op::Conv2d(conv), &[input]).ok()?;
    if row {
        value = builder.add("row", Op::GlobalAvgPool(GlobalAvgPool {}), &[value]).ok()?;
    }
    // Second operands with axes of 1 are means of the first.
    let mut of = |at: usize, shape: &Vec<usize>| {
        let means = Op::AvgPool2d(Pool2d::new([5, 6], [1, 1], [0, 0]));
        let spread = !row && at > 0 && shape[1..] == [1, 1];
        if spread { builder.add("part", means, &[value]).unwrap() } else { value }
    };
    let inputs: Vec<NodeId> = shapes.iter().enumerate().map(|(at, shape)| of(at, shape)).collect();
    let made = builder.add("op", op.clone(), &inputs).ok()?;
    let row = builder.add("end", Op::Flatten(Flatten {}), &[made]).ok()?;
    let graph = builder.finish(row);
    let weights = generated::weights(&graph, 5);
    Some(Network { graph, weights })
}

/// But for what works on whole numbers.
#[test]
fn every_operation_is_compiled_and_computed() {
    let mut count = 0;
    for (op, shapes) in Op::examples() {
        if matches!(op, Op::Input(_) | Op::Quantize(_) | Op::Dequantize(_)) {
            continue;
        }
        let networks = [false, true].into_iter().filter_map(|row| alone(&op, &shapes, row));
        for network in networks {
            count += 1;
            let image = Random(count).floats(network.elements());
            let meant: Vec<f32> = oracle::run(&network, &image).into_iter().map(|x| x as f32).collect();
            let bound = 1e-5 * largest(&meant).max(1.0);
            for level in levels() {
                let found = logits(&compiled(&network), level, Input::Floats(&image));
                assert!(furthest(&found, &meant) < bound, "{op:?}, {level}: {found:?}, meant {meant:?}");
            }
        }
    }
    assert!(count > 25, "only {count}");
}

#[test]
fn every_kind_of_step_is_among_them() {
    let mut seen = BTreeSet::new();
    for how in [How::Floats, How::Bytes, How::Mixed, How::Logits] {
        each(how, |_, _, plan, _| seen.extend(Model::load(plan).unwrap().steps().map(|step| step.what())));
    }
    assert_eq!(seen.len(), 15, "{seen:?}");
}

#[test]
fn what_is_in_memory_before_does_not_matter() {
    for (seed, how) in (0..40).flat_map(|seed| [How::Floats, How::Bytes, How::Logits].map(|how| (seed, how))) {
        let network = network(seed, how);
        let plan = compiled(&network);
        let image = Random(seed).floats(network.elements());
        let model = Model::load(&plan).unwrap();
        for level in levels() {
            let memory = model.memory(level).unwrap();
            // 0xff makes floats that are no numbers.
            let answers = [0u8, 0xff, 0x5a].map(|before| {
                let (mut packed, mut arena) = (vec![before; memory.packed], vec![before; memory.arena]);
                let engine = model.prepare(level, &mut packed).unwrap();
                let mut logits = vec![0.0; model.header().classes as usize];
                let mut steps = 0;
                let input = Input::Floats(&image);
                engine.run_watched(input, &mut logits, &mut arena, &Alone, &mut |_| steps += 1).unwrap();
                assert_eq!(steps, model.steps().count());
                bits(&logits)
            });
            assert!(answers.iter().all(|answer| *answer == answers[0]), "seed {seed}, {level}");
        }
    }
}

#[test]
fn the_best_level_is_among_those_that_are_there() {
    assert!(levels().any(|level| level == Level::best()) && levels().any(|level| level == Level::Scalar));
}
