//! Runs with peers, views and attacks: they train, resume to the same bits, and say what they found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use attar_distill::checkpoint::Failpoint;
use attar_distill::run::{self, Silent};
use attar_formats::reference::Attacks;

use crate::scene::Scene;

/// Two students that teach each other, a mixed and an attacked view, a strong one from the loaders, a final attack.
const MORE: &str = r#"
[[peers]]
name = "peer"
network = { name = "resnet8" }

[[views]]
name = "mixed"
kind = "mixup"

[[views]]
name = "strong"
kind = "augmented"
augment = [{ kind = "flip" }, { kind = "rand-augment" }]

[[views]]
name = "attacked"
kind = "adversarial"
steps = 2

[[losses]]
name = "peer-ce"
student = "peer"
weight = 1.0
loss = { kind = "cross-entropy" }

[[losses]]
name = "peer-from-student"
student = "peer"
teacher = "student"
weight = 0.5
loss = { kind = "kd", temperature = 1.0 }

[[losses]]
name = "from-peer"
teacher = "peer"
weight = 0.5
loss = { kind = "kd", temperature = 1.0 }

[[losses]]
name = "mixed-kd"
teacher = "big"
view = "mixed"
weight = 0.5
loss = { kind = "kd", temperature = 2.0 }

[[losses]]
name = "strong-ce"
view = "strong"
weight = 0.5
loss = { kind = "cross-entropy" }

[[losses]]
name = "attacked-ce"
view = "attacked"
weight = 0.5
loss = { kind = "cross-entropy" }

[[robustness]]
name = "fgsm"
steps = 1
step = 0.03
epsilon = 0.03
random_start = false
"#;

#[test]
fn peers_views_and_attacks_train_and_resume_to_the_same_bits() {
    let scene = Scene::new();
    std::fs::write(scene.root().join("cast.toml"), crate::scene::STUDENT.to_owned() + MORE).unwrap();
    let mut weights = Vec::new();
    for update in ["together", "in-turn"] {
        let short = ["train.epochs=2", &format!("train.update={update}")];
        let [first, second] = ["whole", "again"].map(|name| format!("{update}-{name}"));
        let whole = scene.start("cast", &first, &short).unwrap();
        let measures = whole.measures.as_ref().unwrap();
        assert!(measures.robustness["fgsm"] <= measures.student.top1 + 1e-9, "{measures:?}");

        // Some of the attacked images stay.
        let attacks = |run: &str| {
            let path = scene.run(run).join("reference/attacks.safetensors");
            Attacks::parse(&path, &std::fs::read(&path).unwrap()).unwrap()
        };
        let attacked = attacks(&first);
        assert_eq!((&attacked.weights_sha256, attacked.is_empty()), (&whole.weights_sha256, false));
        assert_eq!(attacked.pixels.keys().collect::<Vec<_>>(), ["fgsm"]);

        // Stopped where a checkpoint lies inside an epoch, then resumed.
        let stop = |at: &str| assert!(at != "step 2+4", "stopped by the test");
        let plan = scene.plan_with("cast", &short, Failpoint(Some(Arc::new(stop)))).unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| run::start(plan, &scene.run(&second), &mut Silent)));
        assert!(ended.is_err());
        let resumed = scene.resume("cast", &second, &short).unwrap();
        assert_eq!(resumed.weights_sha256, whole.weights_sha256);
        assert!(attacks(&second) == attacked, "other images");
        let trainer = |name: &str| std::fs::read(scene.run(name).join("checkpoints/last/trainer.safetensors")).unwrap();
        assert!(trainer(&first) == trainer(&second), "the peer's weights differ");
        weights.push(whole.weights_sha256);
    }
    assert_ne!(weights[0], weights[1]);
}

#[test]
fn a_name_that_nobody_has_is_answered_by_the_near_one() {
    let scene = Scene::new();
    std::fs::write(scene.root().join("cast.toml"), crate::scene::STUDENT.to_owned() + MORE).unwrap();
    for (setting, expected) in [
        ("losses.from-peer.teacher=pier", "losses.from-peer.teacher: unknown name `pier`, did you mean `peer`?"),
        ("losses.peer-ce.student=pear", "losses.peer-ce.student: unknown name `pear`, did you mean `peer`?"),
        ("losses.mixed-kd.view=mixd", "losses.mixed-kd.view: unknown name `mixd`, did you mean `mixed`?"),
        ("losses.peer-ce.teacher=big", "losses.peer-ce.teacher: this loss learns from no teacher"),
        ("views.attacked.against=nobody", "views.attacked.against: unknown name `nobody`"),
        ("views.mixed.alpha=0", "views.mixed.alpha: 0"),
        ("views.mixed.name=clean", "used twice"),
        ("peers.peer.name=big", "used twice"),
        ("robustness.fgsm.epsilon=0", "robustness.fgsm"),
        ("train.update=in_turn", "known: together, in-turn"),
    ] {
        let message = scene.plan("cast", &[setting]).unwrap_err().to_string();
        assert!(message.contains(expected), "{setting}: {message}");
    }
}
