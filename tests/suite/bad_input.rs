//! Broken files through the front door: exit code 2, a message that names the file, and never a panic.

use std::path::{Path, PathBuf};
use std::process::Command;

use attar_formats::{read, write};

use crate::pipeline::replace_in_bundle;
use crate::support::program::{Said, attar};
use crate::support::scene::{copy, scene};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Ways to spoil a file.
fn spoiled(whole: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let mut flipped = whole.to_vec();
    let end = flipped.len().min(64);
    flipped[..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
    [
        ("empty", Vec::new()),
        ("one byte", whole[..1].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("a broken head", flipped),
        ("a web page", b"<html><body>404 not found</body></html>".to_vec()),
    ]
}

#[test]
fn broken_onnx() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene().copy_of_bundle(folder.path());
    let whole = std::fs::read(bundle.join("model.onnx")).unwrap();
    for (_, bytes) in spoiled(&whole) {
        replace_in_bundle(&bundle, "model.onnx", &bytes);
        for verb in ["verify", "bench"] {
            scene().attar(&[verb, text(&bundle)]).fails(&["model.onnx"]);
        }
    }
}

/// An ONNX file that stands by itself: spoiled, and with what was stated of it spoiled.
#[test]
fn broken_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene().copy_of_bundle(folder.path());
    let model = folder.path().join("stranger.onnx");
    let whole = std::fs::read(bundle.join("model.onnx")).unwrap();
    for (_, bytes) in spoiled(&whole) {
        std::fs::write(&model, bytes).unwrap();
        for arguments in [&["verify"][..], &["bench"], &["verify", text(&bundle), "--against"]] {
            scene().attar(&[arguments, &[text(&model)]].concat()).fails(&["stranger.onnx"]);
        }
    }
    std::fs::write(&model, &whole).unwrap();
    let stated = folder.path().join("stated.json");
    let predict = ["predict", text(&model), "photo.png"];
    for (option, whole) in [
        ("--labels", r#"{"id2label": {"0": "a", "1": "b"}}"#.as_bytes()),
        ("--preprocessing", br#"{"pretrained_cfg": {"input_size": [3, 4, 4]}}"#),
    ] {
        for (how, bytes) in spoiled(whole) {
            std::fs::write(&stated, bytes).unwrap();
            let said = scene().attar(&[&predict[..], &[option, text(&stated)]].concat()).exits(2);
            assert!(said.err.contains("stated.json") || said.err.contains("labels"), "{option} {how}: {}", said.err);
        }
        std::fs::remove_file(&stated).unwrap();
        scene().attar(&[&predict[..], &[option, text(&stated)]].concat()).fails(&["stated.json"]);
    }
    scene().attar(&["bench", text(&model), "--input-shape", "3,8"]).fails(&["--input-shape", "3,224,224"]);
    scene().attar(&["bench", text(&model), "--input-shape", "3,7,7"]).fails(&["says"]);
    scene().attar(&["bench", text(&bundle), "--input-shape", "3,7,7"]).fails(&["a bundle says it itself"]);
    scene().attar(&["verify", text(&bundle), "--against-labels", "x"]).fails(&["--against"]);
}

/// The message of planning the plain recipe with weights to start from.
fn start_from(weights: &Path) -> Said {
    let init = format!("student.init={}", text(weights));
    scene().attar(&["train", "alone.toml", "--dry-run", "--set", &init])
}

#[test]
fn broken_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let run = scene().copy_of_run(folder.path());
    let model = run.join("checkpoints/best/model.safetensors");
    // Of two equal checkpoints export takes the one that is whole.
    std::fs::remove_dir_all(run.join("checkpoints/last")).unwrap();
    let whole = std::fs::read(&model).unwrap();
    let teacher = ["distill", "student.toml", "--dry-run", "--set"];
    let from = format!("teachers.big.from={{ kind = \"run\", path = {:?} }}", text(&run));
    scene().attar(&[&teacher[..], &[&from]].concat()).ok();
    for (how, bytes) in spoiled(&whole) {
        std::fs::write(&model, bytes).unwrap();
        let said = start_from(&model).fails(&["model.safetensors"]);
        assert!(said.err.lines().count() < 10, "{how}:\n{}", said.err);
        scene().attar(&[&teacher[..], &[&from]].concat()).fails(&["model.safetensors"]);
        scene().attar(&["export", text(&run), "--out", text(&folder.path().join("out"))]).fails(&["safetensors"]);
    }
    for file in ["golden", "predictions"] {
        std::fs::write(&model, &whole).unwrap();
        let file = run.join(format!("reference/{file}.safetensors"));
        let whole = std::fs::read(&file).unwrap();
        for (_, bytes) in spoiled(&whole) {
            std::fs::write(&file, bytes).unwrap();
            let out = folder.path().join("out");
            scene().attar(&["export", text(&run), "--out", text(&out)]).fails(&[text(&file)]);
            assert!(!out.exists());
        }
        std::fs::write(&file, whole).unwrap();
    }
}

#[test]
fn broken_pth() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for name in ["plain-zip", "plain-legacy"] {
        let whole = std::fs::read(fixture(&format!("pth/{name}.pth"))).unwrap();
        for (_, bytes) in spoiled(&whole) {
            std::fs::write(&path, bytes).unwrap();
            start_from(&path).fails(&["weights.pth"]);
        }
    }
    // Whole files: one that would run code if it were unpickled, one with another network's names.
    start_from(&fixture("pth/attack-zip.pth")).fails(&["attack-zip.pth"]);
    start_from(&fixture("pth/plain-zip.pth")).fails(&["conv.weight", "conv1.weight"]);
}

