//! The certificate: what was compared with what, what came out, and the verdict. It is data; text, HTML and JSON show it.

mod answers;
mod integers;
mod numbers;
mod robustness;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use answers::Answers;
pub use integers::{Allowed, Beyond16Bits, Compression, Cpu, Implementation, IntegerReference};
pub use numbers::{Both, ClassChange, Flip, GoldenNumbers, LogitNumbers, Paired};
pub use robustness::{Condition, ConditionKind, PairedAccuracy, Robustness, UnderCondition};
pub use summary::SummaryRow;
pub use verdict::Verdict;

use crate::bundle::Answerer;
use crate::error::{Error, Result};
use crate::{files, json, write};

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
    /// The CPU that all of it ran on; absent from certificates of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Of each 8-bit file the answers that its integers are defined to give, and what was lost by quantising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integers: Vec<IntegerReference>,
    /// Accuracy on corrupted images, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robustness: Option<Robustness>,
    /// Runtimes that this program knows but could not use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// The worst verdict of the runtimes.
    pub verdict: Verdict,
}

/// A certificate as it is written: behind the version that everything has which leaves a verb.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    certificate: &'a Certificate,
}

impl Certificate {
    /// Reads a certificate of a bundle's `certificates/`, or what `attar verify --json` printed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the path for what is no certificate, or one that [`check`](Self::check) refuses.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            files::read(path, files::MOST_TEXT).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_json(&bytes, path)
    }

    /// [`read`](Self::read) of bytes; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_json(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
        let value: serde_json::Value = json::parse(path, bytes)?;
        match value.get("certificate_version").map(serde_json::Value::as_u64) {
            Some(Some(version)) if version == u64::from(CERTIFICATE_VERSION) => {}
            Some(Some(version)) => return Err(fail(other_version(version))),
            _ => return Err(fail("it says no `certificate_version`: this is no certificate of attar".to_owned())),
        }
        let certificate = Self::deserialize(value).map_err(|error| fail(format!("not a certificate: {error}")))?;
        certificate.check().map_err(|error| fail(error.to_string()))?;
        Ok(certificate)
    }

    /// The text of its file.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.check()?;
        json::text(Path::new("the certificate"), &Written { version: 1, certificate: self })
    }

    /// Writes its file, atomically.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses; a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write::bytes(path, &self.to_json()?)
    }

    /// Checks that it is of this version, names its files by hashes, counts what can be, and says the verdict that follows.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the part.
    pub fn check(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "certificate", problem });
        if self.certificate_version != CERTIFICATE_VERSION {
            return fail(other_version(self.certificate_version.into()));
        }
        if !(self.margin_points > 0.0 && self.margin_points < 100.0) {
            return fail(format!("a margin of {} points, expected more than 0 and less than 100", self.margin_points));
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return fail(format!("a confidence of {}, expected more than 0 and less than 1", self.confidence));
        }
        if let Some(DataFacts { images, paired, .. }) = self.data.as_ref().filter(|data| data.paired > data.images) {
            return fail(format!("{paired} of {images} images are paired"));
        }
        let files = self.runtimes.iter().map(|runtime| (&runtime.file, &runtime.file_sha256));
        let reference = self.reference.iter().map(|reference| (&reference.file, &reference.file_sha256));
        let integers = self.integers.iter().map(|one| (&one.file, &one.file_sha256));
        let is_sha256 = |text: &str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if let Some((file, sha256)) = files.chain(reference).chain(integers).find(|(_, sha256)| !is_sha256(sha256)) {
            return fail(format!("{file} has the sha256 `{sha256}`, expected 64 hexadecimal digits"));
        }
        let images = self.data.as_ref().map_or(0, |data| data.paired);
        for runtime in &self.runtimes {
            let Some(paired) = &runtime.paired else { continue };
            let changed = paired.gained.saturating_add(paired.lost);
            let in_classes: usize = paired.classes.iter().map(|class| class.images).sum();
            if !paired.classes.is_empty() && in_classes != paired.images {
                return fail(format!("of {} paired images {in_classes} are in a class", paired.images));
            }
            if paired.images != images || paired.flips > images || changed > paired.flips as u64 {
                return fail(format!(
                    "of {images} paired images, {} compares {}, of which {} flipped, {} gained and {} lost",
                    runtime.engine, paired.images, paired.flips, paired.gained, paired.lost
                ));
            }
        }
        self.check_integers()?;
        if let Some(robustness) = &self.robustness {
            robustness.check(self.runtimes.len()).or_else(|problem| fail(format!("of its robustness: {problem}")))?;
        }
        let worst = Verdict::worst(self.runtimes.iter().map(|runtime| runtime.verdict));
        match worst.unwrap_or(Verdict::NumbersOnly) {
            worst if worst == self.verdict => Ok(()),
            worst => fail(format!("the verdict is {}, the worst of its runtimes {worst}", self.verdict)),
        }
    }

    fn check_integers(&self) -> Result<()> {
        let fail = |problem: String| Err(Error::Setting { setting: "certificate", problem });
        if let Some(odd) = self.integers.iter().find(|one| one.by_definition == 0 && one.by_level > 0) {
            return fail(format!("the level `{}` answered for {}, but was never compared", odd.level, odd.file));
        }
        for runtime in &self.runtimes {
            let Some(held) = &runtime.implementation else { continue };
            if held.equal > held.images || held.flips > held.images - held.equal {
                let Implementation { images, equal, flips, .. } = held;
                let problem = format!("of {images} images {equal} are the same bytes and {flips} flipped");
                return fail(format!("{}: {problem}", runtime.engine));
            }
            let Some(reference) = self.reference_of(runtime) else {
                return fail(format!("{} is held to {}, which is not there", runtime.engine, held.reference_sha256));
            };
            let compression = reference.compression.as_ref().map(|compression| compression.verdict);
            let both = Verdict::worst(compression.into_iter().chain([held.verdict]));
            if compression.is_some() && both != Some(runtime.verdict) {
                let said = runtime.verdict;
                return fail(format!("the verdict on {} is {said}, which is not the worse of its two", runtime.engine));
            }
        }
        Ok(())
    }

    /// The integer reference that a runtime's implementation was held to.
    pub fn reference_of(&self, runtime: &Runtime) -> Option<&IntegerReference> {
        let held = runtime.implementation.as_ref()?;
        self.integers.iter().find(|one| one.file_sha256 == held.reference_sha256)
    }

    /// The process exit code of the verdict.
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }
}

fn other_version(version: u64) -> String {
    format!("version {version}, this program reads {CERTIFICATE_VERSION}\n  hint: another version of attar wrote it")
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
    /// Number of the integer arithmetic that it computes, where it is Attar's own engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<u32>,
    /// Its SIMD level, where it is Attar's own engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
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
    /// Of an 8-bit file: the comparison with what its integers are defined to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub implementation: Option<Implementation>,
    /// Of an 8-bit file: why there is no such comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_held: Option<String>,
    /// The verdict on this runtime: of an 8-bit file the worse of those on its implementation and its compression.
    pub verdict: Verdict,
    /// Why it is worse, where that is not for its decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
