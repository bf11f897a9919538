//! The run directory: one owner, a state that says how it stands, begun anew only where no work is lost, extended where more
//! epochs are asked for.

use std::sync::Arc;
use std::sync::mpsc;

use attar_distill::checkpoint::Failpoint;
use attar_distill::run::{self, Event, Observer, Receipt, RunState, Silent};

use super::resume::{assert_equal, contents, kill_at};
use super::scene::Scene;

fn state(scene: &Scene, name: &str) -> Option<RunState> {
    RunState::of(&scene.run(name)).unwrap()
}

fn receipt(scene: &Scene, name: &str, file: &str) -> Receipt {
    Receipt::read(&scene.run(name).join(file)).unwrap()
}

const WILD: [&str; 2] = ["train.learning_rate=1e30", "train.clip=1e30"];

#[test]
fn a_start_that_failed_blocks_nothing() {
    let scene = Scene::new();
    assert_eq!(state(&scene, "x"), None);
    let message = scene.start("student", "x", &WILD).unwrap_err().to_string();
    assert!(message.contains("there is no checkpoint yet") && message.contains("may be used again"), "{message}");
    let Some(RunState::Failed { reason }) = state(&scene, "x") else { panic!("{:?}", state(&scene, "x")) };
    assert!(reason.starts_with("epoch 1, step") && !reason.contains("hint"), "{reason}");

    // Another recipe with --resume is told the way, and the way works; nothing of the failed one is left.
    let message = scene.resume("student", "x", &[]).unwrap_err().to_string();
    assert!(message.contains("train.learning_rate") && message.contains("without --resume"), "{message}");
    scene.start("student", "x", &[]).unwrap();
    assert_eq!(state(&scene, "x"), Some(RunState::Finished));
    scene.start("student", "whole", &[]).unwrap();
    assert_equal("x", &contents(&scene.run("whole")), &contents(&scene.run("x")));

    let message = scene.start("student", "x", &[]).unwrap_err().to_string();
    assert!(message.contains("a run finished") && message.contains("--resume"), "{message}");
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let scene = Scene::new();
    let place = scene.run("x");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("notes.txt"), "mine").unwrap();
    let message = scene.start("student", "x", &[]).unwrap_err().to_string();
    assert!(message.contains("no run has written: notes.txt") && message.contains("--out"), "{message}");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "nothing was put there");
}

#[test]
fn a_killed_run_is_interrupted_and_a_living_one_has_an_owner() {
    let scene = Scene::new();
    kill_at(&scene, "x", "step 2+1");
    assert_eq!(state(&scene, "x"), Some(RunState::Interrupted));
    let message = scene.start("student", "x", &[]).unwrap_err().to_string();
    assert!(message.contains("interrupted"), "{message}");

    let (arrived, wait) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let stop = move |at: &str| {
        if at == "step 2+2" {
            arrived.send(()).unwrap();
            told.lock().unwrap().recv().unwrap();
        }
    };
    std::thread::scope(|threads| {
        let first = threads.spawn(|| {
            let plan = scene.plan_with("student", &[], Failpoint(Some(Arc::new(stop)))).unwrap();
            run::resume(plan, &scene.run("x"), &mut Silent).unwrap()
        });
        wait.recv().unwrap();
        assert_eq!(state(&scene, "x"), Some(RunState::Running));
        let log = std::fs::read(scene.run("x").join("events.jsonl")).unwrap();
        for message in [scene.resume("student", "x", &[]).unwrap_err(), scene.start("student", "x", &[]).unwrap_err()] {
            let message = message.to_string();
            assert!(message.contains("hint"), "{message}");
        }
        let message = scene.resume("student", "x", &[]).unwrap_err().to_string();
        assert!(message.contains(&format!("process {} on ", std::process::id())), "{message}");
        assert_eq!(log, std::fs::read(scene.run("x").join("events.jsonl")).unwrap());
        go_on.send(()).unwrap();
        first.join().unwrap();
    });
    assert_eq!(state(&scene, "x"), Some(RunState::Finished));
    scene.start("student", "whole", &[]).unwrap();
    assert_equal("x", &contents(&scene.run("whole")), &contents(&scene.run("x")));
}

