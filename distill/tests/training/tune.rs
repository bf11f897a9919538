//! Fine-tuning and what goes with it: weights to start from, frozen layers, patience, accumulation, rare classes.

use std::collections::BTreeMap;
use std::path::Path;

use attar_distill::run::Receipt;
use attar_formats::{read, write};
use attar_models::{Array, Weights};

use super::resume::{assert_equal, contents};
use super::scene::Scene;

/// Batch norms that keep their statistics.
const STILL: &str = "train.freeze=[\"*bn*\", \"*downsample*\"]";

fn weights(path: &Path) -> Weights {
    read::any(path).unwrap().weights
}

fn save(path: &Path, weights: &Weights) {
    write::safetensors(path, weights, &BTreeMap::new()).unwrap();
}

fn last(scene: &Scene, run: &str) -> Weights {
    weights(&scene.run(run).join("checkpoints/last/model.safetensors"))
}

/// A run without a step of learning worth the name: what it starts from is what it ends with.
fn standing(scene: &Scene, run: &str, more: &[&str]) -> attar_distill::Result<Receipt> {
    let settings = ["train.learning_rate=0", STILL];
    scene.start("teacher", run, &[&settings[..], more].concat())
}

/// The notes of a plan, or its error.
fn said(scene: &Scene, recipe: &str, settings: &[&str]) -> String {
    match scene.plan(recipe, settings) {
        Ok(plan) => plan.notes().collect::<Vec<_>>().join("\n"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn weights_of_other_classes_start_all_but_the_head() {
    let scene = Scene::new();
    let model = scene.run("teacher").join("checkpoints/best/model.safetensors");
    let mut foreign = weights(&model);
    foreign.0.insert("fc.weight".to_owned(), Array::new::<f32>(vec![1000, 64], vec![0.5; 64_000]).unwrap());
    foreign.0.insert("fc.bias".to_owned(), Array::new::<f32>(vec![1000], vec![0.5; 1000]).unwrap());
    foreign.0 = foreign.0.into_iter().map(|(name, array)| (format!("backbone.{name}"), array)).collect();
    let path = scene.root().join("thousand.safetensors");
    save(&path, &foreign);
    let message = said(&scene, "teacher", &["student.init=thousand.safetensors"]);
    assert!(message.contains("fc.weight is [1000, 64]") && message.contains("head = \"new\""), "{message}");

    let new = "student.init={ path = \"thousand.safetensors\", head = \"new\" }";
    let notes = said(&scene, "teacher", &[new]);
    assert!(notes.contains("prefix `backbone.`") && notes.contains("fc.weight and fc.bias start anew"), "{notes}");
    standing(&scene, "tuned", &["train.epochs=1", new]).unwrap();
    standing(&scene, "fresh", &["train.epochs=1"]).unwrap();
    let (tuned, fresh, foreign) = (last(&scene, "tuned"), last(&scene, "fresh"), weights(&model));
    assert_eq!(tuned.0["layer2.0.conv1.weight"], foreign.0["layer2.0.conv1.weight"]);
    assert_ne!(tuned.0["layer2.0.conv1.weight"], fresh.0["layer2.0.conv1.weight"]);
    assert_eq!(tuned.0["fc.weight"], fresh.0["fc.weight"], "the head has the values that it has without `init`");
}

#[test]
fn classes_of_the_weights_go_by_name() {
    let scene = Scene::new();
    let teacher = scene.run("teacher");
    let own = weights(&teacher.join("checkpoints/best/model.safetensors"));
    let turned = "data.source.classes=[\"bottom\", \"top\", \"middle\"]";
    let init = "student.init=runs/teacher";
    // The directory of a run, and the file in it: its card is found.
    for init in [init, "student.init=runs/teacher/checkpoints/best/model.safetensors"] {
        assert_eq!(said(&scene, "teacher", &[init]), "");
        let notes = said(&scene, "teacher", &[init, turned]);
        assert!(notes.contains("student.from: the same classes in another order"), "{notes}");
    }
    standing(&scene, "turned", &["train.epochs=1", init, turned]).unwrap();
    let (row, rows) =
        (|i: usize| own.0["fc.weight"].f32().unwrap()[64 * i..64 * (i + 1)].to_vec(), last(&scene, "turned"));
    assert_eq!(rows.0["fc.weight"].f32().unwrap(), [row(2), row(0), row(1)].concat());
    // Three others by name are other classes, however many there are.
    let others = "data.source.classes=[\"a\", \"b\", \"c\"]";
    let message = said(&scene, "teacher", &[init, others]);
    assert!(message.contains("student.from: the weights are of other classes"), "{message}");
    assert!(message.contains("3 of 3 classes") && message.contains("head = \"new\""), "{message}");
    let new = "student.init={ path = \"runs/teacher\", head = \"new\" }";
    assert!(said(&scene, "teacher", &[new, others]).contains("start anew"));
    // A file of one's own has no card, wherever it lies.
    save(&teacher.join("copy.safetensors"), &own);
    assert_eq!(said(&scene, "teacher", &["student.init=runs/teacher/copy.safetensors", others]), "");
    std::fs::remove_file(teacher.join("card.json")).unwrap();
    let message = said(&scene, "teacher", &[init]);
    assert!(message.contains("not finished") && message.contains("checkpoints/last/model.safetensors"), "{message}");
}

#[test]
fn a_teacher_of_one_of_several_dictionaries_is_named_by_key() {
    let scene = Scene::new();
    let own = weights(&scene.run("teacher").join("checkpoints/best/model.safetensors"));
    let both = ["model", "ema"].map(|key| own.0.iter().map(move |(name, a)| (format!("{key}.{name}"), a.clone())));
    save(&scene.root().join("both.safetensors"), &Weights(both.into_iter().flatten().collect()));
    let from = |more: &str| {
        format!(
            "teachers.big.from={{ kind = \"weights\", path = \"both.safetensors\", network = {{ name = \"resnet8\" }}, \
             preprocessing = {{ channels = 1, mean = [0.3], std = [0.25] }}{more} }}"
        )
    };
    let message = said(&scene, "student", &[&from("")]);
    assert!(message.contains("`ema` and `model` fit by themselves: `key = \"ema\"`"), "{message}");
    assert!(scene.plan("student", &[&from(", key = \"ema\"")]).is_ok());
    let message = said(&scene, "student", &[&from(", key = \"emma\"")]);
    assert!(message.contains("begins with `emma.`"), "{message}");
}

/// Everything of this file at once, stopped on the way, ends with the bits of the run that was not.
#[test]
fn a_resumed_run_of_all_of_it_has_the_same_bits() {
    let scene = Scene::new();
    let settings = [
        "train.accumulate=3",
        "train.freeze=[\"conv1\", \"bn1\", \"layer1\"]",
        "train.learning_rate_factors=[{ match = \"fc\", factor = 3.0 }]",
        "train.optimiser={ kind = \"adamw\" }",
        "train.checkpoint_every_steps=2",
        "train.patience=9",
        "data.sampling=balanced",
        "losses.ce.loss.class_weights={ top = 2.0 }",
        "losses.gkd.loss={ kind = \"kd\", temperature = 2.0 }",
    ];
    let plan = scene.plan("student", &settings).unwrap();
    // 54 training images are seven batches of 8, those three steps.
    assert_eq!(plan.steps_per_epoch(), 3);
    let notes = plan.notes().collect::<Vec<_>>().join("\n");
    assert!(notes.contains("3 batches of 8 images; ") && notes.contains("see 8 images at a time, not 24"), "{notes}");
    assert!(plan.describe().to_string().contains("4 epochs x 3 steps of 3 batches of 8 images"));
    scene.start("student", "whole", &settings).unwrap();
    for (attempt, place) in ["step 2+3", "step 3+1"].into_iter().enumerate() {
        let stop = move |at: &str| assert!(at != place, "stopped at {at}");
        let failpoint = attar_distill::checkpoint::Failpoint(Some(std::sync::Arc::new(stop)));
        let plan = scene.plan_with("student", &settings, failpoint).unwrap();
        let run = scene.run("stopped");
        let go = std::panic::AssertUnwindSafe(|| match attempt {
            0 => attar_distill::run::start(plan, &run, &mut attar_distill::run::Silent),
            _ => attar_distill::run::resume(plan, &run, &mut attar_distill::run::Silent),
        });
        assert!(std::panic::catch_unwind(go).is_err());
    }
    scene.resume("student", "stopped", &settings).unwrap();
    assert_equal("stopped", &contents(&scene.run("whole")), &contents(&scene.run("stopped")));
    let end = last(&scene, "whole");
    let fresh = attar_distill::Params::init(
        &attar_models::zoo::build(&attar_models::zoo::NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap(),
        7,
        "",
        &candle_core::Device::Cpu,
    );
    let fresh = fresh.unwrap().to_weights().unwrap();
    for (name, array) in &fresh.0 {
        let frozen = ["conv1.", "bn1.", "layer1."].iter().any(|part| name.starts_with(part));
        assert_eq!(frozen, end.0[name] == *array, "{name}");
    }
}

#[test]
fn patience_ends_a_run_that_gets_no_better() {
    let scene = Scene::new();
    let settings = ["train.epochs=9", "train.patience=2", "train.learning_rate=0", STILL];
    let settings = [&settings[..], &["train.eval_every=2"]].concat();
    let notes = said(&scene, "teacher", &settings);
    assert!(notes.contains("2 evaluations without a better one") && notes.contains("all 9 epochs"), "{notes}");
    // Nothing moves: the first evaluation, after epoch 2, is the best, and two more see nothing better.
    let receipt = scene.start("teacher", "x", &settings).unwrap();
    assert_eq!((receipt.stopped_early, receipt.epochs, receipt.best_epoch), (Some(6), 6, 2));
    let events = std::fs::read_to_string(scene.run("x").join("events.jsonl")).unwrap();
    assert!(events.contains(r#"{"event":"stopped-early","epoch":6,"best_epoch":2}"#), "{events}");
    // Finished is finished.
    let before = contents(&scene.run("x"));
    scene.resume("teacher", "x", &settings).unwrap();
    assert_equal("x", &before, &contents(&scene.run("x")));
    let receipt = scene.start("teacher", "y", &["train.epochs=2", "train.patience=2"]).unwrap();
    assert_eq!((receipt.stopped_early, receipt.epochs), (None, 2));
}

#[test]
fn settings_that_cannot_be_kept_are_named() {
    let scene = Scene::new();
    let cases: &[(&[&str], &str)] = &[
        (&["train.patience=0"], "train.patience: 0, expected at least 1"),
        (&["train.patience=1", "data.validation=0"], "train.patience: there is no validation split"),
        (&["train.accumulate=0"], "train.accumulate: 0, expected at least 1"),
        (&["train.freeze=[\"layer9\"]"], "train.freeze: no parameter matches `layer9`"),
        (&["train.freeze=[\"*\"]"], "train.freeze: everything of the student is frozen"),
        (&["train.learning_rate_factors=[{ match = \"fc\", factor = -1 }]"], "factor: -1 is no multiple"),
        (&["data.sampling=even"], "known: all, balanced"),
        (&["losses.ce.loss.class_weights=[1, 2]"], "2 numbers for 3 classes"),
        (&["losses.ce.loss.class_weights={ tops = 2 }"], "no class `tops`, did you mean `top`?"),
        (&["losses.ce.loss.class_weights=balances"], "losses.ce"),
        (&["student.init=data"], "no card.json and no config.json"),
    ];
    for (settings, expected) in cases {
        let message = said(&scene, "teacher", settings);
        assert!(message.contains(expected), "{settings:?}: {message}");
    }
    let peers = "peers=[{ name = \"p\", network = { name = \"resnet8\" } }]";
    let loss = "losses=[{ name = \"ce\", weight = 1.0, loss = { kind = \"cross-entropy\" } }, { name = \"p\", student = \"p\", weight = 1.0, loss = { kind = \"cross-entropy\" } }]";
    let message = said(&scene, "teacher", &[peers, loss, "train.update=in-turn", "train.accumulate=2"]);
    assert!(message.contains("train.accumulate: networks that move in turn"), "{message}");
    let crd = "losses.cd.loss={ kind = \"crd\", dim = 8, negatives = 16 }";
    let message = said(&scene, "student", &["data.sampling=balanced", crd]);
    assert!(message.contains("data.sampling") && message.contains("the loss `cd` remembers"), "{message}");
    // Balanced weights of three classes of 18 images each are ones.
    assert_eq!(said(&scene, "teacher", &["losses.ce.loss.class_weights=balanced"]), "");
}
