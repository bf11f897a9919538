//! Runs by the real program: whoever stops listening, whatever was interrupted, no work is lost.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::program::command;
use crate::support::scene::scene;

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "alone.toml", "--out", out, "--set", "data.test_subset=100"], more].concat()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(scene().root().join(path)).unwrap()).unwrap()
}

#[track_caller]
fn finishes(mut child: Child, out: &str) {
    assert_eq!(child.wait().unwrap().code(), Some(0), "{out}");
    assert!(scene().root().join(out).join("receipt.json").is_file());
    assert_eq!(json(&format!("{out}/status.json"))["state"], "finished");
}

#[test]
fn readers_that_go_away_end_no_training() {
    let root = scene().root();
    for (out, closed) in
        [("runs/deaf", [true, true]), ("runs/deaf-err", [true, false]), ("runs/deaf-out", [false, true])]
    {
        let mut child = command(root, &train(out, &[])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // What is written there from now on is a broken pipe; what stays open is read to its end.
        let (err, stdout) = (child.stderr.take(), child.stdout.take());
        let (err, stdout) = ((!closed[0]).then_some(err), (!closed[1]).then_some(stdout));
        if let Some(err) = err.flatten() {
            assert!(BufReader::new(err).lines().all(|line| !line.unwrap().contains("panicked")));
        }
        finishes(child, out);
        drop(stdout);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stderr_ends_no_training() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command(scene().root(), &train("runs/full", &[])).stdout(Stdio::null()).stderr(full).spawn().unwrap();
    finishes(child, "runs/full");
}

#[test]
fn an_interrupted_run_is_exported_marked_and_goes_on() {
    let scene = scene();
    let longer = ["--set", "train.epochs=40"];
    let mut child = command(scene.root(), &train("runs/cut", &longer)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("epoch 2/40")), "the second epoch never ended");

    // It is alive: nobody else may go on with it, or export it.
    let second = scene.attar(&train("runs/cut", &["--set", "train.epochs=40", "--resume"]));
    second.fails(&["is in use by", &format!("process {} on ", child.id())]);
    scene.attar(&["export", "runs/cut", "--unfinished"]).fails(&["is in use by"]);
    child.kill().unwrap();
    child.wait().unwrap();

    scene.attar(&["export", "runs/cut"]).fails(&["not finished", "it was interrupted", "--unfinished", "--resume"]);
    assert!(!scene.root().join("bundles/cut").exists());
    let said = scene.attar(&["export", "runs/cut", "--unfinished", "--engine", "tract"]).ok();
    assert!(said.err.contains("NOT A FINISHED RUN"), "{}", said.err);
    let checkpoint = json("bundles/cut/manifest.json")["provenance"]["checkpoint"].as_str().unwrap().to_owned();
    assert!(checkpoint.starts_with("last, epoch ") && checkpoint.ends_with(" of 40, interrupted"), "{checkpoint}");
    let readme = std::fs::read_to_string(scene.root().join("bundles/cut/README.md")).unwrap();
    assert!(readme.contains("was not finished") && readme.contains(&checkpoint), "{readme}");
    scene.attar(&["verify", "bundles/cut", "--engine", "tract"]).exits(3);
    scene.attar(&train("runs/cut", &["--set", "train.epochs=40", "--resume"])).ok();
}

#[test]
fn a_finished_run_goes_on_for_more_epochs_and_says_so() {
    let scene = scene();
    scene.attar(&train("runs/longer", &[])).ok();
    let said = scene.attar(&train("runs/longer", &["--resume", "--set", "train.epochs=3"])).ok();
    assert!(said.err.contains("extended from 2 to 3 epochs") && said.err.contains("epoch 3/3"), "{}", said.err);
    let receipt = json("runs/longer/receipt.json");
    assert_eq!((&receipt["epochs"], &receipt["extended"][0]["from"]), (&3.into(), &2.into()));
    assert_eq!(json("runs/longer/receipt-2-epochs.json")["epochs"], 2);
    scene.attar(&["export", "runs/longer", "--engine", "tract"]).ok();
}
