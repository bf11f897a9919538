//! What a certificate says in numbers: of goldens, and of decisions over paired images.

use attar_measures::Interval;
use serde::{Deserialize, Serialize};

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
    /// Every class with paired images, in the order of the labels; absent from certificates of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassChange>,
    /// Logits and decision margins.
    pub logits: LogitNumbers,
    /// Expected calibration error (15 bins).
    pub calibration_error: Both,
    /// Mean negative log-likelihood of the labels, in nats; the reference's is absent when it stored too few logits.
    pub negative_log_likelihood: Both,
    /// Mean Brier score, 0 to 2; the reference's is absent when it stored too few logits. Absent from certificates of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brier_score: Option<Both>,
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
