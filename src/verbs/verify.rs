//! `attar verify`: does the bundle decide like the network that was trained? What `attar-infer verify` does, and a run's report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use attar::report::run::Extras;
use attar::report::{self, Images};
use attar::verify::check_run;
use attar_formats::bundle;
use attar_infer::cli::verify as shared;
use attar_infer::parity::Options;
use attar_infer::{Bundle, Certificate};

use crate::engines::EngineArgs;
use crate::progress;

/// Compares a bundle in every runtime with the answers of the network that was trained, and gives a verdict.
///
/// With --against, a bundle, a run or an ONNX file is compared with another, which is asked live. An ONNX file alone is
/// compared between runtimes. Without --data both sides answer 16 seeded images, number by number.
///
/// An 8-bit file gets two verdicts: each runtime is held to what the file's integers are defined to give (Attar's own to the
/// same bytes), and that to the network that was trained, or to the 32-bit file of --against. The worse one counts.
///
/// Exit codes: 0 equivalent, 1 worse, or goldens or integers beyond what is allowed, 3 inconclusive or numbers only (no
/// labelled images), 2 any error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shared: shared::Args,
    /// Draw the certificate into the report of this run directory, from which the bundle was exported.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

/// Commands that work, for `--help`.
pub(crate) fn examples() -> String {
    let run = "\n  attar verify bundles/distilled --data image-folder:photos --run runs/distilled\n  \
               attar verify runs/student --against runs/teacher --data image-folder:photos";
    shared::examples(crate::PROGRAM) + run
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shared = &args.shared;
    if shared.no_images && shared.html.is_none() && args.run.is_none() {
        bail!("--no-images leaves images out of a page, but none is written\n  hint: --html or --run");
    }
    let subject = Place::of(&shared.subject)?;
    let against = shared.against.against.as_deref().map(Place::of).transpose()?;
    if let Some(run) = &args.run {
        check_run(&Bundle::open(subject.path())?, run)?;
    }
    let against = against.as_ref().map(Place::path);
    let certificate = with_bar("verify", 0, |tick| shared::certify(shared, subject.path(), against, tick))?;
    if let Some(run) = &args.run {
        let images = if shared.no_images { Images::Withheld } else { Images::Shown };
        report::run::write(run, &Extras { certificate: Some(&certificate), comparison: None, images })?;
    }
    Ok(shared::hand_out(shared, &certificate)?.into())
}

/// Where something to verify lies: a bundle or an ONNX file, or the bundle that was made of a run for as long as this lives.
enum Place<'p> {
    Given(&'p Path),
    Made(tempfile::TempDir),
}

impl<'p> Place<'p> {
    fn of(path: &'p Path) -> Result<Self> {
        let run = path.join("card.json").is_file() && !path.join(bundle::file::MANIFEST).is_file();
        match run {
            true => Ok(Self::Made(attar::export::temporary(path)?)),
            false => Ok(Self::Given(path)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Made(place) => place.path(),
        }
    }
}

/// [`attar::verify::certify`] with a bar.
pub(crate) fn certify(
    bundle: &Bundle,
    data: Option<&dyn attar_data::Dataset>,
    options: &Options,
    engines: &EngineArgs,
) -> Result<Certificate> {
    let images = data.map_or(0, |data| data.len() as u64);
    with_bar("verify", images, |tick| attar::verify::certify(bundle, data, options, engines, tick))
}

/// Shows on a terminal how far the work is.
pub(super) fn with_bar<T>(
    prefix: &'static str,
    length: u64,
    work: impl FnOnce(&mut dyn FnMut(usize, usize)) -> Result<T>,
) -> Result<T> {
    let bar = progress::bar(length);
    bar.set_prefix(prefix);
    let mut tick = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let done = work(&mut tick);
    bar.finish_and_clear();
    done
}
