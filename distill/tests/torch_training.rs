//! Fifty steps of training against PyTorch: the loss curves of `tests/fixtures/training/curves.json` (its script,
//! `tests/fixtures/make/training.py`, says how they came about), through the very step that a run takes.

use std::error::Error;

use attar_data::Batch;
use attar_distill::Precision;
use attar_distill::run::bench::{Case, STUDENT, Subject, TEACHER, Trainer, generate};
use attar_models::zoo::NetworkSpec;
use attar_models::{Weights, generated};
use candle_core::Device;
use serde::Deserialize;

/// Seed of all weights.
const SEED: u64 = 1;

/// At each step we may be this many times as far from PyTorch's `f64` curve as its own `f32` curves have strayed up to there:
/// training multiplies rounding, and theirs are only a sample of what it does.
const MULTIPLE: f64 = 3.0;
/// ... and this share of the loss further: `f32` has 24 bits, and other orders of sums.
const FLOOR: f64 = 1e-5;

/// Share of the loss that `bf16` may be away.
const NARROW: f64 = 0.1;

#[derive(Deserialize)]
struct Curve {
    name: String,
    student: NetworkSpec,
    teacher: Option<NetworkSpec>,
    learning_rate: f64,
    batch: usize,
    labels: Vec<Vec<u32>>,
    f64: Vec<f64>,
    stray: Vec<f64>,
}

fn curves() -> Result<Vec<Curve>, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/training/curves.json");
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Where the fixture starts: generated weights for both networks and the connectors' convolutions.
fn start(case: &Case, batches: &[Batch]) -> Result<Weights, Box<dyn Error>> {
    let mut start = Trainer::new(case.clone(), batches.to_vec(), None)?.start()?;
    let networks = [Some((STUDENT, &case.student)), case.teacher.as_ref().map(|teacher| (TEACHER, teacher))];
    for (prefix, network) in networks.into_iter().flatten() {
        for (name, array) in generated::weights(&network.graph, SEED).0 {
            let own = start.0.insert(format!("{prefix}{name}"), array);
            assert!(own.is_some(), "the network has no `{prefix}{name}`");
        }
    }
    let convolutions = |name: &str| name.starts_with("losses.") && name.ends_with(".conv.weight");
    for (name, array) in start.0.iter_mut().filter(|(name, _)| convolutions(name)) {
        let scale = (6.0 / array.shape[1] as f32).sqrt();
        let data = array.f32_mut()?;
        let uniform = generated::uniform(name, SEED, data.len());
        data.iter_mut().zip(uniform).for_each(|(value, u)| *value = u * scale);
    }
    Ok(start)
}

/// Losses of our steps from the fixture's start.
fn train(curve: &Curve, precision: Precision) -> Result<Vec<f64>, Box<dyn Error>> {
    let case = Case {
        student: Subject::zoo(&curve.student)?,
        teacher: curve.teacher.as_ref().map(Subject::zoo).transpose()?,
        batch: curve.batch,
        learning_rate: curve.learning_rate,
        device: Device::Cpu,
        precision,
        threads: Some(2),
    };
    let mut batches = generate(&case, curve.labels.len())?;
    for (batch, labels) in batches.iter_mut().zip(&curve.labels) {
        batch.labels.clone_from(labels);
    }
    let start = start(&case, &batches)?;
    let mut trainer = Trainer::new(case, batches, Some(&start))?;
    Ok(trainer.round(curve.f64.len())?.losses)
}

fn check(curve: &Curve) -> Result<(), Box<dyn Error>> {
    let losses = train(curve, Precision::F32)?;
    let mut furthest = 0f64;
    for (step, (loss, expected)) in losses.iter().zip(&curve.f64).enumerate() {
        let allowed = MULTIPLE * curve.stray[step] + FLOOR * expected;
        let off = (loss - expected).abs();
        let (name, number) = (&curve.name, step + 1);
        assert!(
            off <= allowed,
            "{name}, step {number}: {loss}, expected {expected}: {off:.1e} apart, allowed {allowed:.1e}"
        );
        furthest = furthest.max(off);
    }
    let torch = curve.stray[losses.len() - 1];
    println!("{}: at most {furthest:.1e} from the f64 curve, PyTorch's f32 {torch:.1e}", curve.name);
    Ok(())
}

#[test]
fn losses_follow_pytorch_for_fifty_steps() -> Result<(), Box<dyn Error>> {
    let curves = curves()?;
    assert!(curves.iter().all(|curve| curve.f64.len() == 50 && curve.stray.len() == 50));
    assert_eq!(
        curves.iter().map(|curve| curve.name.as_str()).collect::<Vec<_>>(),
        ["resnet8", "mobilenet_v2", "distill"]
    );
    curves.iter().try_for_each(check)
}

/// With 8 bits of mantissa the curves part, but they lead to the same place.
#[test]
fn bf16_losses_stay_near_the_exact_ones() -> Result<(), Box<dyn Error>> {
    for curve in curves()? {
        let losses = train(&curve, Precision::Bf16)?;
        let gaps = losses.iter().zip(&curve.f64).map(|(loss, expected)| (loss - expected).abs() / expected);
        let furthest = gaps.fold(0f64, f64::max);
        println!("{}: bf16 at most {:.2} % from the f64 curve", curve.name, 100.0 * furthest);
        assert!(furthest > 0.0 && furthest <= NARROW, "{}: {furthest} from the f64 curve", curve.name);
    }
    Ok(())
}
