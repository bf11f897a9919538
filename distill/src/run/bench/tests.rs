//! A bench takes the steps it says: its parts add up, its start can be taken up by another, and it refuses what cannot be.

use attar_models::zoo::NetworkSpec;

use super::*;

fn subject(name: &str) -> Subject {
    Subject::zoo(&NetworkSpec::new(name, 5, [3, 8, 8])).unwrap()
}

fn case(teacher: Option<&str>) -> Case {
    Case {
        student: subject("resnet8"),
        teacher: teacher.map(subject),
        batch: 6,
        learning_rate: 0.01,
        device: Device::Cpu,
        precision: Precision::F32,
        threads: Some(1),
    }
}

fn trainer(case: &Case) -> Trainer {
    Trainer::new(case.clone(), generate(case, 2).unwrap(), None).unwrap()
}

#[test]
fn parts_add_up_to_the_time_of_the_steps() {
    let mut trainer = trainer(&case(Some("resnet14")));
    trainer.wait_for_parts();
    let round = trainer.round(3).unwrap();
    assert!(round.losses.len() == 3 && round.split.total() <= round.time);
    for part in super::super::Part::ALL {
        assert!(!round.split.of(part).is_zero(), "{} took no time", part.name());
    }
}

#[test]
fn who_starts_from_the_same_weights_finds_the_same_losses() {
    let case = case(Some("resnet14"));
    let mut first = trainer(&case);
    let start = first.start().unwrap();
    let mut second = Trainer::new(case.clone(), generate(&case, 2).unwrap(), Some(&start)).unwrap();
    assert_eq!(first.round(4).unwrap().losses, second.round(4).unwrap().losses);
    assert!(start.0.keys().any(|name| name.starts_with(TEACHER)));
    assert!(start.get("losses.cd.layer1.conv.weight").is_some(), "{:?}", start.0.keys());
}

#[test]
fn the_file_holds_weights_and_batches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("start.safetensors");
    save(&trainer(&case(None)), &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("batch.1.pixels").unwrap().shape(), [6, 3, 8, 8]);
    assert_eq!(read.tensor("batch.1.labels").unwrap().shape(), [6]);
    assert_eq!(read.tensor("student.fc.bias").unwrap().shape(), [5]);
}

#[test]
fn what_cannot_be_is_an_error() {
    let good = case(None);
    let none = generate(&Case { batch: 0, ..good.clone() }, 1).unwrap_err().to_string();
    assert!(none.contains("0 images"), "{none}");
    let fast = Case { precision: Precision::Tf32, ..good.clone() };
    let refused = |case: &Case| Trainer::new(case.clone(), generate(&good, 1).unwrap(), None).unwrap_err().to_string();
    assert!(refused(&fast).contains("tf32"));
    assert!(Trainer::new(good.clone(), Vec::new(), None).is_err());
    let taught = |teacher: Subject| Case { teacher: Some(teacher), ..good.clone() };
    let stages = refused(&taught(subject("resnet18")));
    assert!(stages.contains("cd"), "4 stages do not pair with 3: {stages}");
    let wider = Subject::zoo(&NetworkSpec::new("resnet14", 7, [3, 8, 8])).unwrap();
    let classes = refused(&taught(wider));
    assert!(classes.contains("3x8x8 to 7 classes, expected what the student has: 3x8x8 to 5"), "{classes}");
}

#[test]
fn a_file_is_trained_from_its_own_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let graph = subject("resnet8").graph;
    let weights = generated::weights(&graph, 7);
    std::fs::write(&path, attar_onnx::write(&graph, &weights, &attar_onnx::Options::default()).unwrap()).unwrap();
    let file = Subject::onnx(&path, Some(8)).unwrap();
    assert_eq!((file.input(), file.classes()), ([3, 8, 8], 5));
    let student = Case { student: file.clone(), ..case(None) };
    let start = trainer(&student).start().unwrap();
    let names = |weights: &Weights| weights.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&start.under(STUDENT)), names(file.weights.as_ref().unwrap()));
    assert_eq!(start.get("student.logits.weight").unwrap(), weights.get("fc.weight").unwrap());
    // A teacher's are its own, too.
    let taught = Case { teacher: Some(file), ..case(None) };
    let start = trainer(&taught).start().unwrap();
    assert_eq!(start.get("teacher.logits.weight").unwrap(), weights.get("fc.weight").unwrap());

    let other = Subject::onnx(&path, Some(32)).unwrap_err().to_string();
    assert!(other.contains("net.onnx") && other.contains("8x8, expected 32x32"), "{other}");
    std::fs::write(&path, "no network").unwrap();
    assert!(Subject::onnx(&path, None).unwrap_err().to_string().contains("net.onnx"));
}
