//! ONNX files of others become bundles, and further models of bundles.

use std::path::{Path, PathBuf};

use attar_formats::certificate::{Certificate, Verdict};
use attar_onnx::proto::{ModelProto, NodeProto};
use prost::Message;
use serde_json::Value;

use crate::support::program::Said;
use crate::support::require_ort;
use crate::support::scene::{Scene, scene};

/// The student's ONNX file as somebody else's: other operations behind its logits, and no word of ours in its metadata.
fn stranger(folder: &Path, name: &str, behind: &[&str]) -> PathBuf {
    let bytes = std::fs::read(scene().root().join("bundles/student/model.onnx")).unwrap();
    let mut model = ModelProto::decode(&bytes[..]).unwrap();
    model.metadata_props.clear();
    let graph = model.graph.as_mut().unwrap();
    for op in behind {
        let before = graph.output[0].name().to_owned();
        let after = format!("{before}.{op}");
        let node = NodeProto {
            op_type: Some((*op).to_owned()),
            name: Some(after.clone()),
            input: vec![before],
            output: vec![after.clone()],
            ..NodeProto::default()
        };
        graph.node.push(node);
        graph.output[0].name = Some(after);
    }
    let path = folder.join(name);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// What the stranger does not say, stated.
struct World {
    scene: &'static Scene,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { scene: scene(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn ask(&self, args: &[&str]) -> Said {
        self.scene.attar(&[args, &["--engine", "tract"]].concat())
    }

    /// Exports a file into `out`, saying its classes and preprocessing as the student's bundle has them.
    fn export(&self, model: &Path, out: &str, more: &[&str]) -> Said {
        let bundle = self.scene.root().join("bundles/student");
        let [labels, how] = ["labels.txt", "preprocessor_config.json"].map(|name| bundle.join(name));
        let (model, out) = (model.to_str().unwrap(), self.path(out));
        let stated = ["--labels", labels.to_str().unwrap(), "--preprocessing", how.to_str().unwrap()];
        self.ask(&[&["export", model, "--out", &out], &stated[..], more].concat())
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.path().join(file)).unwrap()).unwrap()
    }
}

#[test]
fn a_file_whose_operations_are_known_becomes_a_whole_bundle() {
    let world = World::new();
    let model = stranger(world.folder.path(), "theirs.onnx", &[]);
    let said = world.export(&model, "known", &["--data", "idx:data", "--json"]).ok();
    assert_eq!(said.json()["goldens"]["reference"]["file"], "theirs.onnx");
    let manifest = world.json("known/manifest.json");
    assert_eq!((&manifest["bundle_version"], &manifest["answered_by"]["engine"]), (&2.into(), &"tract".into()));
    assert_eq!(manifest["provenance"]["network"]["graph"]["path"], "theirs.onnx");
    for file in ["graph.json", "model.safetensors", "reference/predictions.safetensors"] {
        assert!(manifest["files"][file].is_string(), "{file}");
    }
    let readme = std::fs::read_to_string(world.path("known/README.md")).unwrap();
    assert!(readme.contains("that others trained") && readme.contains("16 **real images**"), "{readme}");
    let known = world.path("known");
    let verdict = world.ask(&["verify", &known, "--data", "idx:data", "--json"]).ok().json();
    assert_eq!(verdict["runtimes"][0]["paired"]["flips"], 0, "{verdict}");
    assert_eq!((&verdict["reference"]["file"], &verdict["data"]["paired"]), (&"theirs.onnx".into(), &800.into()));
    world.ask(&["selftest", &known]).ok();
    assert!(world.ask(&["inspect", &known]).ok().out.contains("reference: theirs.onnx in tract"));
}

#[test]
fn a_softmax_is_looked_through() {
    let world = World::new();
    let model = stranger(world.folder.path(), "probabilities.onnx", &["Softmax"]);
    let said = world.export(&model, "logits", &[]).ok();
    assert!(
        said.out.contains("16 synthetic goldens") && said.err.contains("ends in a Softmax"),
        "{}{}",
        said.out,
        said.err
    );
    // The logits themselves were recorded: the written file gives them, and is held against them.
    let logits = world.path("logits");
    let found = world.ask(&["verify", &logits, "--json"]).exits(3).json();
    assert_eq!(found["runtimes"][0]["goldens"]["within_rounding"], true, "{found}");
    assert!(found["runtimes"][0]["goldens"]["logit_max_diff"].as_f64().unwrap() < 1e-3, "{found}");
    assert!(found["runtimes"][0].get("answers").is_none(), "{found}");
}

