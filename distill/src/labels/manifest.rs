//! `store.json`: what the answers of a store are to.

use std::path::{Path, PathBuf};

use attar_data::Augment;
use attar_pixels::Preprocessing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::recipe::TeacherSource;

/// Version of the format.
pub(crate) const VERSION: u32 = 1;
/// Name of the manifest in a store.
pub(crate) const MANIFEST: &str = "store.json";

/// `store.json`: what the answers of a store are to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub version: u32,
    /// Program and version that wrote it.
    pub program: String,
    /// Name of the teacher in the recipe.
    pub teacher: String,
    /// Its network.
    pub network: String,
    /// sha256 of its weights.
    pub weights_sha256: String,
    /// Where it came from, relative to the store where that is shorter: asked again for a sample when the store is used.
    pub from: TeacherSource,
    /// The teacher's own preprocessing, where it sees the student's crops in its own size or by its own filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_preprocessing: Option<Preprocessing>,
    /// What was asked.
    pub asked: AnswersKey,
    /// Names of the classes in the order of the answers; absent from stores of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Fingerprint of the training images in their order, pixels and labels: what the answers are to. Absent from stores of
    /// before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_sha256: Option<String>,
    /// Classes kept of each sample.
    pub top: usize,
    /// sha256 of each finished epoch's file, from epoch 1.
    pub epochs: Vec<String>,
}

/// What determines every pixel that the teacher saw, but for the images themselves: those [`Manifest::images_sha256`] names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswersKey {
    /// Seed of the augmentation.
    pub seed: u64,
    /// Training images.
    pub samples: usize,
    /// Number of classes.
    pub classes: usize,
    /// sha256 of the labels of the training images in their order (`u32`, little endian).
    pub labels_sha256: String,
    /// Augmentation.
    pub augment: Vec<Augment>,
    /// The student's preprocessing.
    pub preprocessing: Preprocessing,
}

impl Manifest {
    /// Writes it into the store in `directory`.
    pub(crate) fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(MANIFEST);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Format { path: path.clone(), problem: error.to_string() })?;
        Ok(attar_formats::write::bytes(&path, &text)?)
    }
}

impl AnswersKey {
    /// In what two differ, in words.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, own: String, other: String| {
            if own != other {
                found.push(format!("{what}: {own} in the store, {other} here"));
            }
        };
        compare("seed", self.seed.to_string(), other.seed.to_string());
        compare("training images", self.samples.to_string(), other.samples.to_string());
        compare("classes", self.classes.to_string(), other.classes.to_string());
        compare("augmentation", format!("{:?}", self.augment), format!("{:?}", other.augment));
        compare("preprocessing", format!("{:?}", self.preprocessing), format!("{:?}", other.preprocessing));
        if found.is_empty() && self.labels_sha256 != other.labels_sha256 {
            found.push("the labels of the training images".to_owned());
        }
        found
    }
}

/// The file of an epoch.
pub(crate) fn epoch_file(epoch: usize) -> PathBuf {
    PathBuf::from(format!("epoch-{epoch:04}.labels"))
}
