//! What a teacher was worth before the first step, as checkpoints, events and receipts keep it.

use attar_measures::percent;
use serde::{Deserialize, Serialize};

/// What a teacher was worth before the first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TeacherCheck {
    /// What it was measured on.
    pub on: CheckedOn,
    /// Images it was asked about.
    pub images: usize,
    /// Images there are of the kind.
    pub of: usize,
    /// Images that it was right about.
    pub correct: usize,
    /// What is suspicious about it, and the likely cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What a teacher was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CheckedOn {
    /// The images held out.
    Validation,
    /// Training images without augmentation, where none are held out.
    Training,
    /// Its stored answers to training images, as augmented in the first epoch.
    StoredAnswers,
}

impl TeacherCheck {
    /// Accuracy in percent.
    pub fn top1(&self) -> f64 {
        percent(self.correct, self.images)
    }

    /// Which images these are, for people: `the images held out`.
    pub fn images_in_words(&self) -> String {
        let kind = match self.on {
            CheckedOn::Validation => "images held out",
            CheckedOn::Training => "training images, not augmented",
            CheckedOn::StoredAnswers => "training images, by its stored answers of the first epoch",
        };
        match self.images < self.of {
            true => format!("{} of the {} {kind}", self.images, self.of),
            false => format!("the {kind}"),
        }
    }
}
