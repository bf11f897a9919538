//! Guided adversarial contrastive distillation (GACD: Bai et al. 2020, arXiv 2009.09922): around the feature of an
//! adversarially robust teacher as anchor, the student's feature of the same image is told apart from its features of
//! others; samples count as much as the teacher may be trusted.
//!
//! `L = (1/N) sum_i w_i · InfoNCE(t_i among s_1..s_N and Q past s)`, `w_i` being the teacher's probability of the true class;
//! see [`gacd`]. It reads one view: with `view = "NAME"` of an adversarial one both networks see the attacked images.
//!
//! A reading: only the abstract was at hand (anchor, contrast, sample-reweighted estimation). Open points are settings: where
//! negatives come from (`queue` past student features of other images beside the batch), whether the teacher's feature is embedded as CRD does
//! or stays fixed (`anchor`), whether and how samples are weighed (`weighting`, `denominator`). The companion cross-entropy
//! is a loss of its own in the recipe.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::losses::parts::contrast::info_nce;
use crate::losses::parts::embedding::Embedding;
use crate::losses::parts::logits::trust;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Pairs, Param, Spec, Step, Taps, Teachers, changed};

/// Settings of [`gacd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GacdSpec {
    /// Divides similarities.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Past student features that are negatives beside the batch's.
    pub queue: usize,
    /// Numbers in an embedding; unused with a fixed anchor.
    #[schemars(extend("minimum" = 1))]
    pub dim: usize,
    /// The teacher's feature through a trained layer, or itself.
    pub anchor: Anchor,
    /// What each sample counts.
    pub weighting: Weighting,
    /// What the weighed sum is divided by.
    pub denominator: Denominator,
    /// The features that are compared, one pair.
    pub pairs: Pairs,
}

impl Default for GacdSpec {
    fn default() -> Self {
        Self {
            temperature: 0.1,
            queue: 4096,
            dim: 128,
            anchor: Anchor::default(),
            weighting: Weighting::default(),
            denominator: Denominator::default(),
            pairs: Pairs::penultimate(),
        }
    }
}

/// What the student's features are compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// A trained linear embedding of the teacher's feature.
    #[default]
    Embedded,
    /// The teacher's feature itself; the student's embedding is as wide.
    Fixed,
}

/// What each sample counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// The teacher's probability of its class.
    #[default]
    TeacherProbability,
    /// One.
    None,
}

/// What the weighed sum over samples is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Denominator {
    /// The size of the batch: a batch that the teacher errs on counts less.
    #[default]
    Batch,
    /// The sum of the weights.
    Weights,
}

/// `sum_i w_i · -log (exp(t_i · s_i / T) / sum_j exp(t_i · c_j / T))` over the batch size or the sum of the weights, for
/// embeddings `[N, D]` of unit length, candidates `c` being the student's and the `queue`, `[Q, D]`, and constant weights
/// `[N]`. Exactly 0 where all weights are.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn gacd(
    student: &Tensor,
    teacher: &Tensor,
    queue: Option<&Tensor>,
    weights: &Tensor,
    temperature: f64,
    denominator: Denominator,
) -> Result<Tensor> {
    let candidates = match queue {
        Some(queue) => Tensor::cat(&[student, &queue.detach()], 0)?,
        None => student.clone(),
    };
    let weights = weights.detach();
    let total = (info_nce(teacher, &candidates, temperature)? * &weights)?.sum_all()?;
    Ok(match denominator {
        Denominator::Batch => (total / weights.elem_count().max(1) as f64)?,
        Denominator::Weights => {
            let sum = weights.sum_all()?;
            let some = sum.gt(0.0)?.where_cond(&sum, &sum.ones_like()?)?;
            total.div(&some)?
        }
    })
}

impl Spec for GacdSpec {
    const ENTRY: Entry = Entry {
        kind: "gacd",
        summary: "The student's feature of an image is told apart from those of others around a robust teacher's feature: weighed InfoNCE.",
        paper: "Bai et al. 2020, arXiv 2009.09922 (GACD)",
        basis: Basis::Reading,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        let own = Self::default();
        let fixed = self.anchor == Anchor::Fixed && self.dim != own.dim;
        let alike = self.weighting == Weighting::None && self.denominator != own.denominator;
        let mut idle = changed([("dim", fixed)], "a fixed anchor is as wide as the teacher's feature");
        idle.extend(changed(
            [("denominator", alike)],
            "weighting = \"none\", and without weights both are the batch size",
        ));
        idle
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        if self.weighting == Weighting::TeacherProbability {
            context.same_classes()?;
        }
        let dim = (self.anchor == Anchor::Embedded).then_some(self.dim);
        let embedding = Embedding::new(context, &self.pairs, dim)?;
        Ok(Box::new(Gacd { spec: self.clone(), embedding, queue: None, ids: Vec::new() }))
    }
}

