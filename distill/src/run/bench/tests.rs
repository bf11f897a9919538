//! A bench takes the steps it says: its parts add up, its start can be taken up by another, and it refuses what cannot be.

use super::*;

fn case(teacher: Option<&str>) -> Case {
    let spec = |name: &str| NetworkSpec::new(name, 5, [3, 8, 8]);
    Case {
        student: spec("resnet8"),
        teacher: teacher.map(spec),
        batch: 6,
        learning_rate: 0.01,
        device: Device::Cpu,
        precision: Precision::F32,
        threads: Some(1),
    }
}

fn trainer(case: &Case) -> Trainer {
    Trainer::new(case, generate(case, 2).unwrap(), None).unwrap()
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
    let mut second = Trainer::new(&case, generate(&case, 2).unwrap(), Some(&start)).unwrap();
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
    assert!(Trainer::new(&fast, generate(&good, 1).unwrap(), None).unwrap_err().to_string().contains("tf32"));
    assert!(Trainer::new(&good, Vec::new(), None).is_err());
    let other = Case { teacher: Some(NetworkSpec::new("resnet18", 5, [3, 8, 8])), ..good };
    assert!(Trainer::new(&other, generate(&other, 1).unwrap(), None).is_err(), "4 stages do not pair with 3");
}
