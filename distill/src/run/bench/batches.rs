//! Batches for a bench: generated, and written to a file with the weights that steps start from.

use std::collections::BTreeMap;
use std::path::Path;

use attar_data::Batch;
use attar_formats::write;
use attar_models::{Array, generated};

use super::{Case, SEED, Trainer, fail};
use crate::error::Result;

/// More numbers in a batch than anybody trains on.
const MOST_NUMBERS: usize = 1 << 30;

/// `count` batches that fit the case: batch `i` is [`generated::input`] under seed `1 + i`, and its labels are spread evenly.
///
/// # Errors
/// A batch of no images, or of more numbers than a batch can hold.
pub fn generate(case: &Case, count: usize) -> Result<Vec<Batch>> {
    let ([c, h, w], classes) = (case.student.input(), case.student.classes());
    let numbers = [case.batch, c, h, w].iter().try_fold(1usize, |all, n| all.checked_mul(*n));
    if !numbers.is_some_and(|numbers| (1..=MOST_NUMBERS).contains(&numbers)) {
        let problem = format!("{} images of {c}x{h}x{w}, expected 1 to {MOST_NUMBERS} numbers in a batch", case.batch);
        return Err(fail("batch", &problem));
    }
    let batch = |i: u64| {
        let seed = SEED + i;
        let uniform = generated::uniform("label", seed, case.batch);
        Batch {
            pixels: generated::input([case.batch, c, h, w], seed),
            shape: [case.batch, c, h, w],
            labels: uniform.iter().map(|u| label(*u, classes)).collect(),
            ids: (0..case.batch as u32).map(|id| i as u32 * case.batch as u32 + id).collect(),
        }
    };
    Ok((0..count as u64).map(batch).collect())
}

/// Bytes of a batch in memory.
pub fn bytes(batch: &Batch) -> u64 {
    (size_of_val(&batch.pixels[..]) + size_of_val(&batch.labels[..]) + size_of_val(&batch.ids[..])) as u64
}

/// From [-1, 1) to a class.
fn label(u: f32, classes: usize) -> u32 {
    (f64::from(u + 1.0) / 2.0 * classes as f64) as u32
}

/// Writes a safetensors file of everything that a step depends on: weights as [`Trainer::start`] names them, and of each batch
/// `batch.<i>.pixels` `[N, C, H, W]` and `batch.<i>.labels` `[N]` of `u32`.
///
/// # Errors
/// A device that failed, a file that cannot be written.
pub fn save(trainer: &Trainer, path: &Path) -> Result<()> {
    let mut file = trainer.start()?;
    for (i, batch) in trainer.batches().iter().enumerate() {
        let pixels = Array::new(batch.shape.to_vec(), batch.pixels.clone())?;
        let labels = Array::new(vec![batch.labels.len()], batch.labels.clone())?;
        file.0.extend([(format!("batch.{i}.pixels"), pixels), (format!("batch.{i}.labels"), labels)]);
    }
    Ok(write::safetensors(path, &file, &BTreeMap::new())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_classes() {
        assert_eq!([-1.0, -0.01, 0.0, 0.999_999_9].map(|u| label(u, 100)), [0, 49, 50, 99]);
        assert_eq!(label(0.5, 1), 0);
    }
}