#[derive(Debug)]
struct Gacd {
    spec: GacdSpec,
    embedding: Embedding,
    /// Past features of the student, oldest first; at most `spec.queue`.
    queue: Option<Tensor>,
    /// Of which training images they are.
    ids: Vec<u32>,
}

impl Gacd {
    /// Past features of other images than those of the batch, on the batch's device.
    fn others(&self, batch: &[u32], device: &Device) -> Result<Option<Tensor>> {
        let Some(queue) = &self.queue else { return Ok(None) };
        let is_other = |(at, id): (usize, &u32)| (!batch.contains(id)).then_some(at as u32);
        let others: Vec<u32> = self.ids.iter().enumerate().filter_map(is_other).collect();
        if others.is_empty() {
            return Ok(None);
        }
        let count = others.len();
        Ok(Some(queue.to_device(device)?.index_select(&Tensor::from_vec(others, count, device)?, 0)?))
    }
}

impl Loss for Gacd {
    fn taps(&self) -> Taps {
        self.embedding.taps()
    }

    fn params(&self) -> Vec<Param> {
        self.embedding.params()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let [student, teacher] = self.embedding.rows(step)?;
        let view = step.view()?;
        let weights = match self.spec.weighting {
            Weighting::TeacherProbability => trust(&view.teacher()?.logits, view.labels)?,
            Weighting::None => Tensor::ones(student.dim(0)?, student.dtype(), student.device())?,
        };
        let queue = self.others(view.ids, student.device())?;
        gacd(&student, &teacher, queue.as_ref(), &weights, self.spec.temperature, self.spec.denominator)
    }

    fn after(&mut self, step: &Step<'_>) -> Result<()> {
        if self.spec.queue == 0 {
            return Ok(());
        }
        let [student, _] = self.embedding.rows(step)?;
        let all = match &self.queue {
            Some(queue) => Tensor::cat(&[&queue.to_device(student.device())?, &student.detach()], 0)?,
            None => student.detach(),
        };
        let kept = all.dim(0)?.min(self.spec.queue);
        self.queue = Some(all.narrow(0, all.dim(0)? - kept, kept)?.contiguous()?);
        self.ids.extend(step.view()?.ids);
        self.ids.drain(..self.ids.len().saturating_sub(kept));
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let Some(queue) = &self.queue else { return Ok(BTreeMap::new()) };
        let ids = Tensor::from_slice(&self.ids, self.ids.len(), &Device::Cpu)?;
        Ok(BTreeMap::from([("queue".to_owned(), queue.clone()), ("ids".to_owned(), ids)]))
    }

    fn load(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let (queue, ids) = (state.remove("queue"), state.remove("ids"));
        let fits = match (&queue, &ids) {
            (None, None) => true,
            (Some(queue), Some(ids)) => {
                let kept = queue.dims().first().copied().unwrap_or_default();
                let rows = queue.dims() == [kept, self.embedding.width()] && queue.dtype() == DType::F32;
                rows && ids.dims() == [kept] && ids.dtype() == DType::U32
            }
            _ => false,
        };
        if !fits || !state.is_empty() {
            let found: Vec<&Tensor> = queue.iter().chain(&ids).chain(state.values()).collect();
            let shapes: Vec<&[usize]> = found.iter().map(|tensor| tensor.dims()).collect();
            let width = self.embedding.width();
            return Err(unknown(format!(
                "GACD's memory is a `queue` [Q, {width}] and its `ids` [Q], found {shapes:?}"
            )));
        }
        self.ids = ids.map(|ids| ids.to_vec1()).transpose()?.unwrap_or_default();
        self.queue = queue;
        Ok(())
    }
}

fn unknown(problem: String) -> Error {
    candle_core::Error::Msg(problem).into()
}
