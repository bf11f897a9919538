//! Wasserstein distillation of logits (WKD-L: Lv et al. 2024, arXiv 2412.08139): the probabilities of the classes
//! beside the label are earth that the student must move to where the teacher has it, and between alike classes the way
//! is short.
//!
//! `-(target / N) sum_n p_t,y log p_s,y + (transport / N) sum_n W_n`: the first term at temperature 1, as in NKD; `W`
//! the cost of the plan that Sinkhorn's iterations give between the softmaxes at `T` over the `K - 1` classes beside
//! the label. It stands beside the ordinary cross-entropy. The authors let `transport` fall to 0 by a cosine, on
//! CIFAR-100 from epoch 150 of 240, on ImageNet from the start: write the loss twice, once with `target = 0` and knots as its
//! weight. With `standardise` the label's term reads standardised logits too, where LSKD does not go: our reading.
//!
//! Deviations from the authors' code: none in numbers. Theirs cuts one `(K - 1)^2` matrix of costs for each sample;
//! ours keeps one matrix for all and gives the label no mass, which is the same and much smaller.

mod cost;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::losses::methods::nkd::trusted_label;
use crate::losses::parts::logits::{Standardise, label_mask, several_classes};
use crate::losses::{Basis, BuildContext, Entry, Idle, Loss, Spec, Step, Teachers, changed};

pub use cost::{Cost, CostFile, Holds, distances, sharpened};

/// Settings of [`transport`] and of the costs before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WkdLSpec {
    /// How far classes are from each other: all alike, or a tensor of a .safetensors or .pth file:
    /// distances [K, K]; prototypes [K, D] such as a teacher's `fc.weight`, compared by cosine; or
    /// features [K, n, D] of n images a class, compared by CKA as in the paper.
    pub cost: Cost,
    /// Contrast of the costs, 1 - exp(-sharpen distance); 0 takes distances as they are.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 0))]
    pub sharpen: f64,
    /// Softens the classes beside the label; the authors' CIFAR-100: 8.
    #[serde(default = "two")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Weight of the label's own term.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 0))]
    pub target: f64,
    /// Weight of the transport; the authors' CIFAR-100: 600.
    #[serde(default = "thirty")]
    #[schemars(extend("minimum" = 0))]
    pub transport: f64,
    /// Sinkhorn's: the smaller, the nearer to the cheapest plan.
    #[serde(default = "twentieth")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub regulariser: f64,
    /// Sinkhorn's iterations.
    #[serde(default = "ten")]
    #[schemars(extend("minimum" = 1, "maximum" = 1000))]
    pub iterations: usize,
    /// Gives each sample's logits mean 0 and deviation 1 first, in both networks (LSKD, arXiv
    /// 2403.01427).
    #[serde(default)]
    pub standardise: Standardise,
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

fn thirty() -> f64 {
    30.0
}

fn twentieth() -> f64 {
    0.05
}

fn ten() -> usize {
    10
}

/// Iterations beyond which a setting is surely a slip; each is kept for the backward pass.
const MOST_ITERATIONS: usize = 1000;

/// Keeps a division by an underflowed sum finite, as in the authors' code.
const GUARD: f64 = 1e-8;

/// The mean over the samples of what it costs to move the student's probabilities of the classes beside the label to
/// the teacher's, both softmaxes at `temperature`: `sum_ij F_ij C_ij` with Sinkhorn's plan
/// `F = diag(u) exp(-C / r) diag(v)` after `iterations` of `v = p_t / (exp(-C / r)' u)`, `u = p_s / (exp(-C / r) v)`
/// from `u = 1 / (K - 1)`. Logits are `[N, K]` (`K >= 2`), `labels` `[N]` of `u32`, `cost` is `C`, `[K, K]`, negative
/// costs counting as 0. Gradients pass all iterations; the teacher and the costs are constants.
///
/// # Errors
/// Shapes that differ, or a device that failed.
pub fn transport(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    cost: &Tensor,
    temperature: f64,
    regulariser: f64,
    iterations: usize,
) -> Result<Tensor> {
    let (_, classes) = student.dims2()?;
    let label = label_mask(labels, classes)?;
    let beside = (1.0 - label.to_dtype(student.dtype())?)?;
    let from = masses(student, &label, &beside, temperature)?;
    let to = masses(&teacher.detach(), &label, &beside, temperature)?;
    let cost = (cost.detach().to_device(student.device())?.to_dtype(student.dtype())?.maximum(0.0)? + GUARD)?;
    let kernel = (&cost * (-1.0 / regulariser))?.exp()?;
    let transposed = kernel.t()?.contiguous()?;
    let mut u = (beside / (classes.max(2) - 1) as f64)?;
    let mut v = to.zeros_like()?;
    for _ in 0..iterations {
        v = (&to / (u.matmul(&kernel)? + GUARD)?)?;
        u = (&from / (v.matmul(&transposed)? + GUARD)?)?;
    }
    let paid = (u.matmul(&(kernel * cost)?)? * v)?;
    Ok(paid.sum(1)?.mean_all()?)
}