/// The student's schedules are in epochs, so that the extended run is the longer one, bit by bit.
#[test]
fn more_epochs_go_on_where_the_run_ended() {
    let scene = Scene::new();
    let whole = scene.start("student", "whole", &[]).unwrap();
    let short = scene.start("student", "x", &["train.epochs=2"]).unwrap();
    let long = scene.resume("student", "x", &[]).unwrap();
    let extension = long.extended[0];
    assert_eq!((extension.from, extension.to, extension.epochs_done, extension.steps_done), (2, 4, 2, 0));
    assert_eq!((long.epochs, long.test_top1_last), (4, whole.test_top1_last));
    let kept = receipt(&scene, "x", "receipt-2-epochs.json");
    assert_eq!((kept.epochs, kept.weights_sha256, kept.recipe_sha256), (2, short.weights_sha256, short.recipe_sha256));
    assert_eq!(long.recipe_sha256, whole.recipe_sha256);
    let [whole, x] = ["whole", "x"].map(|name| contents(&scene.run(name)));
    for same in
        ["checkpoints/last/model.safetensors", "metrics.csv", "recipe.toml", "reference/predictions.safetensors"]
    {
        assert!(whole[same] == x[same], "{same} differs");
    }
    assert!(String::from_utf8_lossy(&x["events.jsonl"]).contains("\"event\":\"extended\""));

    // Fewer are not to be had; a later resumption of the longer one changes nothing.
    let message = scene.resume("student", "x", &["train.epochs=2"]).unwrap_err().to_string();
    assert!(message.contains("from 2 to 4 epochs") && message.contains("train.epochs=4"), "{message}");
    scene.resume("student", "x", &[]).unwrap();
    assert_equal("x", &x, &contents(&scene.run("x")));
}

/// Whatever the moment of a kill, the same command goes on.
#[test]
fn an_extension_survives_kills_and_may_come_before_the_end() {
    let scene = Scene::new();
    scene.start("student", "whole", &[]).unwrap();
    let whole = contents(&scene.run("whole"));
    scene.start("student", "x", &["train.epochs=2"]).unwrap();
    for place in ["last 2+0: between renames", "last 2+0: renamed", "step 3+5", "last 3+0: between renames"] {
        kill_at(&scene, "x", place);
        let card = scene.run("x").join("card.json");
        assert!(!card.exists(), "{place}: a card of what is no end");
    }
    let receipt = scene.resume("student", "x", &[]).unwrap();
    assert_eq!(receipt.extended.len(), 1);
    let model = "checkpoints/last/model.safetensors";
    assert!(whole[model] == contents(&scene.run("x"))[model]);
    assert!(scene.run("x").join("receipt-2-epochs.json").is_file());
}

/// Without a validation split the best epoch is the last one: of the longer run, then.
#[test]
fn an_extended_run_without_validation_exports_its_end() {
    let scene = Scene::new();
    scene.start("student", "x", &["data.validation=0", "train.epochs=1"]).unwrap();
    let receipt = scene.resume("student", "x", &["data.validation=0", "train.epochs=2"]).unwrap();
    assert_eq!((receipt.best_epoch, receipt.epochs), (2, 2));
    let model = |which: &str| std::fs::read(scene.run("x").join("checkpoints").join(which).join("model.safetensors"));
    assert_eq!(model("best").unwrap(), model("last").unwrap());
}

#[test]
fn changed_test_images_do_not_lock_a_trained_run_out() {
    let scene = Scene::new();
    let before = scene.start("student", "x", &["train.epochs=1"]).unwrap();
    std::fs::remove_file(scene.run("x").join("receipt.json")).unwrap();
    let images = scene.root().join("data/t10k-images-idx3-ubyte");
    let mut bytes = std::fs::read(&images).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&images, bytes).unwrap();
    let after = scene.resume("student", "x", &["train.epochs=1"]).unwrap();
    assert_eq!(after.data.test_before, std::slice::from_ref(&before.data.test));
    assert_ne!(after.data.test, before.data.test);
    assert_eq!(after.weights_sha256, before.weights_sha256);
    assert!(after.version == 2 && before.data.test_before.is_empty());
}

/// Panics at everything that it is told.
struct Fragile;

impl Observer for Fragile {
    fn event(&mut self, _: &Event) {
        panic!("nobody listens");
    }
}

#[test]
fn an_observer_never_ends_a_run() {
    let scene = Scene::new();
    run::start(scene.plan("student", &["train.epochs=1"]).unwrap(), &scene.run("x"), &mut Fragile).unwrap();
}
