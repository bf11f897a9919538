//! The whole pipeline by the real program: train, kill, resume, distil, export, verify, predict, bench.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use attar_data::Source;
use attar_formats::hash::sha256;
use attar_formats::read;
use attar_infer::bundle::{Predictions, Split};
use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Rewritten, fold, generated};
use attar_onnx as onnx;
use serde_json::Value;

use crate::support::program::command;
use crate::support::require_ort;
use crate::support::scene::{scene, write_data};

/// Writes `bytes` as a file of a bundle and makes its manifest say so.
pub(crate) fn replace_in_bundle(bundle: &Path, file: &str, bytes: &[u8]) {
    std::fs::write(bundle.join(file), bytes).unwrap();
    let path = bundle.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let before = std::mem::replace(&mut manifest["files"][file], sha256(bytes).into());
    for model in manifest["models"].as_array_mut().unwrap() {
        if model["made_from"] == before {
            model["made_from"] = sha256(bytes).into();
        }
    }
    std::fs::write(&path, manifest.to_string()).unwrap();
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A log without the seconds that things took.
fn without_seconds(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    if file.extension().is_some_and(|extension| extension == "csv") {
        let column = text.lines().next().unwrap().split(',').position(|name| name == "seconds").unwrap();
        let cut = |line: &str| {
            let mut cells: Vec<&str> = line.split(',').collect();
            cells.remove(column);
            cells.join(",")
        };
        return text.lines().map(cut).collect::<Vec<_>>().join("\n");
    }
    let cut = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event.as_object_mut().unwrap().remove("seconds");
        event.to_string()
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_killed_and_resumed_run_is_the_same_run() {
    let scene = scene();
    let recipe = ["train", "alone.toml", "--set", "train.epochs=3", "--set", "train.checkpoint_every_steps=2", "--out"];
    let run = |out: &'static str, more: &[&'static str]| [&recipe[..], &[out], more].concat();
    scene.attar(&run("runs/whole", &[])).ok();

    let mut child = command(scene.root(), &run("runs/killed", &[])).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("epoch 1/3")), "the first epoch never ended");
    child.kill().unwrap(); // SIGKILL
    assert_eq!(child.wait().unwrap().code(), None, "it was done before it could be killed");
    assert!(!scene.root().join("runs/killed/receipt.json").exists());

    let resumed = scene.attar(&run("runs/killed", &["--resume"])).ok();
    assert!(resumed.err.contains("going on after epoch"), "{}", resumed.err);
    let [whole, killed] = ["runs/whole", "runs/killed"].map(|run| scene.root().join(run));
    for checkpoint in ["last", "best"] {
        let model = format!("checkpoints/{checkpoint}/model.safetensors");
        let [whole, killed] = [&whole, &killed].map(|run| std::fs::read(run.join(&model)).unwrap());
        assert!(whole == killed, "{model} differs");
    }
    for log in ["metrics.csv", "events.jsonl"] {
        assert_eq!(without_seconds(&whole.join(log)), without_seconds(&killed.join(log)), "{log}");
    }
    let answers = |run: &Path| std::fs::read(run.join("reference/predictions.safetensors")).unwrap();
    assert!(answers(&whole) == answers(&killed), "the reference answers differ");
}

#[test]
fn nothing_of_the_losses_and_the_teacher_leaves_with_the_student() {
    let root = scene().root();
    let trainer = read::arrays(&root.join("runs/student/checkpoints/last/trainer.safetensors")).unwrap().into_weights();
    assert!(trainer.0.keys().any(|name| name.starts_with("losses.cd.")), "no connectors: this test proves nothing");
    let exported = read::safetensors(&root.join("bundles/student/model.safetensors")).unwrap().weights;
    let own = zoo::build(&NetworkSpec::new("resnet8", 10, [1, 28, 28])).unwrap();
    let own: BTreeSet<String> = own.params().map(|param| param.name).collect();
    assert_eq!(exported.0.keys().cloned().collect::<BTreeSet<_>>(), own);
    let onnx = std::fs::read(root.join("bundles/student/model.onnx")).unwrap();
    let holds = |text: &str| onnx.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("layer3.0.conv1") && !holds("losses.") && !holds("connector") && !holds("layer1.1."));
}

