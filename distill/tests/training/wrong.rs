//! What a recipe can get wrong fails in the plan, with the dotted key and the nearest name.

use super::scene::Scene;

/// The message of planning the student's recipe with an override.
fn message(scene: &Scene, overrides: &[&str]) -> String {
    match scene.plan("student", overrides) {
        Ok(_) => panic!("{overrides:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_mistake_is_named() {
    let scene = Scene::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["train.epoch=5"], &["train.epoch:", "did you mean `epochs`?"]),
        (&["trein.epochs=5"], &["trein", "did you mean `train`?"]),
        (&["train.epochs=\"five\""], &["train.epochs", "expected"]),
        (&["train.epochs=0"], &["train.epochs: 0, expected at least 1"]),
        (&["train.epochs=9223372036854775807"], &["train.epochs:", "expected at most"]),
        (&["train.learning_rate=-0.1"], &["train.learning_rate: -0.1", "expected 0 or above"]),
        (&["losses.cd.weight={ at = [[1, 6], [3, -1]] }"], &["losses.cd.weight: -1", "expected 0 or above"]),
        (&["device=gpu"], &["device", "cuda"]),
        (&["student.network.name=resnet9"], &["student.network", "did you mean `resnet8`?"]),
        (&["student.network.classes=10"], &["student.network.classes: 10, but the data has 3"]),
        (&["data.validation=1.5"], &["data.validation"]),
        (&["data.resident=sometimes"], &["data.resident", "known: auto, never, always"]),
        (&["data.train_subset=1000"], &["data.train_subset: 1000, expected 1 to 66"]),
        (&["data.source.kind=idxx"], &["data.source", "did you mean `idx`?"]),
        (&["losses.cd.weight=-"], &["losses.cd.weight"]),
        (&["losses.kd.weight=1"], &["no `kd`", "did you mean", "known: ce, gkd, cd"]),
        (&["losses.gkd.loss.temprature=1"], &["losses.gkd", "temprature", "did you mean `temperature`?"]),
        (&["losses.gkd.loss.kind=kdd"], &["losses.gkd", "did you mean `kd`?"]),
        (
            &["losses.cd.loss.pairs=[[\"layer4\", \"layer3\"]]"],
            &["losses.cd", "unknown tap `layer4`", "did you mean `layer"],
        ),
        (&["losses.gkd.name=cd"], &["losses.cd: this name is used twice"]),
        (&["teachers=[]"], &["teacher"]),
        (&["teachers.big.bn=frozen"], &["teachers.big", "known: running, batch"]),
        (&["teachers.big.from.path=nowhere"], &["nowhere"]),
        (&["teachers.big.from={ kind = \"weights\", path = \"w.safetensors\" }"], &["teachers.big", "never guessed"]),
        (
            &["data.source.classes=[\"bottom\", \"middle\", \"roof\"]"],
            &["teachers.big was trained on other classes", "`roof`"],
        ),
        (&["data.source.classes=[\"a\", \"b\", \"c\", \"d\"]"], &["teachers.big", "has 3 classes, the data 4"]),
        (&["train.ema=1.0"], &["train.ema"]),
        (&["train.update=in-turn"], &["train.update: `in-turn`, but the recipe has no [[peers]]"]),
        (&["train.optimiser.momentun=0.9"], &["train.optimiser", "did you mean `momentum`?"]),
        (&["train.optimiser.momentum=1.0"], &["recipe: train.optimiser.momentum: 1 does not do"]),
        (&["nonsense"], &["KEY=VALUE"]),
    ];
    let mut wrong = Vec::new();
    for (overrides, parts) in cases {
        let message = message(&scene, overrides);
        if let Some(part) = parts.iter().find(|part| !message.contains(**part)) {
            wrong.push(format!("{overrides:?} should say `{part}`:\n{message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_recipe_written_out_reads_back_as_itself() {
    let scene = Scene::new();
    let recipe = scene.recipe("student", &["data.test_subset=20"]).unwrap();
    let path = scene.root().join("copy.toml");
    std::fs::write(&path, recipe.relative_to(scene.root()).to_toml().unwrap()).unwrap();
    let again = attar_distill::Recipe::load(&path, &[]).unwrap();
    assert_eq!(recipe, again);
    assert!(recipe.differences(&again).unwrap().is_empty());
    assert!(!recipe.relative_to(scene.root()).to_toml().unwrap().contains(scene.root().to_str().unwrap()));
}

#[test]
fn a_plan_describes_itself() {
    let scene = Scene::new();
    let description = scene.plan("student", &[]).unwrap().describe();
    let text = description.to_string();
    for part in ["resnet8", "layer1", "cd", "4 epochs x 7 steps", "5.4"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(description.teachers[0].renormalised);
    assert_eq!(description.schedule.len(), 4);
    assert!(serde_json::to_string(&description).unwrap().contains("steps_per_epoch"));
}

/// MobileNetV2 shrinks small images to one position, where one image leaves a batch norm one value a channel: PyTorch finds
/// out in the last step of the epoch.
#[test]
fn a_last_batch_of_one_image_is_refused_where_maps_have_one_position() {
    let scene = Scene::new();
    let plan = |batch: &str| scene.plan("teacher", &["student.network.name=mobilenet_v2", batch]);
    let images = plan("train.batch=8").unwrap().data().train.len();
    let message = plan(&format!("train.batch={}", images - 1)).unwrap_err().to_string();
    assert!(message.contains("train.batch: the last batch of an epoch holds one image"), "{message}");
    assert!(plan("train.batch=1").unwrap_err().to_string().contains("every batch"));
    assert!(scene.plan("teacher", &["train.batch=1"]).is_ok(), "maps of several positions do");
}

#[test]
fn a_teacher_with_a_nan_is_refused() {
    let scene = Scene::new();
    let path = scene.run("teacher").join("checkpoints/best/model.safetensors");
    let mut weights = attar_formats::read::safetensors(&path).unwrap().weights;
    weights.0.get_mut("fc.bias").unwrap().f32_mut().unwrap()[1] = f32::NAN;
    attar_formats::write::safetensors(&path, &weights, &Default::default()).unwrap();
    let message = message(&scene, &[]);
    assert!(message.contains("fc.bias[1] is NaN"), "{message}");
}

#[test]
fn truncated_weights_are_an_error_and_not_a_crash() {
    let scene = Scene::new();
    let path = scene.run("teacher").join("checkpoints/best/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(message(&scene, &[]).contains("model.safetensors"));
}

#[test]
fn every_shipped_recipe_reads_and_survives_being_written() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes")];
    let mut count = 0;
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue; // a base that recipes lie over
        }
        let recipe = attar_distill::Recipe::load(&path, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let again = attar_distill::Recipe::parse(&recipe.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(recipe, again, "{}", path.display());
        count += 1;
    }
    assert!(count > 0);
}
