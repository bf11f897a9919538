//! Who and what a recipe brings on besides student and teachers: peers that learn along, views of a batch, and the names
//! by which a loss chooses among them.

use attar_data::Augment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NetworkSection;

/// The name of the plain view of a batch, which is always there.
pub const CLEAN: &str = "clean";
/// The name of the student that is exported, for a loss that has to say so.
pub const STUDENT: &str = "student";

/// `[[peers]]`: a network that learns beside the student (deep mutual learning), from its own losses and from the student;
/// never exported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Name, unique among peers and teachers: a loss may name it as its `student` or its `teacher`.
    pub name: String,
    /// The network; classes and input size follow from the data where they are not written.
    pub network: NetworkSection,
}

/// In what order the student and its peers move in a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// All at once, each by what the others answered before the step.
    #[default]
    Together,
    /// One after the other, the student first and then the peers in their order, each by what the others answer once those
    /// before it have moved (deep mutual learning: Zhang et al. 2018, arXiv 1706.00384, Algorithm 1). Each turn runs the networks
    /// that it reads again, clips its own gradient and has an optimiser of its own.
    InTurn,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a name or a list of names")]
pub enum Names {
    /// `"clean"`
    One(String),
    /// `["weak", "strong"]`
    Many(Vec<String>),
}

impl Names {
    /// The names in their order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

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
        #[serde(default = "eight")]
        epsilon: f64,
        /// Change a step.
        #[serde(default = "two")]
        step: f64,
        /// Number of steps.
        #[serde(default = "ten")]
        steps: usize,
        /// Start at a random place within `epsilon`.
        #[serde(default = "yes")]
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

/// `[[robustness]]`: an attack that the exported weights meet on the test images at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobustnessSection {
    /// Name, unique, e.g. `pgd-20`.
    pub name: String,
    /// Largest change of a pixel, of its range 0 to 1.
    #[serde(default = "eight")]
    pub epsilon: f64,
    /// Change a step.
    #[serde(default = "two")]
    pub step: f64,
    /// Number of steps; one step of `epsilon` without a random start is FGSM.
    #[serde(default = "ten")]
    pub steps: usize,
    /// Start at a random place within `epsilon`.
    #[serde(default = "yes")]
    pub random_start: bool,
}

/// What an adversarial view climbs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Climb {
    /// The cross-entropy with the labels.
    #[default]
    Labels,
    /// The divergence from the network's own answer to the plain image, as TRADES does (Zhang et al. 2019, arXiv
    /// 1901.08573).
    Divergence,
}

fn one() -> f64 {
    1.0
}

fn student() -> String {
    STUDENT.to_owned()
}

fn eight() -> f64 {
    8.0 / 255.0
}

fn two() -> f64 {
    2.0 / 255.0
}

fn ten() -> usize {
    10
}

fn yes() -> bool {
    true
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
