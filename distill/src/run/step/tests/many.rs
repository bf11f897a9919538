//! Gradients of several batches in one step, and parameters that stay where they are.

use super::*;

/// All norms of student and connectors by their running statistics, so that a batch of six is two batches of three.
const STILL: &str = "train.freeze=[\"*bn1\", \"*bn2\", \"*downsample.1\", \"losses.cd.*.bn\"]";

fn with(settings: &[&str]) -> Recipe {
    let mut text = PLAIN.to_owned();
    for (name, weight, loss) in LOSSES {
        text += &format!("\n[[losses]]\nname = \"{name}\"\nweight = {weight}\nloss = {loss}\n");
    }
    let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    Recipe::parse(&text, &settings).unwrap()
}

fn part(of: std::ops::Range<usize>) -> Batch {
    let whole = batch();
    Batch {
        pixels: whole.pixels[of.start * 144..of.end * 144].to_vec(),
        shape: [of.len(), 1, 12, 12],
        labels: whole.labels[of.clone()].to_vec(),
        ids: whole.ids[of].to_vec(),
    }
}

fn values(learner: &Learner) -> BTreeMap<String, Vec<f32>> {
    let weights = learner.students.gather().unwrap().to_weights().unwrap();
    weights.0.into_iter().map(|(name, array)| (name, array.into_vec::<f32>().unwrap())).collect()
}

/// One step of these batches.
fn many(learner: &mut Learner, parts: &[std::ops::Range<usize>]) -> Outcome {
    let sizes: Vec<usize> = parts.iter().map(ExactSizeIterator::len).collect();
    let mut load = |learner: &Learner, i: usize| learner.loaded_from(&[part(parts[i].clone())]);
    learner.step_of_many(&sizes, at(1), &mut load).unwrap()
}

#[test]
fn batches_of_two_and_four_make_the_step_of_a_batch_of_six() {
    let recipe = with(&[STILL, "train.clip=0.5", "train.ema=0.5"]);
    let (mut whole, mut parts) = (learner(&recipe), learner(&recipe));
    let start = values(&whole);
    let one = whole.step(&[batch()], at(1)).unwrap();
    let sum = many(&mut parts, &[0..2, 2..6]);
    assert_eq!((sum.images, sum.correct, sum.lr, sum.weights), (one.images, one.correct, one.lr, one.weights));
    assert!(one.gradient_norm > 0.5, "clipping is part of the test");
    assert!((sum.gradient_norm / one.gradient_norm - 1.0).abs() < 1e-5, "{} {}", sum.gradient_norm, one.gradient_norm);
    assert!((sum.loss / one.loss - 1.0).abs() < 1e-5, "{} {}", sum.loss, one.loss);
    let (whole, parts) = (values(&whole), values(&parts));
    for (name, expected) in &whole {
        let moved: f32 = expected.iter().zip(&start[name]).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let apart: f32 = expected.iter().zip(&parts[name]).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        assert!(apart <= 1e-4 * moved + 1e-7, "{name}: moved by {moved}, apart by {apart}");
    }
}

/// With norms of the batch the parts see other statistics: the two steps differ, as the plan says.
#[test]
fn batch_norms_see_the_small_batches() {
    let recipe = with(&[]);
    let (mut whole, mut parts) = (learner(&recipe), learner(&recipe));
    whole.step(&[batch()], at(1)).unwrap();
    many(&mut parts, &[0..3, 3..6]);
    assert_ne!(values(&whole)["bn1.running_mean"], values(&parts)["bn1.running_mean"]);
}

#[test]
fn one_batch_is_an_ordinary_step_to_the_bit() {
    let recipe = with(&[]);
    let (mut plain, mut alone) = (learner(&recipe), learner(&recipe));
    plain.step(&[batch()], at(1)).unwrap();
    many(&mut alone, std::slice::from_ref(&(0..6)));
    assert_eq!(values(&plain), values(&alone));
}

#[test]
fn gradients_pass_frozen_norms() {
    gradients_tell_slopes(&with(&[STILL]), &["", "conv1", "layer1", "layer3", "fc", "losses.cd."]);
}

#[test]
fn what_is_frozen_keeps_its_bits_and_the_rest_moves() {
    let settings = [
        "train.freeze=[\"conv1\", \"bn1\", \"layer1\"]",
        "train.ema=0.9",
        "train.optimiser={kind=\"adamw\", weight_decay=0.1}",
    ];
    let mut learner = learner(&with(&settings));
    let start = values(&learner);
    for epoch in 1..4 {
        learner.step(&[batch()], at(epoch)).unwrap();
    }
    let (end, average) = (values(&learner), learner.evaluated().unwrap().params().to_weights().unwrap());
    for (name, value) in &start {
        let frozen = ["conv1.", "bn1.", "layer1."].iter().any(|part| name.starts_with(part));
        assert_eq!(frozen, end[name] == *value, "{name}");
        if frozen {
            assert_eq!(average.0[name].f32().unwrap(), *value, "the average of {name}");
        }
    }
}

#[test]
fn a_factor_multiplies_the_learning_rate_of_what_it_names() {
    let plain = with(&["train.learning_rate=0.1"]);
    let factors = "train.learning_rate_factors=[{match=\"*\", factor=0.5}, {match=\"fc\", factor=2.0}]";
    let (mut one, mut other) = (learner(&plain), learner(&with(&["train.learning_rate=0.1", factors])));
    let start = values(&one);
    one.step(&[batch()], at(1)).unwrap();
    other.step(&[batch()], at(1)).unwrap();
    let (one, other) = (values(&one), values(&other));
    for (name, factor) in [("fc.weight", 2.0), ("conv1.weight", 0.5), ("losses.cd.layer1.conv.weight", 0.5)] {
        for ((start, one), other) in start[name].iter().zip(&one[name]).zip(&other[name]) {
            assert!((factor * (one - start) - (other - start)).abs() < 1e-6, "{name}: {start} {one} {other}");
        }
    }
}
