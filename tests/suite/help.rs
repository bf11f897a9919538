//! Every example of every `--help` is run as it stands, in order, in a folder where there is what a person would have.

use std::path::Path;
use std::process::Command;

use attar_formats::write;
use attar_models::generated;
use attar_models::zoo::{self, NetworkSpec, Stem};
use attar_pixels::Image;

use crate::support::program::attar;

/// Examples that are not run, and why.
const NOT_RUN: [(&str, &str); 10] = [
    ("attar demo", "takes minutes; CI runs it on its own"),
    ("attar demo --seed 1 --out runs/demo-seed1 --json", "takes minutes"),
    ("attar data fetch fashion-mnist", "asks the network"),
    ("attar data fetch cifar100 --from cifar-100-binary.tar.gz --into data/cifar100", "needs the official 160 MB"),
    ("attar doctor --ops --device cuda", "needs a GPU"),
    ("attar export runs/interrupted --unfinished", "needs a run that was cut: runs.rs cuts one"),
    (
        "attar verify bundles/distilled --data image-folder:photos --model int8.onnx --engine ort --junit parity.xml",
        "needs ONNX Runtime and a model made elsewhere",
    ),
    (
        "attar verify plan.attar --made-from quantised.onnx --against float.onnx",
        "needs a quantised model: infer's tests ask it",
    ),
    ("attar verify yolo11n-cls.onnx --data image-folder:photos", "needs ONNX Runtime and a model made elsewhere"),
    (
        "attar verify runs/student --against runs/teacher --data image-folder:photos",
        "a student of one epoch may well be worse; exit_codes.rs asks it of a run and itself",
    ),
];

/// Examples that would take long, and what is run in their place.
const SHORTER: [(&str, &str); 7] = [
    (
        "attar train --data image-folder:photos --student resnet18 --epochs 20",
        "attar train --data image-folder:photos --student resnet18 --epochs 1",
    ),
    (
        "attar distill --data image-folder:photos --student mobilenet_v2 --width 0.35 --teacher runs/teacher --method cd-gkd-edt",
        "attar distill --data image-folder:photos --student mobilenet_v2 --width 0.35 --teacher runs/teacher --method cd-gkd-edt --epochs 1",
    ),
    ("attar bench-train resnet20", "attar bench-train resnet20 --batch 4 --steps 1 --repeats 1"),
    (
        "attar bench-train resnet8x4 --teacher resnet32x4 --batch 64 --json",
        "attar bench-train resnet8x4 --teacher resnet32x4 --batch 4 --steps 1 --repeats 1 --json",
    ),
    (
        "attar bench-train resnet18 --stem cifar --size 32 --classes 100 --threads 1",
        "attar bench-train resnet18 --stem cifar --size 32 --classes 100 --threads 1 --batch 2 --steps 1 --repeats 1",
    ),
    (
        "attar bench-train resnet50 --batch 16 --steps 3 --repeats 3",
        "attar bench-train resnet50 --batch 2 --steps 1 --repeats 1 --size 64",
    ),
    (
        "attar bench-train model.onnx --batch 16 --size 224",
        "attar bench-train model.onnx --batch 2 --steps 1 --repeats 1",
    ),
];

/// What makes what others read comes first; all other verbs follow in the order of the help.
const FIRST: [&str; 6] = ["train", "new", "distill", "labels", "compare", "export"];

/// Verbs that ask a question, whose answer may be that it is not decided.
const MAY_BE_UNDECIDED: [&str; 1] = ["verify"];

/// The verbs that `attar ARGS --help` lists.
fn verbs(folder: &Path, args: &[&str]) -> Vec<String> {
    let help = attar(folder, &[args, &["--help"]].concat()).ok().out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let indented = commands.take_while(|line| line.starts_with("  "));
    let names = indented.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The examples of a verb: the indented lines under `Examples:`.
fn examples(folder: &Path, verb: &[&str]) -> Vec<String> {
    let help = attar(folder, &[verb, &["--help"]].concat()).ok().out;
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned());
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned()).collect()
}

/// `count` pictures of each of three classes, no two alike, of two sizes.
fn photos(root: &Path, split: &str, count: usize) {
    for (class, name) in ["boot", "coat", "shirt"].into_iter().enumerate() {
        let folder = root.join("photos").join(split).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for at in 0..count {
            let edge = 24 + 4 * (at % 2);
            let noise = generated::uniform(&format!("{split} {name} {at}"), 0, edge * edge * 3);
            let level = |i: usize| 60.0 + 60.0 * f32::from(u8::from(i % 3 == class)) + 30.0 * noise[i];
            let pixels = (0..edge * edge * 3).map(|i| level(i) as u8).collect();
            let png = Image::new(edge as u32, edge as u32, 3, pixels).unwrap().to_png().unwrap();
            std::fs::write(folder.join(format!("{at}.png")), png).unwrap();
        }
    }
}

