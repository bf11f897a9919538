//! The recipes of `recipes/schemes` train: three steps each on a few images, with small networks in the place of theirs.

use std::path::{Path, PathBuf};

use attar_distill::recipe::TeacherSource;
use attar_distill::run::{self, Event, Observer};
use attar_distill::{Params, Plan, PlanOptions, Recipe, labelling};
use attar_formats::read;
use attar_models::Weights;
use candle_core::Device;

use crate::scene::Scene;

/// Hears what every step and epoch lost.
#[derive(Default)]
struct Losses {
    steps: usize,
    values: Vec<f64>,
}

impl Observer for Losses {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { loss, gradient_norm, .. } => {
                self.steps += 1;
                self.values.extend([*loss, *gradient_norm]);
            }
            Event::Epoch(row) => self.values.extend(row.losses.values().flatten()),
            _ => {}
        }
    }
}

/// A recipe that ships, with the scene's data and teacher, and networks of eight layers.
fn small(scene: &Scene, path: &Path, more: &[&str]) -> Recipe {
    let recipe = Recipe::load(path, &[]).unwrap();
    let data = scene.root().join("data");
    let mut overrides = vec![
        format!("data.source={{ kind = \"idx\", root = {data:?}, classes = [\"top\", \"middle\", \"bottom\"] }}"),
        "data.preprocessing={ channels = 1, mean = [0.3], std = [0.25] }".to_owned(),
        "student.network.name=resnet8".to_owned(),
        "device=cpu".to_owned(),
        "train.threads=2".to_owned(),
        "train.epochs=1".to_owned(),
        "train.batch=24".to_owned(),
    ];
    let from = format!("{{ kind = \"run\", path = {:?} }}", scene.run("teacher"));
    for teacher in recipe.teachers.iter().filter(|teacher| !matches!(teacher.from, TeacherSource::Stored { .. })) {
        overrides.push(format!("teachers.{}.from={from}", teacher.name));
    }
    for (list, name) in (recipe.peers.iter().map(|peer| ("peers", &peer.name)))
        .chain(recipe.stages.iter().map(|stage| ("stages", &stage.name)))
    {
        overrides.push(format!("{list}.{name}.network={{ name = \"resnet8\" }}"));
    }
    overrides.extend(recipe.robustness.iter().map(|attack| format!("robustness.{}.steps=1", attack.name)));
    overrides.extend(more.iter().map(|text| (*text).to_owned()));
    Recipe::load(path, &overrides).unwrap()
}

/// Trains one stage; every number on the way is finite, and everybody who learns has left where it began.
fn train(name: &str, recipe: Recipe, directory: &Path) {
    let plan = Plan::new(recipe, PlanOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (graph, seed, peers) = (plan.student().clone(), plan.recipe().seed, plan.recipe().peers.clone());
    let mut losses = Losses::default();
    let receipt = run::start(plan, directory, &mut losses).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(losses.steps, 3, "{name}");
    assert!(losses.values.iter().all(|value| value.is_finite()), "{name}: {:?}", losses.values);
    assert!(receipt.test_top1_last.is_finite());
    let last = directory.join("checkpoints/last");
    let moved = |file: &str, prefix: &str| {
        let trained: Weights = read::arrays(&last.join(file)).unwrap().into_weights().under(prefix);
        let fresh = Params::init(&graph, seed, prefix, &Device::Cpu).unwrap().to_weights().unwrap();
        for layer in ["conv1.weight", "layer2.0.conv1.weight"] {
            assert_ne!(
                trained.get(layer).unwrap().elements,
                fresh.get(layer).unwrap().elements,
                "{name}: {prefix}{layer}"
            );
        }
    };
    moved("model.safetensors", "");
    peers.iter().for_each(|peer| moved("trainer.safetensors", &format!("peers.{}.", peer.name)));
}

#[test]
fn every_scheme_trains() {
    let scene = Scene::new();
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(recipes.join("schemes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 11, "{paths:?}");
    let store = scene.root().join("labels");
    let asked = Plan::new(small(&scene, &recipes.join("compare/kd.toml"), &[]), PlanOptions::default()).unwrap();
    labelling::write(asked, &store, 1, None, |_| ()).unwrap();
    for path in paths {
        let mut recipe = small(&scene, &path, &[]);
        for teacher in &mut recipe.teachers {
            if let TeacherSource::Stored { path } = &mut teacher.from {
                path.clone_from(&store);
            }
        }
        let stages = recipe.chain(&scene.run(&recipe.name)).unwrap();
        Plan::check_stages(&stages, false).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (recipe, directory) in stages {
            train(&recipe.name.clone(), recipe, &directory);
        }
    }
}

#[test]
fn nothing_in_a_comparison_or_in_the_demo_does_nothing() {
    let scene = Scene::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["recipes/compare", "recipes/cifar100", "recipes/fashion-mnist", "demo"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
            // As long as it says, so that every loss gets its turn.
            let epochs = format!("train.epochs={}", Recipe::load(&path, &[]).unwrap().train.epochs);
            let recipe = small(&scene, &path, &[&epochs]);
            if let Err(error) = Plan::new(recipe, PlanOptions::default()) {
                assert!(!error.to_string().contains("--allow-idle"), "{}: {error}", path.display());
            }
        }
    }
}

/// The first stage has no teacher and goes without the loss that is wrong.
#[test]
fn a_mistake_in_a_later_stage_is_found_before_the_first_trains() {
    let scene = Scene::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/schemes/feed-sequential.toml");
    let wrong = "losses.feed.loss={ kind = \"kd\", temperature = -1.0 }";
    let all = small(&scene, &path, &[wrong]).chain(&scene.run("chain")).unwrap();
    assert_eq!(all.len(), 3);
    Plan::new(all[0].0.clone(), PlanOptions::default()).unwrap();
    let message = Plan::check_stages(&all, false).unwrap_err().to_string();
    for part in ["losses.feed.loss.temperature: -1", "in the stage `feed-sequential-second`"] {
        assert!(message.contains(part), "{message}");
    }
}
