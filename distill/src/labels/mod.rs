//! Stored soft labels: a teacher's answers to every augmented training image, written once, so that students learn from them
//! without the teacher (the idea of FKD: Shen and Xing 2022, arXiv 2112.01528; there the crops are stored too, here they
//! follow from the seed).
//!
//! A store is a directory: `store.json` ([`Manifest`]) says what the answers are to, `epoch-0001.labels` holds one record a
//! sample. Of many classes only the likeliest are kept, and what is left of the probability is spread over the others.

mod live;
mod record;
mod stamp;
mod store;
mod write;

use std::path::PathBuf;

use attar_data::Augment;
use attar_formats::Preprocessing;
use attar_formats::hash::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::plan::PlannedData;
use crate::recipe::TeacherSource;

pub use stamp::{Stamped, stamp};
pub(crate) use store::Store;
pub use write::{Told, write};

/// Version of the format.
const VERSION: u32 = 1;
/// Name of the manifest in a store.
const MANIFEST: &str = "store.json";

/// `store.json`: what the answers of a store are to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub asked: Asked,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
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

impl Asked {
    /// What a run over this data asks its teacher.
    pub(crate) fn of(data: &PlannedData, seed: u64) -> Self {
        let mut hash = Sha256::new();
        data.train.labels().iter().for_each(|label| hash.update(label.to_le_bytes()));
        Self {
            seed,
            samples: data.train.len(),
            classes: data.classes().len(),
            labels_sha256: hex(&hash.finalize()),
            augment: data.pipeline.augment.clone(),
            preprocessing: data.pipeline.preprocessing.clone(),
        }
    }

    /// In what two differ, in words.
    fn differences(&self, other: &Self) -> Vec<String> {
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

/// Fingerprint of the training images of a run in their order, in hex: all of them are decoded.
pub(crate) fn images_sha256(data: &PlannedData) -> Result<String> {
    Ok(hex(&attar_data::fingerprint(data.train.as_ref())?))
}

/// The file of an epoch.
fn epoch_file(epoch: usize) -> PathBuf {
    PathBuf::from(format!("epoch-{epoch:04}.labels"))
}
