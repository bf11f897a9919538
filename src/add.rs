//! A bundle gets a further model, which is run and compared with the bundle's reference answers before it is listed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use attar_data::Dataset;
use attar_export::bundle::Addition;
use attar_infer::engine::EngineModel;
use attar_infer::parity::{self, Options, Runtime};
use attar_infer::{Bundle, Certificate, Subject, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Engines;

/// What is to be added.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The ONNX file.
    pub model: &'a Path,
    /// What it is to be called in the bundle; its own name without.
    pub name: Option<&'a str>,
    /// The file of the bundle that it was made from, where that is known.
    pub made_from: Option<&'a str>,
    /// Whether it is listed, too, where nothing is decided.
    pub undecided: bool,
}

/// What came out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Added {
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// What the model is called in it.
    pub file: String,
    /// Whether the bundle lists it now.
    pub listed: bool,
    /// What the comparison came to.
    pub outcome: Outcome,
    /// How it compares with the bundle's reference answers.
    pub certificate: Certificate,
}

/// Whether a model answers like a bundle's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It does: its decisions are equivalent, or its numbers agree within the rounding of 32-bit floats.
    Agrees,
    /// It does not.
    Worse,
    /// That is not decided: too few labelled images, and numbers of a precision that are not judged.
    Undecided,
}

impl Outcome {
    fn of(certificate: &Certificate) -> Self {
        let agrees = |runtime: &Runtime| {
            let goldens = runtime.goldens.as_ref().filter(|goldens| goldens.tolerance.is_some());
            let numbers = goldens.is_some_and(|goldens| goldens.within_rounding && goldens.flips == 0);
            runtime.verdict == Verdict::Equivalent || numbers
        };
        match certificate.verdict {
            Verdict::Worse => Self::Worse,
            _ if certificate.runtimes.iter().all(agrees) => Self::Agrees,
            Verdict::Equivalent | Verdict::Inconclusive { .. } | Verdict::NumbersOnly => Self::Undecided,
        }
    }
}

/// Runs the model in the runtimes at hand, compares it with the bundle's goldens and, where there are labelled images, with its
/// predictions, and lists it where it agrees. Its certificate travels with it.
///
/// # Errors
/// A file that is not of the bundle's classes, input or preprocessing; a name that is taken; a bundle without reference
/// answers; as [`parity::verify`].
pub fn add(
    bundle: &Bundle,
    request: &Request<'_>,
    data: Option<&dyn Dataset>,
    options: &Options,
    engines: &Engines,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Added> {
    let own = request.model.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = request.name.map(str::to_owned).or(own).context("the model has no name\n  hint: --name gives it one")?;
    let model = EngineModel::read(request.model)?;
    let addition = |certificate| Addition {
        name: &name,
        model: model.bytes(),
        arithmetic: model.arithmetic(),
        precision: model.precision(),
        made_from: request.made_from,
        certificate,
    };
    addition(b"").listed_in(bundle.manifest())?; // before anything is run
    if bundle.goldens().is_none() && (bundle.predictions().is_none() || data.is_none()) {
        let hint =
            if bundle.predictions().is_some() { "--data names labelled images" } else { "export it with goldens" };
        bail!("{} holds nothing to compare a model with\n  hint: {hint}", bundle.root().display());
    }
    let subject = Subject::from(bundle);
    check_said(&model, &subject)?;
    let candidate = model.clone().called(&name);
    let (mut candidates, skipped) = engines.foreign_candidates(&subject, std::slice::from_ref(&candidate), None)?;
    let certificate = parity::verify(&subject, &mut candidates, skipped, data, options, progress)?;
    let outcome = Outcome::of(&certificate);
    let listed = outcome == Outcome::Agrees || (outcome == Outcome::Undecided && request.undecided);
    if listed {
        attar_export::bundle::add(bundle.root(), bundle.manifest(), &addition(&certificate.to_json()?))?;
    }
    Ok(Added { bundle: bundle.root().to_owned(), file: name, listed, outcome, certificate })
}

/// What the file says of itself must be what the bundle says.
fn check_said(model: &EngineModel, subject: &Subject) -> Result<()> {
    let said = model.said()?;
    let fail = |what: &str| bail!("{} states {what} than the bundle", model.origin().display());
    if said.labels.is_some_and(|labels| labels != subject.labels()) {
        return fail("other classes, or another order of them,");
    }
    if said.preprocessing.is_some_and(|how| how != *subject.preprocessing()) {
        return fail("another preprocessing");
    }
    Ok(())
}
