//! The shipped `paper-code` recipes say what the authors' code does, epoch by epoch, and fit the networks they name.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions, not in what they share

use attar_data::{Augment, Source};
use attar_distill::knots::Knots;
use attar_distill::losses::{BuildContext, LossSpec};
use attar_distill::optim::OptimiserSpec;
use attar_models::Outline;
use attar_models::zoo::{NetworkSpec, build};
use attar_pixels::Preprocessing;
use serde::de::DeserializeOwned;
use toml::Value;

const CIFAR: &str = include_str!("../../recipes/cd-gkd-edt-cifar100.toml");
const IMAGENET: &str = include_str!("../../recipes/cd-gkd-edt-imagenet.toml");

fn get<T: DeserializeOwned>(value: &Value) -> T {
    value.clone().try_into().unwrap()
}

fn recipe(text: &str) -> Value {
    let recipe = Value::Table(text.parse().unwrap());
    get::<Source>(&recipe["data"]["source"]);
    get::<Vec<Augment>>(&recipe["data"]["augment"]);
    get::<Preprocessing>(&recipe["data"]["preprocessing"]).check().unwrap();
    let teacher = &recipe["teachers"][0];
    assert_eq!(teacher["bn"].as_str(), Some("batch"));
    assert_eq!(teacher["from"]["preprocessing"], recipe["data"]["preprocessing"]);
    recipe
}

fn loss<'a>(recipe: &'a Value, name: &str) -> &'a Value {
    let found = |loss: &&Value| loss["name"].as_str() == Some(name);
    recipe["losses"].as_array().unwrap().iter().find(found).unwrap()
}

fn network(section: &Value, classes: i64, size: i64) -> Outline {
    let mut spec = section.as_table().unwrap().clone();
    spec.insert("classes".to_owned(), Value::Integer(classes));
    spec.insert("input".to_owned(), Value::Array([3, size, size].map(Value::Integer).to_vec()));
    Outline::from(&build(&get::<NetworkSpec>(&Value::Table(spec))).unwrap())
}

/// Every weight and the learning rate at the start and the end of every epoch.
fn follows(recipe: &Value, epochs: u32, expected: impl Fn(u32) -> [f64; 4]) {
    let weight = |name: &str| get::<Knots>(&loss(recipe, name)["weight"]);
    let curves = [get(&recipe["train"]["learning_rate"]), weight("ce"), weight("cd"), weight("gkd")];
    assert_eq!(recipe["train"]["epochs"].as_integer(), Some(i64::from(epochs)));
    for epoch in 1..=epochs {
        for moment in [0.0, 0.999] {
            for (curve, expected) in curves.iter().zip(expected(epoch)) {
                let value = curve.value(f64::from(epoch) + moment, f64::from(epochs));
                assert!((value - expected).abs() < 1e-12, "epoch {epoch}: {value}, expected {expected}");
            }
        }
    }
}

/// Connectors with ReLU at four stages, although no channel count differs.
fn fits(recipe: &Value, classes: i64, size: i64, channels: [usize; 4]) {
    let student = network(&recipe["student"]["network"], classes, size);
    let teacher = [network(&recipe["teachers"][0]["from"]["network"], classes, size)];
    for name in ["ce", "cd", "gkd"] {
        let taps = get::<LossSpec>(&loss(recipe, name)["loss"])
            .build(&BuildContext { name, student: &student, teachers: &teacher, logits: &[], samples: 1, seed: 0 })
            .unwrap()
            .taps();
        if name != "cd" {
            assert!(taps.student.is_empty());
            continue;
        }
        assert_eq!(taps.student.len(), 4);
        for (tap, expected) in taps.student.iter().zip(channels) {
            let graph = &tap.connector.as_ref().unwrap().graph;
            assert_eq!((graph.input_shape()[0], graph.output_shape()[0]), (expected, expected));
            let mean = graph.node(graph.output());
            assert_eq!((mean.name.as_str(), graph.node(mean.inputs[0]).name.as_str()), ("mean", "relu"));
        }
    }
}

#[test]
fn cifar100_is_the_authors_code() {
    let recipe = recipe(CIFAR);
    follows(&recipe, 200, |epoch| {
        // The scheduler steps at the end of an epoch: what has passed counts.
        let drops = [60, 120, 160].iter().filter(|milestone| epoch > **milestone).count();
        let decays = [60, 160].iter().filter(|milestone| epoch >= **milestone).count();
        let on = f64::from(u8::from(epoch > 60));
        [0.1 * 0.2_f64.powi(drops as i32), on, 6.0 * 0.9_f64.powi(decays as i32), 0.1 * on]
    });
    fits(&recipe, 100, 32, [256, 512, 1024, 2048]);
    let sgd = OptimiserSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4, no_decay_norm_and_bias: false };
    assert_eq!(get::<OptimiserSpec>(&recipe["train"]["optimiser"]), sgd);
}

#[test]
fn imagenet_is_the_authors_code() {
    let recipe = recipe(IMAGENET);
    follows(&recipe, 100, |epoch| {
        let drops = [30, 60, 90].iter().filter(|milestone| epoch > **milestone).count();
        let on = f64::from(u8::from(epoch > 30));
        [0.1 * 0.1_f64.powi(drops as i32), on, 6.0 * 0.9_f64.powi((epoch / 30) as i32), on]
    });
    fits(&recipe, 1000, 224, [64, 128, 256, 512]);
    let sgd = OptimiserSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4, no_decay_norm_and_bias: false };
    assert_eq!(get::<OptimiserSpec>(&recipe["train"]["optimiser"]), sgd);
}
