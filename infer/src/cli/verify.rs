//! `verify`: does a model decide like the network that was trained, or like another file?

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use attar_data::Dataset;

use super::data::DataArgs;
use super::engines::EngineArgs;
use super::stated::{AgainstArgs, StatedArgs};
use super::{Exit, print};
use crate::bundle::Bundle;
use crate::engine::EngineModel;
use crate::error::Error;
use crate::parity::{self, Candidate, Certificate, Options, Reference, Skipped};
use crate::report::{certificate_section, html, junit};
use crate::side::Side;
use crate::subject::Subject;

/// Compares a bundle in every runtime with the answers of the network that was trained, and gives a verdict.
///
/// With --against, a bundle or an ONNX file is compared with another, which is asked live. An ONNX file alone is compared
/// between runtimes. Without --data both sides answer 16 seeded images, number by number.
///
/// An 8-bit file gets two verdicts: each runtime is held to what the file's integers are defined to give (Attar's own to the
/// same bytes), and that to the network that was trained, or to the 32-bit file of --against. The worse one counts.
///
/// Exit codes: 0 equivalent, 1 worse, or goldens or integers beyond what is allowed, 3 inconclusive or numbers only (no
/// labelled images), 2 any error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle directory, or an ONNX file.
    #[arg(value_name = "BUNDLE|FILE")]
    pub subject: PathBuf,
    /// Labelled images.
    #[command(flatten)]
    pub data: DataArgs,
    /// Verify this ONNX file of the same classes, e.g. a quantised one, in place of the bundle's own; may be given more than
    /// once.
    #[arg(long = "model", value_name = "FILE")]
    pub models: Vec<PathBuf>,
    /// What an ONNX file does not say.
    #[command(flatten)]
    pub stated: StatedArgs,
    /// What it is compared with.
    #[command(flatten)]
    pub against: AgainstArgs,
    /// Points of accuracy that may be lost.
    #[arg(long, default_value_t = 0.5, value_name = "POINTS", allow_negative_numbers = true)]
    pub margin: f64,
    /// Quanta by which a logit of an 8-bit file may differ from what its integers are defined to give, in other runtimes than
    /// Attar's own.
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub quanta: u32,
    /// Images that the slow definition of an 8-bit file's integers answers itself; for the others the engine's plain level
    /// stands in if it gave the same bytes for all of these.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub reference_images: u32,
    /// The ONNX file that a plan was compiled from, to whose integers it is held; one in the bundle or of --against is found
    /// without this.
    #[arg(long, value_name = "FILE")]
    pub made_from: Option<PathBuf>,
    /// Go on without images that cannot be read; they are counted and named in the certificate.
    #[arg(long, requires = "data")]
    pub leave_out_bad: bool,
    /// Ask every runtime about corrupted images, too: noise, blur, light, pixels and JPEG at three severities each, on so many of
    /// the labelled images; 1000 without a number. What comes out is told, and not judged.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000", requires = "data",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub corruptions: Option<u32>,
    /// Write the certificate as a self-contained page.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the verdicts as JUnit's XML: a test case for each runtime and model.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Leave images out of the pages, for private data.
    #[arg(long)]
    pub no_images: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Ask ONNX Runtime once more without fusing, each operation as the file says it: an exact 8-bit file gives the same bytes.
    #[arg(long, hide = cfg!(not(feature = "ort")))]
    pub ort_unfused: bool,
    /// In which runtimes.
    #[command(flatten)]
    pub engines: EngineArgs,
}

/// Commands that work, for `--help`.
pub fn examples(program: &str) -> String {
    format!(
        "Examples:\n  {program} verify bundles/distilled\n  {program} verify bundles/distilled --data image-folder:photos --margin 1 --html parity.html\n  \
         {program} verify bundles/distilled --data image-folder:photos --corruptions 100\n  \
         {program} verify bundles/distilled --data image-folder:photos --model int8.onnx --engine ort --junit parity.xml\n  \
         {program} verify student.onnx --against teacher.onnx --data image-folder:photos --labels labels.txt --preprocessing imagenet \
         --against-labels labels.txt --against-preprocessing imagenet\n  \
         {program} verify quantised.onnx --against float.onnx\n  \
         {program} verify plan.attar --made-from quantised.onnx --against float.onnx\n  \
         {program} verify yolo11n-cls.onnx --data image-folder:photos"
    )
}

impl Args {
    /// In which runtimes, and how.
    fn engines(&self) -> EngineArgs {
        EngineArgs { ort_unfused: self.ort_unfused, ..self.engines.clone() }
    }

    /// How to verify.
    pub fn options(&self) -> Options {
        Options {
            margin_points: self.margin,
            images: !self.no_images,
            most_quanta: self.quanta,
            reference_images: self.reference_images as usize,
            leave_out_bad: self.leave_out_bad,
            corrupted_images: self.corruptions.map(|count| count as usize),
            ..Options::default()
        }
    }
}

/// Verifies and hands out the certificate.
///
/// # Errors
/// As [`certify`] and [`hand_out`].
pub fn run(args: &Args, progress: &mut dyn FnMut(usize, usize)) -> Result<Exit> {
    hand_out(args, &certify(args, &args.subject, args.against.against.as_deref(), progress)?)
}

