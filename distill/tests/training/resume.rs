//! `kill -9` for real: this test starts itself as another process, kills it at a chosen place, goes on, and compares every
//! byte with a run that was never killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use attar_distill::checkpoint::Failpoint;
use attar_distill::run::{self, Silent};

use super::scene::{ADAPTERS, STUDENT, Scene};

/// Tells the victim, which is this very test binary, where its scene is, which run, and where to wait for its end.
const VICTIM: &str = "ATTAR_TEST_VICTIM";

/// Not a test of its own: what the killed process does. Without the variable there is nothing to do.
#[test]
fn victim() {
    let Ok(order) = std::env::var(VICTIM) else { return };
    let [root, run, place] = order.split('|').collect::<Vec<_>>().try_into().unwrap();
    let (scene, place) = (Scene::at(Path::new(root)), place.to_owned());
    let stop = move |at: &str| {
        if at == place {
            // Straight to the pipe: the test harness keeps what `println!` says to itself.
            writeln!(std::io::stderr(), "waiting at {at}").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
    };
    let plan = scene.plan_with("student", &[], Failpoint(Some(Arc::new(stop)))).unwrap();
    let directory = scene.run(run);
    match directory.exists() {
        false => run::start(plan, &directory, &mut Silent).unwrap(),
        true => run::resume(plan, &directory, &mut Silent).unwrap(),
    };
}

/// Starts or resumes `run` in another process and kills it when it comes to `place`.
pub(crate) fn kill_at(scene: &Scene, run: &str, place: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["resume::victim", "--exact", "--nocapture"])
        .env(VICTIM, format!("{}|{run}|{place}", scene.root().display()))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    let arrived = lines.map_while(Result::ok).any(|line| {
        let arrived = line == format!("waiting at {place}");
        said.push(line);
        arrived
    });
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(arrived, "never came to `{place}`:\n{}", said.join("\n"));
}

/// Every file of a run as bytes, with wall-clock seconds and the number of resumptions blanked out.
pub(crate) fn contents(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![run.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(run).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(&path).unwrap();
            files.insert(name.clone(), without_time(&name, bytes));
        }
    }
    files
}

fn without_time(name: &str, bytes: Vec<u8>) -> Vec<u8> {
    let blank = |line: &str| -> String {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        blank_json(&mut value);
        value.to_string()
    };
    if name == "metrics.csv" {
        let text = String::from_utf8(bytes).unwrap();
        return text.lines().map(csv_without_seconds).collect::<Vec<_>>().join("\n").into_bytes();
    }
    if name.ends_with(".jsonl") {
        let text = String::from_utf8(bytes).unwrap();
        return text.lines().map(blank).collect::<Vec<_>>().join("\n").into_bytes();
    }
    if name.ends_with(".json") {
        return blank(&String::from_utf8(bytes).unwrap()).into_bytes();
    }
    bytes
}

fn csv_without_seconds(line: &str) -> String {
    let mut cells: Vec<&str> = line.split(',').collect();
    cells.remove(7);
    cells.join(",")
}

fn blank_json(value: &mut serde_json::Value) {
    let Some(object) = value.as_object_mut() else { return };
    for key in ["seconds", "wall_seconds", "resumed", "events_bytes"] {
        object.remove(key);
    }
    if let Some(serde_json::Value::Array(rows)) = object.get_mut("metrics") {
        for row in rows {
            *row = csv_without_seconds(row.as_str().unwrap()).into();
        }
    }
    object.values_mut().for_each(blank_json);
}

/// File by file, so that a difference is named and not printed.
pub(crate) fn assert_equal(name: &str, whole: &BTreeMap<String, Vec<u8>>, resumed: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(whole), names(resumed), "{name}: other files");
    for (file, bytes) in whole {
        if bytes != &resumed[file] {
            let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(3000)]).into_owned();
            let shown = if file.ends_with("safetensors") {
                String::new()
            } else {
                text(bytes) + "\n\n" + &text(&resumed[file])
            };
            panic!("{name}: {file} differs\n{shown}");
        }
    }
}

