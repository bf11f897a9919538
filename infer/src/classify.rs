//! What is this image? A file's bytes or a camera's frame in, the likeliest labels out.

use std::path::Path;

use attar_pixels::ImageView;
use serde::Serialize;

use crate::bundle::Bundle;
use crate::engine::{Engine, EngineSpec};
use crate::error::{Error, Result};
use crate::side::Side;
use crate::subject::Subject;

/// A model in an engine, with its classes and preprocessing, ready to answer. It owns what it needs.
pub struct Classifier {
    subject: Subject,
    engine: Box<dyn Engine>,
    answer: Answer,
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

/// A classifier's answer to one image. [`Classifier::classify_into`] fills it again and again, in the memory that it has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    logits: Vec<f32>,
    /// All classes, falling by logit.
    order: Vec<usize>,
    log_sum_exp: f64,
}

impl Answer {
    /// Logits, `[K]`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// All classes, the likeliest first; of equals the first one.
    pub fn classes(&self) -> &[usize] {
        &self.order
    }

    /// The likeliest class; `None` before there is an answer.
    pub fn best(&self) -> Option<usize> {
        self.order.first().copied()
    }

    /// Probability of a class, in 0..1; 0 of one that there is not.
    pub fn probability(&self, class: usize) -> f64 {
        self.logits.get(class).map_or(0.0, |logit| (f64::from(*logit) - self.log_sum_exp).exp())
    }

    fn fill(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.order.clear();
        self.order.extend(0..logits.len());
        self.order.sort_unstable_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        self.log_sum_exp = attar_measures::log_sum_exp(logits);
    }

    fn guesses(&self, labels: &[String], k: usize) -> Vec<Guess> {
        let guess = |class: usize| Guess {
            class,
            label: labels.get(class).cloned().unwrap_or_default(),
            probability: self.probability(class),
            logit: self.logits[class],
        };
        self.order.iter().take(k).map(|class| guess(*class)).collect()
    }
}

impl std::fmt::Debug for Classifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Classifier").field("engine", &self.engine.name()).finish_non_exhaustive()
    }
}

impl Classifier {
    /// Loads the bundle's first model.
    ///
    /// # Errors
    /// As [`engine::open`](crate::engine::open), and [`Error::Format`] when the model's number of classes is not the bundle's.
    pub fn open(bundle: &Bundle, spec: &EngineSpec) -> Result<Self> {
        let Some(model) = bundle.models().first() else {
            return Err(Error::format(bundle.root(), "a bundle without a model"));
        };
        let subject = Subject::from(bundle).with_reference(None, None);
        let model = bundle.engine_model(model)?;
        let engine = model.open(spec, Some(subject.input()))?;
        subject.check_classes(model.origin(), engine.signature())?;
        Ok(Self { subject, engine, answer: Answer::default() })
    }

    /// Loads the first model of a bundle or an ONNX file.
    ///
    /// # Errors
    /// As [`Classifier::open`], and when nobody said what its classes or its preprocessing are.
    pub fn of(side: &Side, spec: &EngineSpec) -> Result<Self> {
        let subject = side.subject()?.with_reference(None, None);
        let Some(model) = side.models().first() else {
            return Err(Error::format(side.path(), "no model"));
        };
        let engine = model.open(spec, Some(side.input()))?;
        subject.check_classes(model.origin(), engine.signature())?;
        Ok(Self { subject, engine, answer: Answer::default() })
    }

    /// A loaded model with its classes and preprocessing.
    ///
    /// # Errors
    /// [`Error::Setting`] when it gives another number of logits than there are classes.
    pub fn new(subject: Subject, engine: Box<dyn Engine>) -> Result<Self> {
        let (given, labels) = (engine.signature().classes, subject.labels().len());
        if given != labels {
            let problem = format!("{} gives {given} logits, but there are {labels} labels", subject.name());
            return Err(Error::Setting { setting: "labels", problem });
        }
        Ok(Self { subject, engine, answer: Answer::default() })
    }

    /// The `k` likeliest labels of an image file's bytes, falling; `origin` names it in errors.
    ///
    /// # Errors
    /// When the bytes are no image, the preprocessed image has not the model's input shape, or the engine fails.
    pub fn classify(&mut self, bytes: &[u8], origin: &Path, k: usize) -> Result<Vec<Guess>> {
        let image = attar_pixels::decode(bytes, origin)?;
        let mut answer = std::mem::take(&mut self.answer);
        let done = self.answer_to((&image).into(), &origin.display().to_string(), &mut answer);
        self.answer = answer;
        done.map(|()| self.answer.guesses(self.subject.labels(), k))
    }

    /// Fills `answer` with what is on a frame of any size (of the network's own size where the preprocessing neither resizes
    /// nor crops).
    ///
    /// ```no_run
    /// use attar_infer::{Bundle, Classifier, EngineKind, EngineSpec, classify::Answer};
    /// use attar_pixels::ImageView;
    ///
    /// let bundle = Bundle::open("bundles/distilled".as_ref())?;
    /// let mut classifier = Classifier::open(&bundle, &EngineSpec::new(EngineKind::Tract))?;
    /// let (frame, mut answer) = (vec![0; 640 * 480 * 3], Answer::default());
    /// classifier.classify_into(ImageView::rgb8(&frame, 640, 480)?, &mut answer)?;
    /// let best = answer.best().map(|class| (&classifier.labels()[class], answer.probability(class)));
    /// # Ok::<(), attar_infer::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Classifier::classify`]; the answer is then the one before.
    pub fn classify_into(&mut self, view: ImageView<'_>, answer: &mut Answer) -> Result<()> {
        self.answer_to(view, "the frame", answer)
    }

    fn answer_to(&mut self, view: ImageView<'_>, name: &str, answer: &mut Answer) -> Result<()> {
        let input = self.subject.network_input(view, self.engine.signature(), name)?;
        let logits = self.engine.run(&input, 1)?;
        if let Some(class) = logits.iter().position(|logit| !logit.is_finite()) {
            let problem = format!("logit {class} of {name} is {}", logits[class]);
            return Err(Error::Engine { engine: self.engine.name(), problem });
        }
        answer.fill(&logits);
        Ok(())
    }

    /// Class names in the order of the logits.
    pub fn labels(&self) -> &[String] {
        self.subject.labels()
    }

    /// Name and version of the runtime.
    pub fn engine(&self) -> (&'static str, &str) {
        (self.engine.name(), self.engine.version())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_fall_and_sum_to_one() {
        let labels: Vec<String> = ["cat", "dog", "owl"].map(str::to_owned).into();
        let mut answer = Answer::default();
        assert_eq!((answer.best(), answer.probability(0)), (None, 0.0));
        answer.fill(&[1.0, 3.0, 1.0]);
        let found = answer.guesses(&labels, 5);
        assert_eq!(found.iter().map(|g| g.label.as_str()).collect::<Vec<_>>(), ["dog", "cat", "owl"]);
        assert!((found.iter().map(|g| g.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        let place = answer.logits.as_ptr();
        answer.fill(&[0.0, 0.0]);
        assert_eq!((answer.guesses(&labels, 1)[0].probability, answer.classes()), (0.5, &[0, 1][..]));
        assert_eq!(answer.logits.as_ptr(), place, "the memory is used again");
    }
}
