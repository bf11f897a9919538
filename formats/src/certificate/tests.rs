//! What is written reads back, and what is no certificate, or contradicts itself, is refused by what is wrong with it.

use attar_measures::Interval;

use super::*;

fn class(name: &str, images: usize, reference_accuracy: f64, runtime_accuracy: f64) -> ClassChange {
    ClassChange { class: name.to_owned(), images, reference_accuracy, runtime_accuracy }
}

fn paired() -> Paired {
    Paired {
        images: 400,
        agreement: 99.5,
        reference_accuracy: 91.25,
        runtime_accuracy: 91.0,
        difference: -0.25,
        interval: Interval { low: -1.4, high: 0.7 },
        gained: 0,
        lost: 1,
        flips: 2,
        flipped: vec![Flip {
            index: 7,
            name: "test[7]".to_owned(),
            label: "rose".to_owned(),
            reference: "rose".to_owned(),
            runtime: "iris".to_owned(),
            reference_margin: 0.125,
            runtime_margin: 0.0625,
            png: None,
        }],
        worst_class: class("rose", 80, 90.0, 88.75),
        classes: vec![class("rose", 80, 90.0, 88.75), class("iris", 320, 91.5625, 91.5625)],
        logits: LogitNumbers {
            all_compared: true,
            max_diff: 0.1,
            smallest_margin: 1e-3,
            median_margin: 2.0,
            within_reach: 9,
        },
        calibration_error: Both { reference: Some(0.02), runtime: 0.025 },
        negative_log_likelihood: Both { reference: None, runtime: 0.3 },
        brier_score: Some(Both { reference: None, runtime: 0.14 }),
        mcnemar_p: 1.0,
    }
}

fn implementation() -> Implementation {
    Implementation {
        reference_sha256: "12".repeat(32),
        allowed: Allowed::Quanta { most: 8 },
        images: 420,
        of: "labelled".to_owned(),
        equal: 400,
        max_diff: 0.25,
        max_quanta: Some(2.0),
        flips: 1,
        flip_share: Interval { low: 0.01, high: 1.3 },
        flipped: paired().flipped,
        verdict: Verdict::Inconclusive { more_images: Some(200) },
        reason: None,
    }
}

fn integers() -> IntegerReference {
    IntegerReference {
        file: "int8.onnx".to_owned(),
        file_sha256: "12".repeat(32),
        arithmetic: 1,
        exact: true,
        quantum: Some(0.125),
        by_definition: 16,
        by_level: 404,
        level: "avx2".to_owned(),
        beyond_16_bits: Some(Beyond16Bits { layers: 21, pairs: 1000, beyond: 3 }),
        compression: Some(Compression {
            goldens: None,
            paired: Some(paired()),
            verdict: Verdict::Inconclusive { more_images: Some(300) },
        }),
    }
}

fn robustness() -> Robustness {
    let condition = |name: &str, severity: Option<u8>, accuracy: f64| Condition {
        kind: if severity.is_some() { ConditionKind::Corruption } else { ConditionKind::Clean },
        name: name.to_owned(),
        severity,
        images: 300,
        runtimes: vec![UnderCondition { accuracy, paired: None }],
    };
    let conditions = vec![
        condition("clean", None, 90.0),
        condition("contrast", Some(1), 70.0),
        condition("contrast", Some(5), 40.0),
    ];
    Robustness { baseline: Some(1), conditions }
}

