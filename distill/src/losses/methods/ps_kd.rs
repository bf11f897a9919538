//! Progressive self-knowledge distillation (PS-KD: Kim et al. 2021, arXiv 2006.12000): the student learns from its own
//! answers of an epoch ago, which it trusts more and more.
//!
//! Cross-entropy with `(1 - a) y + a p`, mean over the batch; `p` is the student's softmax when it last saw the sample,
//! and `a = alpha e / E` in epoch `e` (from 1) of `E`. No teacher, no temperature. As in the authors' code, the "model
//! of the previous epoch" is a table of its answers during training, `[images, K]` in the host's memory, filled as
//! samples pass: 4 bytes for each image and class, 20 MB for CIFAR-100, 5 GB for ImageNet, and as much in a checkpoint.
//!
//! Deviation from the authors' code: a sample that was not seen before has its own target for `p`, in any epoch (theirs
//! has the label in the first epoch, and zeros later on).

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::methods::cross_entropy::cross_entropy;
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Teachers, log_softmax};

/// Settings of progressive self-distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PsKdSpec {
    /// Share of the student's past in the targets of the last epoch.
    #[serde(default = "authors_alpha")]
    #[schemars(extend("minimum" = 0, "maximum" = 1))]
    pub alpha: f64,
}

fn authors_alpha() -> f64 {
    0.8
}

/// The share of the past in the targets at `time` (fractional epoch, from 1): `alpha e / E` in epoch `e` of `E`.
pub fn share(alpha: f64, time: f64, epochs: f64) -> f64 {
    alpha * (time.floor() / epochs.max(1.0)).clamp(0.0, 1.0)
}

/// `(1 - a) t + a p`, for targets and past answers `[N, K]`; the past is a constant.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn progressive(targets: &Tensor, past: &Tensor, share: f64) -> Result<Tensor> {
    Ok(((targets * (1.0 - share))? + (past.detach() * share)?)?)
}

impl Spec for PsKdSpec {
    const ENTRY: Entry = Entry {
        kind: "ps-kd",
        summary: "The labels decide, mixed more and more with the student's own answers of an epoch ago.",
        paper: "Kim et al. 2021, arXiv 2006.12000 (PS-KD)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::None,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(context.error("alpha", format!("{} is not in [0, 1]", self.alpha)));
        }
        let classes = context.student.output_shape().iter().product::<usize>().max(1);
        Ok(Box::new(PsKd { alpha: self.alpha, classes, past: vec![0.0; classes * context.samples] }))
    }
}

/// `past` holds the answers image by image; a row of zeros is a sample not seen yet, for answers sum to 1.
struct PsKd {
    alpha: f64,
    classes: usize,
    past: Vec<f32>,
}

/// The name of the table in a checkpoint.
const PAST: &str = "past";

impl std::fmt::Debug for PsKd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PsKd").field("alpha", &self.alpha).field("classes", &self.classes).finish_non_exhaustive()
    }
}

impl PsKd {
    /// Where the answer for a sample stands in the table.
    fn row(&self, id: u32) -> Result<std::ops::Range<usize>> {
        let start = id as usize * self.classes;
        if start + self.classes > self.past.len() {
            return Err(problem(format!("sample {id} is beyond the images of the training set")));
        }
        Ok(start..start + self.classes)
    }

    /// What the student answered to these samples when it last saw them, `[N, K]`; the target where it never did.
    fn recall(&self, ids: &[u32], targets: &Tensor) -> Result<Tensor> {
        let mut rows = targets.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        for (row, id) in rows.chunks_exact_mut(self.classes).zip(ids) {
            let past = self.past.get(self.row(*id)?).unwrap_or_default();
            if past.iter().any(|p| *p != 0.0) {
                row.copy_from_slice(past);
            }
        }
        Ok(Tensor::from_vec(rows, targets.shape(), targets.device())?)
    }
}

fn problem(what: String) -> crate::Error {
    candle_core::Error::Msg(what).into()
}

impl Loss for PsKd {
    fn remembers_images(&self) -> bool {
        true
    }

    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        let logits = &view.student.logits;
        let targets = view.targets.to_dtype(logits.dtype())?;
        let past = self.recall(view.ids, &targets)?.to_dtype(logits.dtype())?;
        cross_entropy(logits, &progressive(&targets, &past, share(self.alpha, step.time, step.epochs))?, 0.0)
    }

    fn after(&mut self, step: &Step<'_>) -> Result<()> {
        let view = step.view()?;
        let answers = log_softmax(&view.student.logits.detach())?.exp()?.to_dtype(DType::F32)?;
        let answers = answers.flatten_all()?.to_vec1::<f32>()?;
        for (answer, id) in answers.chunks_exact(self.classes).zip(view.ids) {
            let row = self.row(*id)?;
            if let Some(past) = self.past.get_mut(row) {
                past.copy_from_slice(answer);
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let shape = (self.past.len() / self.classes.max(1), self.classes);
        Ok(BTreeMap::from([(PAST.to_owned(), Tensor::from_slice(&self.past, shape, &Device::Cpu)?)]))
    }

    fn load(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        let found = state.remove(PAST).filter(|past| {
            state.is_empty() && past.dims2().is_ok_and(|(n, k)| k == self.classes && n * k == self.past.len())
        });
        let Some(past) = found else {
            let images = self.past.len() / self.classes.max(1);
            return Err(problem(format!("expected the state `{PAST}` of shape [{images}, {}] alone", self.classes)));
        };
        self.past = past.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(())
    }
}