/// The certificate that was asked for, of what lies at `subject` against what lies at `against`, or against the answers that
/// a bundle brings, or against the other runtimes.
///
/// # Errors
/// As [`parity::verify`] and [`parity::verify_against`], when data or a model cannot be opened, when it is not said how images
/// reach an ONNX file, and when there is nothing to compare with.
pub fn certify(
    args: &Args,
    subject: &Path,
    against: Option<&Path>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Certificate> {
    let side = Side::open(subject, &args.stated.stated())?;
    let other = against.map(|path| Side::open(path, &args.against.stated())).transpose()?;
    if args.corruptions.is_some() && other.is_some() {
        bail!(
            "--corruptions compares the models of one bundle with its own in 32-bit floats, and not with that of --against\n  hint: \
             `add` lists a file in a bundle"
        );
    }
    match (side.bundle(), other) {
        (Some(bundle), None) => recorded(args, bundle, progress),
        (None, _) if !args.models.is_empty() => {
            bail!("--model stands in the place of a bundle's own, and {} is no bundle", subject.display())
        }
        (_, Some(other)) => live(args, &side, Some(&other), progress),
        (None, None) => match side.models().first().and_then(|model| parity::defined(model, side.input())) {
            Some(Ok(classes)) if args.against.against_engine.is_none() => by_definition(args, &side, classes, progress),
            _ => live(args, &side, None, progress),
        },
    }
}

/// Against the answers that the bundle brings.
fn recorded(args: &Args, bundle: &Bundle, progress: &mut dyn FnMut(usize, usize)) -> Result<Certificate> {
    if let Some(engine) = args.against.against_engine {
        bail!(
            "--against-engine {engine} asks nobody: the bundle brings the answers\n  hint: --against names a file to ask"
        );
    }
    let data = args.data.open_for(bundle.labels())?;
    let (mut candidates, skipped) = args.engines().candidates(bundle, &args.models)?;
    made_from(args, &mut candidates, bundle.card().network.input)?;
    let (subject, data): (_, Option<&dyn Dataset>) = (Subject::from(bundle), data.as_deref());
    Ok(parity::verify(&subject, &mut candidates, skipped, data, &args.options(), progress)?)
}

/// An 8-bit file alone, against what its integers are defined to give.
fn by_definition(
    args: &Args,
    side: &Side,
    classes: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Certificate> {
    let (subject, data) = match args.data.data {
        Some(_) => {
            let subject = side.subject()?;
            let data = args.data.open_for(subject.labels())?;
            (subject, data)
        }
        None => (side.subjects_of_numbers(side, classes)?.0, None),
    };
    let (mut candidates, skipped) = args.engines().foreign_candidates(&subject, side.models(), None)?;
    made_from(args, &mut candidates, side.input())?;
    Ok(parity::verify(&subject, &mut candidates, skipped, data.as_deref(), &args.options(), progress)?)
}

/// Holds plans to the file that --made-from names.
fn made_from(args: &Args, candidates: &mut [Candidate], input: [usize; 3]) -> Result<()> {
    match &args.made_from {
        None => Ok(()),
        Some(path) => Ok(parity::made_from(candidates, &EngineModel::read(path)?, input)?),
    }
}

/// Against another side that is asked now, or against the same file in another runtime.
fn live(args: &Args, side: &Side, other: Option<&Side>, progress: &mut dyn FnMut(usize, usize)) -> Result<Certificate> {
    let theirs = other.unwrap_or(side);
    let specs = args.engines().reference(args.against.against_engine);
    let (subject, reference, data) = match args.data.data {
        Some(_) => {
            let (subject, of) = (side.subject()?, theirs.subject()?);
            let data = args.data.open_for(subject.labels())?;
            (subject, Reference::load(theirs, &specs)?.of(of, Vec::new())?, data)
        }
        None => {
            let reference = Reference::load(theirs, &specs)?;
            let (subject, of, notes) = side.subjects_of_numbers(theirs, reference.classes())?;
            (subject, reference.of(of, notes)?, None)
        }
    };
    let (mut candidates, skipped) = match (other, side.bundle()) {
        (None, _) => other_runtimes(args, &subject, side, reference.engine())?,
        (Some(_), Some(bundle)) => args.engines().candidates(bundle, &args.models)?,
        (Some(_), None) => args.engines().foreign_candidates(&subject, side.models(), None)?,
    };
    made_from(args, &mut candidates, side.input())?;
    let data: Option<&dyn Dataset> = data.as_deref();
    Ok(parity::verify_against(subject, &mut candidates, reference, skipped, data, &args.options(), progress)?)
}

/// The runtimes that are held against the one that is the reference.
fn other_runtimes(
    args: &Args,
    subject: &Subject,
    side: &Side,
    reference: &str,
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    args.engines().foreign_candidates(subject, side.models(), Some(reference)).map_err(|error| {
        let why = match error.downcast_ref::<Error>() {
            Some(Error::Unavailable { problem, .. }) => problem.clone(),
            Some(error @ Error::Engine { .. }) => format!("\n  {}", error.to_string().lines().next().unwrap_or_default()),
            _ => return error,
        };
        anyhow!(
            "{}: only {reference} can be used, so there is nothing to compare with{why}\n  hint: `--against FILE` compares with \
             another file; `doctor` says which runtimes there are",
            side.path().display()
        )
    })
}

/// Writes the files that were asked for and prints the certificate.
///
/// # Errors
/// When one of them cannot be written.
pub fn hand_out(args: &Args, certificate: &Certificate) -> Result<Exit> {
    if let Some(path) = &args.html {
        let title = format!("Parity of {}", certificate.bundle.network);
        let page = html::page(&title, &certificate_section(certificate, !args.no_images));
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::suite(certificate)).with_context(|| path.display().to_string())?;
    }
    match args.json {
        true => print(&String::from_utf8_lossy(&certificate.to_json()?))?,
        false => print(&certificate.to_string())?,
    }
    Ok(match certificate.exit_code() {
        0 => Exit::Held,
        1 => Exit::NotSo,
        _ => Exit::Undecided,
    })
}