fn certificate() -> Certificate {
    let goldens = GoldenNumbers {
        count: 16,
        kind: "real".to_owned(),
        input_max_diff: 0.0,
        logit_max_diff: 1e-5,
        logit_max_diff_from_files: 2e-5,
        logit_sd: 1.5,
        flips: 0,
        within_rounding: true,
        tolerance: Some(GoldenNumbers::TOLERANCE),
    };
    let runtime = Runtime {
        engine: "tract".to_owned(),
        version: "0.23.9".to_owned(),
        file: "model.onnx".to_owned(),
        file_sha256: "ab".repeat(32),
        data_files: BTreeMap::from([("model.data".to_owned(), "cd".repeat(32))]),
        precision: "f32".to_owned(),
        arithmetic: Some(1),
        level: Some("avx2".to_owned()),
        answers: Answers::Probabilities,
        seconds: 0.5,
        goldens: Some(goldens),
        accuracy_all: Some(90.0),
        paired: Some(paired()),
        implementation: Some(implementation()),
        not_held: None,
        verdict: Verdict::Inconclusive { more_images: Some(300) },
        reason: None,
    };
    Certificate {
        certificate_version: CERTIFICATE_VERSION,
        program: "attar 0.1.0".to_owned(),
        bundle: BundleFacts { network: "resnet8".to_owned(), classes: 5, reference_weights_sha256: None },
        reference: Some(ReferenceFacts {
            file: "theirs.onnx".to_owned(),
            file_sha256: "ef".repeat(32),
            data_files: BTreeMap::new(),
            precision: "f32".to_owned(),
            engine: "ort".to_owned(),
            version: "1.31.1".to_owned(),
            answers: Answers::Logits,
            notes: vec!["of the reference's classes: found by name".to_owned()],
        }),
        margin_points: 0.5,
        confidence: 0.95,
        data: Some(DataFacts {
            images: 420,
            paired: 400,
            repeated: 3,
            paired_validation: 0,
            paired_test: 400,
            reference_test: 400,
            notes: Vec::new(),
            left_out: vec![LeftOut { name: "test[9]".to_owned(), problem: "cut off".to_owned() }],
        }),
        runtimes: vec![runtime],
        cpu: Some(Cpu { architecture: "x86_64".to_owned(), features: vec!["avx2".to_owned(), "fma".to_owned()] }),
        integers: vec![integers()],
        robustness: Some(robustness()),
        skipped: vec![Skipped { engine: "ort".to_owned(), reason: "not there".to_owned() }],
        verdict: Verdict::Inconclusive { more_images: Some(300) },
    }
}

#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate.json");
    certificate().write(&path).unwrap();
    assert_eq!(Certificate::read(&path).unwrap(), certificate());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\n  \"version\": 1,\n  \"certificate_version\": 1,") && text.ends_with("}\n"), "{text}");
    // As it was before anything optional was there.
    let plain = Certificate { reference: None, data: None, skipped: Vec::new(), ..certificate() };
    let plain = Certificate { cpu: None, integers: Vec::new(), robustness: None, ..plain };
    let plain = Certificate { runtimes: Vec::new(), verdict: Verdict::NumbersOnly, ..plain };
    let keys: serde_json::Value = serde_json::from_slice(&plain.to_json().unwrap()).unwrap();
    let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["bundle", "certificate_version", "confidence", "margin_points", "program", "runtimes", "verdict", "version"]
    );
}

#[test]
fn a_certificate_of_before_says_less_and_is_read() {
    let mut old: serde_json::Value = serde_json::from_slice(&certificate().to_json().unwrap()).unwrap();
    let paired = old["runtimes"][0]["paired"].as_object_mut().unwrap();
    assert!(paired.remove("brier_score").is_some() && paired.remove("classes").is_some());
    let read = Certificate::from_json(old.to_string().as_bytes(), Path::new("x.json")).unwrap();
    let paired = read.runtimes[0].paired.as_ref().unwrap();
    assert!(paired.brier_score.is_none() && paired.classes.is_empty());
    let cells: Vec<_> = read.summary().iter().map(|row| [row.balanced, row.brier]).collect();
    assert_eq!(cells, [[None; 2], [Some(90.15625), Some(0.14)], [None; 2]]);
}

