//! A reference that is asked live: another file, or the same file in another runtime, in the place of the answers that a
//! bundle brings.

use attar_data::Dataset;
use attar_formats::classes::{self, Alignment};
use attar_formats::reference as stored;

use super::answers::{BATCH, align_classes, bad_images, check_finite, prepare};
use super::{Candidate, Options, candidates, goldens, integers, seeded, verify};
use crate::bundle::{Goldens, Predictions, Split};
use crate::engine::{EngineKind, EngineSpec, Inner, Integers};
use crate::error::{Error, Result};
use crate::side::Side;
use crate::subject::Subject;
use attar_formats::certificate::{Certificate, ReferenceFacts, Skipped};

/// A model in a runtime, whose answers are those that are compared with.
#[derive(Debug)]
pub struct Reference {
    pub(super) loaded: Candidate,
    pub(super) subject: Option<Subject>,
    notes: Vec<String>,
}

impl Reference {
    /// Loads the first model of a side into the first of the runtimes that is there and takes it.
    ///
    /// # Errors
    /// When none does: what the last of them said of the file, or that none is there.
    pub fn load(side: &Side, specs: &[EngineSpec]) -> Result<Self> {
        Self::load_value(side, specs, None)
    }

    /// The same; its answers are the value that the file calls `value`, e.g. the one that goes into a softmax at its end.
    ///
    /// # Errors
    /// As [`Reference::load`], and where that value is not a row of numbers for each image.
    pub fn load_value(side: &Side, specs: &[EngineSpec], value: Option<&str>) -> Result<Self> {
        let Some(model) = side.models().first() else { return Err(Error::format(side.path(), "no model")) };
        let (mut skipped, mut refused) = (Vec::new(), None);
        for spec in specs.iter().filter(|spec| specs.len() == 1 || model.is_for(spec.kind)) {
            let opened = match value {
                None => model.open(spec, Some(side.input())),
                Some(value) => Inner::open(model, spec, side.input(), value),
            };
            match opened {
                Ok(engine) => {
                    let mut loaded = Candidate::new(model, engine);
                    // Plans that were compiled from it are held to its integers.
                    loaded.integers = Integers::of(model, side.input());
                    return Ok(Self { loaded, subject: None, notes: Vec::new() });
                }
                Err(Error::Unavailable { engine, problem }) => candidates::skip(&mut skipped, engine, problem),
                // What others say of an ONNX file says more than that Attar's own engine does not compile it.
                Err(Error::Engine { .. }) if refused.is_some() && spec.kind == EngineKind::Attar => {}
                Err(error @ Error::Engine { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| candidates::no_runtime(&skipped)))
    }

    /// Its runtime.
    pub fn engine(&self) -> &'static str {
        self.loaded.engine()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.loaded.engine.signature().classes
    }

    /// Says how images reach it and what its answers are called; `notes` go into the certificate.
    ///
    /// # Errors
    /// When it is not of so many classes, or takes other images.
    pub fn of(mut self, subject: Subject, notes: Vec<String>) -> Result<Self> {
        let (signature, path) = (self.loaded.engine.signature(), std::path::Path::new(&self.loaded.file));
        subject.check_classes(path, signature)?;
        if subject.input() != signature.input {
            let problem = format!("it takes images of {:?}, expected {:?}", signature.input, subject.input());
            return Err(Error::format(path, problem));
        }
        (self.subject, self.notes) = (Some(subject), notes);
        Ok(self)
    }

    fn facts(&self) -> ReferenceFacts {
        let Candidate { file, file_sha256, data_files, precision, engine, .. } = &self.loaded;
        ReferenceFacts {
            file: file.clone(),
            file_sha256: file_sha256.clone(),
            data_files: data_files.clone(),
            precision: precision.clone(),
            engine: engine.name().to_owned(),
            version: engine.version().to_owned(),
            answers: engine.answers(),
            notes: self.notes.clone(),
        }
    }

    /// Its answers to every image of the data, in the classes of `asked`, which are at `columns` of its own. They are those of
    /// the weights with this sha256.
    pub(super) fn predictions(
        &mut self,
        (own, asked, columns): (&Subject, &Subject, &Alignment),
        (data, leave_out_bad): (&dyn Dataset, bool),
        weights_sha256: &str,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Predictions> {
        let alignment = align_classes(asked, data)?;
        let engine = self.loaded.engine.as_mut();
        let signature = engine.signature();
        let (mut answers, mut bad, mut start) = (Vec::new(), Vec::new(), 0);
        while start < data.len() {
            let indices = start..(start + BATCH).min(data.len());
            start = indices.end;
            let prepared = prepare(own, signature, data, indices, &alignment, &mut bad)?;
            if !prepared.is_empty() && (bad.is_empty() || leave_out_bad) {
                let batch: Vec<f32> = prepared.iter().flat_map(|one| one.input.iter().copied()).collect();
                let logits = engine.run(&batch, prepared.len())?;
                for (one, logits) in prepared.iter().zip(logits.chunks(signature.classes)) {
                    check_finite(engine.name(), logits, &data.name(one.index))?;
                    answers.push(answer(&columns.pick(logits), one.sha256, one.label));
                }
            }
            progress(start, data.len());
        }
        if !bad.is_empty() && (answers.is_empty() || !leave_out_bad) {
            return Err(bad_images(&bad, data.len()));
        }
        Ok(Predictions::new(weights_sha256, columns.columns.len(), &answers)?)
    }

    /// Seeded images with its answers to them, in the classes of `asked`.
    pub(super) fn seeded(&mut self, own: &Subject, asked: &Subject, columns: &Alignment) -> Result<Goldens> {
        let images = seeded::images(asked, own)?;
        let encoded = images.iter().map(attar_pixels::Image::to_png).collect::<attar_pixels::Result<_>>()?;
        self.goldens((own, asked, columns), stored::GoldenKind::Synthetic, &images, encoded)
    }

    /// These images with its answers to them, in the classes of `asked`; `encoded` are the images as files.
    pub(super) fn goldens(
        &mut self,
        (own, asked, columns): (&Subject, &Subject, &Alignment),
        kind: stored::GoldenKind,
        images: &[attar_pixels::Image],
        encoded: Vec<Vec<u8>>,
    ) -> Result<Goldens> {
        let engine = self.loaded.engine.as_mut();
        let signature = engine.signature();
        let takes = crate::engine::Signature { input: asked.input(), ..signature };
        let (mut inputs, mut theirs) = (Vec::new(), Vec::new());
        for (at, image) in images.iter().enumerate() {
            let name = format!("the {} image {at}", kind.name());
            theirs.extend(own.network_input(image, signature, &name)?);
            inputs.extend(asked.network_input(image, takes, &name)?);
        }
        let logits = goldens::answer(engine, &theirs)?;
        let logits = logits.chunks(signature.classes).flat_map(|row| columns.pick(row)).collect();
        Ok(Goldens { encoded, input: inputs, input_shape: asked.input(), logits, kind })
    }
}

fn answer(logits: &[f32], pixels_sha256: [u8; 32], label: u32) -> stored::Answer {
    let best = attar_measures::top(logits, stored::TOP, f32::total_cmp);
    stored::Answer {
        pixels_sha256,
        label,
        split: Split::Test,
        top: best.into_iter().map(|class| (class as u32, logits[class])).collect(),
        log_sum_exp: attar_measures::log_sum_exp(logits) as f32,
        logits: (logits.len() <= stored::FULL_LOGITS).then(|| logits.to_vec()),
    }
}

/// Makes the certificate of `subject` over loaded runtimes, held against a live reference ([`Reference::of`] said what it
/// is), whose classes are found by name; it may know more. Without images both answer 16 seeded ones, and numbers beyond
/// rounding are worse where both are of 32-bit floats. `progress` hears of every image twice.
///
/// # Errors
/// As [`verify`], and when the reference does not know the subject's classes, or fails.
pub fn verify_against(
    subject: Subject,
    candidates: &mut [Candidate],
    mut reference: Reference,
    skipped: Vec<Skipped>,
    data: Option<&dyn Dataset>,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Certificate> {
    let Some(other) = reference.subject.take() else {
        let problem = "nobody said how images reach it".to_owned();
        return Err(Error::Setting { setting: "reference", problem });
    };
    let columns = aligned(&subject, &other).map_err(|problem| Error::Setting {
        setting: "reference",
        problem: format!(
            "{} does not know the classes of {}; {problem}\n  hint: classes go by name; the reference may know more",
            reference.loaded.file,
            subject.name()
        ),
    })?;
    reference.notes.extend(columns.note.clone().map(|note| format!("of the reference's classes: {note}")));
    if let Some(file) = reference.loaded.integers.file() {
        integers::trace(candidates, std::slice::from_ref(file));
    }
    let (goldens, predictions) = match data {
        None => (Some(reference.seeded(&other, &subject, &columns)?), None),
        Some(data) => {
            let mut first_half = |done: usize, all: usize| progress(done, 2 * all);
            let (asked, sha256) = ((data, options.leave_out_bad), reference.loaded.file_sha256.clone());
            let sides = (&other, &subject, &columns);
            (None, Some(reference.predictions(sides, asked, &sha256, &mut first_half)?))
        }
    };
    let facts = reference.facts();
    let mut subject = subject.with_reference(goldens, predictions);
    subject.normalised = facts.answers.normalised();
    subject.answered_by = Some(facts);
    let mut second_half = |done: usize, all: usize| progress(all + done, 2 * all);
    verify(&subject, candidates, skipped, data, options, &mut second_half)
}

/// Equal lists are equal, also where a name stands in them twice (ImageNet's crane is a bird and a machine).
fn aligned(subject: &Subject, other: &Subject) -> std::result::Result<Alignment, String> {
    match subject.labels() == other.labels() {
        true => Ok(Alignment::same(subject.labels().len())),
        false => classes::align(subject.labels(), other.labels()),
    }
}
