//! Losses of logits that remember (PS-KD) or learn (MEAL's discriminator) in a run: a run that breaks off goes on with
//! the same bits, and nothing of theirs is in the student's weights.

use std::sync::Arc;

use attar_distill::checkpoint::Failpoint;
use attar_distill::run::{self, Silent};
use attar_formats::read;

use super::scene::{STUDENT, Scene};

const LOSSES: &str = r#"
[[losses]]
name = "self"
weight = 1.0
loss = { kind = "ps-kd" }

[[losses]]
name = "meal"
weight = 1.0
loss = { kind = "meal", discriminator = { game = "adversarial", hidden = [5] } }

[[losses]]
name = "levels"
weight = 0.1
loss = { kind = "mlkd", standardise = true }
"#;

#[test]
fn what_losses_remember_and_learn_survives_a_broken_run_and_is_not_exported() {
    let scene = Scene::new();
    let (head, _) = STUDENT.split_once("[[losses]]").unwrap();
    std::fs::write(scene.root().join("own.toml"), format!("{head}{LOSSES}")).unwrap();
    let overrides = ["train.epochs=3"];
    scene.start("own", "whole", &overrides).unwrap();

    let stop = |at: &str| assert!(at != "last 1+5: renamed", "stopped by the test");
    let plan = scene.plan_with("own", &overrides, Failpoint(Some(Arc::new(stop)))).unwrap();
    let directory = scene.run("broken");
    let broken = std::thread::spawn(move || run::start(plan, &directory, &mut Silent).map(|_| ()));
    assert!(broken.join().is_err(), "the run was not stopped");
    scene.resume("own", "broken", &overrides).unwrap();

    let file = |run: &str, name: &str| scene.run(run).join("checkpoints/last").join(name);
    for name in ["model.safetensors", "trainer.safetensors"] {
        assert!(
            std::fs::read(file("whole", name)).unwrap() == std::fs::read(file("broken", name)).unwrap(),
            "{name} differs"
        );
    }
    let names = |name: &str| {
        let weights = read::arrays(&file("whole", name)).unwrap().into_weights();
        weights.0.into_keys().collect::<Vec<_>>().join(" ")
    };
    let (model, trainer) = (names("model.safetensors"), names("trainer.safetensors"));
    assert!(!model.contains("losses.") && !model.contains("discriminator"), "{model}");
    for name in ["loss-state.self.past", "losses.meal.discriminator.fc2.bias"] {
        assert!(trainer.contains(name), "{name} is not among {trainer}");
    }
}