#[test]
fn the_summary_is_the_reference_then_the_integers_then_their_runtimes() {
    let rows: Vec<[String; 11]> = certificate().summary().iter().map(SummaryRow::cells).collect();
    let reference = ["", "reference: ort 1.31.1, theirs.onnx (f32)", "91.25 %", "90.78 %"];
    assert_eq!(rows[0][..], [&reference[..], &["-", "-", "-", "0.0200", "-", "-", "-"]].concat());
    let said = ["91.00 %", "90.16 %", "-0.250 [-1.400, +0.700]", "2", "0.3000", "0.0250", "0.1400"];
    let names = [["", "integers of int8.onnx as defined"], ["[1]", "tract 0.23.9 at avx2, model.onnx (f32)"]];
    for (row, (name, implementation)) in rows[1..].iter().zip(names.iter().zip(["-", "inconclusive"])) {
        assert_eq!(row[..], [&name[..], &said[..], &[implementation, "inconclusive"]].concat());
    }
    assert_eq!(rows.len(), 3);
    // The network that was trained, where it answered itself, and a runtime of 32-bit floats, which compresses nothing.
    let mut plain = Certificate { reference: None, integers: Vec::new(), ..certificate() };
    plain.runtimes[0].implementation = None;
    let rows = plain.summary();
    assert_eq!((rows.len(), rows[0].name.as_str()), (2, "the network that was trained"));
    assert_eq!((rows[1].implementation, rows[1].compression), (Some(plain.verdict), None));
    // Of half floats one verdict is on both.
    plain.runtimes[0].precision = "f16".to_owned();
    let row = plain.summary().remove(1);
    assert_eq!((row.implementation, row.compression), (None, Some(plain.verdict)));
    plain.runtimes[0].paired = None;
    assert!(plain.summary().is_empty());
}

#[test]
fn its_text_ends_with_the_table_the_cpu_and_the_verdict() {
    let text = certificate().to_string();
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    assert!(lines[0].starts_with("verdict at a margin of 0.5 points: inconclusive"), "{text}");
    assert_eq!(lines[2], "on x86_64 with avx2 fma");
    assert_eq!(
        lines[4..9],
        [
            "mean of corruptions          55.00",
            "contrast 5              300  40.00",
            "contrast 1              300  70.00",
            "clean                   300  90.00",
            "                     images    [1]"
        ]
    );
    assert!(
        lines[9].starts_with("on harder images: accuracy in percent, and the difference to [1] in points (*"),
        "{text}"
    );
    assert!(lines[11].starts_with("[1]  tract 0.23.9 at avx2, model.onnx (f32)  "), "{text}");
    assert!(lines[14].trim_start().starts_with("what answered") && lines[14].ends_with("compression"), "{text}");
    assert!(text.contains("NLL: - -> 0.3000, Brier: - -> 0.1400, McNemar"), "{text}");
}

