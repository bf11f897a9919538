//! Teachers whose meaning is not that of the data: other classes, other order, other pictures, none of it read; and what is
//! told before the first step.

use std::path::Path;

use attar_distill::labelling;
use attar_distill::run::{self, CheckedOn, Receipt, Silent};
use attar_distill::teacher::{Answers, OnnxRequest, OnnxTeacher};
use attar_distill::{Error, Outline, Plan, PlanOptions, Result};
use attar_formats::{read, write};
use attar_models::generated;
use attar_models::zoo::{NetworkSpec, build};

use crate::scene::{Scene, write_data};

/// KD alone from the teacher `big`.
const KD: [&str; 3] = ["losses.gkd.weight=1.0", "losses.gkd.loss.gate=none", "losses.ce.weight=1.0"];
/// All training images are learned from.
const NONE_HELD_OUT: &str = "data.validation=0.0";

/// A scene with a teacher that knows its classes.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.write_kd();
    let receipt = scene.start("teacher", "good", &["train.epochs=6"]).unwrap();
    assert!(receipt.test_top1_last > 80.0, "{}", receipt.test_top1_last);
    scene
}

/// The teacher's file as a recipe states it without a card.
fn bare(path: &str, network: &str) -> String {
    format!(
        "teachers.big.from={{ kind = \"weights\", path = \"{path}\", network = {{ name = \"resnet8\"{network} }}, preprocessing = {{ channels = 1, mean = [0.3], std = [0.25] }} }}"
    )
}

fn strict(scene: &Scene, recipe: &str, overrides: &[&str]) -> Result<Plan> {
    Plan::new(scene.recipe(recipe, overrides)?, PlanOptions::default())
}

fn refused(scene: &Scene, recipe: &str, overrides: &[&str]) -> String {
    strict(scene, recipe, overrides).unwrap_err().to_string()
}

fn carried_out(scene: &Scene, run: &str, overrides: &[&str]) -> Result<Receipt> {
    let overrides = [&KD[..], &["train.epochs=1"], overrides].concat();
    run::start(strict(scene, "kd", &overrides)?, &scene.run(run), &mut Silent)
}

/// The good teacher's weights with class `i` of its logits being class `from[i]` of before.
fn permuted(scene: &Scene, name: &str, from: [usize; 3]) {
    let mut weights = read::safetensors(&scene.run("good/checkpoints/best/model.safetensors")).unwrap().weights;
    for array in weights.0.iter_mut().filter(|(name, _)| name.starts_with("fc.")).map(|(_, array)| array) {
        let before = array.f32().unwrap().to_vec();
        let rows: Vec<&[f32]> = before.chunks(before.len() / 3).collect();
        array.f32_mut().unwrap().copy_from_slice(&from.map(|row| rows[row]).concat());
    }
    write::safetensors(&scene.root().join(name), &weights, &std::collections::BTreeMap::new()).unwrap();
}

