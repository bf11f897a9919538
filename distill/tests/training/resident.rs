//! Training images that live on the device: the run is the one of the loaders, bit for bit, and one may go on as the other.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use attar_distill::checkpoint::Failpoint;
use attar_distill::run::{self, Silent};

use crate::resume::{assert_equal, contents};
use crate::scene::{STUDENT, Scene};

/// Beside a teacher that normalises its own way: a view from the same draws, one from its own, and a mixed one.
const VIEWS: &str = r#"
[[views]]
name = "mirrored"
kind = "augmented"
augment = [{ kind = "pad-crop", padding = 1 }, { kind = "flip", p = 1.0 }]
same_draws = true

[[views]]
name = "moved"
kind = "augmented"
augment = [{ kind = "flip" }, { kind = "pad-crop", padding = 3, fill = "reflect" }]

[[views]]
name = "mixed"
kind = "mixup"

[[losses]]
name = "mirrored-ce"
view = "mirrored"
weight = 0.5
loss = { kind = "cross-entropy" }

[[losses]]
name = "moved-ce"
view = "moved"
weight = 0.5
loss = { kind = "cross-entropy" }

[[losses]]
name = "mixed-kd"
view = "mixed"
weight = 0.5
loss = { kind = "kd", temperature = 2.0 }
"#;

fn scene() -> Scene {
    let scene = Scene::new();
    std::fs::write(scene.root().join("views.toml"), STUDENT.to_owned() + VIEWS).unwrap();
    scene
}

/// What a run computed: its recipe says where batches were made, and its hash is in the receipt, the card and the states.
fn computed(scene: &Scene, run: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = contents(&scene.run(run));
    files.retain(|name, _| [".safetensors", ".csv", ".jsonl"].iter().any(|kind| name.ends_with(kind)));
    assert!(files.contains_key("checkpoints/last/trainer.safetensors") && files.contains_key("events.jsonl"));
    files
}

#[test]
fn a_run_on_resident_images_is_the_run_of_the_loaders() {
    let scene = scene();
    let never = ["train.epochs=2", "data.resident=never"];
    let always = ["train.epochs=2", "data.resident=always"];
    let loaded = scene.start("views", "loaded", &never).unwrap();
    let resident = scene.start("views", "resident", &always).unwrap();
    assert_eq!(loaded.weights_sha256, resident.weights_sha256);
    assert_equal("resident", &computed(&scene, "loaded"), &computed(&scene, "resident"));

    // Begun by the loaders and stopped inside an epoch, gone on with on the device: where is not part of the recipe's sense.
    let stop = |at: &str| assert!(at != "step 2+4", "stopped by the test");
    let plan = scene.plan_with("views", &never, Failpoint(Some(Arc::new(stop)))).unwrap();
    let ended = catch_unwind(AssertUnwindSafe(|| run::start(plan, &scene.run("switched"), &mut Silent)));
    assert!(ended.is_err());
    scene.resume("views", "switched", &always).unwrap();
    assert_equal("switched", &contents(&scene.run("loaded")), &contents(&scene.run("switched")));
}

#[test]
fn a_plan_says_where_the_images_live() {
    let scene = scene();
    let described = |setting: &str| scene.plan("views", &[setting]).unwrap().describe();
    let always = described("data.resident=always");
    assert_eq!(always.resident_bytes, Some(always.train_images as u64 * 12 * 12));
    assert!(always.to_string().contains("live on the device"), "{always}");
    for setting in ["data.resident=never", "data.resident=auto"] {
        let description = described(setting);
        assert!(description.resident_bytes.is_none() && description.resident_note.is_none(), "{description:?}");
    }
}

#[test]
fn what_only_the_host_can_do_is_refused_by_name() {
    let scene = scene();
    let strong = "views.moved.augment=[{ kind = \"rand-augment\" }]";
    let message = scene.plan("views", &["data.resident=always", strong]).unwrap_err().to_string();
    let expected = ["data.resident: \"always\", but views.moved.augment: `rand-augment`", "hint:"];
    assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    assert!(scene.plan("views", &[strong]).is_ok());
}
