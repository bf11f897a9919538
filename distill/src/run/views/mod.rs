//! The views of a batch: as it is, augmented another way, mixed, attacked, or drawn anew between its images.

mod adversarial;
mod extracurricular;
mod mix;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use attar_data::Batch;
use candle_core::{D, Device, Tensor};

use super::evaluate::input;
use super::learner::Learner;
use super::step::Position;
use crate::error::Result;
use crate::recipe::ViewKind;

pub(super) use adversarial::{Attack, Bounds};
pub(super) use random::{generator, view_seed};

/// A batch as the networks see it in one view.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// Pixels, `[N, C, H, W]`.
    pub(super) x: Tensor,
    /// Class of each sample, or of the larger part of it, `[N]` of `u32`.
    pub(super) labels: Tensor,
    /// Probability of each class, `[N, K]`.
    pub(super) targets: Tensor,
    /// Index of each sample in the training set.
    pub(super) ids: Vec<u32>,
}

impl Look {
    /// A batch as the loaders made it.
    pub(super) fn loaded(batch: &Batch, classes: usize, device: &Device) -> Result<Self> {
        Self::plain(input(batch, device)?, &batch.labels, &batch.ids, classes)
    }

    /// Samples of one class each.
    pub(super) fn plain(x: Tensor, labels: &[u32], ids: &[u32], classes: usize) -> Result<Self> {
        let (n, device) = (labels.len(), x.device().clone());
        let mut targets = vec![0f32; n * classes];
        for (row, label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
            if let Some(target) = row.get_mut(*label as usize) {
                *target = 1.0;
            }
        }
        Ok(Self {
            labels: Tensor::from_slice(labels, n, &device)?,
            targets: Tensor::from_vec(targets, (n, classes), &device)?,
            ids: ids.to_vec(),
            x,
        })
    }

    /// Samples in the batch.
    fn len(&self) -> usize {
        self.ids.len()
    }

    /// The same batch with other pixels and targets; the labels follow the targets.
    fn with(&self, x: Tensor, targets: Tensor) -> Result<Self> {
        Ok(Self { labels: targets.argmax(D::Minus1)?, x, targets, ids: self.ids.clone() })
    }

    /// The samples in another order.
    fn permuted(&self, order: &[u32]) -> Result<Self> {
        let index = Tensor::from_slice(order, order.len(), self.x.device())?;
        let take = |tensor: &Tensor| tensor.contiguous()?.index_select(&index, 0);
        Ok(Self {
            x: take(&self.x)?,
            labels: take(&self.labels)?,
            targets: take(&self.targets)?,
            ids: order.iter().filter_map(|i| self.ids.get(*i as usize).copied()).collect(),
        })
    }
}

impl Learner {
    /// The views in `used`, by their position; the plain one is position 0. `loaded` holds the plain batch and then that
    /// of each view that augments another way.
    pub(super) fn look(
        &mut self,
        loaded: Vec<Look>,
        used: &BTreeSet<usize>,
        at: Position,
    ) -> Result<BTreeMap<usize, Look>> {
        let mut loaded = loaded.into_iter();
        let mut next = || -> Result<Look> {
            let missing = || candle_core::Error::Msg("a step has fewer batches than views".to_owned()).into();
            loaded.next().ok_or_else(missing)
        };
        let clean = next()?;
        let mut looks = BTreeMap::new();
        for (i, view) in self.views.clone().iter().enumerate() {
            let mut rng = generator(self.seed, at, &view.name);
            let look = match &view.kind {
                // Loaded in any case: the batches come in the order of the views.
                ViewKind::Augmented { .. } => next()?,
                _ if !used.contains(&(i + 1)) => continue,
                ViewKind::Mixup { alpha, p } => mix::mixup(&clean, *alpha, *p, &mut rng)?,
                ViewKind::Cutmix { alpha, p } => mix::cutmix(&clean, *alpha, *p, &mut rng)?,
                ViewKind::Adversarial { epsilon, step, steps, random_start, climb, .. } => {
                    let attack = Attack {
                        epsilon: *epsilon,
                        step: *step,
                        steps: *steps,
                        random_start: *random_start,
                        climb: *climb,
                    };
                    let x = self.attacked(&attack, view.asks, &clean, &mut rng)?;
                    Look { x, ..clean.clone() }
                }
                ViewKind::Extracurricular { from, to, candidates, .. } => {
                    self.extracurricular(&clean, view.asks, [*from, *to], *candidates, &mut rng)?
                }
            };
            if used.contains(&(i + 1)) {
                looks.insert(i + 1, look);
            }
        }
        if used.contains(&0) {
            looks.insert(0, clean);
        }
        Ok(looks)
    }
}
