//! Attacks: their settings, the usual ones, what is checked of them, and the table of those that a student meets at the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How images are moved so that a network errs (PGD: Madry et al. 2018, arXiv 1706.06083), whichever table says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attack {
    /// Largest change of a pixel, of its range 0 to 1.
    pub epsilon: f64,
    /// Change a step, of the same range.
    pub step: f64,
    /// Number of steps.
    pub steps: usize,
    /// Start at a random place within `epsilon`.
    pub random_start: bool,
    /// What the attack climbs.
    pub climb: Climb,
}

impl Attack {
    /// What holds where a table says nothing else.
    pub const USUAL: Self =
        Self { epsilon: 8.0 / 255.0, step: 2.0 / 255.0, steps: 10, random_start: true, climb: Climb::Labels };

    /// Whether it moves anything: else the key that is wrong, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, value) in [("epsilon", self.epsilon), ("step", self.step)] {
            if !(value > 0.0 && value <= 1.0) {
                return Err((key, format!("{value}, expected a number above 0, to 1: of the range of pixels 0 to 1")));
            }
        }
        if self.steps == 0 {
            return Err(("steps", "0, expected at least 1".to_owned()));
        }
        if self.climb == Climb::Divergence && !self.random_start {
            let problem = "false, but where it starts the divergence has no slope, and nothing would move";
            return Err(("random_start", problem.to_owned()));
        }
        Ok(())
    }
}

impl From<&RobustnessSection> for Attack {
    fn from(section: &RobustnessSection) -> Self {
        let &RobustnessSection { name: _, epsilon, step, steps, random_start } = section;
        Self { epsilon, step, steps, random_start, climb: Climb::Labels }
    }
}

/// `[[robustness]]`: an attack that the exported weights meet on the test images at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobustnessSection {
    /// Name, unique, e.g. `pgd-20`.
    pub name: String,
    /// Largest change of a pixel, of its range 0 to 1.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
    /// Change a step.
    #[serde(default = "step")]
    pub step: f64,
    /// Number of steps; one step of `epsilon` without a random start is FGSM.
    #[serde(default = "steps")]
    pub steps: usize,
    /// Start at a random place within `epsilon`.
    #[serde(default = "random_start")]
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

pub(super) fn epsilon() -> f64 {
    Attack::USUAL.epsilon
}

pub(super) fn step() -> f64 {
    Attack::USUAL.step
}

pub(super) fn steps() -> usize {
    Attack::USUAL.steps
}

pub(super) fn random_start() -> bool {
    Attack::USUAL.random_start
}
