//! 8-bit files get two verdicts: on each runtime, held to what the file's integers are defined to give, and on the file, held by
//! the same answers to the network that was trained.

use std::sync::Arc;

use attar_data::Dataset;
use attar_formats::certificate::{Allowed, Compression, Flip, Implementation, IntegerReference, Verdict};
use attar_measures::{Counts, Interval, score_interval};

use super::answer::{Answer, top1};
use super::answers::check_finite;
use super::{Candidate, Options, goldens, paired, seeded, verdict};
use crate::engine::{Answers, Definition, Engine, EngineKind, IntegerFile, Integers, Signature, arithmetic};
use crate::error::{Error, Result};
use crate::subject::Subject;

/// The integer references of all candidates' files.
pub(super) struct Definitions {
    pub(super) all: Vec<Definition>,
    /// Which of them each candidate is held to.
    pub(super) of: Vec<Option<usize>>,
    /// Why an 8-bit candidate is held to none.
    pub(super) not_held: Vec<Option<String>>,
}

impl Definitions {
    /// Each file's once; the definition itself answers the first `wanted` images.
    ///
    /// # Errors
    /// When a candidate takes or gives something else than the file that its integers are defined by.
    pub(super) fn of(candidates: &[Candidate], wanted: usize) -> Result<Self> {
        let mut definitions = Self { all: Vec::new(), of: Vec::new(), not_held: Vec::new() };
        for candidate in candidates {
            let (of, why) = match &candidate.integers {
                Integers::Floats => (None, None),
                Integers::Undefined(why) => (None, Some(why.clone())),
                Integers::Defined(_) if candidate.engine.answers() == Answers::Probabilities => {
                    (None, Some(format!("it gives {}", Answers::Probabilities)))
                }
                Integers::Defined(file) => {
                    fits(candidate, file)?;
                    (Some(definitions.place(file, wanted)), None)
                }
            };
            definitions.of.push(of);
            definitions.not_held.push(why);
        }
        Ok(definitions)
    }

    /// Of so many candidates, none of which is held to one.
    pub(super) fn none(candidates: usize) -> Self {
        Self { all: Vec::new(), of: vec![None; candidates], not_held: vec![None; candidates] }
    }

    fn place(&mut self, file: &Arc<IntegerFile>, wanted: usize) -> usize {
        let known = self.all.iter().position(|known| known.file().file_sha256 == file.file_sha256);
        known.unwrap_or_else(|| {
            self.all.push(Definition::new(file, wanted));
            self.all.len() - 1
        })
    }

    /// Without labelled images: how far each candidate is from its reference on the goldens, or on seeded images where the
    /// subject has none.
    pub(super) fn without_labels(&mut self, subject: &Subject, candidates: &mut [Candidate]) -> Result<Vec<Distance>> {
        let mut distances = vec![Distance::default(); candidates.len()];
        let Some(signature) = self.all.first().map(|definition| definition.file().signature) else {
            return Ok(distances);
        };
        let (inputs, of) = inputs(subject, signature)?;
        let defined = self.all.iter_mut().map(|definition| goldens::answer(definition, &inputs));
        let defined: Vec<Vec<f32>> = defined.collect::<Result<_>>()?;
        for ((candidate, held), distance) in candidates.iter_mut().zip(&self.of).zip(&mut distances) {
            let Some(defined) = held.map(|at| &defined[at]) else { continue };
            let logits = goldens::answer(candidate.engine.as_mut(), &inputs)?;
            let (classes, rows) = (signature.classes, logits.chunks(signature.classes));
            for (index, (logits, defined)) in rows.zip(defined.chunks(classes)).enumerate() {
                distance.add(index, &|| format!("{of} image {index}"), logits, defined);
            }
        }
        Ok(distances)
    }

    /// What is said of each integer reference; `answers` are its answers to labelled images, by reference.
    pub(super) fn facts(
        &mut self,
        subject: &Subject,
        answers: Option<(&[Vec<Answer>], &dyn Dataset)>,
        options: &Options,
    ) -> Result<Vec<IntegerReference>> {
        let one = |(at, definition): (usize, &mut Definition)| {
            let [by_definition, by_level] = definition.answered();
            let answers = answers.map(|(all, data)| (&all[at][..], data));
            let compression = compression(subject, definition, answers, options)?;
            let file = definition.file();
            Ok(IntegerReference {
                file: file.file.clone(),
                file_sha256: file.file_sha256.clone(),
                arithmetic: arithmetic(),
                exact: file.exact,
                quantum: file.quantum,
                by_definition,
                by_level,
                level: definition.level().to_owned(),
                beyond_16_bits: definition.beyond_16_bits(),
                compression,
            })
        };
        self.all.iter_mut().enumerate().map(one).collect()
    }
}

