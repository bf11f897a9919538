//! What leaves the program fits its schema: the files of a run and a bundle, and what verbs print with `--json`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::docs::schemas;
use crate::support::program::attar;
use crate::support::scene::scene;
use crate::support::schema::problem;

/// Checks values by the name of their schema, and remembers which schemas were asked.
struct Held {
    schemas: BTreeMap<String, Value>,
    asked: BTreeSet<String>,
}

impl Held {
    #[track_caller]
    fn fits(&mut self, name: &str, value: &Value) {
        let schema = self.schemas.get(name).unwrap_or_else(|| panic!("there is no schema `{name}`"));
        assert_eq!(problem(value, schema), None, "{name}: {value:#}");
        // What was not asked for is refused: a schema that takes everything says nothing.
        assert!(problem(&Value::Array(Vec::new()), schema).is_some(), "{name} takes a list");
        self.asked.insert(name.to_owned());
    }
}

#[test]
fn what_leaves_the_program_fits_its_schema() {
    let scene = scene();
    let mut held = Held { schemas: schemas(), asked: BTreeSet::new() };
    let file = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(scene.root().join(path)).unwrap())
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    held.fits("receipt", &file("runs/student/receipt.json"));
    held.fits("status", &file("runs/student/status.json"));
    held.fits("card", &file("runs/student/card.json"));
    held.fits("manifest", &file("bundles/student/manifest.json"));
    let events = std::fs::read_to_string(scene.root().join("runs/student/events.jsonl")).unwrap();
    for line in events.lines() {
        held.fits("events", &serde_json::from_str(line).unwrap());
    }

    let image = scene.root().join("one.png");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/boot.png"), &image).unwrap();
    let out = tempfile::tempdir().unwrap();
    let place = out.path().join("out").to_string_lossy().into_owned();
    std::fs::copy(scene.root().join("bundles/student/model.onnx"), out.path().join("theirs.onnx")).unwrap();
    let shown = out.path().join("demo").to_string_lossy().into_owned();
    let theirs = out.path().join("theirs.onnx").to_string_lossy().into_owned();
    let bundle = scene.copy_of_bundle(out.path()).to_string_lossy().into_owned();
    let int8 = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/onnx/quantised/qdq.onnx");
    let printed: [(&str, &[&str]); 28] = [
        ("plan", &["distill", "student.toml", "--dry-run"]),
        ("verify", &["verify", "bundles/student", "--data", "idx:data", "--engine", "tract", "--margin", "5"]),
        ("verify", &["verify", int8, "--engine", "tract,attar"]),
        ("predict", &["predict", "bundles/student", "one.png", "--engine", "tract"]),
        ("bench", &["bench", "bundles/student", "--engine", "tract", "--seconds", "0.01"]),
        (
            "bench-interleave",
            &["bench", "bundles/student", "--engine", "tract,attar", "--interleave", "--seconds", "0.01"],
        ),
        ("bench-profile", &["bench", "bundles/student", "--profile", "--seconds", "0.01"]),
        (
            "bisect",
            &["bisect", &theirs, "--engine-a", "tract", "--engine-b", "attar", "--images", "1", "--out", &place],
        ),
        ("conformance", &["conformance", "--only", "conv", "--engine", "tract,attar"]),
        ("compile", &["compile", &theirs, "--out", &format!("{place}.attar")]),
        ("selftest", &["selftest", "bundles/student", "--engine", "tract"]),
        ("doctor", &["doctor"]),
        ("models", &["models"]),
        ("models-one", &["models", "mobilenet_v3_small"]),
        ("losses", &["losses"]),
        ("explain", &["distill", "--explain", "kd"]),
        ("explain", &["distill", "--explain", "schedules"]),
        ("data-info", &["data", "info", "idx:data"]),
        ("data-check", &["data", "check", "idx:data"]),
        ("export", &["export", "runs/student", "--out", &place]),
        ("export", &["export", &theirs, "--out", &format!("{place}-theirs"), "--engine", "tract"]),
        ("add", &["add", &bundle, &theirs, "--engine", "tract"]),
        (
            "quantise",
            &["quantise", &bundle, "--data", "idx:data", "--engine", "tract", "--images", "16", "--undecided"],
        ),
        ("new", &["new", "idx:data", "--student", "resnet8"]),
        (
            "bench-train",
            &[
                "bench-train",
                "resnet8",
                "--batch",
                "4",
                "--size",
                "8",
                "--classes",
                "3",
                "--steps",
                "1",
                "--repeats",
                "1",
            ],
        ),
        ("inspect", &["inspect", "bundles/student"]),
        // Short, and as long as its recipes' knots ask for.
        ("demo", &["demo", "--set", "train.epochs=4", "--set", "data.train_subset=300", "--out", &shown]),
        ("receipt", &["distill", "student.toml", "--resume"]),
    ];
    for (name, args) in printed {
        let said = scene.attar(&[args, &["--json"]].concat());
        // Verdicts have exit codes of their own.
        assert!(matches!(said.code, Some(0 | 1 | 3)), "{args:?}: {}", said.err);
        let value = said.json();
        assert!(value["version"].is_u64(), "{args:?} has no version");
        held.fits(name, &value);
    }
    // Left over are those whose results take long or need the network, and the recipe, which has tests of its own.
    let asked_elsewhere = ["compare", "data-fetch", "doctor-ops", "engines", "labels", "labels-stamp", "recipe"];
    let all: BTreeSet<&str> = held.schemas.keys().map(String::as_str).collect();
    let known = held.asked.iter().map(String::as_str).chain(asked_elsewhere).collect();
    assert_eq!(all, known, "schemas that nothing here is held against");
    attar(scene.root(), &["reference", "--schema", "--schemas"]).exits(2);
}
