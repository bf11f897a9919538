//! Stored answers teach as the teacher does, and only where they answer the question that is asked.

use attar_distill::labelling;
use attar_distill::run::Receipt;

use crate::scene::Scene;

/// KD alone, for stored answers have no taps.
const KD: [&str; 2] = ["losses.gkd.weight=1.0", "losses.gkd.loss.gate=none"];

#[test]
fn stored_answers_teach_as_the_teacher_does() {
    let scene = Scene::new();
    scene.write_kd();
    let store = scene.root().join("labels");
    let write = |epochs, overrides: &[&str]| {
        labelling::write(scene.plan("kd", overrides).unwrap(), &store, epochs, None, |_| ())
    };
    assert_eq!(write(2, &[]).unwrap().epochs.len(), 2);
    let first = std::fs::read(store.join("epoch-0001.labels")).unwrap();
    assert_eq!(write(4, &[]).unwrap().epochs.len(), 4, "goes on where it stopped");
    assert_eq!(std::fs::read(store.join("epoch-0001.labels")).unwrap(), first);
    let message = write(4, &["seed=8"]).unwrap_err().to_string();
    assert!(message.contains("to another question"), "{message}");

    let stored = ["teachers.big.from={ kind = \"stored\", path = \"labels\" }"];
    let live = scene.start("kd", "live", &KD).unwrap();
    let taught = scene.start("kd", "stored", &[&KD[..], &stored[..]].concat()).unwrap();
    assert_eq!(taught.teachers[0].weights_sha256, live.teachers[0].weights_sha256);
    let loss = |run| scene.train_loss(run, 4);
    // Half precision is all that stands between them.
    assert!((loss("live") - loss("stored")).abs() < 0.02 * loss("live").abs(), "{} {}", loss("live"), loss("stored"));
    let close = |a: &Receipt, b: &Receipt| (a.test_top1_last - b.test_top1_last).abs() < 15.0;
    assert!(close(&live, &taught), "{} {}", live.test_top1_last, taught.test_top1_last);
}

#[test]
fn answers_to_another_question_are_refused() {
    let scene = Scene::new();
    scene.write_kd();
    let store = scene.root().join("labels");
    labelling::write(scene.plan("kd", &[]).unwrap(), &store, 1, Some(2), |_| ()).unwrap();
    let stored = "teachers.big.from={ kind = \"stored\", path = \"labels\" }";
    let wrong = |overrides: &[&str]| scene.plan("kd", &[&[stored], overrides].concat()).unwrap_err().to_string();
    assert!(wrong(&[]).contains("holds 1 epochs, the recipe trains for 4"), "{}", wrong(&[]));
    assert!(wrong(&["train.epochs=1", "seed=9"]).contains("seed: 7 in the store, 9 here"));
    assert!(wrong(&["train.epochs=1", "data.augment=[]"]).contains("augmentation"));
    let message = scene.plan("student", &[stored, "train.epochs=1"]).unwrap_err().to_string();
    assert!(message.contains("gives only logits"), "{message}");

    let file = store.join("epoch-0001.labels");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let message = wrong(&["train.epochs=1"]);
    assert!(message.contains("is not the file that store.json lists"), "{message}");
}