#[test]
fn broken_idx_and_cifar() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    copy(&scene().root().join("data"), &data);
    for file in ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        let whole = std::fs::read(data.join(file)).unwrap();
        for (_, bytes) in spoiled(&whole) {
            std::fs::write(data.join(file), bytes).unwrap();
            for action in ["info", "check"] {
                scene().attar(&["data", action, &format!("idx:{}", text(&data))]).fails(&[file]);
            }
            let root = format!("data.source.root={}", text(&data));
            scene().attar(&["train", "alone.toml", "--dry-run", "--set", &root]).fails(&[file]);
        }
        std::fs::write(data.join(file), whole).unwrap();
    }

    let cifar = folder.path().join("cifar");
    std::fs::create_dir(&cifar).unwrap();
    std::fs::write(cifar.join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
    for batch in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        std::fs::write(cifar.join(format!("{batch}.bin")), vec![1; 2 * 3073]).unwrap();
    }
    let info = || scene().attar(&["data", "info", &format!("cifar10:{}", text(&cifar))]);
    info().ok();
    for bytes in [vec![1; 3073 + 7], vec![200; 3073], b"<html>".to_vec()] {
        std::fs::write(cifar.join("data_batch_3.bin"), bytes).unwrap();
        info().fails(&["data_batch_3.bin"]);
    }
    let archive = folder.path().join("cifar-100-binary.tar.gz");
    std::fs::write(&archive, b"not a tar").unwrap();
    scene().attar(&["data", "info", &format!("cifar100:{}", text(&archive))]).fails(&["cifar-100-binary.tar.gz"]);
    scene()
        .attar(&["data", "fetch", "cifar100", "--from", text(&archive), "--into", text(&folder.path().join("new"))])
        .fails(&["cifar-100-binary.tar.gz"]);
    assert!(!folder.path().join("new").exists());
}

