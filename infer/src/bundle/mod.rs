//! A bundle: the directory that carries a network to where it works, opened only if everything in it fits together.

use std::path::{Path, PathBuf};

use attar_formats::bundle::parse_labels;
use attar_formats::{Card, json};
use attar_pixels::Preprocessing;
use serde_json::Value;

use crate::engine::{EngineKind, EngineModel, PLANS_ONLY};
use crate::error::{Error, Result};
pub use attar_formats::bundle::{Answerer, BUNDLE_VERSION, Manifest, ModelFile, file};
pub use attar_formats::reference::{Attacks, Goldens, Predictions, Split};

/// An opened bundle. Every file it lists has the sha256 it lists; no other file is read.
#[derive(Debug, Clone)]
pub struct Bundle {
    root: PathBuf,
    manifest: Manifest,
    models: Vec<ModelFile>,
    card: Card,
    preprocessing: Preprocessing,
    labels: Vec<String>,
    goldens: Option<Goldens>,
    predictions: Option<Predictions>,
    attacks: Option<Attacks>,
}

impl Bundle {
    /// Opens the directory `root`.
    ///
    /// # Errors
    /// [`Error::Io`] for a missing file; [`Error::Format`] for a file that is too long, leaves the directory, differs from
    /// its listed sha256, cannot be parsed, or contradicts another (number of classes, preprocessing, weights).
    pub fn open(root: &Path) -> Result<Self> {
        let manifest = Manifest::open(root)?;
        manifest.check_files(root)?;
        let card = Card::from_json(&manifest.read_text(root, file::CONFIG)?, &root.join(file::CONFIG))?;
        let labels = parse_labels(&manifest.read_text(root, file::LABELS)?);
        let preprocessing =
            parse_preprocessing(&root.join(file::PREPROCESSING), &manifest.read_text(root, file::PREPROCESSING)?)?;
        let reference = |name: &str| manifest.read_if_listed(root, name);
        let goldens = reference(file::GOLDENS)?.map(|b| Goldens::parse(&root.join(file::GOLDENS), &b)).transpose()?;
        let predictions =
            reference(file::PREDICTIONS)?.map(|b| Predictions::parse(&root.join(file::PREDICTIONS), &b)).transpose()?;
        let attacks = reference(file::ATTACKS)?.map(|b| Attacks::parse(&root.join(file::ATTACKS), &b)).transpose()?;
        let models = runnable(&manifest);
        let root = root.to_owned();
        let bundle = Self { root, manifest, models, card, preprocessing, labels, goldens, predictions, attacks };
        bundle.check_agreement()?;
        Ok(bundle)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the bundle lists.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The network, its labels and where the weights came from.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// How pixels become the network's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Class names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The models, at least one. A program that has no runtime for ONNX files takes the plans alone, where there are some.
    pub fn models(&self) -> &[ModelFile] {
        &self.models
    }

    /// A few images with the trained network's logits, if the bundle has them.
    pub fn goldens(&self) -> Option<&Goldens> {
        self.goldens.as_ref()
    }

    /// The trained network's answers, if the bundle has them.
    pub fn predictions(&self) -> Option<&Predictions> {
        self.predictions.as_ref()
    }

    /// Some test images under the attacks of the run's recipe, if the bundle has them.
    pub fn attacks(&self) -> Option<&Attacks> {
        self.attacks.as_ref()
    }

    /// The bytes of one of its models, checked against the manifest again.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] when the file has changed.
    pub fn model_bytes(&self, model: &ModelFile) -> Result<Vec<u8>> {
        Ok(self.manifest.read(&self.root, &model.file)?)
    }

    /// One of its models, read, with what the manifest says of it.
    ///
    /// # Errors
    /// As [`Bundle::model_bytes`].
    pub fn engine_model(&self, model: &ModelFile) -> Result<EngineModel> {
        let listed = self.manifest.files.get(&model.file).map(|sha256| sha256.to_lowercase()).unwrap_or_default();
        let (bytes, origin) = (self.model_bytes(model)?, self.root.join(&model.file));
        EngineModel::listed(&model.file, origin, &model.precision, listed, bytes)
    }

    /// [`Bundle::engine_model`] of all.
    ///
    /// # Errors
    /// As [`Bundle::model_bytes`].
    pub fn engine_models(&self) -> Result<Vec<EngineModel>> {
        self.models.iter().map(|model| self.engine_model(model)).collect()
    }

    fn check_agreement(&self) -> Result<()> {
        let fail = |name: &str, problem: String| Err(Error::format(self.root.join(name), problem));
        let classes = self.labels.len();
        if classes == 0 {
            return fail(file::LABELS, "no class names".to_owned());
        }
        if self.card.labels != self.labels {
            return fail(file::CONFIG, format!("its labels are not those of {}", file::LABELS));
        }
        if self.card.preprocessing != self.preprocessing {
            return fail(file::CONFIG, format!("its preprocessing is not that of {}", file::PREPROCESSING));
        }
        if let Some(found) = self.goldens.as_ref().map(Goldens::classes).filter(|found| *found != classes) {
            return fail(file::GOLDENS, format!("logits of {found} classes, but {classes} labels"));
        }
        let Some(predictions) = &self.predictions else { return self.check_attacks() };
        if predictions.classes() != classes {
            let found = predictions.classes();
            return fail(file::PREDICTIONS, format!("answers of {found} classes, but {classes} labels"));
        }
        match self.manifest.files.get(file::WEIGHTS) {
            Some(weights) if *weights != predictions.weights_sha256 => {
                let problem = format!(
                    "answers of other weights\n  answered by: {}\n  {}: {weights}",
                    predictions.weights_sha256,
                    file::WEIGHTS
                );
                fail(file::PREDICTIONS, problem)
            }
            _ => self.check_attacks(),
        }
    }

    fn check_attacks(&self) -> Result<()> {
        let Some(attacks) = &self.attacks else { return Ok(()) };
        let fail = |problem: String| Err(Error::format(self.root.join(file::ATTACKS), problem));
        let ([c, h, w], classes) = (self.card.network.input, self.labels.len());
        if (attacks.classes, attacks.shape) != (classes, [h, w, c]) {
            let (found, shape) = (attacks.classes, attacks.shape);
            return fail(format!("images of {shape:?} and {found} classes, expected {:?} and {classes}", [h, w, c]));
        }
        match self.manifest.files.get(file::WEIGHTS) {
            Some(weights) if *weights != attacks.weights_sha256 => {
                fail(format!("other weights were attacked than {}: {}", file::WEIGHTS, attacks.weights_sha256))
            }
            _ => Ok(()),
        }
    }
}

/// The models that are for this program; all of them where none is, so that a runtime says what it is that it refuses.
fn runnable(manifest: &Manifest) -> Vec<ModelFile> {
    let plans = manifest.models.iter().filter(|model| model.engine == EngineKind::Attar.name());
    let plans: Vec<ModelFile> = if PLANS_ONLY { plans.cloned().collect() } else { Vec::new() };
    if plans.is_empty() { manifest.models.clone() } else { plans }
}

fn parse_preprocessing(path: &Path, text: &str) -> Result<Preprocessing> {
    let value: Value = json::parse(path, text.as_bytes())?;
    let preprocessing = attar_formats::card::hf::from_hf(&value).map_err(|e| Error::format(path, e.to_string()))?;
    preprocessing.check().map_err(|e| Error::format(path, e.to_string()))?;
    Ok(preprocessing)
}
