//! Does this device compute what it should? Every operation and every kind of step, twice, and the
//! largest difference.
//!
//! On CUDA the CPU's kernels are the reference; on the CPU its kernels are what is checked, against
//! the same operations composed from Candle's own.

mod examples;
mod images;
mod logits;
mod norms;
mod steps;
mod windows;

use attar_measures::random::Stream;
use candle_core::{DType, Device, Tensor};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::precision::Precision;

pub use examples::{examples, rounds};

/// What is checked once: an operation in one shape, a result of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OpCheck {
    /// Operation and result, e.g. `conv2d dx`.
    pub op: String,
    /// Shapes and settings.
    pub case: String,
    /// Largest difference in units of the reference's largest value; infinite where a value is not
    /// finite.
    pub difference: f64,
    /// Largest difference that passes.
    pub tolerance: f64,
    /// Why there is no difference to tell: the error of the device.
    pub error: Option<String>,
}

impl OpCheck {
    /// Whether the device computed what it should.
    pub fn passes(&self) -> bool {
        self.error.is_none() && self.difference <= self.tolerance
    }
}

/// Sums of `f32` in another order.
const ROUNDING: f64 = 2e-5;

/// Sums through many layers.
const DEEP: f64 = 1e-3;

/// Gradients through many layers of images stored in `bf16`.
const DEEP_BF16: f64 = 5e-2;

/// Products of operands with 10 bits of mantissa.
const TF32: f64 = 4e-3;

/// Images stored with 8 bits of mantissa.
const BF16: f64 = 2e-2;

/// Named results of one case.
type Named = Vec<(&'static str, Tensor)>;

/// Checks every operation on `device`; takes seconds. An operation that fails is in the list, not
/// an error.
///
/// # Errors
/// When the CPU itself fails.
pub fn ops(device: &Device) -> Result<Vec<OpCheck>> {
    let mut checks = Checks { context: Context::new(device), all: Vec::new() };
    windows::convolutions(&mut checks)?;
    windows::pools(&mut checks)?;
    norms::norms(&mut checks)?;
    norms::pointwise(&mut checks)?;
    norms::linear(&mut checks)?;
    images::augmentation(&mut checks)?;
    examples::alone(&mut checks)?;
    steps::optimisers(&mut checks)?;
    steps::networks(&mut checks)?;
    if device.is_cuda() {
        logits::losses(&mut checks)?;
        checks.context = checks.context.with_precision(Precision::Tf32);
        windows::tf32(&mut checks)?;
        norms::tf32(&mut checks)?;
        checks.context = checks.context.with_precision(Precision::F32);
        windows::bf16(&mut checks)?;
        norms::bf16(&mut checks)?;
        examples::bf16(&mut checks)?;
        steps::bf16(&mut checks)?;
    }
    Ok(checks.all)
}

struct Checks {
    /// What is under check.
    context: Context,
    all: Vec<OpCheck>,
}

impl Checks {
    /// Runs `f` for the reference and for the device under check, and compares what it returns.
    fn compare(&mut self, op: &str, case: &str, tolerance: f64, f: impl Fn(&Context) -> Result<Named>) -> Result<()> {
        self.compare_each(op, case, |_| tolerance, f)
    }

    /// The same, with a tolerance for each name of a result.
    fn compare_each(
        &mut self,
        op: &str,
        case: &str,
        tolerance: impl Fn(&str) -> f64,
        f: impl Fn(&Context) -> Result<Named>,
    ) -> Result<()> {
        // On the CPU the composed operations are the reference.
        let cpu = Device::Cpu;
        let reference = if self.context.device().is_cpu() { Context::composed(&cpu) } else { Context::new(&cpu) };
        let (expected, found) = (f(&reference)?, f(&self.context));
        let found = match found.and_then(|found| found.iter().map(|(_, x)| values(x)).collect::<Result<Vec<_>>>()) {
            Ok(found) => found,
            Err(error) => {
                self.push(op, case, tolerance(""), Err(error.to_string()));
                return Ok(());
            }
        };
        for ((name, expected), found) in expected.iter().zip(found) {
            let difference = difference(&values(expected)?, &found);
            self.push(format!("{op} {name}").trim_end(), case, tolerance(name), Ok(difference));
        }
        Ok(())
    }

    fn push(&mut self, op: &str, case: &str, tolerance: f64, found: std::result::Result<f64, String>) {
        let (difference, error) = match found {
            Ok(difference) => (difference, None),
            Err(error) => (f64::INFINITY, Some(error)),
        };
        self.all.push(OpCheck { op: op.to_owned(), case: case.to_owned(), difference, tolerance, error });
    }
}

fn values(x: &Tensor) -> Result<Vec<f32>> {
    Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?)
}

/// Largest difference in units of the largest expected value.
fn difference(expected: &[f32], found: &[f32]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |max, value| max.max(value.abs()));
    let apart = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    let most = expected.iter().zip(found).map(apart).fold(0.0, |max: f64, apart| if apart > max { apart } else { max });
    let finite = expected.iter().chain(found).all(|value| value.is_finite());
    if finite { most / f64::from(largest) } else { f64::INFINITY }
}

/// Values between -1 and 1, the same on every device.
fn random(shape: &[usize], seed: u64, at: &Context) -> Result<Tensor> {
    let mut rng = Stream::of_number(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
    Ok(Tensor::from_vec(values, shape, at.device())?)
}

/// Everything in one tensor, in its order.
fn flat<'a>(all: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    let parts = all.map(|x| x.flatten_all()?.to_dtype(DType::F32)?.to_device(&Device::Cpu));
    Ok(Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
}

/// An image as it is stored: rounded to `bf16` if `narrow`, and on CUDA kept so.
fn stored(x: &Tensor, narrow: bool) -> Result<Tensor> {
    if !narrow {
        return Ok(x.clone());
    }
    let rounded = x.to_dtype(DType::BF16)?;
    Ok(if x.device().is_cuda() { rounded } else { rounded.to_dtype(DType::F32)? })
}

/// What a result must be when it is missing.
fn missing(what: &str) -> Error {
    candle_core::Error::Msg(format!("{what} is missing")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes_every_check() {
        let checks = ops(&Device::Cpu).unwrap();
        let failed: Vec<&OpCheck> = checks.iter().filter(|check| !check.passes()).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        for op in
            ["conv2d y", "conv2d dx", "conv2d dweight", "batch norm dx", "max pool dx", "linear y", "sgd", "adamw"]
        {
            assert!(checks.iter().any(|check| check.op.starts_with(op)), "{op} was not checked");
        }
        for (name, _) in examples().unwrap() {
            for what in ["y", "dx"] {
                let op = format!("{name} alone {what}");
                assert!(checks.iter().any(|check| check.op == op), "{op} was not checked");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_or_of_another_size_is_far_away() {
        assert_eq!(difference(&[1.0, -2.0], &[1.0, -1.0]), 0.5);
        assert_eq!(difference(&[1.0], &[f32::NAN]), f64::INFINITY);
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(difference(&[0.0], &[0.0]), 0.0);
    }
}