#[test]
fn broken_images() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.jpg");
    let whole = std::fs::read(fixture("pixels/jpeg-420.jpg")).unwrap();
    for (how, bytes) in spoiled(&whole) {
        std::fs::write(&photo, bytes).unwrap();
        let said = scene().attar(&["predict", "bundles/student", text(&photo)]).exits(2);
        assert!(said.err.contains("photo.jpg"), "{how}: {}", said.err);
    }
    scene().attar(&["predict", "bundles/student", "absent.png"]).fails(&["absent.png"]);

    // In a folder of images the check lists it and training refuses it by name.
    let images = folder.path().join("images");
    for (split, class) in [("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")] {
        let class_folder = images.join(split).join(class);
        std::fs::create_dir_all(&class_folder).unwrap();
        for copy in 0..6 {
            std::fs::copy(fixture("pixels/jpeg-444.jpg"), class_folder.join(format!("{copy}.jpg"))).unwrap();
        }
    }
    std::fs::write(images.join("train/b/3.jpg"), &whole[..whole.len() / 2]).unwrap();
    let source = format!("image-folder:{}", text(&images));
    let check = scene().attar(&["data", "check", &source, "--json"]).exits(1).json();
    assert!(check["train"]["corrupt"][0]["name"].as_str().unwrap().contains("3.jpg"), "{check}");
    let data = format!(
        "data={{ source = {{ kind = \"image-folder\", root = {:?} }}, validation = 0, preprocessing = {{ channels = 3, \
         resize = {{ to = {{ exact = [16, 16] }}, interpolation = \"bilinear\" }}, mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }} }}",
        text(&images)
    );
    let out = folder.path().join("run");
    scene().attar(&["train", "alone.toml", "--set", &data, "--out", text(&out)]).fails(&["3.jpg"]);
}

#[test]
fn a_teacher_that_does_not_fit_the_data() {
    let scene = scene();
    let plan = |setting: &str| scene.attar(&["distill", "student.toml", "--dry-run", "--set", setting]);
    let labels: Vec<String> = (0..11).map(|class| format!("\"c{class}\"")).collect();
    let classes = |names: &[String]| format!("data.source.classes=[{}]", names.join(", "));
    plan(&classes(&labels)).fails(&["teachers.big", "11 of 11 classes are not there: `c0`", "hint"]);
    plan(&classes(&labels[..10])).fails(&["teachers.big", "was trained on other classes", "`c0`"]);
    plan("data.preprocessing.crop=[20, 10]").fails(&["teachers.big", "come to it squeezed", "hint"]);
    let bare = "teachers.big.from={ kind = \"weights\", path = \"runs/teacher/checkpoints/best/model.safetensors\" }";
    plan(bare).fails(&["teachers.big", "mean and std are never guessed"]);
    plan("student.network.classes=7").fails(&["student.network.classes: 7, but the data has 10"]);
    // A bundle and data whose classes come in another order, which are found by name, or are others.
    let other = tempfile::tempdir().unwrap();
    copy(&scene.root().join("data"), other.path());
    let data = format!("idx:{}", text(other.path()));
    let labels = std::fs::read_to_string(other.path().join("labels.txt")).unwrap();
    let turned: Vec<&str> = labels.lines().rev().collect();
    let with = |names: String| {
        std::fs::write(other.path().join("labels.txt"), names).unwrap();
        scene.attar(&["verify", "bundles/student", "--data", &data, "--engine", "tract"])
    };
    // The pictures are now called otherwise, and the reference knows what they are.
    with(turned.join("\n")).fails(&["have another label than when the reference was made"]);
    with(format!("{labels}hat\n")).fails(&["1 of 11 classes are not there: `hat`"]);
    with(labels.replace("Bag", "Sack")).fails(&["1 of 10 classes are not there: `Sack`"]);
}

