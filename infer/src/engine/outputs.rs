//! What an engine gives beside logits, and how a batch is cut for a file that insists on one size.

#[cfg(any(feature = "tract", feature = "ort"))]
use super::Signature;
#[cfg(any(feature = "tract", feature = "ort"))]
use crate::error::{Error, Result};

/// A value that an engine gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name in the ONNX file.
    pub name: String,
    /// Its shape of one image: `[K]` for logits, `[C, H, W]` for maps, `[T, D]` for tokens.
    pub shape: Vec<usize>,
}

impl Output {
    /// Floats of one image.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A value as a runtime gave it: its whole shape, and its numbers.
#[cfg(any(feature = "tract", feature = "ort"))]
pub(super) type Given = (Vec<usize>, Vec<f32>);

/// What the values called `names` are of one image, from what came of `n` images.
#[cfg(any(feature = "tract", feature = "ort"))]
pub(super) fn per_sample(names: &[String], given: &[Given], n: usize) -> std::result::Result<Vec<Output>, String> {
    let of = |(name, (shape, _)): (&String, &Given)| match shape.split_first() {
        Some((rows, shape)) if *rows == n && !shape.contains(&0) => {
            Ok(Output { name: name.clone(), shape: shape.to_vec() })
        }
        _ => Err(format!(
            "the value `{name}` is {shape:?} for {n} images, expected a row of numbers for each\n  hint: choose one whose first \
             axis counts the images"
        )),
    };
    if names.len() != given.len() {
        return Err(format!("{} outputs, expected {}", given.len(), names.len()));
    }
    names.iter().zip(given).map(of).collect()
}

#[cfg(any(feature = "tract", feature = "ort"))]
impl Signature {
    /// Runs `one` on the whole batch, or on pieces of the fixed batch size when the file insists on one; the last piece is
    /// filled up with black images. Gives for each output its numbers `[n, ...]`.
    pub(super) fn split(
        &self,
        engine: &'static str,
        outputs: &[Output],
        batch: &[f32],
        n: usize,
        mut one: impl FnMut(&[f32], usize) -> Result<Vec<Vec<f32>>>,
    ) -> Result<Vec<Vec<f32>>> {
        let fail = |problem: String| Err(Error::Engine { engine, problem });
        let mut all: Vec<Vec<f32>> = outputs.iter().map(|output| Vec::with_capacity(n * output.sample_len())).collect();
        if n == 0 {
            return Ok(all);
        }
        if Some(batch.len()) != self.input_len().checked_mul(n) {
            return fail(format!("{} floats for {n} images of {:?}", batch.len(), self.input));
        }
        let mut keep = |given: Vec<Vec<f32>>, images: usize| {
            for ((kept, given), output) in all.iter_mut().zip(given).zip(outputs) {
                kept.extend_from_slice(&given[..given.len().min(images * output.sample_len())]);
            }
        };
        let step = self.fixed_batch.unwrap_or(n).max(1);
        let (whole, rest) = batch.split_at(n / step * step * self.input_len());
        for part in whole.chunks(step * self.input_len()) {
            keep(one(part, step)?, step);
        }
        if !rest.is_empty() {
            let mut filled = rest.to_vec();
            filled.resize(step * self.input_len(), 0.0);
            keep(one(&filled, step)?, n % step);
        }
        match all.iter().zip(outputs).find(|(kept, output)| kept.len() != n * output.sample_len()) {
            None => Ok(all),
            Some((kept, Output { name, shape })) => {
                fail(format!("{} numbers of `{name}` for {n} images of {shape:?} each", kept.len()))
            }
        }
    }
}
