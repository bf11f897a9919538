//! What `attar new` writes for folders that are made here.

use std::path::Path;

use attar_formats::write;
use attar_models::generated;
use attar_pixels::Image;

use super::*;

/// `count` images of each of two classes, which differ in brightness, in `split`.
fn images(root: &Path, split: &str, count: usize, size: [u32; 2]) {
    for (class, level) in [("cat", 60_u8), ("dog", 180)] {
        let folder = root.join(split).join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for at in 0..count {
            let pixels = (0..size[0] * size[1] * 3).map(|i| level + (i as usize * 7 % 40 + at % 5) as u8).collect();
            let image = Image::new(size[1], size[0], 3, pixels).unwrap();
            std::fs::write(folder.join(format!("{at}.png")), image.to_png().unwrap()).unwrap();
        }
    }
}

fn photos(size: [u32; 2]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    images(root.path(), "train", 15, size);
    images(root.path(), "test", 3, size);
    root
}

fn made(root: &Path, wishes: &Wishes) -> String {
    make(&Source::image_folder(root.to_owned()), wishes).unwrap().text
}

fn student(name: &str) -> Wishes {
    Wishes { student: Some(name.to_owned()), ..Wishes::default() }
}

/// The recipe with these options that is said to plan does plan, and says what was measured.
#[test]
fn photos_become_a_recipe_that_plans() {
    let root = photos([90, 120]);
    let text = made(root.path(), &Wishes { size: Some(80), epochs: Some(3), ..student("resnet18") });
    for part in [
        "30 images of 2 classes to learn from, 6 to test.",
        "crop = [80, 80]",
        "shorter-edge = 90",
        "random-resized-crop\", size = 80",
        "epochs = 3",
        "kind = \"cross-entropy\"",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let recipe = Recipe::parse(&text, &[]).unwrap();
    let mean = recipe.data.preprocessing.mean[0];
    // Halfway between the classes: (60 + 180) / 2 and what the pattern adds, of 255.
    assert!((mean - 0.55).abs() < 0.03, "{mean}");
    assert_eq!(Plan::new(recipe, super::super::train::options()).unwrap().data().input, [3, 80, 80]);
}

#[test]
fn small_images_keep_their_size_and_their_detail() {
    let root = photos([32, 32]);
    let text = made(root.path(), &student("resnet18"));
    assert!(text.contains("stem = \"cifar\"") && text.contains("pad-crop\", padding = 4"), "{text}");
    assert!(!text.contains("resize = ") && !text.contains("crop = ["), "{text}");
    assert!(Plan::new(Recipe::parse(&text, &[]).unwrap(), super::super::train::options()).is_ok());
}

#[test]
fn three_folders_are_what_their_names_say() {
    let root = photos([32, 32]);
    images(root.path(), "val", 2, [32, 32]);
    let text = made(root.path(), &student("resnet8"));
    assert!(text.contains("validation = { folder = \"val\" }") && text.contains("test = \"test\""), "{text}");
}

#[test]
fn weights_of_other_classes_are_fine_tuned() {
    let root = photos([32, 32]);
    let file = root.path().join("trained.safetensors");
    let graph = zoo::build(&NetworkSpec::new("resnet8", 7, [3, 32, 32])).unwrap();
    write::safetensors(&file, &generated::weights(&graph, 0), &std::collections::BTreeMap::new()).unwrap();
    let text = made(root.path(), &Wishes { init: Some(file.clone()), ..student("resnet8") });
    assert!(text.contains("head = \"new\" }") && text.contains("Trained weights of 7 classes"), "{text}");
    assert!(text.contains("epochs = 10"), "{text}");
    let teacher = Wishes {
        teacher: Some(file),
        teacher_network: Some("resnet8".to_owned()),
        teacher_preprocessing: Some("{ channels = 3, mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }".to_owned()),
        ..student("resnet8")
    };
    let text = made(root.path(), &teacher);
    assert!(text.contains("network = { name = \"resnet8\", classes = 7 }") && text.contains("kind = \"kd\""), "{text}");
}

#[test]
fn classes_that_are_uneven_are_told() {
    let root = photos([32, 32]);
    for at in 3..15 {
        std::fs::remove_file(root.path().join(format!("train/dog/{at}.png"))).unwrap();
    }
    let text = made(root.path(), &student("resnet8"));
    assert!(text.contains("IMBALANCED: `dog` has 3, `cat` has 15"), "{text}");
}

#[test]
fn what_is_missing_is_asked_for() {
    let root = photos([32, 32]);
    std::fs::write(root.path().join("big.pth"), "").unwrap();
    std::fs::write(root.path().join("big.onnx"), "").unwrap();
    let source = Source::image_folder(root.path().to_owned());
    let problem = |wishes: Wishes| make(&source, &wishes).map(|made| made.text).unwrap_err().to_string();
    let taught = |file: &str| Wishes { teacher: Some(root.path().join(file)), ..student("resnet8") };
    assert!(problem(taught("big.pth")).contains("--teacher-network NAME"));
    let named = |file: &str| Wishes { teacher_network: Some("resnet14".to_owned()), ..taught(file) };
    assert!(problem(named("big.pth")).contains("nobody guesses mean and std"));
    assert!(problem(taught("big.onnx")).contains("nobody guesses mean and std"));
    assert!(problem(named("big.onnx")).contains("needs no --teacher-network"));
    assert!(problem(taught("train")).contains("neither a run (card.json) nor a bundle"));
    assert!(problem(student("mobilenet_v3")).contains("did you mean `mobilenet_v2`?"));
    assert!(problem(Wishes { width: Some(0.5), ..student("resnet8") }).contains("--width"));
    assert!(problem(Wishes { method: Some("kd".to_owned()), ..student("resnet8") }).contains("--teacher"));
}