#[test]
fn weights_with_a_nan() {
    let folder = tempfile::tempdir().unwrap();
    let run = scene().copy_of_run(folder.path());
    let from = format!("teachers.big.from={{ kind = \"run\", path = {:?} }}", text(&run));
    for checkpoint in ["best", "last"] {
        let model = run.join(format!("checkpoints/{checkpoint}/model.safetensors"));
        let mut weights = read::safetensors(&model).unwrap().weights;
        weights.0.get_mut("fc.bias").unwrap().f32_mut().unwrap()[1] = f32::NAN;
        write::safetensors(&model, &weights, &Default::default()).unwrap();
        start_from(&model).fails(&["fc.bias"]);
    }
    let plan = scene().attar(&["distill", "student.toml", "--dry-run", "--set", &from]);
    plan.fails(&["fc.bias[1] is NaN"]);

    // For export the reference and the attacked images must name these weights, as it would if the run itself had written the NaN.
    let model = run.join("checkpoints/best/model.safetensors");
    for file in ["predictions", "attacks"] {
        claim_weights(&run.join(format!("reference/{file}.safetensors")), &std::fs::read(&model).unwrap());
    }
    let out = folder.path().join("out");
    scene().attar(&["export", text(&run), "--out", text(&out)]).fails(&["fc.bias[1] is NaN"]);
    assert!(!out.exists());
}

/// Makes a file of `reference/` say that it is of `model`. Only the hash changes, so the file keeps its length.
fn claim_weights(reference: &Path, model: &[u8]) {
    let mut bytes = std::fs::read(reference).unwrap();
    let mark = b"\"weights_sha256\":\"";
    let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    bytes[at..at + 64].copy_from_slice(attar_formats::hash::sha256(model).as_bytes());
    std::fs::write(reference, bytes).unwrap();
}

#[test]
fn a_changed_byte_in_any_file_of_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = scene().copy_of_bundle(folder.path());
    let manifest = std::fs::read(bundle.join("manifest.json")).unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let files: Vec<String> = listed["files"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(files.len(), 10, "{files:?}");
    for file in files {
        let path = bundle.join(&file);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(&path, changed).unwrap();
        scene().attar(&["verify", text(&bundle)]).fails(&[&file, "not the file that the manifest lists"]);
        std::fs::remove_file(&path).unwrap();
        scene().attar(&["verify", text(&bundle)]).fails(&[&file]);
        std::fs::write(&path, whole).unwrap();
    }
    for (_, bytes) in spoiled(&manifest) {
        std::fs::write(bundle.join("manifest.json"), bytes).unwrap();
        scene().attar(&["predict", text(&bundle), "x.png"]).fails(&["manifest.json"]);
    }
    scene().attar(&["verify", "data"]).fails(&["manifest.json"]);
}

/// A limit on the length of files stands in for a full disk: the checkpoint cannot be written, the one before is intact.
#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = scene().copy_of_run(folder.path());
    let before = std::fs::read(run.join("checkpoints/best/model.safetensors")).unwrap();
    let limited = |limit: &str, args: &str| {
        // Without the signal of the limit (which ends a program), writing fails with an error, as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" {args}");
        let program = env!("CARGO_BIN_EXE_attar");
        let output = Command::new("bash").args(["-c", &script, program]).current_dir(scene().root()).output().unwrap();
        Said::new(&output, args.to_owned())
    };
    // 100 blocks of 1024 bytes: logs fit, resnet8's 300 kB do not.
    let out = folder.path().join("full");
    let said = limited("100", &format!("train alone.toml --out {}", text(&out)));
    said.fails(&["model.safetensors", "File too large"]);
    assert!(!out.join("checkpoints/last").exists() && !out.join("checkpoints/last.new").exists());
    attar(scene().root(), &["train", "alone.toml", "--resume", "--out", text(&out)]).ok();

    // The bundle is not half written either.
    let bundle = folder.path().join("bundle");
    limited("100", &format!("export {} --out {}", text(&run), text(&bundle))).fails(&["File too large"]);
    assert_eq!(crate::pipeline::names(folder.path()), ["full", "run"].map(str::to_owned).into());
    assert!(before == std::fs::read(run.join("checkpoints/best/model.safetensors")).unwrap());
}