#[test]
fn a_teacher_in_another_order_is_found_out_and_put_right_by_its_names() {
    let scene = scene();
    permuted(&scene, "turned.safetensors", [2, 0, 1]);
    let turned = bare("turned.safetensors", "");
    let plan = strict(&scene, "kd", &[&turned, NONE_HELD_OUT]).unwrap();
    assert!(plan.notes().any(|note| note.contains("carries no class names")));
    let good = carried_out(&scene, "right", &["teachers.big.from.path=runs/good", NONE_HELD_OUT]).unwrap();
    let good = good.teachers[0].check.clone().unwrap();
    assert_eq!((good.on, good.images, good.warning), (CheckedOn::Training, 66, None));

    let bad = carried_out(&scene, "turned", &[&turned, NONE_HELD_OUT]).unwrap();
    let warning = bad.teachers[0].check.clone().unwrap().warning.unwrap();
    assert!(warning.contains("another order") && warning.contains(r#"["bottom", "top", "middle"]"#), "{warning}");
    let events = std::fs::read_to_string(scene.run("turned").join("events.jsonl")).unwrap();
    assert!(events.contains("likely cause"), "{events}");

    let named = "teachers.big.classes=[\"bottom\", \"top\", \"middle\"]";
    let put_right = carried_out(&scene, "named", &[&turned, named, NONE_HELD_OUT]).unwrap();
    let check = put_right.teachers[0].check.clone().unwrap();
    assert_eq!((check.correct, check.warning), (good.correct, None));
    let difference = scene.train_loss("named", 1) - scene.train_loss("right", 1);
    assert!(difference.abs() < 1e-4, "the same teacher after all: {difference}");

    let least = "teachers.big.at_least=0.6";
    assert!(carried_out(&scene, "enough", &[&turned, named, least, NONE_HELD_OUT]).is_ok());
    let message = carried_out(&scene, "short", &[&turned, least, NONE_HELD_OUT]).unwrap_err().to_string();
    assert!(message.contains("teachers.big.at_least") && message.contains("likely cause"), "{message}");
    let message = refused(&scene, "kd", &["teachers.big.at_least=60"]);
    assert!(message.contains("a share of right answers"), "{message}");
}

#[test]
fn a_teacher_with_another_scale_of_pixels_is_found_out() {
    let scene = scene();
    let plain = ["train.epochs=6", "data.preprocessing.mean=[0.0]", "data.preprocessing.std=[1.0]"];
    scene.start("teacher", "plain", &plain).unwrap();
    let wrong = bare("runs/plain/checkpoints/best/model.safetensors", "")
        .replace("mean = [0.3], std = [0.25]", "mean = [0.9], std = [0.05]");
    let receipt = carried_out(&scene, "wrong-scale", &[&wrong, NONE_HELD_OUT]).unwrap();
    let warning = receipt.teachers[0].check.clone().unwrap().warning.unwrap();
    assert!(
        warning.contains("likely cause: it takes pixels") && warning.contains("hint: in its preprocessing"),
        "{warning}"
    );
}

#[test]
fn names_decide_which_classes_a_teacher_knows() {
    let scene = scene();
    let other = "data.source.classes=[\"top\", \"centre\", \"bottom\"]";
    let message = refused(&scene, "kd", &[other]);
    assert!(message.contains("teachers.big was trained on other classes") && message.contains("`centre`"), "{message}");
    let renamed = "teachers.big.classes={ centre = \"middle\" }";
    assert!(strict(&scene, "kd", &[other, renamed]).is_ok());
    // Of a teacher that knows the classes in another order the logits are picked.
    let plan = strict(&scene, "kd", &["data.source.classes=[\"middle\", \"top\", \"bottom\"]"]).unwrap();
    let notes: Vec<String> = plan.notes().collect();
    assert!(notes.iter().any(|note| note.contains("big") && note.contains("another order")), "{notes:?}");
}

#[test]
fn a_teacher_of_more_classes_teaches_features_as_it_is_and_logits_by_a_table() {
    let scene = scene();
    let graph = build(&NetworkSpec::new("resnet8", 5, [1, 12, 12])).unwrap();
    let path = scene.root().join("five.safetensors");
    write::safetensors(&path, &generated::weights(&graph, 1), &std::collections::BTreeMap::new()).unwrap();
    let five = bare("five.safetensors", ", classes = 5");
    let message = refused(&scene, "kd", &[&five]);
    assert!(message.contains("5 classes without names") && message.contains("classes = {"), "{message}");
    let features = "losses.gkd.loss={ kind = \"channel\" }";
    let receipt = carried_out(&scene, "features", &[&five, features]).unwrap();
    assert_eq!((receipt.teachers[0].val_top1, receipt.teachers[0].check.clone()), (None, None));
    assert!(receipt.measures.unwrap().teachers.is_empty(), "its logits are of other classes");
    let map = "teachers.big.classes={ top = 4, middle = 0, bottom = 2 }";
    assert!(carried_out(&scene, "by-map", &[&five, map]).is_ok());
}

#[test]
fn a_store_answers_the_pictures_that_it_was_asked_about() {
    let scene = scene();
    let store = scene.root().join("labels");
    let good = "teachers.big.from.path=runs/good";
    let written = labelling::write(strict(&scene, "kd", &[good]).unwrap(), &store, 1, None, |_| ()).unwrap();
    assert_eq!(written.classes.unwrap(), ["top", "middle", "bottom"]);
    let stored = "teachers.big.from={ kind = \"stored\", path = \"labels\" }";
    let overrides = [&KD[..], &["train.epochs=1", stored]].concat();
    let receipt = run::start(strict(&scene, "kd", &overrides).unwrap(), &scene.run("stored"), &mut Silent).unwrap();
    assert_eq!(receipt.teachers[0].check.clone().unwrap().on, CheckedOn::StoredAnswers);

    // An older store has no name of its images: a loud note, until it is stamped.
    let manifest = std::fs::read_to_string(store.join("store.json")).unwrap();
    let unnamed: Vec<&str> = manifest.lines().filter(|line| !line.contains("images_sha256")).collect();
    std::fs::write(store.join("store.json"), unnamed.join("\n")).unwrap();
    let plan = strict(&scene, "kd", &overrides).unwrap();
    assert!(plan.notes().any(|note| note.contains("WARNING") && note.contains("--stamp")));
    let stamped = labelling::stamp(strict(&scene, "kd", &[good]).unwrap(), &store).unwrap();
    assert!(stamped.asked > 32, "{stamped:?}");
    assert!(!strict(&scene, "kd", &overrides).unwrap().notes().any(|note| note.contains("WARNING")));
    assert_eq!(labelling::stamp(strict(&scene, "kd", &[good]).unwrap(), &store).unwrap().asked, 0);

    // Other pictures under the same labels, with the teacher and without.
    change_a_pixel(&scene.root().join("data"));
    assert!(refused(&scene, "kd", &overrides).contains("other pictures"), "{}", refused(&scene, "kd", &overrides));
    std::fs::remove_dir_all(scene.run("good")).unwrap();
    assert!(refused(&scene, "kd", &overrides).contains("other pictures"));
    write_data(&scene.root().join("data"), 66, 30);
    let plan = strict(&scene, "kd", &overrides).unwrap();
    assert!(plan.notes().any(|note| note.contains("taken on trust")), "the teacher is gone, the pictures are the same");
    let other = [&overrides[..], &["data.source.classes=[\"a\", \"b\", \"c\"]"]].concat();
    assert!(refused(&scene, "kd", &other).contains("for other classes"));
}

/// Of every training image one, so that those held out are not the only ones.
fn change_a_pixel(data: &Path) {
    let path = data.join("train-images-idx3-ubyte");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[16..].chunks_mut(144).for_each(|image| image[7] ^= 1);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_teacher_that_nobody_asks_is_an_error() {
    let scene = scene();
    let alone = std::fs::read_to_string(scene.root().join("kd.toml")).unwrap();
    let end = alone.find("[[losses]]\nname = \"gkd\"").unwrap();
    std::fs::write(scene.root().join("idle.toml"), &alone[..end]).unwrap();
    let message = refused(&scene, "idle", &[]);
    assert!(message.contains("teachers.big") && message.contains("no loss and no view asks it"), "{message}");
    assert!(scene.plan("idle", &[]).is_ok(), "allowed for a trial");
    let message = refused(&scene, "kd", &["train.epochs=1"]);
    assert!(message.contains("losses.ce.weight") && message.contains("--allow-idle"), "{message}");
}

/// A fake ONNX file that answers with `answers` to batches of at most `most` images.
fn opener(answers: Answers, most: usize) -> PlanOptions {
    let open = move |request: &OnnxRequest<'_>| {
        if request.engine.is_some_and(|engine| engine != "ort") {
            return Err(Error::Teacher { problem: "no such engine".to_owned() });
        }
        let answer = move |images: &[f32], n: usize| match n <= most {
            true => Ok(images.chunks(144).flat_map(|image| [-image[0], -1.0, -2.0]).collect()),
            false => Err(format!("a batch of {n} is too much")),
        };
        let input = request.input.unwrap_or_default();
        let outline = Outline::logits_only("fake", input, 3);
        Ok(OnnxTeacher::new(outline, Box::new(answer)).gives(answers))
    };
    PlanOptions { onnx: Some(Box::new(open)), ..PlanOptions::default() }
}

#[test]
fn an_onnx_teacher_is_asked_in_the_plan_and_says_what_it_gives() {
    let scene = scene();
    let onnx = |more: &str| {
        format!(
            "teachers.big.from={{ kind = \"onnx\", path = \"kd.toml\", preprocessing = {{ channels = 1, mean = [0.3], std = [0.25] }}{more} }}"
        )
    };
    let plan = |options, overrides: &[&str]| {
        let overrides = [&KD[..], &["train.epochs=1"], overrides].concat();
        Plan::new(scene.recipe("kd", &overrides).unwrap(), options)
    };
    let ort = onnx(", engine = \"ort\"");
    assert!(plan(opener(Answers::Logits, 8), &[&ort]).is_ok());
    let message = plan(opener(Answers::Logits, 7), &[&ort]).unwrap_err().to_string();
    assert!(message.contains("asked for a batch of 8") && message.contains("too much"), "{message}");
    let message = plan(opener(Answers::Logits, 8), &[&onnx(", engine = \"tract\"")]).unwrap_err().to_string();
    assert!(message.contains("no such engine"), "{message}");

    let notes: Vec<String> = plan(opener(Answers::Probabilities, 8), &[&ort]).unwrap().notes().collect();
    assert!(notes.iter().any(|note| note.contains("probabilities") && note.contains("2^-126")), "{notes:?}");
    for raw in ["{ kind = \"dtd\" }", "{ kind = \"meal\", discriminator = { game = \"joint\" } }"] {
        let text = std::fs::read_to_string(scene.root().join("kd.toml")).unwrap();
        let text = text.replace("{ kind = \"kd\", temperature = 2.0, gate = \"teacher-right\" }", raw);
        std::fs::write(scene.root().join("raw.toml"), text).unwrap();
        let recipe = scene.recipe("raw", &["losses.ce.weight=1.0", &ort]).unwrap();
        let message = Plan::new(recipe.clone(), opener(Answers::LogProbabilities, 8)).unwrap_err().to_string();
        assert!(message.contains("reads logits themselves") && message.contains("`big`"), "{raw}: {message}");
        assert!(Plan::new(recipe, opener(Answers::Logits, 8)).is_ok(), "{raw}");
    }
}