#[test]
fn the_exported_student_decides_like_the_trained_one() {
    let scene = scene();
    let verify = |more: &[&str]| scene.attar(&[&["verify", "bundles/student", "--json"], more].concat());
    let certificate = verify(&["--data", "idx:data", "--run", "runs/student", "--html", "parity.html"]).ok().json();
    assert_eq!(certificate["verdict"]["kind"], "equivalent");
    assert_eq!((&certificate["data"]["images"], &certificate["data"]["paired_test"]), (&800.into(), &800.into()));
    for runtime in certificate["runtimes"].as_array().unwrap() {
        let interval = &runtime["paired"]["interval"];
        let [low, high] = ["low", "high"].map(|end| interval[end].as_f64().unwrap());
        assert!(-0.5 < low && low <= 0.0 && high >= 0.0, "{runtime}");
        assert_eq!(runtime["goldens"]["within_rounding"], true);
        assert!(runtime["paired"]["logits"]["max_diff"].as_f64().unwrap() < 1e-3);
    }
    // The attack on the trained network, shown to what was exported: a change of 0.03 fools the same weights anywhere.
    let attacked = &certificate["robustness"]["conditions"];
    assert_eq!((&attacked[0]["kind"], &attacked[0]["name"]), (&"attack".into(), &"fgsm".into()));
    assert_eq!((&attacked[0]["images"], attacked.as_array().unwrap().len()), (&256.into(), 1));
    let under_attack = attacked[0]["runtimes"][0]["accuracy"].as_f64().unwrap();
    let plain = certificate["runtimes"][0]["accuracy_all"].as_f64().unwrap();
    let receipt = scene.root().join("runs/student/receipt.json");
    let receipt: Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    let trained = receipt["measures"]["robustness"]["fgsm"].as_f64().unwrap();
    assert!(under_attack < plain - 5.0 && (under_attack - trained).abs() < 10.0, "{plain} {under_attack} {trained}");
    for page in ["parity.html", "runs/student/report.html"] {
        assert_self_contained(&scene.root().join(page));
    }
    assert!(std::fs::read_to_string(scene.root().join("runs/student/report.html")).unwrap().contains("equivalent"));

    // Without labels there are numbers only; with few images nothing is decided.
    let numbers = verify(&[]).exits(3).json();
    assert_eq!(numbers["verdict"]["kind"], "numbers-only");
    let few = tempfile::tempdir().unwrap();
    write_data(few.path(), 20, 50);
    let undecided = verify(&["--data", &format!("idx:{}", few.path().display())]).exits(3).json();
    assert_eq!(undecided["verdict"]["kind"], "inconclusive");
    assert!(undecided["verdict"]["more_images"].as_u64().unwrap() > 500);
    verify(&["--margin", "0"]).fails(&["margin"]);
}

/// Nothing on the page comes from elsewhere.
fn assert_self_contained(page: &Path) {
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.len() > 1000 && html.contains("<table"), "{}: hardly a report", page.display());
    for foreign in ["<script src", "<link", "@import", "<iframe", "src=\"http", "src='http", "href=\"http", "url(http"]
    {
        assert!(!html.contains(foreign), "{} holds `{foreign}`", page.display());
    }
}

#[test]
fn another_networks_onnx_is_found_out() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene.copy_of_bundle(folder.path());
    let path = bundle.to_str().unwrap();
    let graph = zoo::build(&NetworkSpec::new("resnet8", 10, [1, 28, 28])).unwrap();
    let Rewritten { graph: folded, weights, .. } =
        fold::fold_batch_norm(&graph, &generated::weights(&graph, 1)).unwrap();
    let stranger = onnx::write(&folded, &weights, &onnx::Options::default()).unwrap();

    // The manifest does not know it.
    let own = std::fs::read(bundle.join("model.onnx")).unwrap();
    std::fs::write(bundle.join("model.onnx"), &stranger).unwrap();
    scene.attar(&["verify", path]).fails(&["model.onnx", "not the file that the manifest lists"]);

    // The manifest was changed too: only the answers tell.
    replace_in_bundle(&bundle, "model.onnx", &stranger);
    let certificate = scene.attar(&["verify", path, "--data", "idx:data", "--json"]).exits(1).json();
    assert_eq!(certificate["verdict"]["kind"], "worse");
    assert_eq!(certificate["runtimes"][0]["goldens"]["within_rounding"], false);

    // Other weights than those that gave the reference answers.
    replace_in_bundle(&bundle, "model.onnx", &own);
    let teacher = std::fs::read(scene.root().join("runs/teacher/checkpoints/best/model.safetensors")).unwrap();
    replace_in_bundle(&bundle, "model.safetensors", &teacher);
    scene.attar(&["verify", path]).fails(&["predictions.safetensors", "answers of other weights"]);
}

