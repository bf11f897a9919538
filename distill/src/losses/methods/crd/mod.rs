//! Contrastive representation distillation (CRD: Tian et al. 2020, arXiv 1910.10699): the student's embedding of an image
//! lies near the teacher's of the same image and far from its embeddings of others, and the other way round.
//!
//! `L = NCE(student anchors, teacher bank) + NCE(teacher anchors, student bank)`, see [`noise_contrast`]. Penultimate
//! features of both networks pass a linear layer each, both trained, to unit length; the banks hold an embedding of every
//! training image and follow it with a momentum. `Z` is fixed by the first batch. Benchmarks add it to the cross-entropy
//! with weight 0.8.
//!
//! Written from the authors' code; deviations: negatives are drawn independently (the authors' loader draws without
//! replacement where it can); images whose label has not been met yet count as another class, in the first epoch; where 64 draws
//! find no image of another class, one of the same class stands in; the
//! logarithms are computed directly, so that small temperatures do not overflow. `in_batch` replaces banks and `Z` by
//! InfoNCE over the batch, in both directions.

mod bank;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::losses::parts::contrast::{info_nce, log_partition, noise_contrast};
use crate::losses::parts::embedding::Embedding;
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Pairs, Param, Spec, Step, Taps, Teachers, changed};

pub use bank::{remember, scores};

/// Settings of CRD; the defaults are the authors'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrdSpec {
    /// Numbers in an embedding.
    #[schemars(extend("minimum" = 1))]
    pub dim: usize,
    /// Other images that each anchor is compared with; unused with in_batch.
    #[schemars(extend("minimum" = 1))]
    pub negatives: usize,
    /// What is no negative: the anchor's class, or the image itself.
    pub exclude: Exclude,
    /// Divides similarities.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Share of the old vector in a bank's new one; unused with in_batch.
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub momentum: f64,
    /// Compare within the batch (InfoNCE) instead of with banks.
    pub in_batch: bool,
    /// The features that are embedded, one pair.
    pub pairs: Pairs,
}

impl Default for CrdSpec {
    fn default() -> Self {
        Self {
            dim: 128,
            negatives: 16384,
            exclude: Exclude::default(),
            temperature: 0.07,
            momentum: 0.5,
            in_batch: false,
            pairs: Pairs::penultimate(),
        }
    }
}

/// Which images an anchor is never told apart from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exclude {
    /// Those of its class.
    #[default]
    Class,
    /// Itself.
    Image,
}

impl Spec for CrdSpec {
    const ENTRY: Entry = Entry {
        kind: "crd",
        summary: "Student and teacher embed an image alike and other images apart: noise-contrastive estimation against memory banks.",
        paper: "Tian et al. 2020, arXiv 1910.10699 (CRD); in_batch: van den Oord et al. 2018, arXiv 1807.03748 (InfoNCE)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn idle(&self) -> Vec<Idle> {
        let own = Self::default();
        let of_banks = [
            ("negatives", self.negatives != own.negatives),
            ("exclude", self.exclude != own.exclude),
            ("momentum", self.momentum != own.momentum),
        ];
        match self.in_batch {
            true => changed(of_banks, "in_batch compares with the batch, and it is of the banks"),
            false => Vec::new(),
        }
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        let embedding = Embedding::new(context, &self.pairs, Some(self.dim))?;
        if self.in_batch {
            return Ok(Box::new(InBatch { embedding, temperature: self.temperature }));
        }
        if self.negatives == 0 {
            return Err(context.error("negatives", "0, expected at least 1"));
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(context.error("momentum", format!("{} is not in [0, 1]", self.momentum)));
        }
        let samples = u32::try_from(context.samples).ok().filter(|samples| *samples > 1);
        let samples = samples.ok_or_else(|| {
            context.error("kind", format!("banks need at least 2 training images, there are {}", context.samples))
        })?;
        let mut rng = bank::generator(context.seed, context.name, 0.0);
        let mut fresh = || bank::fresh(context.samples, self.dim, &mut rng);
        Ok(Box::new(Crd {
            banks: [fresh()?, fresh()?],
            log_partitions: None,
            labels: vec![None; context.samples],
            spec: self.clone(),
            embedding,
            name: context.name.to_owned(),
            seed: context.seed,
            samples,
        }))
    }
}

/// Within the batch.
#[derive(Debug)]
struct InBatch {
    embedding: Embedding,
    temperature: f64,
}

/// `(1/N) sum_i [ InfoNCE(s_i among t) + InfoNCE(t_i among s) ]` for embeddings `[N, D]` of unit length.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn in_batch(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    let both = (info_nce(student, teacher, temperature)? + info_nce(teacher, student, temperature)?)?;
    Ok(both.mean_all()?)
}

impl Loss for InBatch {
    fn remembers_images(&self) -> bool {
        true
    }

    fn taps(&self) -> Taps {
        self.embedding.taps()
    }

    fn params(&self) -> Vec<Param> {
        self.embedding.params()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let [student, teacher] = self.embedding.rows(step)?;
        in_batch(&student, &teacher, self.temperature)
    }
}

