//! Evaluation of a network on a split: accuracy and cross-entropy, computed on the host in `f64`.

use std::sync::Arc;

use attar_data::{Batch, Dataset};
use attar_measures::{argmax, log_sum_exp, percent};
use attar_pixels::Preprocessing;
use candle_core::{Device, Tensor};
use rayon::ThreadPool;

use crate::batch::input;
use crate::error::Result;
use crate::run::feed::batch::ViewBatch;
use crate::run::feed::prefetch::{How, Prefetch, batches};

/// What to evaluate on, and how.
pub(in crate::run) struct Evaluation<'a> {
    pub(in crate::run) dataset: &'a Arc<dyn Dataset>,
    pub(in crate::run) preprocessing: &'a Preprocessing,
    pub(in crate::run) batch: usize,
    pub(in crate::run) device: &'a Device,
    pub(in crate::run) pool: &'a Arc<ThreadPool>,
}

/// Accuracy and mean cross-entropy of an evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::run) struct Scores {
    /// Images seen.
    pub(in crate::run) images: usize,
    /// Images whose largest logit is their label's; the first of equal ones counts.
    pub(in crate::run) correct: usize,
    /// Sum of the cross-entropy over the images.
    pub(in crate::run) loss: f64,
}

impl Scores {
    /// Accuracy in percent.
    pub(in crate::run) fn top1(&self) -> f64 {
        percent(self.correct, self.images)
    }

    /// Takes the logits of some images, row by row, and their labels.
    fn add(&mut self, logits: &[Vec<f32>], labels: &[u32]) {
        for (row, label) in logits.iter().zip(labels) {
            self.correct += usize::from(argmax(row) == *label as usize);
            self.loss += log_sum_exp(row) - row.get(*label as usize).map_or(f64::NAN, |z| f64::from(*z));
        }
        self.images += labels.len();
    }

    /// Mean cross-entropy.
    pub(in crate::run) fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }
}

impl Evaluation<'_> {
    /// Runs `forward` (batch `[N, C, H, W]` to logits `[N, K]`) over the split in its own order. `each` is called with every
    /// batch, its images as a tensor, and its logits row by row.
    pub(in crate::run) fn run(
        &self,
        mut forward: impl FnMut(&Tensor) -> Result<Tensor>,
        mut each: impl FnMut(&Batch, &Tensor, &[Vec<f32>]) -> Result<()>,
    ) -> Result<Scores> {
        self.batches(|batch, scores| {
            let images = input(batch, self.device)?;
            let logits = forward(&images)?.to_vec2::<f32>()?;
            scores.add(&logits, &batch.labels);
            each(batch, &images, &logits)
        })
    }

    /// As [`Evaluation::run`], on images that `change` has made of those of the split.
    pub(in crate::run) fn run_changed(
        &self,
        mut change: impl FnMut(&ViewBatch) -> Result<Tensor>,
        mut forward: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Scores> {
        let classes = self.dataset.classes().len();
        self.batches(|batch, scores| {
            let images = change(&ViewBatch::loaded(batch, classes, self.device)?)?;
            scores.add(&forward(&images)?.to_vec2::<f32>()?, &batch.labels);
            Ok(())
        })
    }

    /// Calls `each` with every batch of the split in its own order.
    fn batches(&self, mut each: impl FnMut(&Batch, &mut Scores) -> Result<()>) -> Result<Scores> {
        let ids: Vec<u32> = (0..self.dataset.len() as u32).collect();
        let batches = batches(&ids, self.batch);
        let count = batches.len();
        let how = How::Eval(self.preprocessing.clone());
        let prefetch = Prefetch::start(Arc::clone(self.dataset), batches, how, Arc::clone(self.pool));
        let mut scores = Scores::default();
        for _ in 0..count {
            for batch in prefetch.next()? {
                each(&batch, &mut scores)?;
            }
        }
        Ok(scores)
    }
}
