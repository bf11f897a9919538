//! Every loss teaches: thirty steps on 64 synthetic images bring it below 0.8 of where it began.

use std::sync::OnceLock;

use attar_exec::{Context, Network, Params};
use attar_models::zoo::{NetworkSpec, build};
use attar_models::{Graph, Outline, Weights};
use candle_core::Device;

use super::*;
use crate::losses;
use crate::plan::{KnownTeacher, Participants, taps_of};
use crate::recipe::{PLAIN, Recipe, TeacherNorm};
use crate::run::step::teachers::RunningTeacher;
use crate::teacher::ZooTeacher;

/// Classes, and edge of the images.
const CLASSES: usize = 4;
const SIZE: usize = 8;
const STEPS: usize = 30;

/// How a loss is tried.
struct Case {
    kind: &'static str,
    /// Its settings.
    settings: &'static str,
    weight: f64,
}

const fn alone(kind: &'static str, settings: &'static str) -> Case {
    Case { kind, settings, weight: 1.0 }
}

impl Case {
    const fn weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }
}

/// One for each kind of loss there is.
const CASES: &[Case] = &[
    alone("cross-entropy", ""),
    alone("kd", "temperature = 2.0"),
    alone("channel", ""),
    alone("fitnets", ""),
    alone("at", "").weight(100.0),
    alone("sp", "").weight(100.0),
    alone("rkd", ""),
    alone("pkt", "").weight(1000.0),
    alone("nst", "").weight(10.0),
    alone("nst", "kernel = \"gaussian\"").weight(10.0),
    alone("vid", ""),
    alone("wkd-f", "").weight(0.05),
    alone("kd", "temperature = 2.0\nwrong = \"swap\"\nstandardise = true"),
    alone("dtd", "temperature = 1.5\ndynamic = { by = \"flsw\", beta = 0.5 }\nwrong = \"smooth\""),
    alone("dkd", "").weight(0.1),
    alone("nkd", ""),
    alone("ttm", "gamma = 0.5\nweighted = true"),
    alone("dist", ""),
    alone("wkd-l", "cost = \"equal\"").weight(0.1),
    alone("mlkd", "").weight(0.02), // its five temperatures squared make large steps
    alone("pld", ""),
    alone("ps-kd", ""),
    alone("tf-kd", "temperature = 0.3"),
    alone("meal", ""),
    alone("meal", "discriminator = { game = \"joint\" }"),
    alone("meal", "discriminator = { game = \"adversarial\", weight = 0.1 }"),
    alone("reviewkd", ""),
    alone("crd", "dim = 16\nnegatives = 16").weight(0.1),
    alone("crd", "dim = 16\nin_batch = true"),
    alone("feed", "").weight(100.0),
    alone("gacd", "dim = 16\nqueue = 0"),
];

#[test]
fn every_loss_learns() {
    let missing: Vec<&str> = losses::catalog()
        .iter()
        .map(|entry| entry.kind)
        .filter(|kind| !CASES.iter().any(|case| case.kind == *kind))
        .collect();
    assert!(missing.is_empty(), "without a learning test: {missing:?}");
    let mut lazy = Vec::new();
    for case in CASES {
        let (first, last) = learn(case);
        println!("{:<14} {:<24} {first:>10.4} -> {last:>10.4}", case.kind, case.settings);
        if last.is_nan() || last >= 0.8 * first {
            lazy.push(format!("{} {}: {first} -> {last}", case.kind, case.settings));
        }
    }
    assert!(lazy.is_empty(), "{lazy:#?}");
}

/// The loss at the first and at the last step.
fn learn(case: &Case) -> (f64, f64) {
    let entry = losses::catalog().iter().find(|entry| entry.kind == case.kind).unwrap();
    let teachers: &[u64] = match entry.teachers {
        losses::Teachers::None => &[],
        losses::Teachers::One => &[1],
        losses::Teachers::Many => &[1, 2],
    };
    let losses = format!(
        "[[losses]]\nname = \"own\"\nweight = {}\n[losses.loss]\nkind = \"{}\"\n{}\n",
        case.weight, case.kind, case.settings
    );
    let mut learner = learner(&losses, teachers);
    let first_layer = |learner: &Learner| learner.student().params().get("conv1.weight").unwrap().clone();
    let before = first_layer(&learner);
    let values: Vec<f64> = steps(&mut learner).map(|outcome| outcome.terms["own"]).collect();
    // There is no weight decay: what connectors learn on their own would leave the student as it was.
    let moved = (first_layer(&learner) - before).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(moved > 0.0, "{}: the student stands still", case.kind);
    (values[0], values[STEPS - 1])
}

