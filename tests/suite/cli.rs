//! The command line: help with examples, JSON that is only JSON, progress on stderr, mistakes answered by the right name.

use crate::pipeline::names;
use crate::support::program::attar;
use crate::support::scene::scene;

#[test]
fn every_verb_has_help_with_examples() {
    let training = ["demo", "train", "distill", "compare", "export", "verify", "bisect", "bench", "bench-train"];
    let verbs = training.into_iter().chain(["predict", "models", "losses", "doctor", "new"]).map(|verb| vec![verb]);
    let data = ["info", "check", "fetch"].map(|action| vec!["data", action]);
    let overview = scene().attar(&["--help"]).ok().out;
    for verb in verbs.chain(data) {
        assert!(overview.contains(&format!("  {} ", verb[0])), "--help does not list {}", verb[0]);
        let help = scene().attar(&[&verb[..], &["--help"]].concat()).ok().out;
        assert!(help.contains("Examples:") && help.contains(&format!("attar {}", verb.join(" "))), "{verb:?}:\n{help}");
        assert!(help.contains("--json"), "{verb:?} has no --json");
    }
    assert!(scene().attar(&["--version"]).ok().out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn json_is_all_of_stdout_and_progress_is_on_stderr() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let json = |args: &[&str]| {
        let json = scene.attar(&[args, &["--json"]].concat()).ok().json();
        // Those of the device's verbs (predict, verify, bench, export) and a store's own manifest are elsewhere.
        let own = ["models", "losses", "distill", "doctor", "data", "bench-train", "new"].contains(&args[0]);
        assert!(!own || json["version"] == 1, "{args:?}: {json}");
        json
    };

    let zoo = json(&["models"]);
    assert!(
        zoo["networks"].as_array().unwrap().iter().any(|row| row["name"] == "resnet20" && row["parameters"] == 278_324)
    );
    let one = json(&["models", "resnet8", "--classes", "100", "--input", "3x32x32"]);
    assert_eq!((&one["summary"]["classes"], &one["stages"][0]), (&100.into(), &"layer1".into()));
    let losses = json(&["losses"]);
    let kinds = losses["losses"].as_array().unwrap().iter().map(|loss| loss["kind"].as_str().unwrap());
    assert!(kinds.clone().any(|kind| kind == "channel") && kinds.count() >= 3);
    let kd = json(&["distill", "--explain", "kd"]);
    assert_eq!((&kd["teachers"], &kd["settings"][0]["name"]), (&"one".into(), &"temperature".into()));
    let doctor = json(&["doctor"]);
    assert!(doctor["engines"].as_array().unwrap().iter().any(|engine| engine["engine"] == "tract"));
    let info = json(&["data", "info", "idx:data"]);
    assert_eq!((&info["test"], &info["classes"][9]["class"]), (&800.into(), &"Ankle boot".into()));
    json(&["data", "check", "idx:data"]);
    let made = json(&["new", "idx:data", "--student", "resnet8"]);
    assert!(made["recipe"].as_str().unwrap().contains("[data.preprocessing]") && made["measured"]["train"] == 240);
    let plan = json(&["distill", "student.toml", "--dry-run"]);
    assert_eq!(plan["losses"].as_array().unwrap().len(), 3);

    let short = ["--set", "train.epochs=1", "--set", "data.test_subset=100", "--out", &at("run")];
    let trained = scene.attar(&[&["train", "alone.toml", "--json"], &short[..]].concat()).ok();
    assert_eq!((&trained.json()["epochs"], &trained.json()["version"]), (&1.into(), &2.into()));
    assert!(trained.err.contains("epoch 1/1") && trained.err.contains("done in"), "{}", trained.err);
    // Not a terminal: plain lines, no control characters.
    assert!(!trained.err.contains('\u{1b}') && !trained.err.contains('\r'), "{:?}", trained.err);
    assert_eq!(json(&["export", &at("run"), "--out", &at("bundle")])["bundle"], at("bundle"));
    json(&["bench", &at("bundle"), "--seconds", "0.05"]);
    let small = ["--size", "12", "--classes", "5", "--batch", "4", "--steps", "2", "--warmup", "1", "--repeats", "3"];
    let timed = json(&[&["bench-train", "resnet8", "--teacher", "resnet14"], &small[..]].concat());
    assert_eq!(timed["losses"].as_array().unwrap().len(), 7);
    assert!(timed["split_ms"]["teacher"].as_f64().unwrap() > 0.0);
    let (file, few) = (at("bundle/model.onnx"), ["--batch", "4", "--steps", "1", "--warmup", "0", "--repeats", "1"]);
    let of_file = json(&[&["bench-train", &file, "--teacher", &file], &few[..]].concat());
    assert_eq!((&of_file["model"]["file"], &of_file["teacher"]["classes"]), (&file.clone().into(), &10.into()));
    scene.attar(&["bench-train", &file, "--classes", "5"]).fails(&["knows 10 classes, expected 5", "--classes 10"]);
    scene.attar(&["bench-train", &file, "--size", "13"]).fails(&["model.onnx", "expected 13x13"]);
    let layers = json(&["bench", &file, "--profile", "--seconds", "0.01"])["profiles"][0]["layers"].clone();
    let share: f64 = layers.as_array().unwrap().iter().map(|layer| layer["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-6 && layers[1]["of_peak"].as_f64().unwrap() > 0.0, "{layers}");
    scene.attar(&["bench", &file, "--profile", "--engine", "tract"]).fails(&["--profile", "hint: --engine attar"]);
}

#[test]
fn losses_are_explained_with_paper_and_settings() {
    let scene = scene();
    let all = scene.attar(&["losses"]).ok().out;
    for part in
        ["cross-entropy", "arXiv 1503.02531", "temperature", "no teacher", "--explain NAME", "lskd", "schedules"]
    {
        assert!(all.contains(part), "no `{part}` in\n{all}");
    }
    let one = scene.attar(&["distill", "--explain", "kd"]).ok().out;
    assert!(
        one.starts_with("kd\n")
            && one.contains("wrong = keep: keep | drop | swap | smooth")
            && !one.contains("channel"),
        "{one}"
    );
    let said = |name: &str| scene.attar(&["distill", "--explain", name]).ok().out;
    for (name, part) in [
        ("cd", "kind = \"channel\""),
        ("gkd", "wrong = \"drop\""),
        ("edt", "[0.8, 4.86]"),
        ("ka", "wrong = \"swap\""),
        ("lskd", "standardise = true"),
        ("schedules", "unit = \"fraction\""),
        ("views", "[[views]]"),
        ("teachers", "[[teachers]]"),
    ] {
        assert!(said(name).contains(part), "--explain {name} does not say `{part}`:\n{}", said(name));
    }
    assert_eq!(scene.attar(&["train", "--explain", "EDT", "--json"]).ok().json()["name"], "edt");
    scene.attar(&["distill", "--explain", "lskdd"]).fails(&["did you mean `lskd`?", "known:", "schedules"]);
}

#[test]
fn every_operation_of_training_is_checked_on_the_device() {
    let checked = scene().attar(&["doctor", "--ops", "--json"]).ok();
    let rows = checked.json();
    let rows = rows["checks"].as_array().unwrap();
    assert!(rows.len() > 200 && rows.iter().all(|row| row["ok"] == true), "{rows:?}");
    assert!(checked.err.contains("on cpu are as they should be"), "{}", checked.err);
    scene().attar(&["doctor", "--device", "cpu"]).fails(&["--ops"]);
}

#[test]
fn a_wrong_name_is_answered_by_the_near_one() {
    let scene = scene();
    let set = |setting: &str| scene.attar(&["distill", "student.toml", "--dry-run", "--set", setting]);
    set("train.epoch=1").fails(&["train.epoch", "did you mean `epochs`?"]);
    set("losses.cd.loss.kind=chanel").fails(&["losses.cd", "chanel", "did you mean `channel`?"]);
    set("losses.cd.loss.pairs=[[\"layer9\", \"layer3\"]]").fails(&["losses.cd", "layer9", "did you mean `layer"]);
    set("student.network.name=resnet9").fails(&["student.network", "did you mean `resnet8`?"]);
    set("device=gpu").fails(&["device", "cpu", "cuda"]);
    set("data.source.kind=idxx").fails(&["data.source", "did you mean `idx`?"]);
    scene.attar(&["distill", "--explain", "chanel"]).fails(&["loss", "chanel", "did you mean `channel`?"]);
    scene.attar(&["models", "mobilenet_v3"]).fails(&["did you mean `mobilenet_v2`?"]);
    scene.attar(&["data", "info", "idxs:data"]).fails(&["did you mean `idx`?"]);
    scene.attar(&["data", "fetch", "fashion_mnist"]).fails(&["did you mean `fashion-mnist`?"]);
    scene.attar(&["verify", "bundles/student", "--engine", "tracked"]).fails(&["tracked", "known: tract, ort"]);
    scene.attar(&["trein", "student.toml"]).fails(&["trein", "train"]);
    scene.attar(&["train", "nowhere.toml"]).fails(&["nowhere.toml"]);
}

/// A flag that something else would have to be there for is an error, and so are two that exclude each other.
#[test]
fn a_flag_without_its_object_is_an_error() {
    let scene = scene();
    let cases: [(&[&str], &str); 13] = [
        (&["models", "--classes", "5"], "<NAME>"),
        (&["models", "--input", "3x32x32"], "<NAME>"),
        (&["doctor", "--device", "cpu"], "--ops"),
        (&["doctor", "--ops", "--ort-library", "x.so"], "--ort-library"),
        (&["train", "alone.toml", "--student", "resnet8"], "--data"),
        (&["train", "alone.toml", "--epochs", "5"], "--data"),
        (&["train", "--data", "idx:data"], "--student"),
        (&["distill", "--explain", "kd", "--resume"], "--resume"),
        (&["new", "idx:data", "--student", "resnet8", "--teacher-network", "resnet8"], "--teacher <"),
        (&["bench-train", "resnet8", "--stem", "cifar"], "--stem"),
        (&["bench-train", "model.onnx", "--width", "0.5"], "--width"),
        (&["bench", "model.onnx", "--profile", "--interleave"], "--interleave"),
        (&["bench", "model.onnx", "--interleave", "--cpu-time", "--engine-threads", "2"], "--engine-threads"),
    ];
    for (args, part) in cases {
        scene.attar(args).fails(&[part]);
    }
}

#[test]
fn train_and_distill_name_each_other() {
    scene()
        .attar(&["train", "student.toml"])
        .fails(&["student.toml asks for more than labels", "hint: use `attar distill`"]);
    scene()
        .attar(&["distill", "alone.toml"])
        .fails(&["alone.toml learns from labels alone", "hint: use `attar train`"]);
}

#[test]
fn cuda_where_there_is_none_is_an_error() {
    let scene = scene();
    let devices = scene.attar(&["doctor", "--json"]).ok().json()["devices"].clone();
    if devices.as_array().unwrap().iter().any(|device| device["name"] == "cuda" && device["usable"] == true) {
        return; // it would be no error here
    }
    scene.attar(&["train", "alone.toml", "--set", "device=cuda", "--out", "runs/cuda"]).fails(&["device `cuda`"]);
    assert!(!scene.root().join("runs/cuda").exists());
    scene.attar(&["train", "alone.toml", "--set", "device=auto", "--dry-run"]).ok();
}

#[test]
fn a_dry_run_says_everything_and_writes_nothing() {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let recipe = scene.root().join("student.toml");
    let said = attar(folder.path(), &["distill", recipe.to_str().unwrap(), "--dry-run"]).ok().out;
    let parts = [
        "2 epochs x 10 steps of 24 images",
        "220 train, 20 validation, 800 test, 10 classes",
        "layer3",
        "resnet14",
        "parameters",
        "MACs",
        "trains",
        "5.4000",
        "cpu",
    ];
    for part in parts {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    assert!(names(folder.path()).is_empty(), "a dry run wrote {:?}", names(folder.path()));
}

/// A chain is an ordinary run for each stage, and goes on where it stopped.
#[test]
fn stages_are_runs_that_teach_each_other() {
    let scene = scene();
    let text = std::fs::read_to_string(scene.root().join("alone.toml")).unwrap();
    let chain = "\n[[stages]]\nname = \"first\"\n\n[[losses]]\nname = \"kd\"\nweight = 1.0\nloss = { kind = \"kd\", temperature = 2.0 }\n";
    std::fs::write(scene.root().join("chain.toml"), text + chain).unwrap();
    let args = ["distill", "chain.toml", "--out", "runs/chain"];
    scene.attar(&[&args[..], &["--dry-run"]].concat()).ok();
    // The first stage has no teacher and goes without the loss that is wrong.
    let wrong = scene.attar(&[&args[..], &["--set", "losses.kd.loss.temperature=-1"]].concat());
    wrong.fails(&["losses.kd.loss.temperature", "in the stage `alone`"]);
    assert!(!scene.root().join("runs/chain-first").exists(), "trained before the mistake was found");
    scene.attar(&args).ok();
    let receipt = |run: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(scene.root().join(run).join("receipt.json")).unwrap()).unwrap()
    };
    assert!(receipt("runs/chain-first")["teachers"].as_array().unwrap().is_empty());
    let (teacher, first) = (&receipt("runs/chain")["teachers"][0], receipt("runs/chain-first"));
    assert_eq!((&teacher["name"], &teacher["weights_sha256"]), (&"teacher".into(), &first["weights_sha256"]));
    std::fs::remove_dir_all(scene.root().join("runs/chain")).unwrap();
    scene.attar(&[&args[..], &["--resume"]].concat()).ok();
}