#[test]
fn a_killed_run_ends_with_the_same_bits_wherever_it_was_killed() {
    let scene = Scene::new();
    let receipt = scene.start("student", "whole", &[]).unwrap();
    let whole = contents(&scene.run("whole"));
    assert_eq!(receipt.epochs, 4);

    // The same again, never killed: otherwise the rest would prove nothing.
    scene.start("student", "again", &[]).unwrap();
    assert_equal("again", &whole, &contents(&scene.run("again")));

    let places: &[(&str, &[&str])] = &[
        ("before-any-checkpoint", &["step 1+2"]),
        ("mid-epoch", &["step 3+5"]),
        ("writing", &["last 2+0: model written"]),
        ("written", &["last 2+0: written"]),
        ("between-renames", &["last 2+0: between renames"]),
        ("before-old-is-removed", &["last 2+0: renamed"]),
        ("inside-epoch-renames", &["last 2+4: between renames"]),
        ("best", &["best 1+0: between renames"]),
        ("twice", &["step 2+1", "last 3+0: between renames", "last 3+3: between renames"]),
    ];
    for (name, kills) in places {
        for place in *kills {
            kill_at(&scene, name, place);
        }
        let receipt = scene.resume("student", name, &[]).unwrap();
        assert!(receipt.resumed <= kills.len());
        assert_equal(name, &whole, &contents(&scene.run(name)));
    }
}

/// What losses train and remember is as much a part of a run as the student.
#[test]
fn trained_adapters_and_memory_banks_survive() {
    let scene = Scene::new();
    let (plain, _) = STUDENT.split_once("[[losses]]").unwrap();
    std::fs::write(scene.root().join("student.toml"), format!("{plain}{ADAPTERS}")).unwrap();
    scene.start("student", "whole", &[]).unwrap();
    kill_at(&scene, "killed", "step 3+5");
    scene.resume("student", "killed", &[]).unwrap();
    assert_equal("killed", &contents(&scene.run("whole")), &contents(&scene.run("killed")));
}

#[test]
fn a_changed_recipe_and_changed_images_are_refused_by_name() {
    let scene = Scene::new();
    scene.start("student", "x", &["train.epochs=1"]).unwrap();

    let other = ["train.epochs=1", "train.clip=4.0"];
    let message = scene.resume("student", "x", &other).unwrap_err().to_string();
    assert!(message.contains("train.clip: 5.0 -> 4.0") && message.contains("hint"), "{message}");

    let message = scene.start("student", "x", &["train.epochs=1"]).unwrap_err().to_string();
    assert!(message.contains("exists already") && message.contains("--resume"), "{message}");

    let message = scene.resume("student", "y", &["train.epochs=1"]).unwrap_err().to_string();
    assert!(message.contains("no run to resume"), "{message}");

    let images = scene.root().join("data/train-images-idx3-ubyte");
    let mut bytes = std::fs::read(&images).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&images, bytes).unwrap();
    let message = scene.resume("student", "x", &["train.epochs=1"]).unwrap_err().to_string();
    assert!(message.contains("the training images") && !message.contains("test images"), "{message}");
}

#[test]
fn other_weights_to_start_from_are_another_run() {
    let scene = Scene::new();
    let init = scene.root().join("start.safetensors");
    std::fs::copy(scene.run("teacher").join("checkpoints/best/model.safetensors"), &init).unwrap();
    let overrides = ["train.epochs=1", "student.init=start.safetensors"];
    let receipt = scene.start("student", "x", &overrides).unwrap();
    assert_eq!(receipt.init_sha256.map(|sha256| sha256.len()), Some(64));
    let mut weights = attar_formats::read::safetensors(&init).unwrap().weights;
    weights.0.get_mut("fc.bias").unwrap().f32_mut().unwrap()[0] += 1.0;
    attar_formats::write::safetensors(&init, &weights, &BTreeMap::new()).unwrap();
    let message = scene.resume("student", "x", &overrides).unwrap_err().to_string();
    assert!(message.contains("the weights to start from"), "{message}");
}

/// A finished run may be resumed: nothing is left to do, and nothing changes.
#[test]
fn resuming_a_finished_run_changes_nothing() {
    let scene = Scene::new();
    scene.start("student", "x", &["train.epochs=1"]).unwrap();
    let before = contents(&scene.run("x"));
    scene.resume("student", "x", &["train.epochs=1"]).unwrap();
    assert_equal("x", &before, &contents(&scene.run("x")));
}

/// `/dev/full` stands in for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_checkpoint_before_intact() {
    let scene = Scene::new();
    let state = scene.run("full").join("checkpoints/last.new/state.json");
    let fill = move |at: &str| {
        if at == "last 1+2: model written" {
            std::os::unix::fs::symlink("/dev/full", &state).unwrap();
        }
    };
    let plan = scene.plan_with("student", &[], Failpoint(Some(Arc::new(fill)))).unwrap();
    let message = run::start(plan, &scene.run("full"), &mut Silent).unwrap_err().to_string();
    assert!(message.contains("No space left") && message.contains("hint"), "{message}");

    scene.resume("student", "full", &[]).unwrap();
    scene.start("student", "whole", &[]).unwrap();
    assert_equal("full", &contents(&scene.run("whole")), &contents(&scene.run("full")));
}