#[test]
fn a_file_with_an_unknown_operation_travels_as_it_came() {
    let world = World::new();
    let model = stranger(world.folder.path(), "waves.onnx", &["Sin"]);
    world.export(&model, "waves", &["--opset", "18"]).fails(&["--opset 18", "travels as it came", "Sin"]);
    let said = world.export(&model, "waves", &["--data", "idx:data"]).ok();
    assert!(said.err.contains("no graph.json") && said.err.contains("Sin"), "{}", said.err);
    let manifest = world.json("waves/manifest.json");
    assert_eq!((&manifest["bundle_version"], &manifest["models"][0].get("made_from")), (&3.into(), &None));
    assert_eq!(std::fs::read(world.path("waves/model.onnx")).unwrap(), std::fs::read(&model).unwrap());
    assert!(manifest["files"].get("graph.json").is_none() && manifest["files"].get("model.safetensors").is_none());
    let waves = world.path("waves");
    world.ask(&["verify", &waves, "--data", "idx:data"]).ok();
    world.ask(&["bench", &waves, "--seconds", "0.01"]).ok();
    let inspected = world.ask(&["inspect", &waves]).ok().out;
    assert!(
        inspected.contains("a bundle") && inspected.contains("cannot be trained here") && inspected.contains("Sin")
    );
    let readme = std::fs::read_to_string(world.path("waves/README.md")).unwrap();
    assert!(readme.contains("their file as it came") && !readme.contains("graph.json` with"), "{readme}");
    // It is no network here.
    let recipe = std::fs::read_to_string(world.scene.root().join("student.toml")).unwrap();
    let recipe =
        recipe.replace("kind = \"run\", path = \"runs/teacher\"", &format!("kind = \"bundle\", path = \"{waves}\""));
    std::fs::write(
        world.path("student.toml"),
        recipe.replace("root = \"data\"", &format!("root = \"{}\"", world.scene.root().join("data").display())),
    )
    .unwrap();
    world.scene.attar(&["distill", &world.path("student.toml"), "--dry-run"]).fails(&["graph.json", "kind = \"onnx\""]);
}

#[test]
fn what_nobody_said_is_asked_for_and_what_cannot_be_is_refused() {
    let world = World::new();
    let model = stranger(world.folder.path(), "silent.onnx", &[]);
    let (path, out) = (model.to_str().unwrap(), world.path("out"));
    world.ask(&["export", path, "--out", &out]).fails(&["silent.onnx", "--labels", "--preprocessing", "guessed"]);
    world.export(&model, "out", &["--goldens", "real"]).fails(&["--goldens real", "--data"]);
    world.export(&model, "out", &["--unfinished"]).fails(&["--unfinished is for a run"]);
    world.export(&model, "out", &["--opset", "3"]).fails(&["3 is not supported"]);
    world.ask(&["export", "runs/student", "--out", &out, "--data", "idx:data"]).fails(&["--data is for an ONNX file"]);
    assert!(!Path::new(&out).exists());
    world.export(&model, "out", &[]).ok();
    world.export(&model, "out", &[]).fails(&["exists already"]);
}

#[test]
fn a_quantised_file_keeps_its_arithmetic() {
    if !require_ort("strangers") {
        return;
    }
    let world = World::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/quantised/qdq.onnx");
    let names: String = (0..10).map(|class| format!("class {class}\n")).collect();
    std::fs::write(world.path("names.txt"), names).unwrap();
    let (names, out) = (world.path("names.txt"), world.path("int8"));
    let model = model.to_str().unwrap();
    let stated = ["--labels", &names, "--preprocessing", "unit", "--engine", "ort"];
    let said = scene().attar(&[&["export", model, "--out", &out], &stated[..]].concat()).ok();
    assert!(said.err.contains("int8"), "{}", said.err);
    let manifest = world.json("int8/manifest.json");
    assert_eq!(
        (&manifest["models"][0]["precision"], &manifest["answered_by"]["precision"]),
        (&"int8".into(), &"int8".into())
    );
    scene().attar(&["verify", &out, "--engine", "ort"]).exits(3);
}

