//! What is this image? Bytes in, the likeliest labels out.

use std::path::Path;

use serde::Serialize;

use crate::bundle::Bundle;
use crate::engine::{self, Engine, EngineSpec, Signature};
use crate::error::{Error, Result};

/// A bundle's model in an engine, ready to answer.
pub struct Classifier<'b> {
    bundle: &'b Bundle,
    engine: Box<dyn Engine>,
}

/// One of the likeliest labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guess {
    /// Position in the labels and logits.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Softmax of the logits, in 0..1.
    pub probability: f64,
    /// The logit itself.
    pub logit: f32,
}

impl std::fmt::Debug for Classifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("engine", &self.engine.name()).finish_non_exhaustive()
    }
}

impl<'b> Classifier<'b> {
    /// Loads the bundle's first model.
    ///
    /// # Errors
    /// As [`engine::open`], and [`Error::Format`] when the model's number of classes is not the bundle's.
    pub fn open(bundle: &'b Bundle, spec: &EngineSpec) -> Result<Self> {
        let Some(model) = bundle.models().first() else {
            return Err(Error::format(bundle.root(), "a bundle without a model"));
        };
        let path = bundle.root().join(&model.file);
        let engine = engine::open(spec, &bundle.model_bytes(model)?, &path)?;
        check_classes(&path, engine.signature(), bundle)?;
        Ok(Self { bundle, engine })
    }

    /// The `k` likeliest labels of an image file's bytes, falling; `origin` names it in errors.
    ///
    /// # Errors
    /// When the bytes are no image, the preprocessed image has not the model's input shape, or the engine fails.
    pub fn classify(&mut self, bytes: &[u8], origin: &Path, k: usize) -> Result<Vec<Guess>> {
        let image = attar_pixels::decode(bytes, origin)?;
        let input = network_input(&image, self.bundle, self.engine.signature(), &origin.display().to_string())?;
        let logits = self.engine.run(&input, 1)?;
        if let Some(class) = logits.iter().position(|logit| !logit.is_finite()) {
            let problem = format!("logit {class} of {} is {}", origin.display(), logits[class]);
            return Err(Error::Engine { engine: self.engine.name(), problem });
        }
        Ok(guesses(&logits, self.bundle.labels(), k))
    }

    /// Name and version of the runtime.
    pub fn engine(&self) -> (&'static str, &str) {
        (self.engine.name(), self.engine.version())
    }
}

pub(crate) fn check_classes(path: &Path, signature: Signature, bundle: &Bundle) -> Result<()> {
    let labels = bundle.labels().len();
    if signature.classes == labels {
        return Ok(());
    }
    Err(Error::format(path, format!("{} logits, but {labels} labels", signature.classes)))
}

/// Preprocesses a decoded image and checks that the result is what the model takes.
pub(crate) fn network_input(
    image: &attar_pixels::Image,
    bundle: &Bundle,
    signature: Signature,
    name: &str,
) -> Result<Vec<f32>> {
    let how = bundle.preprocessing();
    let [h, w] = attar_pixels::preprocessed_size(how, image.height(), image.width());
    let made = [how.channels, h, w];
    if made != signature.input {
        let (height, width) = (image.height(), image.width());
        let problem = format!(
            "{name} ({height}x{width}) becomes {made:?} by the bundle's preprocessing, the model takes {:?}",
            signature.input
        );
        return Err(Error::Data { problem });
    }
    Ok(attar_pixels::preprocess(image, how)?)
}

fn guesses(logits: &[f32], labels: &[String], k: usize) -> Vec<Guess> {
    let probabilities = attar_measures::softmax(logits);
    let guess = |class: usize| Guess {
        class,
        label: labels.get(class).cloned().unwrap_or_default(),
        probability: probabilities[class],
        logit: logits[class],
    };
    attar_measures::top(logits, k, f32::total_cmp).into_iter().map(guess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_fall_and_sum_to_one() {
        let labels: Vec<String> = ["cat", "dog", "owl"].map(str::to_owned).into();
        let found = guesses(&[1.0, 3.0, 1.0], &labels, 5);
        assert_eq!(found.iter().map(|g| g.label.as_str()).collect::<Vec<_>>(), ["dog", "cat", "owl"]);
        assert!((found.iter().map(|g| g.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(guesses(&[0.0, 0.0], &labels, 1)[0].probability, 0.5);
    }
}