#[test]
fn predictions_are_those_of_the_trained_network() {
    let scene = scene();
    let reference = scene.root().join("bundles/student/reference/predictions.safetensors");
    let reference = Predictions::read(&reference).unwrap();
    let test = Source::Idx { root: scene.root().join("data"), classes: None }.open().unwrap().test;
    let folder = tempfile::tempdir().unwrap();
    let chosen = [0, 7, 99, 500];
    let files: Vec<String> = chosen.map(|i| folder.path().join(format!("{i}.png")).to_str().unwrap().to_owned()).into();
    for (index, file) in chosen.iter().zip(&files) {
        std::fs::write(file, test.encoded(*index).unwrap()).unwrap();
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = scene.attar(&[&["predict", "bundles/student", "--top", "3", "--json"], &files[..]].concat()).ok().json();
    for (index, said) in chosen.into_iter().zip(said["answers"].as_array().unwrap()) {
        let row = reference.row(&test.image(index).unwrap().sha256(), test.label(index)).unwrap();
        assert_eq!(reference.split[row], Split::Test);
        let guesses = said["guesses"].as_array().unwrap();
        assert_eq!(guesses.len(), 3);
        assert_eq!(guesses[0]["class"], reference.top1[row]);
        assert_eq!(guesses[0]["label"], test.classes()[reference.top1[row] as usize]);
        let logit = f64::from(reference.top5_logits[row * 5]);
        assert!((guesses[0]["logit"].as_f64().unwrap() - logit).abs() < 1e-3);
    }
    let text = scene.attar(&["predict", "bundles/student", files[0]]).ok().out;
    assert!(text.contains(files[0]) && text.contains('%'), "{text}");
}

#[test]
fn bench_measures_every_runtime_at_hand() {
    let said = scene().attar(&["bench", "bundles/student", "--seconds", "0.1", "--json"]).ok().json();
    for one in said["runtimes"].as_array().unwrap() {
        let p50 = one["latency_ms"]["p50"].as_f64().unwrap();
        assert!(p50 > 0.0 && p50 <= one["latency_ms"]["p99"].as_f64().unwrap(), "{one}");
    }
    assert!(!said["runtimes"].as_array().unwrap().is_empty());
}

#[test]
fn export_is_all_or_nothing() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let export = |out: &str, more: &[&str]| scene.attar(&[&["export", "runs/student", "--out", out], more].concat());

    export("bundles/student", &[]).fails(&["bundles/student exists already", "hint"]);
    export(&at("new"), &["--opset", "99"]).fails(&["opset", "99", "13"]);
    export(&at("new"), &["--engine", "tracd"]).fails(&["tracd", "did you mean `tract`?"]);
    export(&at("new"), &["--goldens", "reel"]).fails(&["reel", "synthetic"]);
    scene.attar(&["export", "runs/nothing", "--out", &at("new")]).fails(&["runs/nothing"]);
    assert!(names(folder.path()).is_empty(), "a failed export left {:?}", names(folder.path()));

    let first = export(&at("first"), &["--goldens", "synthetic", "--opset", "13", "--json"]).ok().json();
    assert_eq!(first["goldens"]["runtimes"][0]["goldens"]["kind"], "synthetic");
    let second = export(&at("second"), &["--goldens", "none", "--opset", "18"]).ok();
    assert!(second.out.contains("opset 18") && second.out.contains("no goldens"), "{}", second.out);
    assert!(!folder.path().join("second/reference/golden.safetensors").exists());
    // Attacked images are real ones, too.
    assert!(scene.root().join("bundles/student/reference/attacks.safetensors").exists());
    for made in ["first", "second"] {
        assert!(!folder.path().join(made).join("reference/attacks.safetensors").exists(), "{made}");
    }
    for (bundle, opset) in [("first", 13), ("second", 18)] {
        let manifest = std::fs::read(folder.path().join(bundle).join("manifest.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&manifest).unwrap()["opset"], opset);
        scene.attar(&["verify", &at(bundle), "--data", "idx:data"]).ok();
    }
    assert_eq!(names(folder.path()), ["first", "second"].map(str::to_owned).into());
}

/// A bundle is read by other programs and people, not only by who made it.
#[cfg(unix)]
#[test]
fn a_bundle_is_as_readable_as_any_new_folder() {
    use std::os::unix::fs::PermissionsExt;
    let scene = scene();
    let mode = |folder: &str| std::fs::metadata(scene.root().join(folder)).unwrap().permissions().mode();
    assert_eq!(mode("bundles/student"), mode("bundles"));
    assert_eq!(mode("bundles/student/model.onnx"), mode("student.toml"));
}

#[test]
fn mobilenet_goes_the_same_way() {
    let scene = scene();
    let network = "student.network={ name = \"mobilenet_v2\", width = 0.35, stem = \"cifar\" }";
    let short = ["--set", network, "--set", "name=mobile", "--set", "train.epochs=1"];
    scene.attar(&[&["train", "alone.toml"], &short[..]].concat()).ok();
    scene.attar(&["export", "runs/mobile"]).ok();
    let mut engines = vec!["tract"];
    if require_ort("mobilenet_goes_the_same_way") {
        engines.push("ort");
    }
    let certificate =
        scene.attar(&["verify", "bundles/mobile", "--data", "idx:data", "--engine", &engines.join(","), "--json"]);
    let certificate = certificate.ok().json();
    let used: Vec<&str> =
        certificate["runtimes"].as_array().unwrap().iter().filter_map(|r| r["engine"].as_str()).collect();
    assert_eq!(used.len(), engines.len(), "{used:?}");
}
