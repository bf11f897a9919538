//! What is written reads back, older receipts read as today's, and what is none is refused by name.

use attar_measures::Measures;
use attar_models::zoo::NetworkSpec;

use super::*;

fn receipt() -> Receipt {
    let student = Measures {
        images: 300,
        top1: 91.0,
        top5: 100.0,
        nll: 0.25,
        ece: 0.03,
        aurc: 0.01,
        per_class: vec![Some(95.0), None, Some(80.0)],
        worst_class: 2,
    };
    let teacher = TeacherReceipt {
        name: "big".to_owned(),
        network: "resnet20".to_owned(),
        weights_sha256: "ab".repeat(32),
        bn: TeacherNorm::Running,
        val_top1: Some(95.0),
        check: Some(TeacherCheck { on: CheckedOn::Validation, images: 9, of: 10, correct: 8, warning: None }),
        stated: BTreeMap::from([("test_top1".to_owned(), 94.5)]),
    };
    let hashes = Some(Hashes { read_from_cache: 3, made: 4 });
    let sizes = Sizes { train: 600, validation: 60, test: 300, is_subset: false };
    let data =
        DataReceipt { train: "a".to_owned(), test: "b".to_owned(), test_before: vec!["c".to_owned()], sizes, hashes };
    Receipt {
        version: RECEIPT_VERSION,
        attar: "attar 0.1.0".to_owned(),
        name: "gate".to_owned(),
        seed: 7,
        device: "cpu".to_owned(),
        threads: 2,
        recipe_sha256: "cd".repeat(32),
        data,
        network: NetworkFacts { name: "resnet8".to_owned(), classes: 3, input: [1, 12, 12] },
        origin: Origin::Zoo(NetworkSpec::new("resnet8", 3, [1, 12, 12])),
        init_sha256: None,
        parameters: 77_000,
        macs: 1_000_000,
        teachers: vec![teacher],
        epochs: 20,
        stopped_early: None,
        averaged: false,
        best_epoch: 18,
        val_top1_last: Some(90.0),
        val_top1_best: Some(92.0),
        test_top1_last: 90.5,
        test_top1_best: 91.0,
        test_top1_best_on_test: None,
        measures: Some(TestMeasures {
            weights: Which::Best,
            student,
            worst_class: "top".to_owned(),
            teachers: BTreeMap::new(),
            robustness: BTreeMap::from([("fgsm".to_owned(), 12.5)]),
        }),
        exported: Which::Best,
        weights_sha256: "ef".repeat(32),
        wall_seconds: 12.25,
        resumed: 1,
        extended: vec![Extended { from: 10, to: 20, epochs_done: 10, steps_done: 0 }],
        rollbacks: vec![Rollback {
            epoch: 3,
            step: 4,
            what: "the loss".to_owned(),
            epochs_done: 2,
            steps_done: 0,
            factor: Exact(0.1),
        }],
    }
}

fn at(value: &Value) -> Result<Receipt> {
    Receipt::from_json(value.to_string().as_bytes(), Path::new("runs/gate/receipt.json"))
}

#[test]
fn what_is_written_reads_back_wherever_the_network_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receipt.json");
    let file = crate::card::GraphFile { path: "../big/graph.json".into(), sha256: "01".repeat(32) };
    let origins = [receipt().origin, Origin::Graph(file), Origin::Program { sha256: "23".repeat(32) }];
    for origin in origins {
        let receipt = Receipt { origin, ..receipt() };
        receipt.write(&path).unwrap();
        assert_eq!(Receipt::read(&path).unwrap(), receipt);
    }
}

/// As `attar` wrote it while every network was one of the zoo; `zebra99` is in no zoo.
#[test]
fn a_receipt_of_version_1_opens_whether_it_says_so_or_not() {
    let mut value = serde_json::to_value(receipt()).unwrap();
    let keys = value.as_object_mut().unwrap();
    keys.remove("origin");
    keys.insert(
        "network".to_owned(),
        serde_json::json!({"name": "zebra99", "classes": 3, "input": [1, 12, 12], "stripes": 7}),
    );
    keys.insert("version".to_owned(), 1.into());
    let read = at(&value).unwrap();
    let origin = Origin::Zoo(NetworkSpec::new("zebra99", 3, [1, 12, 12]).with("stripes", 7));
    let network = NetworkFacts { name: "zebra99".to_owned(), ..receipt().network };
    assert_eq!(read, Receipt { network, origin, ..receipt() });
    value.as_object_mut().unwrap().remove("version");
    assert_eq!(at(&value).unwrap(), read);
}

#[test]
fn what_is_no_receipt_is_refused_with_its_path() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|v| v["version"] = 3.into(), "version 3, this program reads 1 and 2"),
        (|v| v["version"] = "two".into(), "is no number"),
        (|v| v["network"]["classes"] = 0.into(), "0 classes"),
        (|v| v["test_top1_best"] = 912.into(), "test_top1_best is 912, expected percent"),
        (|v| v["origin"] = serde_json::json!({"garden": 1}), "unknown variant `garden`"),
        (|v| *v = serde_json::json!([1]), "not a receipt"),
    ];
    for (change, expected) in cases {
        let mut value = serde_json::to_value(receipt()).unwrap();
        change(&mut value);
        let message = at(&value).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("runs/gate/receipt.json"), "{message}");
    }
    assert!(Receipt::from_json(b"{", Path::new("x")).is_err());
}
