//! What is verified: a model file in a runtime, the bundle's own or another of the same classes.

use std::collections::BTreeMap;
use std::sync::Arc;

use attar_formats::certificate::Skipped;

use super::integers::trace;
use crate::bundle::Bundle;
use crate::engine::{Engine, EngineKind, EngineModel, EngineSpec, Integers};
use crate::error::{Error, Result};
use crate::subject::Subject;

/// One model file in one runtime, loaded.
pub struct Candidate {
    pub(super) file: String,
    pub(super) file_sha256: String,
    pub(super) data_files: BTreeMap<String, String>,
    pub(super) precision: String,
    /// What its integers are held to.
    pub(super) integers: Integers,
    pub(super) engine: Box<dyn Engine>,
}

impl Candidate {
    /// Name of the runtime.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// Its version.
    pub fn version(&self) -> &str {
        self.engine.version()
    }

    /// The model file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Precision of its arithmetic.
    pub fn precision(&self) -> &str {
        &self.precision
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("file", &self.file)
            .field("engine", &self.engine.name())
            .finish_non_exhaustive()
    }
}

/// Loads every model of the bundle into each of the `wanted` runtimes, and into those of the `optional` ones that are
/// there; the others are returned with the reason. A model that the exporter did not write itself need not run in every
/// optional runtime: one that cannot load it is returned with the reason, too, as long as another can.
///
/// # Errors
/// When a wanted runtime is not there, when a runtime that is there cannot load a model, or when no runtime is left.
pub fn candidates(
    bundle: &Bundle,
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    let subject = Subject::from(bundle).with_reference(None, None);
    let mut found = Found::default();
    for (model, listed) in bundle.engine_models()?.iter().zip(bundle.models()) {
        found.add(model, wanted, optional, !bundle.manifest().is_own(listed), |spec| {
            let engine = model.open(spec, Some(subject.input()))?;
            subject.check_classes(model.origin(), engine.signature())?;
            Ok(Candidate::new(model, engine))
        })?;
    }
    found.finish()
}

/// The same of ONNX files that are not a bundle's own, but of the subject's classes in its order, and for its preprocessing.
/// One of the `optional` runtimes that cannot load a file is returned with the reason, as long as another can.
///
/// # Errors
/// As [`candidates`], and when a file is not of the subject's classes or input.
pub fn foreign_candidates(
    subject: &Subject,
    models: &[EngineModel],
    wanted: &[EngineSpec],
    optional: &[EngineSpec],
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    let mut found = Found::default();
    for model in models {
        found.add(model, wanted, optional, true, |spec| Candidate::open(subject, model, spec))?;
    }
    found.finish()
}

/// Holds plans to this ONNX file, which they were compiled from.
///
/// # Errors
/// [`Error::Format`] when its integers are not defined, or no plan among them was compiled from it.
pub fn made_from(candidates: &mut [Candidate], model: &EngineModel, input: [usize; 3]) -> Result<()> {
    let file = match Integers::of(model, input) {
        Integers::Defined(file) => file,
        Integers::Undefined(why) => return Err(Error::format(model.origin(), why)),
        Integers::Floats => {
            return Err(Error::format(
                model.origin(),
                "it is not quantised, so that there are no integers to be held to",
            ));
        }
    };
    trace(candidates, std::slice::from_ref(&file));
    let held = |candidate: &Candidate| candidate.integers.file().is_some_and(|held| Arc::ptr_eq(held, &file));
    match candidates.iter().any(held) {
        true => Ok(()),
        false => {
            Err(Error::format(model.origin(), "no plan here was compiled from it, which a plan says by its sha256"))
        }
    }
}

/// How many logits the integers of an 8-bit file are defined to give, or why they are not defined; `None` of floats.
pub fn defined(model: &EngineModel, input: [usize; 3]) -> Option<std::result::Result<usize, String>> {
    match Integers::of(model, input) {
        Integers::Floats => None,
        Integers::Defined(file) => Some(Ok(file.signature.classes)),
        Integers::Undefined(why) => Some(Err(why)),
    }
}

/// What was loaded so far.
#[derive(Default)]
struct Found {
    loaded: Vec<Candidate>,
    skipped: Vec<Skipped>,
}

