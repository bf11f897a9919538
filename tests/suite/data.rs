//! Folders of photos as people have them: everything about them is known before the first step.

use std::path::Path;
use std::time::Duration;

use attar_pixels::Image;

use crate::support::program::{Said, attar, command};

/// Three classes of plain pictures in `splits`, `count` each.
fn photos(root: &Path, splits: &[(&str, u8)]) {
    for (at, (split, count)) in (0..).zip(splits) {
        for (label, class) in (0..).zip(["ant", "bee", "cat"]) {
            let folder = root.join("photos").join(split).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..*count {
                picture(&folder.join(format!("{number:03}.png")), 16, 80 * label + 20 * at + number);
            }
        }
    }
}

fn picture(path: &Path, size: u32, value: u8) {
    let pixels = (0..size * size * 3).map(|at| value.wrapping_add((at % 7) as u8)).collect();
    std::fs::write(path, Image::new(size, size, 3, pixels).unwrap().to_png().unwrap()).unwrap();
}

/// A folder with photos and a recipe over them.
fn folder(splits: &[(&str, u8)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), splits);
    let recipe = r#"
name = "r"
seed = 1
device = "cpu"
[data]
source = { kind = "image-folder", root = "photos" }
validation = 0.25
preprocessing = { channels = 3, mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }
[student]
network = { name = "resnet8" }
[train]
epochs = 1
batch = 9
threads = 1
learning_rate = 0.01
optimiser = { kind = "sgd", momentum = 0.9 }
[[losses]]
name = "ce"
weight = 1.0
loss = { kind = "cross-entropy" }
"#;
    std::fs::write(folder.path().join("r.toml"), recipe).unwrap();
    folder
}

fn plan(folder: &Path, settings: &[&str]) -> Said {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    attar(folder, &["train", "r.toml", "--dry-run"].into_iter().chain(set).collect::<Vec<_>>())
}

const TWO: [(&str, u8); 2] = [("train", 12), ("test", 6)];
const THREE: [(&str, u8); 3] = [("train", 12), ("val", 7), ("test", 6)];

