//! The views of a batch: as it is, augmented another way, mixed, attacked, or drawn anew between its images.

mod adversarial;
mod extracurricular;
mod loads;
mod mix;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use attar_data::Batch;
use candle_core::{D, Device, Tensor};

use crate::batch::input;
use crate::error::Result;
use crate::recipe::ViewKind;
use crate::run::step::Position;
use crate::run::step::learner::Learner;
use crate::run::step::passes::lost;

pub(in crate::run) use adversarial::{Attack, Bounds};
pub(in crate::run) use random::{generator, view_seed};

/// A batch as the networks see it in one view.
#[derive(Debug, Clone)]
pub(in crate::run) struct Look {
    /// Pixels, `[N, C, H, W]`.
    pub(in crate::run) x: Tensor,
    /// What the teachers see instead that have batches of their own, by their position: `[N, C, H, W]` each.
    pub(in crate::run) own: BTreeMap<usize, Tensor>,
    /// Class of each sample, or of the larger part of it, `[N]` of `u32`.
    pub(in crate::run) labels: Tensor,
    /// Probability of each class, `[N, K]`.
    pub(in crate::run) targets: Tensor,
    /// Index of each sample in the training set.
    pub(in crate::run) ids: Vec<u32>,
}

impl Look {
    /// A batch as the loaders made it.
    pub(in crate::run) fn loaded(batch: &Batch, classes: usize, device: &Device) -> Result<Self> {
        Self::plain(input(batch, device)?, &batch.labels, &batch.ids, classes)
    }

    /// Samples of one class each.
    pub(in crate::run) fn plain(x: Tensor, labels: &[u32], ids: &[u32], classes: usize) -> Result<Self> {
        let (n, device) = (labels.len(), x.device().clone());
        let mut targets = vec![0f32; n * classes];
        for (row, label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
            if let Some(target) = row.get_mut(*label as usize) {
                *target = 1.0;
            }
        }
        Ok(Self {
            own: BTreeMap::new(),
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

    /// This batch and `other` made one by `combine`, for the student (`None`) and for every teacher that has pixels of its own,
    /// with other targets; the labels follow these.
    fn combined(
        &self,
        other: &Self,
        targets: Tensor,
        combine: impl Fn(Option<usize>, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let pairs = self.own.iter().filter_map(|(teacher, x)| Some((*teacher, x, other.own.get(teacher)?)));
        let own = pairs.map(|(teacher, x, other)| Ok((teacher, combine(Some(teacher), &x.contiguous()?, other)?)));
        Ok(Self {
            x: combine(None, &self.x.contiguous()?, &other.x)?,
            own: own.collect::<Result<_>>()?,
            labels: targets.argmax(D::Minus1)?,
            targets,
            ids: self.ids.clone(),
        })
    }

    /// The samples in another order.
    fn permuted(&self, order: &[u32]) -> Result<Self> {
        let index = Tensor::from_slice(order, order.len(), self.x.device())?;
        let take = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.contiguous()?.index_select(&index, 0)?) };
        Ok(Self {
            x: take(&self.x)?,
            own: self.own.iter().map(|(teacher, x)| Ok((*teacher, take(x)?))).collect::<Result<_>>()?,
            labels: take(&self.labels)?,
            targets: take(&self.targets)?,
            ids: order.iter().filter_map(|i| self.ids.get(*i as usize).copied()).collect(),
        })
    }
}

impl Learner {
    /// The views in `used`, by their position; the plain one is position 0. `loaded` are those of [`Learner::loads`].
    pub(in crate::run) fn look(
        &mut self,
        loaded: &[Look],
        used: &BTreeSet<usize>,
        at: Position,
    ) -> Result<BTreeMap<usize, Look>> {
        let mut looks = self.loaded(loaded)?;
        let clean = looks.get(&0).cloned().ok_or_else(|| lost("the plain view"))?;
        for (i, view) in self.views.clone().iter().enumerate() {
            let mut rng = generator(self.seed, at, &view.name);
            if !used.contains(&(i + 1)) {
                continue;
            }
            let look = match &view.kind {
                ViewKind::Augmented { .. } => continue, // loaded
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
                    // Nobody who has pixels of their own reads it: the plan sees to that.
                    Look { x, own: BTreeMap::new(), ..clean.clone() }
                }
                ViewKind::Extracurricular { from, to, candidates, .. } => {
                    self.extracurricular(&clean, view.asks, [*from, *to], *candidates, &mut rng)?
                }
            };
            looks.insert(i + 1, look);
        }
        looks.retain(|view, _| used.contains(view));
        Ok(looks)
    }
}