/// A candidate must take and give what its integer reference does.
fn fits(candidate: &Candidate, file: &IntegerFile) -> Result<()> {
    let (own, defined) = (candidate.engine.signature(), file.signature);
    if (own.input, own.classes) == (defined.input, defined.classes) {
        return Ok(());
    }
    let problem = format!(
        "{} takes {:?} and gives {} logits, {}, which it was compiled from, {:?} and {}",
        candidate.file, own.input, own.classes, file.file, defined.input, defined.classes
    );
    Err(Error::Data { problem })
}

/// Inputs of a network where there are no labelled images, and what they are called.
fn inputs(subject: &Subject, signature: Signature) -> Result<(Vec<f32>, &'static str)> {
    if let Some(goldens) = subject.goldens().filter(|goldens| goldens.input_shape == signature.input) {
        return Ok((goldens.input.clone(), "golden"));
    }
    let images = seeded::images(subject, subject)?;
    let prepared = images.iter().map(|image| subject.network_input(image, signature, "a seeded image"));
    Ok((prepared.collect::<Result<Vec<_>>>()?.concat(), "seeded"))
}

/// The integer reference against 32-bit floats, where there are some.
fn compression(
    subject: &Subject,
    definition: &mut Definition,
    answers: Option<(&[Answer], &dyn Dataset)>,
    options: &Options,
) -> Result<Option<Compression>> {
    let of_floats = subject.answered_by.as_ref().is_none_or(|by| by.precision != "int8");
    if !of_floats || !subject.has_reference() {
        return Ok(None);
    }
    let goldens = goldens::compare(subject, definition, "int8")?;
    let (mut paired, mut said) = (None, Verdict::NumbersOnly);
    if let (Some((answers, data)), Some(reference)) = (answers, subject.predictions()) {
        paired = paired::compare(answers, reference, subject.labels(), data, options.most_flips, options.images)?;
        said = verdict::of(&paired::counts(answers, reference), options.margin_points);
    }
    Ok(Some(Compression { goldens, paired, verdict: said }))
}

/// A decision that is another than the integer reference's.
#[derive(Debug, Clone)]
struct Flipped {
    index: usize,
    reference: (u32, f32),
    runtime: (u32, f32),
}

/// How far a runtime's logits are from the integer reference's.
#[derive(Debug, Clone, Default)]
pub(super) struct Distance {
    images: usize,
    equal: usize,
    max_diff: f32,
    /// The first image whose logits are other bytes.
    first: Option<String>,
    flipped: Vec<Flipped>,
}

impl Distance {
    /// One more image, at `index` of the data set.
    pub(super) fn add(&mut self, index: usize, name: &dyn Fn() -> String, logits: &[f32], reference: &[f32]) {
        self.images += 1;
        if logits.iter().zip(reference).all(|(a, b)| a.to_bits() == b.to_bits()) {
            self.equal += 1;
            return;
        }
        self.first.get_or_insert_with(name);
        let difference = logits.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        self.max_diff = self.max_diff.max(difference);
        let (runtime, reference) = (top1(logits), top1(reference));
        if runtime.0 != reference.0 {
            self.flipped.push(Flipped { index, reference, runtime });
        }
    }

    /// The verdict on the runtime. `data` are the labelled images, where there were some; else `subject` says which others
    /// were asked about.
    pub(super) fn judged(
        mut self,
        candidate: &Candidate,
        file: &IntegerFile,
        subject: &Subject,
        data: Option<&dyn Dataset>,
        options: &Options,
    ) -> Result<Implementation> {
        let own = candidate.engine.name() == EngineKind::Attar.name();
        let allowed = match (own && file.exact, file.quantum) {
            (true, _) => Allowed::Bytes,
            (false, Some(_)) => Allowed::Quanta { most: options.most_quanta },
            (false, None) => Allowed::Decisions,
        };
        let (images, equal, flips) = (self.images, self.equal, self.flipped.len());
        let max_diff = f64::from(self.max_diff);
        let max_quanta = file.quantum.map(|quantum| ((max_diff / quantum) * 1e3).round() / 1e3);
        let reason = match allowed {
            Allowed::Bytes if equal < images => Some(format!(
                "{} of {images} images have other logits than the definition gives, first {}",
                images - equal,
                self.first.unwrap_or_default()
            )),
            Allowed::Quanta { most } => max_quanta
                .filter(|quanta| *quanta > f64::from(most))
                .map(|quanta| format!("a logit is {quanta} quanta from the definition's, of which {most} are allowed")),
            Allowed::Bytes | Allowed::Decisions => None,
        };
        let counts = Counts { gained: 0.0, lost: flips as f64, n: images as f64 };
        let verdict = match (&reason, allowed, data) {
            (Some(_), ..) => Verdict::Worse,
            (None, Allowed::Bytes, _) if images > 0 => Verdict::Equivalent,
            (None, _, Some(_)) => verdict::of(&counts, options.margin_points),
            (None, _, None) => Verdict::NumbersOnly,
        };
        let of = match (data, subject.goldens()) {
            (Some(_), _) => "labelled",
            (None, Some(_)) => "golden",
            (None, None) => "seeded",
        };
        self.flipped.sort_by(|a, b| b.reference.1.total_cmp(&a.reference.1).then(a.index.cmp(&b.index)));
        self.flipped.truncate(options.most_flips);
        let flipped =
            data.map(|data| self.flipped.iter().map(|one| flip(one, subject, data, options.images)).collect());
        Ok(Implementation {
            reference_sha256: file.file_sha256.clone(),
            allowed,
            images,
            of: of.to_owned(),
            equal,
            max_diff,
            max_quanta,
            flips,
            flip_share: share(&counts),
            flipped: flipped.transpose()?.unwrap_or_default(),
            verdict,
            reason,
        })
    }
}

