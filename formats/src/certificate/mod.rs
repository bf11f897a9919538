//! The certificate: what was compared with what, what came out, and the verdict. It is data; text, HTML and JSON show it.

mod answers;
mod text;
mod verdict;

use std::collections::BTreeMap;

use attar_measures::Interval;
use serde::{Deserialize, Serialize};

use crate::bundle::Answerer;

pub use answers::Answers;
pub use verdict::Verdict;

/// The layout of a [`Certificate`].
pub const CERTIFICATE_VERSION: u32 = 1;

/// A parity certificate. Accuracies, differences and limits are in percent or percentage points; differences are runtime
/// minus reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Certificate {
    /// [`CERTIFICATE_VERSION`].
    pub certificate_version: u32,
    /// Program and version that made it.
    pub program: String,
    /// What was verified, a bundle or an ONNX file.
    pub bundle: BundleFacts,
    /// The file that gave the answers which are compared with, where they are not those of the network that was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceFacts>,
    /// The margin: how many points of accuracy may be lost and still be called equivalent.
    pub margin_points: f64,
    /// Confidence of all intervals, 0.95.
    pub confidence: f64,
    /// The labelled images, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataFacts>,
    /// One entry a runtime and precision.
    pub runtimes: Vec<Runtime>,
    /// Runtimes that this program knows but could not use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// The worst verdict of the runtimes.
    pub verdict: Verdict,
}

/// Which bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BundleFacts {
    /// Name of the network.
    pub network: String,
    /// Number of classes.
    pub classes: usize,
    /// sha256 of the weights whose answers are the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_weights_sha256: Option<String>,
}

/// A file of others that answered: asked live, or before a bundle was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReferenceFacts {
    /// The file.
    pub file: String,
    /// Its sha256, 64 hexadecimal digits.
    pub file_sha256: String,
    /// The same of each file beside it that holds arrays of it, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_files: BTreeMap<String, String>,
    /// Precision of its arithmetic.
    pub precision: String,
    /// Name of the runtime.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// What it gives; anything but logits was turned into them, and is compared after a log-softmax of both sides.
    #[serde(default, skip_serializing_if = "Answers::are_logits")]
    pub answers: Answers,
    /// How its classes were found, and what nobody stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl From<&Answerer> for ReferenceFacts {
    fn from(answerer: &Answerer) -> Self {
        let Answerer { file, file_sha256, data_files, precision, engine, version } = answerer.clone();
        let (answers, notes) = (Answers::Logits, Vec::new());
        Self { file, file_sha256, data_files, precision, engine, version, answers, notes }
    }
}

/// Which labelled images, and how far the reference covers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DataFacts {
    /// Images in the data set.
    pub images: usize,
    /// Those among them that the reference has answered (same pixels), each answer paired once. Only they are compared.
    pub paired: usize,
    /// Images that repeat a paired one more often than the reference holds it; they are not compared again.
    pub repeated: usize,
    /// Paired images that the reference counts as validation images.
    pub paired_validation: usize,
    /// Paired images that the reference counts as test images.
    pub paired_test: usize,
    /// Test images that the reference has answered.
    pub reference_test: usize,
    /// What was put right or chosen: classes found by name in another order, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Images that could not be read and were left out because that was asked for. They are not among `images`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// An image that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeftOut {
    /// How the data set calls it.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A runtime that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Skipped {
    /// Its name.
    pub engine: String,
    /// Why.
    pub reason: String,
}

/// What one runtime did with one model file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Runtime {
    /// Name of the runtime.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The model file.
    pub file: String,
    /// Its sha256 (64 hexadecimal digits): the certificate is about these bytes and no others.
    pub file_sha256: String,
    /// The same of each file beside it that holds arrays of it, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_files: BTreeMap<String, String>,
    /// Precision of its arithmetic.
    pub precision: String,
    /// What the file gives; anything but logits was turned into them, and is compared after a log-softmax of both sides.
    #[serde(default, skip_serializing_if = "Answers::are_logits")]
    pub answers: Answers,
    /// Seconds the runtime took for all images, decoding and preprocessing not counted.
    pub seconds: f64,
    /// The goldens, if the bundle has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goldens: Option<GoldenNumbers>,
    /// Top-1 accuracy over all labelled images, paired or not, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_all: Option<f64>,
    /// The comparison with the reference over the paired images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<Paired>,
    /// The verdict on this runtime.
    pub verdict: Verdict,
    /// Why it is worse, where that is not for its decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Logits of the goldens: a few images, compared number by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GoldenNumbers {
    /// Number of images.
    pub count: usize,
    /// `real` or `synthetic`.
    pub kind: String,
    /// Largest difference between this machine's preprocessing of the image files and the stored network input.
    pub input_max_diff: f64,
    /// Largest difference of a logit, from the stored network input.
    pub logit_max_diff: f64,
    /// The same, from the image files.
    pub logit_max_diff_from_files: f64,
    /// Standard deviation of the reference's logits over all goldens, the yardstick for the two above.
    pub logit_sd: f64,
    /// Images whose top-1 class differs, from the files.
    pub flips: usize,
    /// Whether the largest logit difference is rounding of 32-bit floats: at most [`Self::TOLERANCE`] of the standard
    /// deviation.
    pub within_rounding: bool,
    /// The share of the standard deviation that the precision of the model allows; `None` where numbers are not judged,
    /// because a lower precision changes them as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

