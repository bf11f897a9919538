//! An unfinished run gives its last checkpoint away and goes on as if nothing had been.

use attar_distill::Result;
use attar_distill::run::{self, Silent};
use attar_formats::Card;

use super::resume::{assert_equal, contents, kill_at};
use super::scene::Scene;

fn leave(scene: &Scene, name: &str, place: &std::path::Path) -> Result<Card> {
    run::leave(scene.plan("student", &[])?, &scene.run(name), place, &mut Silent)
}

#[test]
fn the_last_checkpoint_leaves_and_the_run_goes_on_with_the_same_bits() {
    let scene = Scene::new();
    scene.start("student", "whole", &[]).unwrap();
    let place = tempfile::tempdir().unwrap();

    kill_at(&scene, "x", "step 1+2");
    let message = leave(&scene, "x", place.path()).unwrap_err().to_string();
    assert!(message.contains("no checkpoint yet"), "{message}");

    kill_at(&scene, "x", "step 3+5");
    let before = contents(&scene.run("x"));
    let card = leave(&scene, "x", place.path()).unwrap();
    assert_eq!(card.provenance.checkpoint.as_deref(), Some("last, epoch 2 of 4 and 4 of 7 steps, interrupted"));
    assert!(card.provenance.metrics.contains_key("test_top1"));
    let mut after = contents(&scene.run("x"));
    after.insert("run.lock".to_owned(), before["run.lock"].clone()); // whoever held it last
    assert_equal("x", &before, &after);
    let left = contents(place.path());
    assert_eq!(left["checkpoints/last/model.safetensors"], after["checkpoints/last/model.safetensors"]);
    for file in ["card.json", "reference/predictions.safetensors", "reference/golden.safetensors"] {
        assert!(left.contains_key(file), "no {file}");
    }
    assert!(!left.contains_key("receipt.json"));

    scene.resume("student", "x", &[]).unwrap();
    assert_equal("x", &contents(&scene.run("whole")), &contents(&scene.run("x")));
    let message = leave(&scene, "x", place.path()).unwrap_err().to_string();
    assert!(message.contains("without --unfinished"), "{message}");
}
