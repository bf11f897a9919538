//! `reference/`: what the exported weights answer, so that every runtime can be held against the trainer.
//!
//! `golden.safetensors` and `golden-synthetic.safetensors` hold a few images as files, as inputs, and their logits;
//! `predictions.safetensors` holds the answer to every validation and test image, keyed by the hash of its pixels.

use std::path::Path;

use attar_data::{Batch, in_turn};
use attar_formats::reference::{Answer, FULL_LOGITS, GoldenKind, Goldens, Predictions, Split, TOP};
use attar_formats::run::{file, goldens};
use attar_measures::random::Stream;
use attar_measures::{log_sum_exp, top};
use attar_pixels::{Image, preprocess};
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::files::io;
use crate::plan::PlannedData;
use crate::run::feed::evaluate::{Evaluation, Scores};

/// Images in a golden file.
const GOLDENS: usize = 16;

/// Writes `golden.safetensors`: class by class in turn, the first image of each, then the second, and so on; from the
/// validation split, or from the test split where there is none, never from training images.
pub(in crate::run) fn golden(
    directory: &Path,
    data: &PlannedData,
    forward: impl FnMut(&Tensor) -> Result<Tensor>,
    device: &Device,
) -> Result<()> {
    let from = if data.validation.is_empty() { &data.test } else { &data.validation };
    let chosen = in_turn(&from.labels(), GOLDENS);
    let encoded = chosen.iter().map(|i| from.encoded(*i)).collect::<attar_data::Result<Vec<_>>>()?;
    let images = chosen.iter().map(|i| from.image(*i)).collect::<attar_data::Result<Vec<_>>>()?;
    write_golden(&directory.join(goldens(GoldenKind::Real)), GoldenKind::Real, encoded, &images, data, forward, device)
}

/// Writes `golden-synthetic.safetensors`: seeded noise of several scales through the same preprocessing, for models
/// whose images must not be shown.
pub(in crate::run) fn golden_synthetic(
    directory: &Path,
    data: &PlannedData,
    seed: u64,
    forward: impl FnMut(&Tensor) -> Result<Tensor>,
    device: &Device,
) -> Result<()> {
    let like = data.train.image(0)?;
    let mut rng = Stream::of_number(seed);
    let images =
        (0..GOLDENS).map(|i| noise(&like, 1 << (i % 4), &mut rng)).collect::<attar_pixels::Result<Vec<_>>>()?;
    let encoded = images.iter().map(Image::to_png).collect::<attar_pixels::Result<Vec<_>>>()?;
    write_golden(
        &directory.join(goldens(GoldenKind::Synthetic)),
        GoldenKind::Synthetic,
        encoded,
        &images,
        data,
        forward,
        device,
    )
}

/// Noise in square patches of `patch` pixels, with the size and channels of `like`.
fn noise(like: &Image, patch: usize, rng: &mut Stream) -> attar_pixels::Result<Image> {
    let (width, height, channels) = (like.width() as usize, like.height() as usize, usize::from(like.channels()));
    let across = width.div_ceil(patch);
    let mut patches = vec![0; across * height.div_ceil(patch) * channels];
    rng.fill(&mut patches);
    let value = |at: usize| {
        let (pixel, channel) = (at / channels, at % channels);
        patches[(pixel / width / patch * across + pixel % width / patch) * channels + channel]
    };
    let pixels = (0..width * height * channels).map(value).collect();
    Image::new(like.width(), like.height(), like.channels(), pixels)
}

fn write_golden(
    path: &Path,
    kind: GoldenKind,
    encoded: Vec<Vec<u8>>,
    images: &[Image],
    data: &PlannedData,
    mut forward: impl FnMut(&Tensor) -> Result<Tensor>,
    device: &Device,
) -> Result<()> {
    let mut input = Vec::new();
    for image in images {
        input.extend(preprocess(image, &data.pipeline.preprocessing)?);
    }
    let [c, h, w] = data.input;
    let shape = [images.len(), c, h, w];
    let logits = forward(&Tensor::from_slice(&input, shape.as_slice(), device)?)?;
    let logits = logits.flatten_all()?.to_vec1()?;
    Ok(Goldens { encoded, input, input_shape: data.input, logits, kind }.write(path)?)
}

/// The answers of the exported weights, collected split by split.
#[derive(Debug)]
pub(in crate::run) struct Answers {
    classes: usize,
    answers: Vec<Answer>,
}

impl Answers {
    /// None yet, of a network that tells so many classes apart.
    pub(in crate::run) fn new(classes: usize) -> Self {
        Self { classes, answers: Vec::new() }
    }

    /// Evaluates on a split and keeps every answer. `also` sees every batch, its images as a tensor, and its answers row by
    /// row.
    pub(in crate::run) fn collect(
        &mut self,
        evaluation: &Evaluation<'_>,
        split: Split,
        forward: impl FnMut(&Tensor) -> Result<Tensor>,
        mut also: impl FnMut(&Batch, &Tensor, &[Vec<f32>]) -> Result<()>,
    ) -> Result<Scores> {
        evaluation.run(forward, |batch, input, logits| {
            for ((row, label), id) in logits.iter().zip(&batch.labels).zip(&batch.ids) {
                self.answers.push(answer(evaluation.dataset.sha256(*id as usize)?, *label, split, row));
            }
            also(batch, input, logits)
        })
    }

    /// Writes `predictions.safetensors`.
    pub(in crate::run) fn write(&self, directory: &Path, weights_sha256: &str) -> Result<()> {
        let predictions = Predictions::new(weights_sha256, self.classes, &self.answers)?;
        Ok(predictions.write(&directory.join(file::PREDICTIONS))?)
    }
}

/// What is kept of the logits of an image.
fn answer(pixels_sha256: [u8; 32], label: u32, split: Split, row: &[f32]) -> Answer {
    let top = top(row, TOP, f32::total_cmp).into_iter().map(|class| (class as u32, row[class])).collect();
    let logits = (row.len() <= FULL_LOGITS).then(|| row.to_vec());
    Answer { pixels_sha256, label, split, top, log_sum_exp: log_sum_exp(row) as f32, logits }
}

/// Makes `reference/` and returns its path.
pub(in crate::run) fn directory(run: &Path) -> Result<std::path::PathBuf> {
    let directory = run.join(file::REFERENCE);
    std::fs::create_dir_all(&directory).map_err(|source| io(&directory, source))?;
    Ok(directory)
}
