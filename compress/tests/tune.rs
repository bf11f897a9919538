//! Scales and biases that are tuned by the answers in floats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use attar_compress::{
    Images, Placement, Quantised, Scales, Settings, Tuned, Tuning, correct_biases, exactness, observe, prepare,
    quantise, tune,
};
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Rewritten, generated};

const SHAPE: [usize; 3] = [3, 16, 16];

fn in_integers(scales: Scales, weight_bits: u32, all: &[Vec<f32>]) -> (Rewritten, Quantised) {
    let graph = build(&NetworkSpec::new("resnet8", 5, SHAPE)).unwrap();
    let prepared = prepare(&graph, &generated::weights(&graph, 4)).unwrap();
    let placement = Placement::of(&prepared.graph, &BTreeSet::new()).unwrap();
    let seen = Images::new(SHAPE, all).unwrap();
    let points = placement.quantised(&prepared.graph);
    let observed = observe(&prepared.graph, &prepared.weights, &points, &seen, &mut |_| {}).unwrap();
    let settings = Settings { scales, weight_bits, ..Settings::default() };
    let quantised = quantise(&prepared.graph, &prepared.weights, &placement, &observed, settings).unwrap();
    (prepared, quantised)
}

fn images(count: u64) -> Vec<Vec<f32>> {
    (0..count).map(|seed| generated::input([1, 3, 16, 16], seed)).collect()
}

#[test]
fn answers_come_closer_to_those_in_floats_and_exact_networks_stay_exact() {
    let all = images(32);
    let seen = Images::new(SHAPE, &all).unwrap();
    for scales in [Scales::Free, Scales::Exact] {
        let (Rewritten { graph, weights, .. }, quantised) = in_integers(scales, 3, &all);
        let mut corrected = quantised.clone();
        correct_biases(&graph, &weights, &mut corrected, &seen, &mut |_| {}).unwrap();
        let how = Tuning { steps: 120, batch: 8, ..Tuning::default() };
        let tuned = |mut quantised: Quantised| {
            let found = tune(&graph, &weights, &mut quantised, &seen, how, &mut |_| {}).unwrap();
            (found, quantised)
        };
        let (found, made) = tuned(corrected.clone());
        assert!(found.after < 0.95 * found.before && found.step > 0, "{scales:?}: {found:?}");
        let (again, same) = tuned(corrected.clone());
        assert_eq!((again, &same.rewritten.weights), (found, &made.rewritten.weights), "same images, same bits");
        let Rewritten { graph, weights, .. } = made.rewritten;
        let is_moved = |suffix: &str| {
            weights
                .0
                .iter()
                .any(|(name, array)| name.ends_with(suffix) && corrected.rewritten.weights.get(name).unwrap() != array)
        };
        for suffix in [".bias", ".q.scale", ".weight_scale"] {
            // A power of two moves by a whole octave or not at all.
            let may_stay = scales == Scales::Exact && suffix != ".bias";
            assert!(is_moved(suffix) || may_stay, "{scales:?}: {suffix}");
        }
        assert_eq!(exactness(&graph, &weights).unwrap().is_empty(), scales == Scales::Exact);
    }
}

#[test]
fn what_is_no_better_is_not_kept() {
    let all = images(8);
    let seen = Images::new(SHAPE, &all).unwrap();
    let (Rewritten { graph, weights, .. }, mut quantised) = in_integers(Scales::Free, 8, &all);
    let before = quantised.rewritten.weights.clone();
    // Steps so long that nothing is left of the network.
    let how = Tuning { steps: 2, batch: 2, scale_rate: 8.0, bias_rate: 50.0, ..Tuning::default() };
    let found = tune(&graph, &weights, &mut quantised, &seen, how, &mut |_| {}).unwrap();
    assert_eq!(found, Tuned { after: found.before, step: 0, ..found });
    assert_eq!(quantised.rewritten.weights, before);
    for (how, said) in [(Tuning { steps: 0, ..how }, "above 0"), (Tuning { bias_rate: f64::NAN, ..how }, "above 0")] {
        let error = tune(&graph, &weights, &mut quantised, &seen, how, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let few = Images::new(SHAPE, &all[..7]).unwrap();
    let error = tune(&graph, &weights, &mut quantised, &few, how, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("8 or more"), "{error}");
}
