//! Exit codes: the table in the docs has a row for every verb, and the program keeps to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use attar_formats::files;

use crate::pipeline::replace_in_bundle;
use crate::support::program::command;
use crate::support::scene::scene;

/// The lines of a table in the docs that begin with a verb.
fn rows() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-codes.md");
    let text = files::read_text(&path, files::MOST_TEXT).unwrap();
    text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

#[test]
fn every_verb_has_a_row() {
    let help = scene().attar(&["--help"]).ok().out;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = verbs.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<&str> =
        verbs.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() >= 15, "{help}");
    let rows = rows();
    for name in names {
        let verb = |row: &String| {
            row.split('|')
                .nth(1)
                .is_some_and(|cell| cell.split('`').any(|part| part == name || part.starts_with(&format!("{name} "))))
        };
        assert!(rows.iter().any(verb), "docs/exit-codes.md has no row for `{name}`");
    }
}

/// Adds to a number in the middle of a golden's logits, which come last in the file.
fn bend_goldens(bundle: &Path, by: f32) {
    let path = bundle.join("reference/golden.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let at = header + json["logits"]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut bent = bytes;
    let number = f32::from_le_bytes(bent[at..at + 4].try_into().unwrap()) + by;
    bent[at..at + 4].copy_from_slice(&number.to_le_bytes());
    replace_in_bundle(bundle, "reference/golden.safetensors", &bent);
}

#[test]
fn a_bundle_that_holds_and_one_that_does_not() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene.copy_of_bundle(folder.path());
    let path = bundle.to_str().unwrap();
    let ask = |verb: &str, more: &[&str]| scene.attar(&[&[verb, path, "--engine", "tract"], more].concat());
    // Agreeing goldens: a selftest holds, and decisions are not decided.
    let found = ask("selftest", &["--json"]).exits(0).json();
    assert_eq!((&found["version"], &found["passed"]), (&1.into(), &true.into()));
    assert_eq!(ask("verify", &["--json"]).exits(3).json()["version"], 1);
    assert!(ask("selftest", &[]).exits(0).out.contains(": ok"));
    // Beyond rounding: neither, with labelled images or without.
    bend_goldens(&bundle, 0.5);
    assert!(ask("selftest", &[]).exits(1).out.contains("FAIL: the goldens' logits differ"));
    let said = ask("verify", &[]).exits(1);
    assert!(said.out.contains("verdict: worse: the goldens' logits differ"), "{}", said.out);
    ask("verify", &["--data", "idx:data"]).exits(1);
    // A runtime that cannot be asked, and a bundle without numbers.
    ask("selftest", &["--ort-library", "absent.so", "--engine", "ort"]).fails(&["absent.so"]);
    std::fs::remove_file(bundle.join("reference/golden.safetensors")).unwrap();
    let manifest = std::fs::read_to_string(bundle.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["files"].as_object_mut().unwrap().remove("reference/golden.safetensors");
    std::fs::write(bundle.join("manifest.json"), manifest.to_string()).unwrap();
    ask("selftest", &[]).fails(&["holds no goldens"]);
    ask("verify", &[]).exits(3);
}

#[test]
fn a_run_is_held_against_a_run_and_a_file_against_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene().copy_of_bundle(folder.path());
    let model = folder.path().join("stranger.onnx");
    std::fs::copy(bundle.join("model.onnx"), &model).unwrap();
    let (bundle, model) = (bundle.to_str().unwrap(), model.to_str().unwrap());
    let engines = ["--engine", "tract", "--against-engine", "tract", "--json"];
    // A file of ours says its classes and its preprocessing.
    for sides in [["runs/student", "runs/student"], [model, bundle], [bundle, model], ["runs/student", model]] {
        let ask = |more: &[&str]| {
            let [own, other] = sides;
            scene().attar(&[&["verify", own, "--against", other], &engines[..], more].concat())
        };
        let numbers = ask(&[]).exits(3).json();
        assert_eq!(numbers["runtimes"][0]["goldens"]["within_rounding"], true, "{sides:?}: {numbers}");
        let decided = ask(&["--data", "idx:data", "--margin", "50"]).exits(0).json();
        assert_eq!(decided["runtimes"][0]["paired"]["flips"], 0, "{sides:?}: {decided}");
        assert_eq!(decided["reference"]["engine"], "tract");
    }
}

#[test]
fn some_of_several_is_2_and_the_others_are_done() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let [good, bad] = ["good.png", "cut.png"].map(|name| folder.path().join(name));
    let png =
        attar_pixels::Image::new(28, 28, 1, (0..784).map(|at| (at % 251) as u8).collect()).unwrap().to_png().unwrap();
    std::fs::write(&good, &png).unwrap();
    std::fs::write(&bad, &png[..100]).unwrap();
    let [good, bad] = [&good, &bad].map(|path| path.to_str().unwrap());
    let predict = |more: &[&str]| scene.attar(&[&["predict", "bundles/student"], more].concat());
    predict(&[good]).ok();
    let said = predict(&[bad, good, "--json"]).exits(2);
    let answers = said.json()["answers"].clone();
    assert!(answers[0]["error"].as_str().unwrap().contains("cut.png") && answers[1]["guesses"].is_array(), "{answers}");
    assert!(said.err.contains("cut.png"));
    let said = predict(&[bad, good, "--top", "1"]).exits(2);
    assert_eq!(said.out.matches(" % ").count(), 1, "{}", said.out);
}

#[test]
fn a_bundles_licence_can_be_set() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("licensed");
    let export = |more: &[&str]| {
        let args = ["export", "runs/student", "--out", out.to_str().unwrap(), "--engine", "tract"];
        scene.attar(&[&args[..], more].concat())
    };
    export(&["--license", " "]).fails(&["--license"]);
    assert_eq!(export(&["--license", "apache-2.0", "--json"]).ok().json()["version"], 1);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert!(read("README.md").starts_with("---\nlicense: \"apache-2.0\"\n"));
    for file in ["config.json", "manifest.json"] {
        let json: serde_json::Value = serde_json::from_str(&read(file)).unwrap();
        assert_eq!(json["provenance"]["licence"], "apache-2.0", "{file}");
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_is_130_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("long");
    let args = ["train", "alone.toml", "--set", "train.epochs=500", "--out", out.to_str().unwrap()];
    let mut child = command(scene().root(), &args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    // After the second line of an epoch the first one's checkpoint is there.
    assert!(words.by_ref().any(|line| line.unwrap().contains("epoch 2/500")), "it never began");
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let rest: Vec<String> = words.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    let rest = rest.join("\n");
    assert!(rest.contains("interrupted") && rest.contains("--resume"), "{rest}");
    assert!(out.join("checkpoints/last/model.safetensors").is_file());
}
