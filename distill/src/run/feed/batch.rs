//! A batch in one view, on the device: pixels, labels, targets.

use std::collections::BTreeMap;

use attar_data::Batch;
use candle_core::{D, Device, Tensor};

use crate::batch::input;
use crate::error::Result;
use crate::plan::TeacherId;

/// A batch as the networks see it in one view.
#[derive(Debug, Clone)]
pub(in crate::run) struct ViewBatch {
    /// Pixels, `[N, C, H, W]`.
    pub(in crate::run) x: Tensor,
    /// What the teachers see instead that have batches of their own: `[N, C, H, W]` each.
    pub(in crate::run) own: BTreeMap<TeacherId, Tensor>,
    /// Class of each sample, or of the larger part of it, `[N]` of `u32`.
    pub(in crate::run) labels: Tensor,
    /// Probability of each class, `[N, K]`.
    pub(in crate::run) targets: Tensor,
    /// Index of each sample in the training set.
    pub(in crate::run) ids: Vec<u32>,
}

impl ViewBatch {
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
    pub(in crate::run) fn len(&self) -> usize {
        self.ids.len()
    }

    /// What a teacher sees of it: its own pixels where it has some, or the student's.
    pub(in crate::run) fn seen_by(&self, teacher: TeacherId) -> &Tensor {
        self.own.get(&teacher).unwrap_or(&self.x)
    }

    /// This batch and `other` made one by `combine`, for the student (`None`) and for every teacher that has pixels of its own,
    /// with other targets; the labels follow these.
    pub(in crate::run) fn combined(
        &self,
        other: &Self,
        targets: Tensor,
        combine: impl Fn(Option<TeacherId>, &Tensor, &Tensor) -> Result<Tensor>,
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
    pub(in crate::run) fn permuted(&self, order: &[u32]) -> Result<Self> {
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
