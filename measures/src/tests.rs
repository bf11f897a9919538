//! Measures against numpy's (`tests/fixtures/make/measures.py`), by hand, and of answers that
//! cannot be judged.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    logits: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    labels: Vec<u32>,
    ece_of_10_bins: f64,
    agreement: f64,
    kl: f64,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct Expected {
    top1: f64,
    top5: f64,
    nll: f64,
    ece: f64,
    aurc: f64,
    per_class: Vec<Option<f64>>,
    worst_class: usize,
}

fn cases() -> BTreeMap<String, Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/measures/cases.json");
    serde_json::from_slice::<Fixture>(&std::fs::read(path).unwrap()).unwrap().cases
}

fn tally(logits: &[Vec<f32>], labels: &[u32]) -> Tally {
    let mut tally = Tally::new(logits[0].len());
    logits.iter().zip(labels).for_each(|(row, label)| tally.add(row, *label).unwrap());
    tally
}

#[track_caller]
fn close(what: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{what}: {got}, expected {expected}");
}

#[test]
fn measures_are_numpys() {
    for (name, case) in cases() {
        let tally = tally(&case.logits, &case.labels);
        let (got, expected) = (tally.measures().unwrap(), &case.expected);
        assert_eq!(got.images, case.labels.len());
        for (what, got, expected) in [
            ("top-1", got.top1, expected.top1),
            ("top-5", got.top5, expected.top5),
            ("NLL", got.nll, expected.nll),
            ("ECE", got.ece, expected.ece),
            ("AURC", got.aurc, expected.aurc),
        ] {
            close(&format!("{name}, {what}"), got, expected);
        }
        close(&name, calibration_error(tally.answers.iter().copied(), 10).unwrap(), case.ece_of_10_bins);
        assert_eq!(got.worst_class, expected.worst_class, "{name}");
        for (got, expected) in got.per_class.iter().zip(&expected.per_class) {
            assert_eq!(got.is_some(), expected.is_some(), "{name}");
            close(&name, got.unwrap_or_default(), expected.unwrap_or_default());
        }

        let mut comparison = Comparison::default();
        case.logits.iter().zip(&case.teacher).for_each(|(s, t)| comparison.add(s, t).unwrap());
        let likeness = comparison.likeness().unwrap();
        close(&name, likeness.agreement, case.agreement);
        close(&name, likeness.kl, case.kl);
    }
}

#[test]
fn equal_logits_favour_the_first_class() {
    let ties = vec![vec![1.0; 7]; 7];
    let got = tally(&ties, &[0, 1, 2, 3, 4, 5, 6]).measures().unwrap();
    close("top-1", got.top1, 100.0 / 7.0);
    close("top-5", got.top5, 500.0 / 7.0);
    close("NLL", got.nll, 7f64.ln());
    // Every confidence is equal: whatever the order, the risk is the share of wrong answers.
    close("AURC", got.aurc, 6.0 / 7.0);
    assert_eq!(got.worst_class, 1);
}

#[test]
fn confidence_by_hand() {
    assert_eq!((calibration_error([], 15), risk_coverage_area(&[])), (None, None));
    assert_eq!(calibration_error([(1.0, true)], 0), None);
    close("sure and right", calibration_error([(1.0, true), (1.0, true)], 15).unwrap(), 0.0);
    close("sure and wrong", calibration_error([(1.0, false)], 15).unwrap(), 1.0);
    // Two in one bin: mean confidence 0.95, accuracy 0.5; one in another: 0.5 against 1.
    let error = calibration_error([(0.94, true), (0.96, false), (0.5, true)], 15).unwrap();
    close("two bins", error, (2.0 * 0.45 + 0.5) / 3.0);
    // Risks 0, 1/2, 1/3 when the wrong answer is second, 1, 1/2, 1/3 when it is first.
    close("second", risk_coverage_area(&[(0.5, true), (0.9, true), (0.7, false)]).unwrap(), (0.5 + 1.0 / 3.0) / 3.0);
    close("first", risk_coverage_area(&[(0.5, true), (0.9, false), (0.7, true)]).unwrap(), 11.0 / 18.0);
    let mixed = [(0.9, true), (0.9, false)];
    close("equal", risk_coverage_area(&mixed).unwrap(), 0.5);
    close("equal, turned round", risk_coverage_area(&[mixed[1], mixed[0]]).unwrap(), 0.5);
}

#[test]
fn brier_scores_by_hand() {
    let logits = |p: [f64; 3]| p.map(|p| (p.ln() + 3.0) as f32);
    let near = |what: &str, got: f64, expected: f64| assert!((got - expected).abs() < 1e-6, "{what}: {got}");
    near("right", brier_score(&logits([0.7, 0.2, 0.1]), 0), 0.09 + 0.04 + 0.01);
    near("wrong", brier_score(&logits([0.7, 0.2, 0.1]), 2), 0.49 + 0.04 + 0.81);
    near("knows nothing", brier_score(&[5.0; 4], 1), 0.75);
    close("sure and right", brier_score(&[1e5, 0.0], 0), 0.0);
    close("sure and wrong", brier_score(&[1e5, 0.0], 1), 2.0);
}

#[test]
fn large_logits_do_not_overflow() {
    let got = tally(&[vec![3e38, -3e38]], &[1]).measures().unwrap();
    assert!(got.nll.is_finite() && got.nll > 1e38 && got.ece == 1.0);
}

#[test]
fn answers_that_cannot_be_judged_are_errors() {
    let mut tally = Tally::new(3);
    tally.add(&[0.0, 1.0, 2.0], 2).unwrap();
    for (logits, label, expected) in [
        (vec![0.0, f32::NAN, 0.0], 0, "a logit of image 1 is NaN"),
        (vec![f32::INFINITY, 0.0, 0.0], 0, "a logit of image 1 is inf"),
        (vec![0.0, 0.0], 0, "2 logits for image 1, expected 3"),
        (vec![0.0; 3], 3, "label 3 of image 1, expected one below 3"),
    ] {
        let error = tally.add(&logits, label).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(tally.measures().unwrap().images, 1);
    assert!(Comparison::default().add(&[0.0, f32::NAN], &[0.0, 0.0]).is_err());
    assert!(Comparison::default().add(&[0.0, 0.0], &[0.0, 0.0, 0.0]).is_err());
    assert!(Tally::new(0).add(&[], 0).is_err());
    assert_eq!((Tally::new(2).measures(), Comparison::default().likeness()), (None, None));
}

#[test]
fn a_student_like_its_teacher_has_no_divergence() {
    let mut comparison = Comparison::default();
    comparison.add(&[1.0, 2.0, -5.0], &[101.0, 102.0, 95.0]).unwrap();
    let likeness = comparison.likeness().unwrap();
    assert_eq!(likeness.agreement, 100.0);
    close("KL", likeness.kl, 0.0);
}
