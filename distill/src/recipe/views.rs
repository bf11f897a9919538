//! Views: other looks at each batch.

use attar_data::Augment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attack::{self, Climb};
use super::peers::STUDENT;

/// The name of the plain view of a batch, which is always there.
pub const CLEAN: &str = "clean";

/// `[[views]]`: another look at each batch. Student and teachers see the same pixels in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ViewSection {
    /// Name, unique among the views and not `clean`; a loss chooses it with `view = "NAME"`.
    pub name: String,
    /// How it is made from the plain batch.
    #[serde(flatten)]
    pub kind: ViewKind,
}

/// How a view is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ViewKind {
    /// The same images augmented another way, e.g. strongly, on the loaders' threads.
    Augmented {
        /// In place of `data.augment`.
        augment: Vec<Augment>,
        /// Begin each image's draws where the plain view's begin, so that the augmentations that both lists begin with
        /// cut and flip alike.
        #[serde(default)]
        same_draws: bool,
    },
    /// `x' = l x + (1 - l) x_p`, targets alike, `p` a permutation of the batch, `l ~ Beta(alpha, alpha)` once a batch
    /// (mixup: Zhang et al. 2018, arXiv 1710.09412).
    Mixup {
        /// Parameter of the beta distribution.
        #[serde(default = "one")]
        alpha: f64,
        /// Share of the batches that are mixed.
        #[serde(default = "one")]
        p: f64,
    },
    /// A box of each image is cut out and filled with that of another one; targets are mixed by area (CutMix: Yun et al.
    /// 2019, arXiv 1905.04899).
    Cutmix {
        /// Parameter of the beta distribution of the share that stays.
        #[serde(default = "one")]
        alpha: f64,
        /// Share of the batches that are mixed.
        #[serde(default = "one")]
        p: f64,
    },
    /// Images moved so that a network errs, within `epsilon` of where they were (PGD: Madry et al. 2018, arXiv 1706.06083;
    /// with one step of `epsilon` and no random start FGSM: Goodfellow et al. 2015, arXiv 1412.6572).
    Adversarial {
        /// The network that is attacked, in evaluation mode: `student`, a peer or a teacher.
        #[serde(default = "student")]
        against: String,
        /// What the attack climbs.
        #[serde(default)]
        climb: Climb,
        /// Largest change of a pixel, of its range 0 to 1.
        #[serde(default = "attack::epsilon")]
        epsilon: f64,
        /// Change a step.
        #[serde(default = "attack::step")]
        step: f64,
        /// Number of steps.
        #[serde(default = "attack::steps")]
        steps: usize,
        /// Start at a random place within `epsilon`.
        #[serde(default = "attack::random_start")]
        random_start: bool,
    },
    /// Images between and beyond pairs of the batch, `x_a + l (x_b - x_a)` with `l` uniform between `from` and `to`, of
    /// which those are kept that the teacher is least sure of (Extracurricular Learning: Pouransari et al. 2020, arXiv
    /// 2007.00051; our reading).
    Extracurricular {
        /// The teacher that chooses; the only one if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        teacher: Option<String>,
        /// Least `l`; below 0 it extrapolates.
        #[serde(default = "below")]
        from: f64,
        /// Largest `l`; above 1 it extrapolates.
        #[serde(default = "above")]
        to: f64,
        /// Candidates for each image that is kept; 1 keeps all.
        #[serde(default = "candidates")]
        candidates: usize,
    },
}

fn one() -> f64 {
    1.0
}

fn student() -> String {
    STUDENT.to_owned()
}

fn below() -> f64 {
    -0.25
}

fn above() -> f64 {
    1.25
}

fn candidates() -> usize {
    2
}