#[test]
fn every_bad_image_is_listed_in_the_plan() {
    let folder = folder(&TWO);
    let at = |file: &str| folder.path().join("photos").join(file);
    picture(&at("test/cat/003.png"), 17, 0);
    std::fs::write(at("train/bee/001.png"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        .unwrap();
    std::fs::write(at("train/ant/002.png"), "").unwrap();
    let said = ["3 of 54 images", "test/cat/003.png: comes out as 17x17, most as 16x16", "001.png: a Git LFS pointer"];
    plan(folder.path(), &[]).fails(&said);
    // A resize makes them one size; what cannot be read stays.
    let resize = "data.preprocessing.resize=[16, 16]";
    let error =
        plan(folder.path(), &[resize]).fails(&["2 of 54", "train/ant/002.png: an empty file", "data check"]).err;
    assert!(!error.contains("003.png"), "{error}");
    let check = attar(folder.path(), &["data", "check", "image-folder:photos", "--json"]).exits(1).json();
    assert_eq!(check["train"]["corrupt"].as_array().unwrap().len(), 2, "{check}");
}

#[test]
fn three_splits_are_taken_as_they_are() {
    let folder = folder(&THREE);
    let text = plan(folder.path(), &[]).ok().out;
    assert!(text.contains("27 train, 9 validation, 18 test") && text.contains("test judges"), "{text}");
    let own = "data.validation={ folder = \"val\" }";
    assert!(plan(folder.path(), &[own]).ok().out.contains("36 train, 21 validation, 18 test"));
    plan(folder.path(), &[own, "data.source.test=val"]).fails(&["cannot be chosen by and judged by at once"]);
    plan(folder.path(), &["data.validation={ folder = \"dev\" }"]).fails(&["no folder dev"]);
    let info = attar(folder.path(), &["data", "info", "image-folder:photos", "--json"]).ok().json();
    assert_eq!((&info["train"], &info["val"], &info["test"]), (&36.into(), &21.into(), &18.into()));
    let check = attar(folder.path(), &["data", "check", "image-folder:photos"]).ok().out;
    assert!(check.contains("val: 21 images") && check.contains("sound"), "{check}");
    let one = attar(folder.path(), &["data", "check", "image-folder:photos", "--split", "val"]).ok().out;
    assert!(one.starts_with("val: 21 images") && !one.contains("train:"), "{one}");
    attar(folder.path(), &["data", "check", "image-folder:photos", "--split", "dev"]).fails(&["no folder dev"]);
}

#[test]
fn what_lies_beside_the_images_is_told() {
    let folder = folder(&TWO);
    let at = |file: &str| folder.path().join("photos").join(file);
    for beside in ["train/@eaDir", "train/ant/.DS_Store", "test/__MACOSX", "train/cat/notes.txt"] {
        std::fs::create_dir_all(at(beside)).unwrap();
    }
    std::fs::rename(at("train/bee/000.png"), at("train/bee/000.download")).unwrap();
    plan(folder.path(), &[]).fails(&["000.download: begins like a PNG, but is not named like an image", "hint"]);
    std::fs::remove_file(at("train/bee/000.download")).unwrap();
    let text = plan(folder.path(), &[]).ok().out;
    assert!(text.contains("3 left out: 1 @eaDir, 1 __MACOSX, 1 with a dot in front"), "{text}");
    std::fs::remove_dir_all(at("train/cat")).unwrap();
    std::fs::create_dir_all(at("train/cat")).unwrap();
    plan(folder.path(), &[]).fails(&["train/cat: a class without an image", "allow_empty"]);
    plan(folder.path(), &["data.source.allow_empty=[\"cat\"]"]).ok();
    let check = attar(folder.path(), &["data", "check", "image-folder:photos"]).exits(1).out;
    assert!(check.contains("empty classes: cat") && check.contains("NOT SOUND"), "{check}");
}

#[test]
fn scales_and_sizes_are_judged_and_read_as_people_write_them() {
    let folder = folder(&TWO);
    let scale = ["data.preprocessing.mean=[123.675,116.28,103.53]", "data.preprocessing.std=[58.395,57.12,57.375]"];
    plan(folder.path(), &scale).fails(&["0 to 255", "mean = [0.485, 0.456, 0.406]", "std = [0.229, 0.224, 0.225]"]);
    let ways: [&[&str]; 3] = [
        &["data.preprocessing.resize={ to = { exact = 24 }, interpolation = \"bilinear\" }"],
        &["data.preprocessing.resize=24"],
        &["data.preprocessing.crop=24", "data.augment=[{ kind = \"random-resized-crop\", size = 24 }]"],
    ];
    for way in ways {
        assert!(plan(folder.path(), way).ok().out.contains("[3, 24, 24]"), "{way:?}");
    }
}

#[test]
fn hashes_are_kept_between_runs_and_the_receipt_says_so() {
    let (folder, cache) = (folder(&TWO), tempfile::tempdir().unwrap());
    let run = |args: &[&str]| {
        let mut command = command(folder.path(), args);
        let output = command.env("ATTAR_CACHE_DIR", cache.path()).output().expect("attar starts");
        Said::new(&output, args.join(" ")).ok()
    };
    let hashes = |args: &[&str]| run(&[&["train", "r.toml", "--json", "--out"], args].concat()).json()["data"].clone();
    std::thread::sleep(Duration::from_millis(2100)); // files that have just changed are not trusted
    let first = hashes(&["first"]);
    assert_eq!(first["hashes"], serde_json::json!({"read_from_cache": 0, "made": 54}));
    let second = hashes(&["second"]);
    assert_eq!(second["hashes"], serde_json::json!({"read_from_cache": 54, "made": 0}));
    assert_eq!((&second["train"], &second["test"]), (&first["train"], &first["test"]));
    let third = hashes(&["third", "--no-cache"]);
    assert_eq!(third["hashes"], serde_json::json!({"read_from_cache": 0, "made": 54}));
    assert_eq!(third["train"], first["train"]);
}