#[test]
fn a_model_is_added_once_it_is_found_to_answer_alike() {
    let world = World::new();
    let bundle = world.scene.copy_of_bundle(world.folder.path());
    let bundle = bundle.to_str().unwrap();
    let model = stranger(world.folder.path(), "alike.onnx", &[]);
    let model = model.to_str().unwrap();
    let add = |model: &str, more: &[&str]| world.ask(&[&["add", bundle, model], more].concat());

    // What is worse, of others or called as another is not added.
    let teacher = world.path("teacher");
    world.ask(&["export", "runs/teacher", "--out", &teacher]).ok();
    let worse = format!("{teacher}/model.onnx");
    let before = std::fs::read(format!("{bundle}/manifest.json")).unwrap();
    let said = add(&worse, &["--name", "worse.onnx", "--json"]).exits(1).json();
    assert_eq!((&said["listed"], &said["outcome"]), (&false.into(), &"worse".into()));
    add(&worse, &[]).fails(&["has a `model.onnx` already", "--name"]);
    add(model, &["--name", "../x.onnx"]).fails(&["plain file name"]);
    add(model, &["--made-from", "absent.onnx"]).fails(&["holds no `absent.onnx`"]);
    add(&world.path("absent.onnx"), &[]).fails(&["absent.onnx"]);
    assert_eq!(std::fs::read(format!("{bundle}/manifest.json")).unwrap(), before);
    assert!(!Path::new(&format!("{bundle}/worse.onnx")).exists());

    // Goldens that agree are enough for 32-bit floats; decisions are better.
    let said = add(model, &["--json"]).exits(0).json();
    assert_eq!((&said["listed"], &said["certificate"]["verdict"]["kind"]), (&true.into(), &"numbers-only".into()));
    let decided = ["--name", "twice.onnx", "--made-from", "model.onnx", "--data", "idx:data"];
    assert!(add(model, &decided).exits(0).out.contains("lists twice.onnx now"));
    let manifest = world.json("bundle/manifest.json");
    let models = manifest["models"].as_array().unwrap();
    assert_eq!((models.len(), &manifest["bundle_version"]), (3, &3.into()));
    assert_eq!(models[2]["made_from"], manifest["files"]["model.onnx"]);
    let certificate = world.json("bundle/certificates/twice.onnx.json");
    assert_eq!((&certificate["version"], &certificate["verdict"]["kind"]), (&1.into(), &"equivalent".into()));
    assert_eq!(certificate["runtimes"][0]["file_sha256"], manifest["files"]["twice.onnx"]);
    // All of them are asked from now on.
    let verdict = world.ask(&["verify", bundle, "--data", "idx:data", "--json"]).ok().json();
    assert_eq!(verdict["runtimes"].as_array().unwrap().len(), 3);
}

