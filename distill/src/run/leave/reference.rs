//! `reference/`: what the exported weights answer, so that every runtime can be held against the trainer.
//!
//! `golden.safetensors` and `golden-synthetic.safetensors` hold a few images as files, as inputs, and their logits;
//! `predictions.safetensors` holds the answer to every validation and test image, keyed by the hash of its pixels.

use std::collections::BTreeMap;
use std::path::Path;

use attar_data::Batch;
use attar_measures::{argmax, log_sum_exp, top};
use attar_pixels::{Image, preprocess};
use candle_core::{Device, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::files::io;
use crate::plan::PlannedData;
use crate::run::feed::evaluate::{Evaluation, Scores};
use crate::run::leave::mixed::MixedFile;

/// Images in a golden file.
const GOLDENS: usize = 16;
/// Full logits are kept up to so many classes.
const FULL_LOGITS: usize = 100;
/// Best logits kept of each image.
const TOP: usize = 5;

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
    write_golden(&directory.join("golden.safetensors"), "real", &encoded, &images, data, forward, device)
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
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let images =
        (0..GOLDENS).map(|i| noise(&like, 1 << (i % 4), &mut rng)).collect::<attar_pixels::Result<Vec<_>>>()?;
    let encoded = images.iter().map(Image::to_png).collect::<attar_pixels::Result<Vec<_>>>()?;
    write_golden(&directory.join("golden-synthetic.safetensors"), "synthetic", &encoded, &images, data, forward, device)
}

/// Noise in square patches of `patch` pixels, with the size and channels of `like`.
fn noise(like: &Image, patch: usize, rng: &mut ChaCha8Rng) -> attar_pixels::Result<Image> {
    let (width, height, channels) = (like.width() as usize, like.height() as usize, usize::from(like.channels()));
    let across = width.div_ceil(patch);
    let mut patches = vec![0; across * height.div_ceil(patch) * channels];
    rng.fill_bytes(&mut patches);
    let value = |at: usize| {
        let (pixel, channel) = (at / channels, at % channels);
        patches[(pixel / width / patch * across + pixel % width / patch) * channels + channel]
    };
    let pixels = (0..width * height * channels).map(value).collect();
    Image::new(like.width(), like.height(), like.channels(), pixels)
}

fn write_golden(
    path: &Path,
    kind: &str,
    encoded: &[Vec<u8>],
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
    let mut file = MixedFile::default();
    for (i, bytes) in encoded.iter().enumerate() {
        file.bytes(&format!("encoded.{i}"), &[bytes.len()], bytes);
    }
    file.floats("input", &shape, &input);
    file.floats("logits", logits.dims(), &logits.flatten_all()?.to_vec1::<f32>()?);
    file.note("kind", kind);
    file.note("count", &images.len().to_string());
    file.write(path)
}

/// Up to `count` indices, class by class in turn.
fn in_turn(labels: &[u32], count: usize) -> Vec<usize> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate() {
        classes.entry(*label).or_default().push(i);
    }
    let longest = classes.values().map(Vec::len).max().unwrap_or_default();
    let rounds = (0..longest).flat_map(|round| classes.values().filter_map(move |members| members.get(round)));
    rounds.take(count).copied().collect()
}

/// The answers of the exported weights, collected split by split.
#[derive(Debug, Default)]
pub(in crate::run) struct Predictions {
    classes: usize,
    hashes: Vec<u8>,
    labels: Vec<u32>,
    splits: Vec<u8>,
    top1: Vec<u32>,
    top5: Vec<u32>,
    top5_logits: Vec<f32>,
    log_sum_exp: Vec<f32>,
    logits: Vec<f32>,
}

impl Predictions {
    /// Evaluates on a split and keeps every answer. `split` is 0 for validation, 1 for test. `also` sees every batch, its
    /// images as a tensor, and its answers row by row.
    pub(in crate::run) fn collect(
        &mut self,
        evaluation: &Evaluation<'_>,
        split: u8,
        forward: impl FnMut(&Tensor) -> Result<Tensor>,
        mut also: impl FnMut(&Batch, &Tensor, &[Vec<f32>]) -> Result<()>,
    ) -> Result<Scores> {
        let scores = evaluation.run(forward, |batch, input, logits| {
            self.labels.extend(&batch.labels);
            logits.iter().for_each(|row| self.add(row, split));
            also(batch, input, logits)
        })?;
        for i in 0..evaluation.dataset.len() {
            self.hashes.extend(evaluation.dataset.sha256(i)?);
        }
        Ok(scores)
    }

    fn add(&mut self, row: &[f32], split: u8) {
        self.classes = row.len();
        let order = top(row, TOP, f32::total_cmp);
        self.splits.push(split);
        self.top1.push(argmax(row) as u32);
        self.top5_logits.extend(order.iter().map(|i| row[*i]));
        self.top5.extend(order.into_iter().map(|class| class as u32));
        self.log_sum_exp.push(log_sum_exp(row) as f32);
        if row.len() <= FULL_LOGITS {
            self.logits.extend(row);
        }
    }

    /// Writes `predictions.safetensors`.
    pub(in crate::run) fn write(&self, directory: &Path, weights_sha256: &str) -> Result<()> {
        let (m, k) = (self.labels.len(), self.classes);
        let mut file = MixedFile::default();
        file.bytes("pixels_sha256", &[m, 32], &self.hashes);
        file.integers("label", &[m], &self.labels);
        file.bytes("split", &[m], &self.splits);
        file.integers("top1", &[m], &self.top1);
        file.integers("top5", &[m, k.min(TOP)], &self.top5);
        file.floats("top5_logits", &[m, k.min(TOP)], &self.top5_logits);
        file.floats("log_sum_exp", &[m], &self.log_sum_exp);
        if k <= FULL_LOGITS {
            file.floats("logits", &[m, k], &self.logits);
        }
        file.note("weights_sha256", weights_sha256);
        file.note("classes", &k.to_string());
        file.write(&directory.join("predictions.safetensors"))
    }
}

/// Makes `reference/` and returns its path.
pub(in crate::run) fn directory(run: &Path) -> Result<std::path::PathBuf> {
    let directory = run.join("reference");
    std::fs::create_dir_all(&directory).map_err(|source| io(&directory, source))?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goldens_take_every_class_in_turn() {
        assert_eq!(in_turn(&[0, 0, 0, 1, 2, 2], 5), [0, 3, 4, 1, 5]);
        assert_eq!(in_turn(&[], 5), Vec::<usize>::new());
    }
}