/// With banks. Of every pair the student's comes first.
#[derive(Debug)]
struct Crd {
    spec: CrdSpec,
    embedding: Embedding,
    name: String,
    seed: u64,
    samples: u32,
    banks: [Tensor; 2],
    /// `log Z` of student anchors and of teacher anchors, once a batch has fixed them; `f32`, as a checkpoint keeps them.
    log_partitions: Option<[f32; 2]>,
    /// Of the images met so far.
    labels: Vec<Option<u32>>,
}

impl Crd {
    /// Scores of student anchors and of teacher anchors, and their `log Z`.
    fn compare(&self, step: &Step<'_>, rows: &[Tensor; 2]) -> Result<([Tensor; 2], [f32; 2])> {
        let view = step.view()?;
        if let Some(id) = view.ids.iter().find(|id| **id >= self.samples) {
            return Err(unknown(&format!("sample {id} of {} training images", self.samples)));
        }
        let labels = view.labels.to_vec1::<u32>()?;
        let differ = |anchor: usize, other: u32| {
            let known = self.labels.get(other as usize).copied().flatten();
            self.spec.exclude == Exclude::Image || known.is_none() || known != labels.get(anchor).copied()
        };
        let mut rng = bank::generator(self.seed, &self.name, step.time);
        let chosen = bank::choose(view.ids, self.samples, self.spec.negatives, differ, &mut rng);
        let [student, teacher] = rows;
        let device = student.device();
        let chosen = Tensor::from_vec(chosen, (view.ids.len(), 1 + self.spec.negatives), device)?;
        let score = |anchors, bank: &Tensor| scores(anchors, &bank.to_device(device)?, &chosen, self.spec.temperature);
        let [own, other] = &self.banks;
        let found = [score(student, other)?, score(teacher, own)?];
        let log_partitions = match self.log_partitions {
            Some(fixed) => fixed,
            None => {
                let [own, other] = &found;
                let samples = self.samples as usize;
                [log_partition(own, samples)? as f32, log_partition(other, samples)? as f32]
            }
        };
        Ok((found, log_partitions))
    }
}

impl Loss for Crd {
    fn remembers_images(&self) -> bool {
        true
    }

    fn taps(&self) -> Taps {
        self.embedding.taps()
    }

    fn params(&self) -> Vec<Param> {
        self.embedding.params()
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let ([own, other], [own_z, other_z]) = self.compare(step, &self.embedding.rows(step)?)?;
        let samples = self.samples as usize;
        let own = noise_contrast(&own, f64::from(own_z), samples)?;
        Ok((own + noise_contrast(&other, f64::from(other_z), samples)?)?)
    }

    fn after(&mut self, step: &Step<'_>) -> Result<()> {
        let rows = self.embedding.rows(step)?;
        if self.log_partitions.is_none() {
            self.log_partitions = Some(self.compare(step, &rows)?.1);
        }
        let view = step.view()?;
        let ids = Tensor::from_slice(view.ids, view.ids.len(), rows[0].device())?;
        for (bank, rows) in self.banks.iter_mut().zip(&rows) {
            *bank = bank.to_device(rows.device())?; // moves once
            remember(bank, &ids, rows, self.spec.momentum)?;
        }
        for (id, label) in view.ids.iter().zip(view.labels.to_vec1::<u32>()?) {
            if let Some(known) = self.labels.get_mut(*id as usize) {
                *known = Some(label);
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let [student, teacher] = &self.banks;
        let labels: Vec<i64> = self.labels.iter().map(|label| label.map_or(-1, i64::from)).collect();
        let mut state = BTreeMap::from([
            ("student".to_owned(), student.copy()?), // banks change in place
            ("teacher".to_owned(), teacher.copy()?),
            ("labels".to_owned(), Tensor::from_vec(labels, self.labels.len(), &Device::Cpu)?),
        ]);
        if let Some(logs) = self.log_partitions {
            state.insert("log-partitions".to_owned(), Tensor::new(&logs, &Device::Cpu)?);
        }
        Ok(state)
    }

    fn load(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let logs = state.remove("log-partitions").map(|logs| logs.to_vec1::<f32>()).transpose()?;
        let mut take = |name: &str, shape: &[usize]| match state.remove(name) {
            Some(tensor) if tensor.dims() == shape => Ok(tensor),
            Some(tensor) => Err(unknown(&format!("`{name}` has shape {:?}, expected {shape:?}", tensor.dims()))),
            None => Err(unknown(&format!("`{name}` is missing"))),
        };
        let shape = [self.labels.len(), self.embedding.width()];
        let banks = [take("student", &shape)?, take("teacher", &shape)?];
        let labels = take("labels", &shape[..1])?.to_vec1::<i64>()?;
        if let Some(name) = state.keys().next() {
            return Err(unknown(&format!("`{name}` is not known")));
        }
        let [student, teacher] = &banks;
        self.banks = [student.copy()?, teacher.copy()?];
        self.labels = labels.into_iter().map(|label| u32::try_from(label).ok()).collect();
        self.log_partitions = match logs.as_deref() {
            None => None,
            Some(&[own, other]) => Some([own, other]),
            Some(other) => return Err(unknown(&format!("{} log partitions, expected 2", other.len()))),
        };
        Ok(())
    }
}

fn unknown(problem: &str) -> Error {
    candle_core::Error::Msg(format!("CRD's memory: {problem}")).into()
}
