//! Every recipe that ships reads, and its networks, losses and weights over time are ones that this program can build.

use std::path::{Path, PathBuf};

use attar_distill::Recipe;
use attar_distill::losses::BuildContext;
use attar_distill::recipe::TeacherSource;
use attar_models::{Outline, zoo};

/// The recipes in `folder` and below it.
fn recipes(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            recipes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

pub(crate) fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    recipes(&root.join("recipes"), &mut found);
    recipes(&root.join("demo"), &mut found);
    found.sort();
    found
}

#[test]
fn shipped_recipes_build_their_networks_and_losses() {
    let recipes = shipped();
    assert!(recipes.len() >= 12, "{recipes:?}");
    for path in recipes {
        let name = path.display();
        let recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The data is absent, so classes and input are any that fit the kind of network.
        let channels = recipe.data.preprocessing.channels;
        let size = recipe.data.preprocessing.crop.unwrap_or([32, 32]);
        let input = [channels, size[0], size[1]];
        let build = |section: &attar_distill::recipe::NetworkSection| {
            let built = zoo::build(&section.resolve(10, input));
            Outline::from(&built.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        let student = build(recipe.student.network.as_ref().expect("shipped recipes name their network"));
        let mut teachers = Vec::new();
        for teacher in &recipe.teachers {
            teachers.push(match &teacher.from {
                TeacherSource::Weights { network: Some(network), .. } => build(network),
                // A file's stages are numbered, the first of them at half of the image's size.
                TeacherSource::Onnx { .. } => student
                    .stages()
                    .iter()
                    .enumerate()
                    .fold(student.clone(), |file, (at, stage)| file.with_alias(format!("stage{}", at + 2), stage.1)),
                _ => student.clone(), // its card, which does not ship with a recipe, says what it is
            });
        }
        for loss in &recipe.losses {
            // Peers and stages teach too; they are of the student's kind here.
            let count = loss.teacher.as_ref().map_or(teachers.len().max(1), |names| names.as_slice().len());
            let mut own = teachers.clone();
            own.resize(count, student.clone());
            let context = BuildContext {
                name: &loss.name,
                student: &student,
                teachers: &own,
                logits: &[],
                samples: 1000,
                seed: 0,
            };
            let built = loss.loss.build(&context);
            assert!(built.is_ok(), "{name}: losses.{}: {:?}", loss.name, built.err());
            let epochs = recipe.train.epochs as f64;
            let weights = (1..=recipe.train.epochs).map(|epoch| loss.weight.value(epoch as f64, epochs));
            assert!(weights.into_iter().any(|weight| weight > 0.0), "{name}: losses.{} never counts", loss.name);
        }
    }
}
