//! What comes out of a run, and what happens when numbers run away.

use attar_distill::Error;
use attar_distill::run::{self, Event, Observer, Receipt, Silent};
use attar_formats::{Card, read};

use super::scene::Scene;

#[derive(Default)]
struct Watching(Vec<Event>);

impl Observer for Watching {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

#[test]
fn a_run_in_bf16_learns_repeats_itself_and_leaves_f32() {
    let scene = Scene::new();
    let weights = |name: &str, precision: &str| {
        let plan = scene.plan("student", &["train.epochs=3", &format!("train.precision={precision:?}")]).unwrap();
        let receipt = run::start(plan, &scene.run(name), &mut Silent).unwrap();
        assert!(receipt.test_top1_best > 60.0, "{precision}: {receipt:#?}");
        read::safetensors(&scene.run(name).join("checkpoints/last/model.safetensors")).unwrap().weights
    };
    let (once, twice, exact) = (weights("once", "bf16"), weights("twice", "bf16"), weights("exact", "f32"));
    assert!(once == twice && once != exact);
    let narrow = |value: &f32| value.to_bits() & 0xffff == 0;
    assert!(!once.0["conv1.weight"].f32().unwrap().iter().all(narrow), "master weights are f32");
    let recipe = std::fs::read_to_string(scene.run("once").join("recipe.toml")).unwrap();
    assert!(recipe.contains("precision = \"bf16\""), "{recipe}");
}

#[test]
fn a_run_leaves_everything_that_the_other_rooms_read() {
    let scene = Scene::new();
    let mut watching = Watching::default();
    let plan = scene.plan("student", &["train.epochs=3", "train.ema=0.5"]).unwrap();
    let receipt = run::start(plan, &scene.run("x"), &mut watching).unwrap();
    let run = scene.run("x");

    // It learns: the classes are bars in noise.
    assert!(receipt.test_top1_best > 60.0, "{receipt:#?}");
    assert!(receipt.test_top1_best_on_test.unwrap() >= receipt.test_top1_best);
    assert_eq!((receipt.data.sizes.test, receipt.averaged), (30, true));
    assert!(receipt.teachers[0].val_top1.is_some() && receipt.teachers[0].stated.contains_key("test_top1"));

    let measures = receipt.measures.as_ref().unwrap();
    let (student, teacher) = (&measures.student, &measures.teachers["big"]);
    assert_eq!((measures.weights, student.images, student.top5), (receipt.exported, 30, 100.0));
    assert_eq!(student.top1, receipt.test_top1_best);
    assert_eq!(student.per_class.len(), 3);
    assert!(student.per_class[student.worst_class].unwrap() <= student.top1);
    assert!(["top", "middle", "bottom"].contains(&measures.worst_class.as_str()));
    assert!(student.nll > 0.0 && (0.0..=1.0).contains(&student.ece) && (0.0..=1.0).contains(&student.aurc));
    assert_eq!(teacher.top1, receipt.teachers[0].stated["test_top1"], "it answers as on its own card");
    assert!((0.0..=100.0).contains(&teacher.likeness.agreement) && teacher.likeness.kl > 0.0);
    let read = Receipt::read(&run.join("receipt.json")).unwrap();
    let read = read.measures.unwrap();
    assert!(read.student.per_class.len() == 3 && read.teachers.contains_key("big"));

    let card = Card::from_json(&std::fs::read_to_string(run.join("card.json")).unwrap(), &run).unwrap();
    assert_eq!((card.labels[1].as_str(), card.network.input), ("middle", [1, 12, 12]));

    let metrics = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let rows: Vec<Vec<&str>> = metrics.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][8..], ["loss.ce", "loss.gkd", "loss.cd", "weight.ce", "weight.gkd", "weight.cd"]);
    // In epoch 1 only CD is at work; from epoch 2 all three.
    assert_eq!((rows[1][8], rows[1][9], rows[1][11], rows[1][13]), ("", "", "0", "6"));
    assert!(!rows[2][8].is_empty() && rows[3][13] == "5.4");

    let model = read::safetensors(&run.join("checkpoints/best/model.safetensors")).unwrap().weights;
    assert!(model.0.keys().all(|name| !name.starts_with("losses.")), "a connector must never leave the run");
    let trainer = read::arrays(&run.join("checkpoints/last/trainer.safetensors")).unwrap().into_weights();
    assert!(trainer.0.keys().any(|name| name.starts_with("losses.cd.")));
    assert!(trainer.0.keys().any(|name| name.starts_with("optimiser.")));

    for (file, expected) in [("golden", "real"), ("golden-synthetic", "synthetic")] {
        let bytes = std::fs::read(run.join(format!("reference/{file}.safetensors"))).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let metadata = safetensors::SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
        assert_eq!(metadata["kind"], expected);
        let count: usize = metadata["count"].parse().unwrap();
        assert_eq!(tensors.tensor("input").unwrap().shape(), [count, 1, 12, 12]);
        assert_eq!(tensors.tensor("logits").unwrap().shape(), [count, 3]);
        assert!(tensors.tensor(&format!("encoded.{}", count - 1)).is_ok());
    }
    let bytes = std::fs::read(run.join("reference/predictions.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let split = tensors.tensor("split").unwrap().data().to_vec();
    assert_eq!(split.iter().filter(|s| **s == 1).count(), 30);
    assert_eq!(tensors.tensor("pixels_sha256").unwrap().shape(), [split.len(), 32]);
    assert_eq!(tensors.tensor("top5").unwrap().shape(), [split.len(), 3]);

    assert!(matches!(watching.0.last(), Some(Event::Finished { .. })));
    assert_eq!(watching.0.iter().filter(|event| matches!(event, Event::Epoch(_))).count(), 3);
    assert!(std::fs::read_to_string(run.join("events.jsonl")).unwrap().lines().count() > 3);
}

#[test]
fn receipts_without_measures_still_read() {
    let old = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/teacher.receipt.json");
    let old = Receipt::read(&old).unwrap();
    assert_eq!((old.name.as_str(), old.measures), ("teacher", None));
}

#[test]
fn divergence_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let scene = Scene::new();
    let wild = ["train.learning_rate={ at = [[1, 0.02], [2, 1e30]] }", "train.clip=1e30"];
    let error = scene.start("student", "x", &wild).unwrap_err();
    assert!(matches!(error, Error::Diverged { epoch: 2, .. }), "{error}");
    assert!(error.to_string().contains("hint"));
    let last = scene.run("x").join("checkpoints/last");
    let model = read::safetensors(&last.join("model.safetensors")).unwrap().weights;
    assert!(model.0.values().all(|array| array.f32().unwrap().iter().all(|v| v.is_finite())));
}

/// The same first step on the connectors' and the student's parameters whatever the teacher's statistics.
#[test]
fn a_teacher_with_batch_statistics_and_adamw_also_train() {
    let scene = Scene::new();
    let overrides = ["train.epochs=1", "teachers.big.bn=batch", "train.optimiser={ kind = \"adamw\" }"];
    let receipt = scene.start("student", "x", &overrides).unwrap();
    assert_eq!(receipt.epochs, 1);
    // AdamW counts its steps in integers: they too must come back.
    scene.resume("student", "x", &overrides).unwrap();
}

/// Without a validation split the last epoch is the best, goldens come from test, and nothing is chosen.
#[test]
fn no_validation_split_means_the_last_epoch() {
    let scene = Scene::new();
    let receipt = scene.start("student", "x", &["data.validation=0", "train.epochs=2"]).unwrap();
    assert_eq!((receipt.best_epoch, receipt.val_top1_best), (2, None));
    assert_eq!(receipt.test_top1_best, receipt.test_top1_last);
}