#[test]
fn numbers_of_a_lower_precision_decide_nothing() {
    let world = World::new();
    let bundle = world.scene.copy_of_bundle(world.folder.path());
    let bundle = bundle.to_str().unwrap();
    // Half precision on the way to the logits: a cast there and back.
    let path = stranger(world.folder.path(), "half.onnx", &[]);
    let mut model = ModelProto::decode(&std::fs::read(&path).unwrap()[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let mut last = graph.output[0].name().to_owned();
    for (name, to) in [("half", 10), ("whole", 1)] {
        let attribute = attar_onnx::proto::AttributeProto {
            name: Some("to".to_owned()),
            i: Some(to),
            r#type: Some(2),
            ..Default::default()
        };
        graph.node.push(NodeProto {
            op_type: Some("Cast".to_owned()),
            name: Some(name.to_owned()),
            input: vec![last],
            output: vec![name.to_owned()],
            attribute: vec![attribute],
            ..NodeProto::default()
        });
        last = name.to_owned();
    }
    graph.output[0].name = Some(last);
    // A number of half precision, so that the file is seen to be of it.
    let half = attar_onnx::proto::TensorProto {
        name: Some("unused".to_owned()),
        dims: vec![1],
        data_type: Some(10),
        raw_data: Some(vec![0, 0]),
        ..Default::default()
    };
    graph.initializer.push(half);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let path = path.to_str().unwrap();
    let add = |more: &[&str]| world.ask(&[&["add", bundle, path], more].concat());
    let said = add(&[]).exits(3);
    assert!(said.out.contains("--undecided") && said.out.contains("not added"), "{}", said.out);
    assert!(add(&["--undecided"]).exits(0).out.contains("although nothing is decided"));
    assert_eq!(world.json("bundle/manifest.json")["models"][1]["precision"], "f16");
    let decided = add(&["--name", "half2.onnx", "--data", "idx:data", "--margin", "1"]).exits(0);
    assert!(decided.out.contains("lists half2.onnx now"), "{}", decided.out);
}

/// An 8-bit model of a bundle is held to what its integers are defined to give, and those answers to the bundle's own.
#[test]
fn an_8_bit_model_of_a_bundle_gets_two_verdicts() {
    let world = World::new();
    let fixture = |name: &str| format!("{}/tests/fixtures/onnx/quantised/{name}", env!("CARGO_MANIFEST_DIR"));
    let names: String = (0..10).map(|class| format!("class {class}\n")).collect();
    std::fs::write(world.path("names.txt"), names).unwrap();
    let mut draw = attar_measures::random::Stream::of_number(3);
    for at in 0..120u32 {
        let mut pixels = vec![0; 33 * 33 * 3];
        draw.fill(&mut pixels);
        let shade = draw.below(160) as u8;
        pixels.iter_mut().for_each(|value| *value = shade + *value % 96);
        let class = world.folder.path().join(format!("photos/test/class {}", at % 10));
        std::fs::create_dir_all(&class).unwrap();
        let png = attar_pixels::Image::new(33, 33, 3, pixels).unwrap().to_png().unwrap();
        std::fs::write(class.join(format!("{at}.png")), png).unwrap();
    }
    let (names, bundle) = (world.path("names.txt"), world.path("floats"));
    let data = format!("image-folder:{}", world.path("photos"));
    let stated = ["--labels", &names, "--preprocessing", "unit", "--data", &data];
    world.ask(&[&["export", &fixture("f32.onnx"), "--out", &bundle], &stated[..]].concat()).ok();
    let own = ["--data", &data, "--margin", "15", "--engine", "attar", "--json"];
    let attar = |args: &[&str]| world.scene.attar(&[args, &own[..]].concat());
    let added = attar(&["add", &bundle, &fixture("qdq.onnx")]).ok().json();
    assert_eq!(
        (&added["outcome"], added["certificate"]["integers"].as_array().map(Vec::len)),
        (&"agrees".into(), Some(1))
    );
    let certificate = attar(&["verify", &bundle]).ok().json();
    let runtimes = certificate["runtimes"].as_array().unwrap();
    assert_eq!((&runtimes[0]["precision"], runtimes[0].get("implementation")), (&"f32".into(), None));
    assert_eq!((&runtimes[1]["precision"], &runtimes[1]["implementation"]["equal"]), (&"int8".into(), &120.into()));
    let integers = &certificate["integers"][0];
    assert_eq!((&integers["file"], &integers["by_definition"]), (&"qdq.onnx".into(), &16.into()));
    assert_eq!(integers["compression"]["verdict"]["kind"], "equivalent");
    // Each file's answers in one table, also on harder images.
    let harder = attar(&["verify", &bundle, "--corruptions", "30"]).ok();
    let harder = Certificate::from_json(harder.out.as_bytes(), Path::new("stdout")).unwrap();
    let rows = harder.summary();
    let names: Vec<&str> = rows.iter().map(|row| row.name.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["reference:", "attar", "integers", "attar"]);
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [None, Some(1), None, Some(2)]);
    let words = rows.iter().map(|row| [row.implementation, row.compression].map(|of| of.map_or("-", Verdict::word)));
    let (yes, none) = ("equivalent", "-");
    assert_eq!(words.collect::<Vec<_>>(), [[none; 2], [yes, none], [none, yes], [yes; 2]]);
    assert!(rows.iter().all(|row| row.brier.is_some_and(|brier| (0.0..2.0).contains(&brier))), "{rows:?}");
    assert_eq!((rows[2].accuracy, rows[2].brier, rows[2].nll), (rows[3].accuracy, rows[3].brier, rows[3].nll));
    let robustness = harder.robustness.as_ref().unwrap();
    assert_eq!((robustness.baseline, robustness.conditions.len()), (Some(1), 22));
    assert!(robustness.conditions.iter().all(|of| of.images == 30 && of.runtimes[1].paired.is_some()));
    let text = harder.to_string();
    assert!(text.contains("jpeg_compression 5  ") && text.contains("mean of corruptions"), "{text}");
    world.scene.attar(&["verify", &bundle, "--corruptions"]).fails(&["--data"]);
    let against = ["verify", &bundle, "--against", &bundle, "--data", &data, "--corruptions"];
    world.scene.attar(&against).fails(&["--corruptions compares the models of one bundle", "hint"]);
    // What travels with the bundle reads as it was printed.
    let path = world.folder.path().join("floats/certificates/qdq.onnx.json");
    let kept = Certificate::read(&path).unwrap();
    assert_eq!(serde_json::to_value(&kept).unwrap(), added["certificate"]);
    // Without images integers are held to their definition, and nothing else is decided.
    let numbers = world.scene.attar(&["verify", &bundle, "--engine", "attar", "--json"]).exits(3).json();
    assert_eq!(numbers["runtimes"][1]["implementation"]["verdict"]["kind"], "equivalent");
    assert_eq!(numbers["integers"][0]["compression"]["verdict"]["kind"], "numbers-only");
}