impl GoldenNumbers {
    /// Float32 runtimes that do the same arithmetic in another order stay below 1e-4 of the logits' standard deviation, deep
    /// networks included; ten times that is a fault and not rounding.
    pub const TOLERANCE: f64 = 1e-3;

    /// The share of the standard deviation that a precision allows.
    pub fn allowed(precision: &str) -> Option<f64> {
        (precision == "f32").then_some(Self::TOLERANCE)
    }

    /// The largest logit difference in units of the standard deviation.
    pub fn share_of_spread(&self) -> f64 {
        self.logit_max_diff / self.logit_sd.max(f64::MIN_POSITIVE)
    }

    /// What is beyond the tolerance, for people; `None` where nothing is, or nothing is judged.
    pub fn problem(&self) -> Option<String> {
        let tolerance = self.tolerance?;
        let beyond = |difference: f64| difference > tolerance * self.logit_sd;
        let share = |difference: f64| difference / self.logit_sd.max(f64::MIN_POSITIVE);
        if beyond(self.logit_max_diff) {
            return Some(format!(
                "the goldens' logits differ by up to {:.2e}, {:.1e} of their spread; rounding stays below {tolerance:.0e}",
                self.logit_max_diff,
                share(self.logit_max_diff)
            ));
        }
        beyond(self.logit_max_diff_from_files).then(|| {
            format!(
                "from their image files, the goldens' logits differ by up to {:.2e}, {:.1e} of their spread (their pixels \
                 after preprocessing by {:.1e})",
                self.logit_max_diff_from_files,
                share(self.logit_max_diff_from_files),
                self.input_max_diff
            )
        })
    }
}

/// Decisions over the paired images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Paired {
    /// Number of paired images.
    pub images: usize,
    /// Share of images with the same top-1 class, in percent.
    pub agreement: f64,
    /// Top-1 accuracy of the reference, in percent.
    pub reference_accuracy: f64,
    /// Top-1 accuracy of the runtime, in percent.
    pub runtime_accuracy: f64,
    /// Difference of the two, in points.
    pub difference: f64,
    /// Its score interval, in points.
    pub interval: Interval,
    /// Images that only the runtime classifies rightly.
    pub gained: u64,
    /// Images that only the reference classifies rightly.
    pub lost: u64,
    /// Images with another top-1 class, right or wrong.
    pub flips: usize,
    /// The flipped images with the largest reference margin first; at most as many as were asked for.
    pub flipped: Vec<Flip>,
    /// The class that lost most.
    pub worst_class: ClassChange,
    /// Logits and decision margins.
    pub logits: LogitNumbers,
    /// Expected calibration error (15 bins).
    pub calibration_error: Both,
    /// Mean negative log-likelihood of the labels, in nats; the reference's is absent when it stored too few logits.
    pub negative_log_likelihood: Both,
    /// Exact two-sided p of McNemar's test, for information only.
    pub mcnemar_p: f64,
}

/// One image whose decision changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Flip {
    /// Position in the data set.
    pub index: usize,
    /// How the data set calls it.
    pub name: String,
    /// Its label.
    pub label: String,
    /// What the reference says.
    pub reference: String,
    /// What the runtime says.
    pub runtime: String,
    /// Distance between the reference's two largest logits.
    pub reference_margin: f32,
    /// Distance between the runtime's two largest logits.
    pub runtime_margin: f32,
    /// The image as PNG, for the HTML page only.
    #[serde(skip)]
    pub png: Option<Vec<u8>>,
}

/// How one class fared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClassChange {
    /// Its name.
    pub class: String,
    /// Paired images with this label.
    pub images: usize,
    /// Accuracy of the reference on it, in percent.
    pub reference_accuracy: f64,
    /// Accuracy of the runtime on it, in percent.
    pub runtime_accuracy: f64,
}

/// The largest error of a logit against the margins by which decisions are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogitNumbers {
    /// Whether all logits were compared, or only the largest ones that the reference stored.
    pub all_compared: bool,
    /// Largest difference of a logit.
    pub max_diff: f64,
    /// Smallest decision margin of the reference.
    pub smallest_margin: f64,
    /// Median decision margin of the reference.
    pub median_margin: f64,
    /// Images whose margin is at most twice the largest difference: only these could flip by rounding.
    pub within_reach: usize,
}

/// One number for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Both {
    /// Of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Of the runtime.
    pub runtime: f64,
}
