//! A teacher whose card says another input size sees the student's crops in its own way, wherever it is asked.

use attar_distill::labelling;

use crate::scene::{STUDENT, Scene};

/// The teacher's images are twice as large as the student's.
const LARGE: &str = "data.preprocessing.resize={ to = { exact = [24, 24] }, interpolation = \"bicubic\" }";
const FROM_LARGE: &str = "teachers.big.from.path=runs/large";

/// Views of all kinds that the teacher answers to.
const VIEWS: [(&str, &str); 4] = [
    ("mixed", "kind = \"mixup\""),
    ("cut", "kind = \"cutmix\""),
    (
        "strong",
        "kind = \"augmented\"\naugment = [{ kind = \"random-resized-crop\", size = 12 }, { kind = \"rand-augment\" }, { kind = \"random-erasing\" }]",
    ),
    ("between", "kind = \"extracurricular\"\nteacher = \"big\"\ncandidates = 2"),
];

/// A view, and a loss that follows the teacher in it.
fn kd_on(view: &str, settings: &str) -> String {
    format!(
        "\n[[views]]\nname = \"{view}\"\n{settings}\n[[losses]]\nname = \"{view}-kd\"\nview = \"{view}\"\nteacher = \"big\"\nweight = 0.5\nloss = {{ kind = \"kd\", temperature = 2.0 }}\n"
    )
}

/// A scene with a teacher of larger images, and what it came to on the test images.
fn scene() -> (Scene, f64) {
    let scene = Scene::new();
    let receipt = scene.start("teacher", "large", &[LARGE, "train.epochs=3"]).unwrap();
    (scene, receipt.test_top1_best)
}

#[test]
fn a_teacher_of_larger_images_teaches_in_every_view_and_is_judged_by_its_own_preprocessing() {
    let (scene, top1) = scene();
    let views: String = VIEWS.iter().map(|(view, settings)| kd_on(view, settings)).collect();
    std::fs::write(scene.root().join("views.toml"), STUDENT.to_owned() + &views).unwrap();
    let overrides = [FROM_LARGE, "train.epochs=2"];
    let description = scene.plan("views", &overrides).unwrap().describe();
    assert_eq!((description.teachers[0].input.as_slice(), description.teachers[0].own_view), (&[1, 24, 24][..], true));
    assert!(description.to_string().contains("sees the same crops in its own way"), "{description}");
    let receipt = scene.start("views", "views", &overrides).unwrap();
    let measures = receipt.measures.unwrap();
    assert_eq!(measures.teachers["big"].top1, top1);
    assert!(measures.student.top1.is_finite() && top1 > 50.0, "{top1}");
}

#[test]
fn its_stored_answers_teach_as_it_does() {
    let (scene, _) = scene();
    scene.write_kd();
    let store = scene.root().join("labels");
    let written = labelling::write(scene.plan("kd", &[FROM_LARGE]).unwrap(), &store, 4, None, |_| ()).unwrap();
    assert!(written.teacher_preprocessing.is_some_and(|how| how.resize.is_some()));
    let alone = ["losses.gkd.weight=1.0", "losses.gkd.loss.gate=none", "losses.ce.weight=0.0", "train.epochs=2"];
    let stored = "teachers.big.from={ kind = \"stored\", path = \"labels\" }";
    let live = scene.start("kd", "live", &[&alone[..], &[FROM_LARGE]].concat()).unwrap();
    let taught = scene.start("kd", "stored", &[&alone[..], &[stored]].concat()).unwrap();
    let loss = |run| scene.train_loss(run, 2);
    // Half precision is all that stands between them.
    assert!((loss("live") - loss("stored")).abs() < 0.02 * loss("live").abs(), "{} {}", loss("live"), loss("stored"));
    assert_eq!(taught.teachers[0].weights_sha256, live.teachers[0].weights_sha256);

    // A store that says that the teacher saw the student's own batch.
    let manifest = store.join("store.json");
    let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("teacher_preprocessing").unwrap();
    std::fs::write(&manifest, json.to_string()).unwrap();
    let message = scene.plan("kd", &[stored]).unwrap_err().to_string();
    assert!(message.contains("sees the images another way"), "{message}");
}

#[test]
fn what_it_cannot_see_is_refused() {
    let (scene, _) = scene();
    let attacked = kd_on("attacked", "kind = \"adversarial\"");
    std::fs::write(scene.root().join("attacked.toml"), STUDENT.to_owned() + &attacked).unwrap();
    let squeezed = "data.preprocessing.crop=[12, 10]";
    let unsaid = "teachers.big.from={ kind = \"weights\", path = \"runs/large/checkpoints/best/model.safetensors\", network = { name = \"resnet8\", input = [1, 24, 24] }, preprocessing = { channels = 1, mean = [0.3], std = [0.25] } }";
    for (recipe, overrides, expected) in [
        ("attacked", &[FROM_LARGE][..], "losses.attacked-kd: an attack moves the student's pixels"),
        ("attacked", &[FROM_LARGE, "views.attacked.against=big"], "views.attacked.against: `big` sees the images"),
        ("student", &[FROM_LARGE, squeezed], "teachers.big: takes images of 24x24, the student of 12x10"),
        ("student", &[unsaid], "teachers.big: takes [1, 24, 24], and its preprocessing makes [1, 12, 12]"),
    ] {
        let message = scene.plan(recipe, overrides).unwrap_err().to_string();
        assert!(message.contains(expected), "{overrides:?}: {message}");
    }
    assert!(scene.plan("attacked", &[]).is_ok(), "a teacher of the student's size sees what an attack has moved");
}
