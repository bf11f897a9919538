//! A run in 8-bit integers, by the real program: it learns from itself by CE, KD and CD, and leaves as the network that trained,
//! with the same answers in every runtime.

use attar_infer::EngineKind;
use attar_models::Op;

use crate::support::program::attar;
use crate::support::require_ort;
use crate::support::scene::scene;

#[test]
fn a_run_in_integers_leaves_as_it_trained() {
    let (scene, own) = (scene().root(), tempfile::tempdir().unwrap());
    let recipe = format!(
        r#"
name = "integers"
seed = 1
device = "cpu"
[data]
source = {{ kind = "idx", root = "{root}/data" }}
validation = 0.1
preprocessing = {{ channels = 1, mean = [0.2860], std = [0.3530] }}
[student]
from = {{ kind = "run", path = "{root}/runs/student", rewrites = [{{ kind = "quantise", images = 60 }}] }}
[train]
epochs = 1
batch = 24
threads = 1
learning_rate = 0.01
optimiser = {{ kind = "sgd", momentum = 0.9 }}
[[losses]]
name = "ce"
weight = 0.5
loss = {{ kind = "cross-entropy" }}
[[losses]]
name = "kd"
weight = 0.5
loss = {{ kind = "kd", temperature = 2.0 }}
[[losses]]
name = "cd"
weight = 1.0
loss = {{ kind = "channel", pairs = "stages" }}
"#,
        root = scene.display()
    );
    std::fs::write(own.path().join("integers.toml"), recipe).unwrap();
    let attar = |args: &[&str]| attar(own.path(), args);
    let plan = attar(&["distill", "integers.toml", "--dry-run"]).ok().out;
    assert!(plan.contains("kd, from self") && plan.contains("the network in floats that the student was"), "{plan}");
    attar(&["distill", "integers.toml"]).ok();
    attar(&["export", "runs/integers"]).ok();
    let graph = attar_formats::graph::read(&own.path().join("bundles/integers/graph.json")).unwrap();
    assert!(graph.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_))));
    attar(&["compile", "bundles/integers"]).ok();
    let manifest = std::fs::read_to_string(own.path().join("bundles/integers/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let listed = manifest["models"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{manifest}");
    assert!(listed.iter().all(|model| model["precision"] == "int8"), "{manifest}");
    let data = format!("idx:{}/data", scene.display());
    let unfused = EngineKind::Ort.compiled() && require_ort("a_run_in_integers_leaves_as_it_trained");
    let asked: &[&str] = if unfused { &["--ort-unfused"] } else { &[] };
    let verify = ["verify", "bundles/integers", "--data", &data, "--json"];
    let certificate = attar(&[&verify, asked].concat()).ok().json();
    assert_eq!(certificate["verdict"]["kind"], "equivalent");
    assert!(certificate["integers"][0]["beyond_16_bits"].is_null(), "weights of 7 bits: {certificate}");
    let runtimes = certificate["runtimes"].as_array().unwrap();
    assert!(runtimes.len() >= 2, "{certificate}");
    let there = runtimes.iter().any(|runtime| runtime["version"].as_str().unwrap().ends_with(" unfused"));
    assert_eq!(there, unfused, "{certificate}");
    for runtime in runtimes {
        let held = &runtime["implementation"];
        assert_eq!(held["equal"], held["images"], "{runtime}");
        assert_eq!((&held["max_diff"], &runtime["goldens"]["logit_max_diff"]), (&0.0.into(), &0.0.into()), "{runtime}");
        assert_eq!(runtime["paired"]["logits"]["max_diff"], 0.0, "the run answered otherwise: {runtime}");
    }
}

/// Three bits a weight, by the demo's network and images: rounding after training costs points, training gives most back.
#[test]
fn training_is_better_than_rounding_after_it() {
    let own = tempfile::tempdir().unwrap();
    let (root, out) = (env!("CARGO_MANIFEST_DIR"), own.path().display());
    let attar = |args: &[&str]| attar(own.path(), args);
    let accuracy = |name: &str, more: &[&str]| {
        let [recipe, data, run] = [
            format!("{root}/recipes/fashion-mnist/quantise.toml"),
            format!("data.source.root={root}/demo/data"),
            format!("{out}/{name}"),
        ];
        let from = format!(
            "student.from={{ kind = \"bundle\", path = \"{root}/demo/teacher\", rewrites = [{{ kind = \"quantise\", weight_bits = 3, images = 100 }}] }}"
        );
        let few = ["data.train_subset=500", "data.test_subset=400", "train.threads=1"];
        let set = few.into_iter().chain([data.as_str(), from.as_str()]).chain(more.iter().copied());
        let set: Vec<&str> = set.flat_map(|setting| ["--set", setting]).collect();
        attar(&[&["distill", &recipe, "--out", &run], &set[..]].concat()).ok();
        let receipt = std::fs::read_to_string(own.path().join(name).join("receipt.json")).unwrap();
        let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
        receipt["test_top1_last"].as_f64().unwrap()
    };
    let rounded = accuracy("rounded", &["train.epochs=1", "train.learning_rate=0.0"]);
    let trained = accuracy("trained", &["train.epochs=2"]);
    println!("rounded {rounded:.1} %, trained {trained:.1} %");
    assert!(trained > rounded + 2.0 && trained > 85.0, "rounded {rounded:.1} %, trained {trained:.1} %");
}
