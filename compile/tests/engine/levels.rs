//! Every level computes what the reference does, and that is what the network means.

use std::collections::BTreeSet;

use attar_edge::{Alone, Input, Level, Model, reference};

use crate::networks::{How, Network, Random, network};
use crate::tried::exact;
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
    let mut all_integers = 0;
    each(How::Bytes, |seed, network, plan, image| {
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

#[test]
fn every_kind_of_step_is_among_them() {
    let mut seen = BTreeSet::new();
    for how in [How::Floats, How::Bytes, How::Mixed] {
        each(how, |_, _, plan, _| seen.extend(Model::load(plan).unwrap().steps().map(|step| step.what())));
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
}

#[test]
fn what_is_in_memory_before_does_not_matter() {
    for (seed, how) in (0..40).flat_map(|seed| [(seed, How::Floats), (seed, How::Bytes)]) {
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
