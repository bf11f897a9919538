//! A run that leaves the finite numbers: what it says, and how it goes back.

use attar_distill::Error;
use attar_distill::recipe::OnDivergence;

use super::resume::{assert_equal, contents, kill_at};
use super::scene::{STUDENT, Scene};

/// Fine for two epochs; then a rate that only many orders of magnitude less make bearable.
const LATER: &str = "train.learning_rate={ at = [[1, 0.02], [3, 1e30]] }";
const BACK: &str = "train.on_divergence={ kind = \"rollback\", factor = 1e-32, most = 2 }";

#[test]
fn what_there_is_is_said_and_the_hint_goes_on() {
    let scene = Scene::new();
    let error = scene.start("student", "x", &[LATER, "train.clip=1e30"]).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Diverged { epoch: 3, step: 2, .. }), "{message}");
    // Of finite numbers, and lost all the same: the wild step is in it.
    assert!(message.contains("the checkpoint of epoch 3, step 1 is kept"), "{message}");
    assert!(message.contains("--resume --set train.on_divergence=rollback"), "{message}");

    // The word for it may change on the way, and says how often.
    let receipt = scene.resume("student", "x", &[LATER, "train.clip=1e30", BACK]).unwrap();
    assert_eq!(receipt.epochs, 4);
    let [in_vain, back] = receipt.rollbacks.as_slice() else { panic!("{:?}", receipt.rollbacks) };
    assert_eq!((in_vain.epoch, in_vain.epochs_done, in_vain.steps_done, in_vain.factor.0), (3, 2, 1, 1e-32));
    assert!(back.epoch == 3 && back.epochs_done <= 2 && back.steps_done == 0, "to the best epoch: {back:?}");
    let recipe = attar_distill::Recipe::load(&scene.run("x").join("recipe.toml"), &[]).unwrap();
    assert_eq!(recipe.train.on_divergence, OnDivergence::Rollback { factor: 1e-32, most: 2 });
    let log = std::fs::read_to_string(scene.run("x").join("events.jsonl")).unwrap();
    assert!(log.contains("\"event\":\"rolled-back\""), "{log}");

    let often = "train.on_divergence={ kind = \"rollback\", factor = 0.9, most = 2 }";
    let message = scene.start("student", "y", &[LATER, "train.clip=1e30", often]).unwrap_err().to_string();
    assert!(message.contains("after 2 rollbacks") && message.contains("is kept"), "{message}");
}

#[test]
fn without_a_checkpoint_it_begins_anew_at_a_smaller_rate() {
    let scene = Scene::new();
    let slow = "train.on_divergence={ kind = \"rollback\", factor = 1e-32, most = 1 }";
    let receipt = scene.start("student", "x", &["train.learning_rate=1e30", "train.clip=1e30", slow]).unwrap();
    let back = &receipt.rollbacks[0];
    assert_eq!((receipt.rollbacks.len(), back.epoch, back.epochs_done, back.steps_done), (1, 1, 0, 0));
    // It is the run at that rate from the start.
    let plain =
        scene.start("student", "plain", &[&format!("train.learning_rate={:?}", 1e30 * 1e-32), "train.clip=1e30"]);
    let [x, y] = ["x", "plain"].map(|name| contents(&scene.run(name)));
    assert!(x["checkpoints/last/model.safetensors"] == y["checkpoints/last/model.safetensors"]);
    assert_eq!(plain.unwrap().test_top1_last, receipt.test_top1_last);
}

#[test]
fn a_rolled_back_run_survives_kills_with_the_same_bits() {
    let scene = Scene::new();
    let wild = STUDENT
        .replace("{ at = [[1, 0.02], [5, 0.001]], join = \"cosine\" }", "{ at = [[1, 0.02], [3, 1e30]] }")
        .replace("clip = 5.0", "clip = 1e30\non_divergence = { kind = \"rollback\", factor = 1e-32, most = 3 }");
    assert!(wild.contains("1e-32") && wild.contains("[3, 1e30]"));
    std::fs::write(scene.root().join("student.toml"), wild).unwrap();
    let receipt = scene.start("student", "whole", &[]).unwrap();
    assert!(!receipt.rollbacks.is_empty());
    // Killed in the epoch that it is told twice, at a step that only the second telling comes to, and later.
    for place in ["last 3+0: between renames", "step 4+2"] {
        kill_at(&scene, "killed", place);
    }
    scene.resume("student", "killed", &[]).unwrap();
    assert_equal("killed", &contents(&scene.run("whole")), &contents(&scene.run("killed")));
}