/// A file of weights for the three classes. Its format is told by what it holds, not by its name.
fn weights(file: &Path, network: &str, stem: Stem, input: usize) {
    let spec = NetworkSpec::new(network, 3, [3, input, input]).with("stem", stem);
    let graph = zoo::build(&spec).unwrap();
    write::safetensors(file, &generated::weights(&graph, 0), &std::collections::BTreeMap::new()).unwrap();
}

/// What a person would have: photos, two recipes, weights, a folder of recipes to compare, and the source's `demo`.
fn prepare(root: &Path) {
    photos(root, "train", 12);
    photos(root, "val", 6);
    std::fs::copy(root.join("photos/val/boot/0.png"), root.join("boot.png")).unwrap();
    std::fs::copy(root.join("photos/val/coat/0.png"), root.join("a.jpg")).unwrap();
    weights(&root.join("resnet18.pth"), "resnet18", Stem::Cifar, 24);
    weights(&root.join("big.pth"), "resnet34", Stem::Imagenet, 224);
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(source.join("demo"), root.join("demo")).unwrap();
    let recipe = |name: &str, network: &str, more: &str, extra: &[&str]| {
        let args = ["new", "image-folder:photos", "--student", network, "--epochs", "1", "--name", name];
        attar(root, &[&args[..], extra].concat()).ok().out + more
    };
    std::fs::write(root.join("teacher.toml"), recipe("teacher", "mobilenet_v2", "", &[])).unwrap();
    let teacher = "\n[[teachers]]\nname = \"teacher\"\nfrom = { kind = \"run\", path = \"runs/teacher\" }\n\n[[losses]]\nname = \"kd\"\nweight = 0.9\nloss = { kind = \"kd\", temperature = 4.0 }\n";
    std::fs::write(root.join("student.toml"), recipe("student", "resnet8", teacher, &[])).unwrap();
    let compared = root.join("recipes/fashion-mnist");
    std::fs::create_dir_all(&compared).unwrap();
    for name in ["alone", "tf-kd"] {
        let text = recipe(name, "resnet8", "", &["--method", name]);
        let text = text.replace("root = \"photos\"", "root = \"../../photos\"");
        std::fs::write(compared.join(format!("{name}.toml")), text).unwrap();
    }
}

/// Once there is a student, it is there under the other name that examples use.
fn distilled(root: &Path) {
    let (from, to) = (root.join("runs/student"), root.join("runs/distilled"));
    if from.join("receipt.json").exists() && !to.exists() {
        crate::support::scene::copy(&from, &to);
    }
    let bundle = root.join("bundles/distilled");
    if bundle.join("manifest.json").exists() && !root.join("model.onnx").exists() {
        for name in ["student", "teacher", "quantised", "float", "vit", "model"] {
            std::fs::copy(bundle.join("model.onnx"), root.join(format!("{name}.onnx"))).unwrap();
        }
        for name in ["preprocessor_config.json", "labels.txt"] {
            std::fs::copy(bundle.join(name), root.join(name)).unwrap();
        }
        std::fs::write(root.join("config.json"), r#"{"id2label": {"0": "boot", "1": "coat", "2": "shirt"}}"#).unwrap();
    }
}

#[test]
fn every_example_of_every_help_works() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut verbs_: Vec<Vec<String>> = Vec::new();
    for verb in verbs(root, &[]) {
        let below = verbs(root, &[&verb]);
        let under = below.into_iter().map(|action| vec![verb.clone(), action]).collect::<Vec<_>>();
        verbs_.extend(if under.is_empty() { vec![vec![verb]] } else { under });
    }
    let place = |verb: &Vec<String>| FIRST.iter().position(|first| *first == verb[0]).unwrap_or(FIRST.len());
    verbs_.sort_by_key(place);
    prepare(root);
    let mut seen: Vec<String> = Vec::new();
    for verb in &verbs_ {
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        let lines = examples(root, &verb);
        assert!(!lines.is_empty(), "{verb:?} has no examples");
        for line in lines {
            seen.push(line.clone());
            if NOT_RUN.iter().any(|(example, _)| *example == line) {
                continue;
            }
            distilled(root);
            let shorter = SHORTER.iter().find(|(example, _)| *example == line).map(|(_, shorter)| *shorter);
            run(root, verb[0], shorter.unwrap_or(&line));
        }
    }
    for example in NOT_RUN.iter().chain(&SHORTER).map(|(example, _)| *example) {
        assert!(seen.iter().any(|line| line == example), "`{example}` is no example any more");
    }
}

/// Runs a line as a shell does, with `attar` being the program under test.
fn run(root: &Path, verb: &str, line: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_attar")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", line]).current_dir(root).env("PATH", path).env("HOME", root);
    let output = shell.output().unwrap();
    let code = output.status.code();
    let undecided = MAY_BE_UNDECIDED.contains(&verb) && code == Some(3);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(code == Some(0) || undecided, "`{line}` ended with {code:?}:\n{said}");
    assert!(!said.contains("panicked"), "`{line}`:\n{said}");
}
