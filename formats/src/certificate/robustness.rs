//! What a certificate says of harder images: how accurate each runtime is where they are corrupted, or were moved by an attack.

use attar_measures::Interval;
use serde::{Deserialize, Serialize};

/// Accuracy after export on images that were made harder. It is told and not judged: verdicts are about the plain images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Robustness {
    /// Number of the runtime, from 1, whose decisions the others are compared with: the first of 32-bit floats. Absent where
    /// there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<usize>,
    /// One entry a condition, the plain images before those that are corrupted.
    pub conditions: Vec<Condition>,
}

/// The same images under one condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// What was done to them.
    pub kind: ConditionKind,
    /// Name of the corruption or the attack; `clean` of plain images.
    pub name: String,
    /// Severity of a corruption, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    /// Number of images.
    pub images: usize,
    /// One entry a runtime, in the order of the certificate's.
    pub runtimes: Vec<UnderCondition>,
}

/// What was done to images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ConditionKind {
    /// Nothing.
    Clean,
    /// A common corruption, before preprocessing.
    Corruption,
    /// They were moved so that the trained network errs.
    Attack,
}

/// One runtime under a condition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnderCondition {
    /// Top-1 accuracy in percent.
    pub accuracy: f64,
    /// Against the baseline under the same condition; absent of the baseline itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<PairedAccuracy>,
}

/// The paired difference of two accuracies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PairedAccuracy {
    /// In points: this runtime's less the baseline's.
    pub difference: f64,
    /// Its score interval, in points.
    pub interval: Interval,
    /// Images that only this runtime classifies rightly.
    pub gained: u64,
    /// Images that only the baseline classifies rightly.
    pub lost: u64,
    /// Images with another top-1 class, right or wrong.
    pub flips: usize,
}

impl PairedAccuracy {
    /// Whether the whole interval lies on one side of 0.
    pub fn differs(&self) -> bool {
        self.interval.low > 0.0 || self.interval.high < 0.0
    }
}

impl Condition {
    /// For people: the name, and the severity where there is one.
    pub fn title(&self) -> String {
        match (self.kind, self.severity) {
            (ConditionKind::Attack, _) => format!("attack {}", self.name),
            (_, Some(severity)) => format!("{} {severity}", self.name),
            (_, None) => self.name.clone(),
        }
    }
}

impl Robustness {
    /// What the table is about, for people.
    pub fn title(&self) -> String {
        let to =
            self.baseline.map(|number| format!(", and the difference to [{number}] in points")).unwrap_or_default();
        format!("on harder images: accuracy in percent{to}")
    }

    /// The head of [`rows`](Self::rows): the condition, its images, and numbers of the runtimes.
    pub fn head(&self) -> Vec<String> {
        let runtimes = self.conditions.first().map_or(0, |condition| condition.runtimes.len());
        let before = ["", "images"].map(str::to_owned);
        before.into_iter().chain((1..=runtimes).map(|number| format!("[{number}]"))).collect()
    }

    /// One row a condition, and the mean over all corruptions; `difference` writes one.
    pub fn rows(&self, difference: impl Fn(&PairedAccuracy) -> String) -> Vec<Vec<String>> {
        let cell = |of: &UnderCondition| match &of.paired {
            None => format!("{:.2}", of.accuracy),
            Some(paired) => format!("{:.2} {}", of.accuracy, difference(paired)),
        };
        let row = |condition: &Condition| -> Vec<String> {
            let before = [condition.title(), condition.images.to_string()];
            before.into_iter().chain(condition.runtimes.iter().map(cell)).collect()
        };
        self.conditions.iter().map(row).chain(self.mean_row()).collect()
    }

    fn mean_row(&self) -> Option<Vec<String>> {
        let corrupted = || self.conditions.iter().filter(|condition| condition.kind == ConditionKind::Corruption);
        let (count, first) = (corrupted().count() as f64, corrupted().next()?);
        let accuracy = |of: &Condition, at: usize| of.runtimes.get(at).map_or(0.0, |runtime| runtime.accuracy);
        let mean = |at: usize| corrupted().map(|of| accuracy(of, at)).sum::<f64>() / count;
        let baseline = self.baseline.map(|number| mean(number.saturating_sub(1)));
        let cell = |at: usize| match baseline.filter(|_| self.baseline != Some(at + 1)) {
            None => format!("{:.2}", mean(at)),
            Some(baseline) => format!("{:.2} {:+.2}", mean(at), mean(at) - baseline),
        };
        let before = ["mean of corruptions", ""].map(str::to_owned);
        Some(before.into_iter().chain((0..first.runtimes.len()).map(cell)).collect())
    }

    /// Whether it is of so many runtimes; else what is wrong with it.
    pub(super) fn check(&self, runtimes: usize) -> Result<(), String> {
        if let Some(odd) = self.conditions.iter().find(|condition| condition.runtimes.len() != runtimes) {
            return Err(format!("`{}` is of {} runtimes, expected {runtimes}", odd.title(), odd.runtimes.len()));
        }
        match self.baseline {
            Some(number) if number == 0 || number > runtimes => {
                Err(format!("it compares with runtime {number} of {runtimes}"))
            }
            _ => Ok(()),
        }
    }
}