/// The softmax at `temperature` over the classes beside the label, and 0 at the label: `[N, K]`.
fn masses(logits: &Tensor, label: &Tensor, beside: &Tensor, temperature: f64) -> Result<Tensor> {
    let z = (logits / temperature)?;
    // The label's logit steps back, so that the largest is one of the others and the sum is never below 1.
    let least = z.detach().min_keepdim(1)?.broadcast_as(z.shape())?.contiguous()?;
    let z = label.where_cond(&least, &z.contiguous()?)?;
    let mass = (z.broadcast_sub(&z.detach().max_keepdim(1)?)?.exp()? * beside)?;
    Ok(mass.broadcast_div(&mass.sum_keepdim(1)?)?)
}

impl Spec for WkdLSpec {
    const ENTRY: Entry = Entry {
        kind: "wkd-l",
        summary: "The label decides as far as the teacher trusts it; among the other classes the student pays for moving its probabilities to the teacher's, less between classes that are alike.",
        paper: "Lv et al. 2024, arXiv 2412.08139 (WKD-L)",
        basis: Basis::AuthorsCode,
        teachers: Teachers::One,
    };

    fn files(&mut self) -> Vec<&mut std::path::PathBuf> {
        self.cost.file().into_iter().collect()
    }

    fn idle(&self) -> Vec<Idle> {
        if self.transport > 0.0 {
            return Vec::new();
        }
        let none = changed([("target", self.target == 0.0)], "with transport it is 0, and the loss with them");
        let read = [
            ("sharpen", self.sharpen != one()),
            ("temperature", self.temperature != two()),
            ("regulariser", self.regulariser != twentieth()),
            ("iterations", self.iterations != ten()),
        ];
        [none, changed(read, "transport is 0, and it is read for that only")].concat()
    }

    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
        for (name, value) in [("temperature", self.temperature), ("regulariser", self.regulariser)] {
            context.positive(name, value)?;
        }
        for (name, value) in [("sharpen", self.sharpen), ("target", self.target), ("transport", self.transport)] {
            context.at_least_zero(name, value)?;
        }
        if !(1..=MOST_ITERATIONS).contains(&self.iterations) {
            let problem = format!("{}, expected 1 to {MOST_ITERATIONS}", self.iterations);
            return Err(context.error("iterations", problem));
        }
        self.standardise.check(context)?;
        let classes = several_classes(context)?;
        let cost = sharpened(&self.cost.distances(context, classes)?, self.sharpen)?;
        Ok(Box::new(WkdL { spec: self.clone(), cost }))
    }
}

#[derive(Debug)]
struct WkdL {
    spec: WkdLSpec,
    cost: Tensor,
}

impl Loss for WkdL {
    fn loss(&self, step: &Step<'_>) -> Result<Tensor> {
        let (view, spec) = (step.view()?, &self.spec);
        let (student, teacher) = spec.standardise.pair(&view.student.logits, &view.teacher()?.logits)?;
        let label = trusted_label(&student, &teacher, view.labels)?;
        let WkdLSpec { temperature, regulariser, iterations, .. } = *spec;
        let moved = transport(&student, &teacher, view.labels, &self.cost, temperature, regulariser, iterations)?;
        Ok(((label * spec.target)? + (moved * spec.transport)?)?)
    }
}