/// Thirty steps, each an epoch of its own.
fn steps(learner: &mut Learner) -> impl Iterator<Item = Outcome> + '_ {
    (1..=STEPS).map(|epoch| learner.step(&[batch()], Position { epoch, step: 0, part: 0, steps_per_epoch: 1 }).unwrap())
}

fn recipe(losses: &str) -> Recipe {
    let settings = ["seed=3", "train.batch=64", "train.learning_rate=0.05", "train.optimiser.momentum=0.9"];
    let epochs = format!("train.epochs={STEPS}");
    let settings: Vec<String> = settings.into_iter().map(str::to_owned).chain([epochs]).collect();
    Recipe::parse(&format!("{PLAIN}{losses}"), &settings).unwrap()
}

fn graph(name: &str) -> Graph {
    build(&NetworkSpec::new(name, CLASSES, [1, SIZE, SIZE])).unwrap()
}

fn learner(losses: &str, teachers: &[u64]) -> Learner {
    let recipe = recipe(losses);
    let (student, teacher) = (graph("resnet8"), graph("resnet14"));
    let mut everybody = Participants::plain(&student, &[], 64, recipe.seed);
    let known = |seed: &u64| KnownTeacher::whole(format!("t{seed}"), Outline::from(&teacher));
    everybody.teachers.extend(teachers.iter().map(known));
    let losses = recipe.losses.iter().map(|section| everybody.fit(section).unwrap()).collect();
    let running = everybody.teachers.ids().zip(teachers).map(|(id, seed)| {
        let (taps, norm) = (taps_of(&losses, id), TeacherNorm::Running);
        let zoo = ZooTeacher::new(&teacher, trained(*seed), norm, &taps, &Context::new(&Device::Cpu)).unwrap();
        RunningTeacher::plain(format!("t{seed}"), Box::new(zoo))
    });
    let running = Teachers(running.collect());
    let params = Params::init(&student, recipe.seed, "", &Device::Cpu).unwrap();
    let network = Network::new(student, params, &Device::Cpu).unwrap();
    let parts = Parts::plain(network, running, losses, recipe.data.preprocessing.clone());
    Learner::new(&recipe.train, recipe.seed, parts).unwrap()
}

/// Weights of a teacher that has seen the images.
fn trained(seed: u64) -> &'static Weights {
    static TRAINED: [OnceLock<Weights>; 2] = [const { OnceLock::new() }; 2];
    TRAINED[seed as usize - 1].get_or_init(|| {
        let recipe = recipe("[[losses]]\nname = \"ce\"\nweight = 1.0\nloss = { kind = \"cross-entropy\" }");
        let graph = graph("resnet14");
        let everybody = Participants::plain(&graph, &[], 64, seed);
        let losses = recipe.losses.iter().map(|section| everybody.fit(section).unwrap()).collect();
        let params = Params::init(&graph, 100 + seed, "", &Device::Cpu).unwrap();
        let network = Network::new(graph, params, &Device::Cpu).unwrap();
        let parts = Parts::plain(network, Teachers::default(), losses, recipe.data.preprocessing.clone());
        let mut learner = Learner::new(&recipe.train, seed, parts).unwrap();
        let last = steps(&mut learner).last().unwrap();
        assert!(last.correct >= 60, "the teacher of the tests got {} of 64", last.correct);
        learner.student().params().to_weights().unwrap()
    })
}

/// A bright bar in one of four places, in noise.
fn batch() -> Batch {
    let mut pixels = Vec::with_capacity(64 * SIZE * SIZE);
    for i in 0..64usize {
        let noise = |at: usize| ((i * 7919 + at * 104_729) % 1013) as f32 / 1013.0 - 0.5;
        let bar = |at: usize| if at / (2 * SIZE) == i % CLASSES { 1.0 } else { 0.0 };
        pixels.extend((0..SIZE * SIZE).map(|at| noise(at) + bar(at)));
    }
    let labels = (0..64).map(|i| (i % CLASSES) as u32).collect();
    Batch { pixels, shape: [64, 1, SIZE, SIZE], labels, ids: (0..64).collect() }
}
