//! A recipe becomes a run directory, with its report.

use std::path::Path;

use anyhow::{Result, bail};
use attar_distill::losses::LossSpec;
use attar_distill::run::{self, Observer, Receipt};
use attar_distill::{Plan, PlanOptions, Recipe};
use attar_formats::run::file;

use crate::{onnx_teacher, report};

/// What the rooms behind this one may use: ONNX files as teachers, run by an engine; hashes of images kept from
/// before.
pub fn plan_options() -> PlanOptions {
    PlanOptions { onnx: Some(onnx_teacher::opener()), cache: attar_data::cache_folder(), ..PlanOptions::default() }
}

/// Carries a plan out in a new run directory, and draws its report.
///
/// # Errors
/// As [`run::start`], and when the report cannot be written.
pub fn start(directory: &Path, plan: Plan, observer: &mut dyn Observer) -> Result<Receipt> {
    with_report(directory, run::start(plan, directory, observer)?)
}

/// Goes on in a run directory from its last checkpoint, with the same bits as if it had never stopped, and draws
/// its report.
///
/// # Errors
/// As [`run::resume`], and when the report cannot be written.
pub fn resume(directory: &Path, plan: Plan, observer: &mut dyn Observer) -> Result<Receipt> {
    with_report(directory, run::resume(plan, directory, observer)?)
}

fn with_report(directory: &Path, receipt: Receipt) -> Result<Receipt> {
    let alone = report::run::Extras { certificate: None, comparison: None, images: report::Images::Withheld };
    report::run::write(directory, &alone)?;
    Ok(receipt)
}

/// The receipt of a run that this recipe has finished; none where it has not, an error where another recipe has.
///
/// # Errors
/// A recipe or receipt that cannot be read, and a run of another recipe.
pub fn finished(recipe: &Recipe, directory: &Path) -> Result<Option<Receipt>> {
    if !directory.join(file::RECEIPT).is_file() {
        return Ok(None);
    }
    let differences = Recipe::load(&directory.join(file::RECIPE), &[])?.differences(recipe)?;
    if !differences.is_empty() {
        bail!(
            "{} was trained by another recipe:\n  {}\n  hint: choose another --out",
            directory.display(),
            differences.join("\n  ")
        );
    }
    report::run::read_receipt(directory).map(Some)
}

/// Whether a student learns from labels alone.
pub fn is_alone(recipe: &Recipe) -> bool {
    let labels_only = recipe.losses.iter().all(|loss| matches!(loss.loss, LossSpec::CrossEntropy(_)));
    labels_only && recipe.teachers.is_empty() && recipe.stages.is_empty()
}