/// The share of flips in percent: what would be lost if each were a loss.
fn share(counts: &Counts) -> Interval {
    if counts.n <= 0.0 {
        return Interval { low: 0.0, high: 100.0 };
    }
    let lost = score_interval(counts);
    Interval { low: (-100.0 * lost.high).max(0.0), high: -100.0 * lost.low }
}

fn flip(one: &Flipped, subject: &Subject, data: &dyn Dataset, images: bool) -> Result<Flip> {
    let name = |class: u32| subject.labels().get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let png = if images { Some(data.image(one.index)?.to_png()?) } else { None };
    Ok(Flip {
        index: one.index,
        name: data.name(one.index),
        label: data.classes().get(data.label(one.index) as usize).cloned().unwrap_or_default(),
        reference: name(one.reference.0),
        runtime: name(one.runtime.0),
        reference_margin: one.reference.1,
        runtime_margin: one.runtime.1,
        png,
    })
}

/// A batch's answers of every integer reference.
pub(super) fn answers(definitions: &mut [Definition], batch: &[f32], names: &[String]) -> Result<Vec<Vec<f32>>> {
    let one = |definition: &mut Definition| {
        let logits = definition.run(batch, names.len())?;
        for (logits, name) in logits.chunks(definition.signature().classes).zip(names) {
            check_finite(definition.name(), logits, name)?;
        }
        Ok(logits)
    };
    definitions.iter_mut().map(one).collect()
}

/// Plans are held to the ONNX file that they were compiled from, where it is among `known`.
pub(super) fn trace(candidates: &mut [Candidate], known: &[Arc<IntegerFile>]) {
    for candidate in candidates {
        let Some(source) = candidate.integers.file().and_then(|file| file.source.clone()) else { continue };
        if let Some(found) = known.iter().find(|file| file.source.is_none() && file.file_sha256 == source) {
            candidate.integers = Integers::Defined(Arc::clone(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_bytes_quanta_and_flips() {
        let mut distance = Distance::default();
        let name = || "x".to_owned();
        distance.add(0, &name, &[1.0, 0.0], &[1.0, 0.0]);
        distance.add(1, &name, &[1.0, 0.5], &[1.0, 0.25]);
        distance.add(2, &name, &[0.0, 1.0], &[1.0, 0.5]);
        assert_eq!((distance.images, distance.equal, distance.max_diff, distance.flipped.len()), (3, 1, 1.0, 1));
        let flipped = &distance.flipped[0];
        assert_eq!((flipped.index, flipped.reference, flipped.runtime), (2, (0, 0.5), (1, 1.0)));
        // Zeros of either sign are other bytes.
        distance.add(3, &name, &[0.0, 1.0], &[-0.0, 1.0]);
        assert_eq!((distance.equal, distance.flipped.len()), (1, 1));
    }

    #[test]
    fn a_share_without_flips_is_that_of_the_closed_form() {
        let none = share(&Counts { gained: 0.0, lost: 0.0, n: 1000.0 });
        assert!(none.low == 0.0 && (none.high - 100.0 * 3.8415 / 1003.8415).abs() < 1e-3, "{none:?}");
        let some = share(&Counts { gained: 0.0, lost: 20.0, n: 1000.0 });
        assert!(some.low > 1.0 && some.low < 2.0 && some.high > 2.0 && some.high < 3.5, "{some:?}");
        assert_eq!(share(&Counts { gained: 0.0, lost: 0.0, n: 0.0 }).high, 100.0);
    }
}
