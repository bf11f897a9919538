//! Does a bundle decide like the network that was trained, and whose run is it of?

use std::path::Path;

use anyhow::{Result, bail};
use attar_data::Dataset;
use attar_infer::parity::{self, Options};
use attar_infer::{Bundle, Certificate, Subject};

use crate::{Engines, report};

/// The certificate of a bundle over the runtimes that were asked for; `progress` hears how many of how many images
/// are done.
///
/// # Errors
/// As [`parity::verify`], and when a runtime that was named is not there.
pub fn certify(
    bundle: &Bundle,
    data: Option<&dyn Dataset>,
    options: &Options,
    engines: &Engines,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Certificate> {
    let (mut candidates, skipped) = engines.candidates(bundle, &[])?;
    Ok(parity::verify(&Subject::from(bundle), &mut candidates, skipped, data, options, progress)?)
}

/// A certificate belongs into the report of the run whose weights the bundle holds, and into no other.
///
/// # Errors
/// When the bundle holds other weights than the run's receipt names, or there is none.
pub fn check_run(bundle: &Bundle, run: &Path) -> Result<()> {
    let receipt = report::run::read_receipt(run)?;
    let exported = bundle.predictions().map(|predictions| predictions.weights_sha256.as_str());
    if exported != Some(receipt.weights_sha256.as_str()) {
        let (bundle, run) = (bundle.root().display(), run.display());
        bail!(
            "{bundle} was not exported from {run}: it holds other weights\n  hint: `--run` names the run of the bundle"
        );
    }
    Ok(())
}
