//! What decides how images reach a model and what its answers are called: of a bundle, or of an ONNX file of others with
//! what was stated about it.

use attar_formats::reference::{Attacks, Goldens, Predictions};
use attar_pixels::{ImageView, Preprocessing};

use crate::bundle::Bundle;
use crate::engine::Signature;
use crate::error::{Error, Result};
use crate::parity::ReferenceFacts;

/// Names, classes and preprocessing, and, where there are any, the answers against which a model is held.
#[derive(Debug, Clone)]
pub struct Subject {
    name: String,
    input: [usize; 3],
    labels: Vec<String>,
    preprocessing: Preprocessing,
    goldens: Option<Goldens>,
    predictions: Option<Predictions>,
    attacks: Option<Attacks>,
    /// What gave the goldens and predictions, where that is not the network that was trained.
    pub(crate) answered_by: Option<ReferenceFacts>,
    /// Whether its logits are known only up to a constant of each image.
    pub(crate) normalised: bool,
}

impl From<&Bundle> for Subject {
    fn from(bundle: &Bundle) -> Self {
        let card = bundle.card();
        let (name, input) = (card.network.name.clone(), card.network.input);
        Self {
            goldens: bundle.goldens().cloned(),
            predictions: bundle.predictions().cloned(),
            attacks: bundle.attacks().cloned(),
            answered_by: bundle.manifest().answered_by.as_ref().map(ReferenceFacts::from),
            ..Self::of_parts(name, input, bundle.labels().to_vec(), bundle.preprocessing().clone())
        }
    }
}

impl Subject {
    /// A network called `name` of these classes (in the order of its logits) that takes `input` `[C, H, W]`, which the
    /// preprocessing makes; without reference answers.
    ///
    /// # Errors
    /// [`Error::Setting`] without a class; [`Error::Pixels`] for a preprocessing that makes no sense.
    pub fn new(
        name: impl Into<String>,
        input: [usize; 3],
        labels: Vec<String>,
        preprocessing: Preprocessing,
    ) -> Result<Self> {
        if labels.is_empty() {
            return Err(Error::Setting { setting: "labels", problem: "no names of classes".to_owned() });
        }
        preprocessing.check()?;
        Ok(Self::of_parts(name.into(), input, labels, preprocessing))
    }

    fn of_parts(name: String, input: [usize; 3], labels: Vec<String>, preprocessing: Preprocessing) -> Self {
        Self {
            name,
            input,
            labels,
            preprocessing,
            goldens: None,
            predictions: None,
            attacks: None,
            answered_by: None,
            normalised: false,
        }
    }

    /// With other reference answers: those that a live reference gave.
    #[must_use]
    pub(crate) fn with_reference(self, goldens: Option<Goldens>, predictions: Option<Predictions>) -> Self {
        Self { goldens, predictions, ..self }
    }

    /// For images that have the network's size already: only normalisation is left. Its classes go by their number, since two
    /// may have the same name.
    pub(crate) fn at_its_size(&self) -> Self {
        let Preprocessing { mean, std, .. } = self.preprocessing.clone();
        let labels = (0..self.labels.len()).map(|class| class.to_string()).collect();
        let subject = Self { labels, preprocessing: Preprocessing::normalise(mean, std), ..self.clone() };
        subject.with_reference(None, None)
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `[C, H, W]` that the network takes.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Class names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How pixels become the network's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// A few images with the reference's logits, if there are some.
    pub fn goldens(&self) -> Option<&Goldens> {
        self.goldens.as_ref()
    }

    /// The reference's answers to labelled images, if there are some.
    pub fn predictions(&self) -> Option<&Predictions> {
        self.predictions.as_ref()
    }

    /// Some images under the attacks that the network was trained to meet, if there are some.
    pub fn attacks(&self) -> Option<&Attacks> {
        self.attacks.as_ref()
    }

    /// Whether there are answers against which a model is held.
    pub(crate) fn has_reference(&self) -> bool {
        self.goldens.is_some() || self.predictions.is_some()
    }

    /// Preprocesses an image, called `name` in errors, for a model that takes what `signature` says.
    ///
    /// # Errors
    /// [`Error::Data`] when what the preprocessing makes of it is not what the model takes.
    pub fn network_input<'a>(
        &self,
        image: impl Into<ImageView<'a>>,
        signature: Signature,
        name: &str,
    ) -> Result<Vec<f32>> {
        let (image, how) = (image.into(), &self.preprocessing);
        let [h, w] = attar_pixels::preprocessed_size(how, image.height(), image.width());
        let made = [how.channels, h, w];
        if made != signature.input {
            let (height, width) = (image.height(), image.width());
            let problem = format!(
                "{name} ({height}x{width}) becomes {made:?} by the preprocessing of {}, the model takes {:?}",
                self.name, signature.input
            );
            return Err(Error::Data { problem });
        }
        Ok(attar_pixels::preprocess(image, how)?)
    }

    /// Checks that a model which gives so many logits has these classes.
    pub(crate) fn check_classes(&self, path: &std::path::Path, signature: Signature) -> Result<()> {
        let labels = self.labels.len();
        if signature.classes == labels {
            return Ok(());
        }
        Err(Error::format(path, format!("{} logits, but {labels} labels", signature.classes)))
    }
}