impl Found {
    /// Loads a model into the runtimes; one of the optional ones may refuse it where that is `bearable` and another takes it.
    fn add(
        &mut self,
        model: &EngineModel,
        wanted: &[EngineSpec],
        optional: &[EngineSpec],
        bearable: bool,
        open: impl Fn(&EngineSpec) -> Result<Candidate>,
    ) -> Result<()> {
        let (before, mut refused) = (self.loaded.len(), None);
        let named = wanted.iter().map(|spec| (spec, true));
        let specs: Vec<(&EngineSpec, bool)> = named
            .chain(optional.iter().map(|spec| (spec, false)))
            .filter(|(spec, _)| model.is_for(spec.kind))
            .collect();
        if specs.is_empty() {
            return Ok(()); // of other models of the bundle, perhaps
        }
        for (spec, needed) in specs {
            // Attar's own engine need not know every operation of an ONNX file.
            let bearable = bearable || (spec.kind == EngineKind::Attar && !model.is_plan());
            match open(spec) {
                Ok(candidate) => self.loaded.push(candidate),
                Err(Error::Unavailable { engine, problem }) if !needed => skip(&mut self.skipped, engine, problem),
                Err(Error::Engine { engine, problem }) if !needed && bearable => {
                    skip(&mut self.skipped, format!("{engine} on {}", model.name()), problem.clone());
                    refused = refused.or(Some(Error::Engine { engine, problem }));
                }
                Err(error) => return Err(error),
            }
        }
        if self.loaded.len() > before {
            let integers = Integers::of(model, self.loaded[before].engine.signature().input);
            self.loaded[before..].iter_mut().for_each(|candidate| candidate.integers = integers.clone());
        }
        match self.loaded.len() > before {
            true => Ok(()),
            false => Err(refused.unwrap_or_else(|| no_runtime(&self.skipped))),
        }
    }

    fn finish(mut self) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
        let known: Vec<_> =
            self.loaded.iter().filter_map(|candidate| candidate.integers.file()).map(Arc::clone).collect();
        trace(&mut self.loaded, &known);
        match self.loaded.is_empty() {
            true => Err(no_runtime(&self.skipped)),
            false => Ok((self.loaded, self.skipped)),
        }
    }
}

impl Candidate {
    pub(super) fn new(model: &EngineModel, engine: Box<dyn Engine>) -> Self {
        Self {
            file: model.name().to_owned(),
            file_sha256: model.sha256().to_owned(),
            data_files: model.data_files().clone(),
            precision: model.precision().to_owned(),
            integers: Integers::Floats,
            engine,
        }
    }

    /// Loads a file that is to be of the subject's classes and to take its images.
    pub(super) fn open(subject: &Subject, model: &EngineModel, spec: &EngineSpec) -> Result<Self> {
        let input = subject.input();
        let engine = model.open(spec, Some(input))?;
        let signature = engine.signature();
        subject.check_classes(model.origin(), signature)?;
        if signature.input != input {
            let problem = format!(
                "it takes images of {:?}, the preprocessing of {} makes {input:?}",
                signature.input,
                subject.name()
            );
            return Err(Error::format(model.origin(), problem));
        }
        // What was stated of the file's classes stands against what it says itself, and a bundle's classes against another's.
        if let Some(labels) = model.own_labels().filter(|labels| labels != subject.labels()) {
            let problem = match attar_formats::classes::align(subject.labels(), &labels) {
                Ok(_) => format!("its classes are those of {} in another order", subject.name()),
                Err(problem) => format!("it is of other classes than {}: {problem}", subject.name()),
            };
            return Err(Error::format(model.origin(), problem));
        }
        Ok(Self::new(model, engine))
    }
}

pub(super) fn skip(skipped: &mut Vec<Skipped>, engine: String, reason: String) {
    let known = skipped.iter().any(|one| one.engine == engine);
    skipped.extend((!known).then_some(Skipped { engine, reason }));
}

pub(super) fn no_runtime(skipped: &[Skipped]) -> Error {
    let reasons: Vec<String> = skipped.iter().map(|one| format!("\n  {}: {}", one.engine, one.reason)).collect();
    Error::Unavailable { engine: "any".to_owned(), problem: reasons.concat() }
}
