//! Plackett-Luce distillation (PLD: Bassam et al. 2025, arXiv 2506.12542): the student ranks the classes as the teacher does,
//! the label first.
//!
//! `(1 / N) sum_n sum_k q_{n, pi_k} (log sum_{j >= k} exp(z_{n, pi_j}) - z_{n, pi_k})`, where `pi` is the label and then the
//! other classes by falling teacher logit (of equal ones the first), and `q` the teacher's softmax at `temperature`: 1 on
//! ImageNet, 4 on CIFAR. Convex in the student's logits. A teacher that is sure of the label makes it cross-entropy, so that it
//! needs none beside it.
//!
//! From the paper's text; where the student's logits from a place on all lie further than 69 below the largest of their row,
//! that place costs nothing, so that no logarithm is taken of nothing.

use candle_core::{D, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::{Basis, BuildContext, Entry, Loss, Spec, Step, Teachers, log_softmax};

/// Settings of [`pld`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PldSpec {
    /// Softens the teacher's probabilities; the paper's ImageNet: 1, CIFAR: 4.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
}

fn one() -> f64 {
    1.0
}

/// The mean over samples of the ranking's weighted negative log-likelihood, for logits `[N, K]` and labels `[N]` of `u32`. The
/// teacher is a constant.
///
/// # Errors
/// Shapes that differ, a label that is no class, or a device that failed.
pub fn pld(student: &Tensor, teacher: &Tensor, labels: &Tensor, temperature: f64) -> Result<Tensor> {
    let suffixes = &from_here_on(student)?;
    let teacher = teacher.detach();
    let order = ranking(&teacher, labels)?;
    let weights = log_softmax(&(teacher / temperature)?)?.exp()?.contiguous()?.gather(&order, D::Minus1)?;
    let shifted = student.broadcast_sub(&student.detach().max_keepdim(D::Minus1)?)?;
    let ranked = shifted.contiguous()?.gather(&order, D::Minus1)?;
    let sums = ranked.exp()?.matmul(suffixes)?;
    // Of a far last class the sum is its own exponential, so that its place costs nothing.
    let is_far = sums.detach().le(1e-30)?;
    let rest = is_far.where_cond(&ranked, &sums.maximum(1e-30)?.log()?)?;
    Ok((weights * (rest - ranked)?)?.sum(D::Minus1)?.mean_all()?)
}

/// For each sample the label, then the other classes by falling logit, `[N, K]` of `u32`.
fn ranking(teacher: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (samples, classes) = teacher.dims2()?;
    let rows = teacher.to_device(&Device::Cpu)?.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
    let mut order = Vec::with_capacity(samples * classes);
    for (row, label) in rows.iter().zip(labels.to_vec1::<u32>()?) {
        let mut ranked: Vec<u32> = (0..classes as u32).collect();
        ranked.sort_by(|a, b| {
            let later = |class: u32| class != label;
            later(*a).cmp(&later(*b)).then(row[*b as usize].total_cmp(&row[*a as usize]))
        });
        order.extend(ranked);
    }
    Ok(Tensor::from_vec(order, (samples, classes), teacher.device())?)
}

/// `[K, K]` with 1 where the row is at or below the column: a product with it sums each row from a place on.
fn from_here_on(like: &Tensor) -> Result<Tensor> {
    let classes = like.dim(D::Minus1)?;
    let ones = (0..classes * classes).map(|i| f64::from(u8::from(i / classes >= i % classes))).collect();
    Ok(Tensor::from_vec::<_, f64>(ones, (classes, classes), like.device())?.to_dtype(like.dtype())?)
}

impl Spec for PldSpec {
    const ENTRY: Entry = Entry {
        kind: "pld",
        summary: "The teacher's ranking of the classes decides, the label first, each place weighed by the teacher's probability.",
        paper: "Bassam et al. 2025, arXiv 2506.12542 (PLD)",
        basis: Basis::Paper,
        teachers: Teachers::One,
    };

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        context.positive("temperature", self.temperature)?;
        context.same_classes()?;
        Ok(Box::new(Pld { temperature: self.temperature }))
    }
}

#[derive(Debug)]
struct Pld {
    temperature: f64,
}

impl Loss for Pld {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let view = step.view()?;
        pld(&view.student.logits, &view.teacher()?.logits, view.labels, self.temperature)
    }
}
