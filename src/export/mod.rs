//! A run, or an ONNX file of others, becomes a bundle, verified in every runtime before it gets its name.

mod onnx;

use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_export::{Goldens, Source};
use attar_infer::cli::NotSo;
use attar_infer::parity;
use attar_infer::{Bundle, Certificate, Subject, Verdict};

use crate::Engines;

pub use attar_export::bundle::{Options, Summary};
pub use onnx::OnnxFile;

/// What an export came to.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Sizes, and how many goldens travel.
    pub summary: Summary,
    /// How every runtime answered the goldens.
    pub certificate: Certificate,
    /// What a reader should know, e.g. of a card of an older version.
    pub notes: Vec<String>,
}

/// Writes the bundle beside its final place, runs it in every runtime at hand on its goldens, and only then gives it its
/// name. When anything is wrong, nothing is left behind.
///
/// # Errors
/// When `out` is there already, the run is not a finished one, or a file cannot be written; [`NotSo`] when a
/// runtime does not answer like the trained network.
pub fn export_verified(run: &Path, out: &Path, options: &Options, engines: &Engines) -> Result<Exported> {
    refuse_existing(out)?;
    let source = Source::open(run, None)?;
    let notes = source.note.iter().cloned().collect();
    verified(&source, notes, out, options, engines)
}

fn refuse_existing(out: &Path) -> Result<()> {
    if out.exists() {
        bail!("{} exists already\n  hint: remove it or choose another place with --out", out.display());
    }
    Ok(())
}

/// [`export_verified`] of what is read already.
fn verified(source: &Source, notes: Vec<String>, out: &Path, options: &Options, engines: &Engines) -> Result<Exported> {
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let scratch = scratch(parent)?;
    let summary = attar_export::write_bundle(source, options, scratch.path())?;
    let certificate = match options.goldens {
        Goldens::None => {
            Bundle::open(scratch.path())?;
            check_without_goldens(source, options, parent, engines)?
        }
        Goldens::Real | Goldens::Synthetic => check(scratch.path(), engines)?,
    };
    std::fs::rename(scratch.path(), out)
        .with_context(|| format!("{} could not be named {}", scratch.path().display(), out.display()))?;
    let _ = scratch.keep(); // it has its name now, and nothing is to be removed
    Ok(Exported { summary, certificate, notes })
}

/// The bundle of a run in a folder of its own, which goes with what is returned: to ask a run something, not to keep it.
/// Nothing is verified.
///
/// # Errors
/// When the run is not a finished one, or there is no place for the bundle.
pub fn temporary(run: &Path) -> Result<tempfile::TempDir> {
    let source = Source::open(run, None)?;
    let place = tempfile::tempdir().context("no place for a temporary bundle")?;
    attar_export::write_bundle(&source, &Options::default(), place.path())?;
    Ok(place)
}

/// A bundle that is to travel without goldens is checked by a twin that has synthetic ones; the model is the same to the
/// byte.
fn check_without_goldens(source: &Source, options: &Options, place: &Path, engines: &Engines) -> Result<Certificate> {
    let twin = scratch(place)?;
    attar_export::write_bundle(source, &Options { goldens: Goldens::Synthetic, ..options.clone() }, twin.path())?;
    check(twin.path(), engines)
}

/// A folder beside the final place that is removed unless it is kept, as readable as any new folder.
fn scratch(parent: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777)); // the umask takes its part
    builder.tempdir_in(parent).with_context(|| format!("{}: no place for the bundle", parent.display()))
}

/// Fails unless every runtime at hand gives the goldens' answers within rounding, where its precision has them judged.
fn check(bundle: &Path, engines: &Engines) -> Result<Certificate> {
    let bundle = Bundle::open(bundle)?;
    let (mut candidates, skipped) = engines.candidates(&bundle, &[])?;
    let options = parity::Options::default();
    let certificate =
        parity::verify(&Subject::from(&bundle), &mut candidates, skipped, None, &options, &mut |_, _| {})?;
    let whom = match &certificate.reference {
        None => "the trained network".to_owned(),
        Some(reference) => format!("{} in {}", reference.file, reference.engine),
    };
    for runtime in &certificate.runtimes {
        if let Some(held) = runtime.implementation.as_ref().filter(|held| held.verdict == Verdict::Worse) {
            let why = held.reason.as_deref().unwrap_or("too many decisions differ");
            let problem = format!(
                "{} does not answer as the file's integers are defined: {why}; nothing was exported",
                runtime.engine
            );
            return Err(NotSo(problem).into());
        }
        let Some(goldens) = runtime.goldens.as_ref().filter(|goldens| goldens.tolerance.is_some()) else { continue };
        if !goldens.within_rounding || goldens.flips > 0 {
            let problem = format!(
                "{} does not answer like {whom}: largest logit difference {:.2e}, {} of {} goldens flipped; nothing was exported",
                runtime.engine, goldens.logit_max_diff, goldens.flips, goldens.count
            );
            return Err(NotSo(problem).into());
        }
    }
    Ok(certificate)
}