#[test]
fn differences_under_corruptions_are_marked_where_they_are_no_luck() {
    let mut robustness = robustness();
    for condition in &mut robustness.conditions {
        let (low, high) = if condition.severity == Some(5) { (-4.0, -1.0) } else { (-2.0, 1.0) };
        let paired =
            PairedAccuracy { difference: -2.0, interval: Interval { low, high }, gained: 1, lost: 7, flips: 9 };
        let other = UnderCondition { accuracy: condition.runtimes[0].accuracy - 2.0, paired: Some(paired) };
        condition.runtimes.push(other);
    }
    let rows = robustness.rows(|paired| format!("{} {}", paired.differs(), paired.flips));
    assert_eq!(robustness.head(), ["", "images", "[1]", "[2]"]);
    assert_eq!(
        rows,
        [
            ["clean", "300", "90.00", "88.00 false 9"],
            ["contrast 1", "300", "70.00", "68.00 false 9"],
            ["contrast 5", "300", "40.00", "38.00 true 9"],
            ["mean of corruptions", "", "55.00", "53.00 -2.00"]
        ]
    );
    assert_eq!(robustness.check(2), Ok(()));
    assert!(robustness.check(1).unwrap_err().contains("`clean` is of 2 runtimes, expected 1"));
    robustness.baseline = Some(3);
    assert!(robustness.check(2).unwrap_err().contains("compares with runtime 3 of 2"));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let read = |text: &str| Certificate::from_json(text.as_bytes(), Path::new("x.json")).unwrap_err().to_string();
    assert!(read("{").starts_with("x.json: not the JSON"));
    assert!(read("{\"version\": 1}").contains("no certificate of attar"));
    assert!(read("{\"certificate_version\": 9}").contains("version 9, this program reads 1"));
    assert!(read("{\"certificate_version\": 1}").contains("not a certificate: missing field"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |change: &dyn Fn(&mut Certificate)| {
        let mut broken = certificate();
        change(&mut broken);
        broken.check().unwrap_err().to_string()
    };
    assert!(refused(&|c| c.certificate_version = 2).contains("version 2"));
    assert!(refused(&|c| c.margin_points = f64::NAN).contains("a margin of NaN points"));
    assert!(refused(&|c| c.confidence = 95.0).contains("a confidence of 95"));
    assert!(refused(&|c| c.data.as_mut().unwrap().paired = 421).contains("421 of 420 images are paired"));
    assert!(refused(&|c| c.runtimes[0].file_sha256.truncate(63)).contains("model.onnx has the sha256"));
    assert!(refused(&|c| c.reference.as_mut().unwrap().file_sha256 = "x".repeat(64)).contains("theirs.onnx"));
    assert!(refused(&|c| c.data = None).contains("of 0 paired images, tract compares 400"));
    let in_classes = |c: &mut Certificate| c.runtimes[0].paired.as_mut().unwrap().classes.truncate(1);
    assert!(refused(&in_classes).contains("of 400 paired images 80 are in a class"));
    assert!(refused(&|c| c.runtimes[0].paired.as_mut().unwrap().gained = 2).contains("2 gained and 1 lost"));
    let held = |c: &mut Certificate, change: &dyn Fn(&mut Implementation)| {
        change(c.runtimes[0].implementation.as_mut().unwrap());
    };
    assert!(refused(&|c| held(c, &|held| held.flips = 21)).contains("400 are the same bytes and 21 flipped"));
    assert!(refused(&|c| c.integers.clear()).contains("which is not there"));
    assert!(refused(&|c| held(c, &|held| held.verdict = Verdict::Worse)).contains("the worse of its two"));
    assert!(refused(&|c| c.integers[0].by_definition = 0).contains("never compared"));
    assert!(refused(&|c| c.integers[0].file_sha256.clear()).contains("int8.onnx has the sha256"));
    assert!(refused(&|c| c.robustness.as_mut().unwrap().baseline = Some(0)).contains("of its robustness: it compares"));
    assert!(refused(&|c| c.verdict = Verdict::Equivalent).contains("the worst of its runtimes inconclusive"));
}

#[test]
fn weights_of_eight_bits_name_the_cpus_where_pairs_are_clipped() {
    let kept = Beyond16Bits { layers: 21, pairs: 1000, beyond: 3 };
    let cpu = |architecture: &str, features: &[&str]| Cpu {
        architecture: architecture.to_owned(),
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
    };
    let here = |cpu: Cpu| kept.kept_on(Some(&cpu)).contains("of which this is one");
    assert!(here(cpu("x86_64", &["avx2", "avx512bw"])));
    assert!(!here(cpu("x86_64", &["avx2", "avxvnni"])) && !here(cpu("x86_64", &["avx512vnni"])));
    assert!(!here(cpu("aarch64", &["neon"])));
    let said = certificate().to_string();
    assert!(
        said.contains("3 of 1000 pairs (21 layers") && said.contains("without VNNI, of which this is one"),
        "{said}"
    );
}
