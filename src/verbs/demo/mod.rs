//! `attar demo`: the whole pipeline on the small data set that ships with the source.
//!
//! A student is trained three times from the same weights on the same batches: alone, taught by classic KD, and taught by
//! CD + GKD + EDT; all are exported, the last is verified on the test images and quantised, and one table says what came of
//! it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use attar::demo::{Comparison, Contender, parity_line};
use attar::quantise::{Calibration, Done, Job, Request, Scales, Try};
use attar::{export, quantise, report};
use attar_data::{Dataset, Source};
use attar_distill::{Plan, Recipe};
use attar_formats::run::file;
use attar_infer::cli::say;
use attar_infer::parity;
use attar_infer::{Bundle, Certificate};

use super::{train, verify};
use crate::engines::EngineArgs;

/// Distils, exports, verifies and compares on a small real data set (Fashion-MNIST, 6,000 + 3,000 images) in a few minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  attar demo\n  attar demo --seed 1 --out runs/demo-seed1 --json")]
pub(crate) struct Args {
    /// Where to put runs, bundles and reports; the first free of runs/demo, runs/demo-2, ... without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the students' runs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Change a setting of all students' recipes, dotted: `train.epochs=2`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

/// The students: name, whose recipe is `NAME.toml`, and what the table calls it. The last is the one that is verified.
const STUDENTS: [(&str, &str); 3] =
    [("baseline", "student alone"), ("kd", "student by KD"), ("distilled", "student by CD + GKD + EDT")];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let demo = folder()?;
    let out = args.out.clone().unwrap_or_else(free_folder);
    if out.exists() {
        bail!("{} exists already\n  hint: choose another place with --out", out.display());
    }
    let mut contenders = vec![Contender::new("teacher", &demo.join("teacher"), None)];
    for (at, (name, title)) in STUDENTS.into_iter().enumerate() {
        say(format!("\n[{}/6] {title}", at + 1));
        let (run, bundle) = (out.join(name), out.join(format!("{name}-bundle")));
        learn(&demo, name, &run, args)?;
        export::export_verified(&run, &bundle, &attar_export::bundle::Options::default(), &args.engines)?;
        contenders.push(Contender::new(title, &bundle, Some(&run)));
    }
    say("\n[4/6] verifying the student taught by CD + GKD + EDT on the test images");
    let taught = out.join("distilled-bundle");
    let test = test_images(&demo)?;
    let certificate = certify(&taught, &*test, &args.engines)?;
    say("[5/6] the same student in 8-bit integers");
    let integers = in_integers(&demo, &taught, &*test, &args.engines)?;
    say("[6/6] measuring");
    let mut comparison = Comparison::of(&contenders, &*test, &args.engines)?;
    comparison.add_integers("the same in int8", &taught, &integers)?;

    let extras = report::run::Extras {
        certificate: Some(&certificate),
        comparison: Some(comparison.html()),
        images: report::Images::Shown,
    };
    report::run::write(&out.join("distilled"), &extras)?;
    let seconds = started.elapsed().as_secs_f64();
    let receipt = super::versioned(&comparison.receipt(args.seed, seconds, &certificate, &demo)?)?;
    std::fs::write(out.join(file::RECEIPT), &receipt)?;
    super::print(&match args.json {
        true => receipt,
        false => summary(&comparison, (&certificate, &integers), seconds, &out),
    })?;
    Ok(ExitCode::from(certificate.exit_code()))
}

/// What a person reads at the end.
fn summary(
    comparison: &Comparison,
    (certificate, integers): (&Certificate, &Done),
    seconds: f64,
    out: &Path,
) -> String {
    let parity = certificate.runtimes.iter().map(|r| format!("  {}: {}\n", r.engine, parity_line(r)));
    let absent = |engine: &str| {
        format!("  {engine}: not at hand (`attar doctor` says why; `cargo xtask fetch-ort` fetches ort)\n")
    };
    let skipped = certificate.skipped.iter().map(|skipped| absent(&skipped.engine));
    format!(
        "\n{comparison}\nparity of the exported student with the trained one, on the same images:\n{}  verdict at a margin of {} points: {}\n{}\n\
         in {seconds:.0} s; look at {}\ntry: cargo run --release -- predict {} demo/boot.png",
        parity.chain(skipped).collect::<String>(),
        certificate.margin_points,
        certificate.verdict,
        integers.last().map(of_integers).unwrap_or_default(),
        out.join("distilled").join(file::REPORT).display(),
        out.join("distilled-bundle").display()
    )
}

/// How the student in integers decides, in each runtime.
fn of_integers(tried: &Try) -> String {
    let certificate = &tried.added.certificate;
    let exact = if tried.quantised.is_exact() { ", exact: every runtime comes to the same bits" } else { "" };
    let runtimes =
        certificate.runtimes.iter().map(|runtime| format!("  {}: {}\n", runtime.engine, parity_line(runtime)));
    let runtimes = runtimes.collect::<String>();
    format!(
        "and of the student in int8 ({}-bit weights{exact}):\n{runtimes}  verdict at a margin of {} points: {}\n",
        tried.quantised.weight_bits, certificate.margin_points, certificate.verdict
    )
}

/// The student in integers: ranges by training images, judged by the test images, listed in its bundle if it holds or if these
/// are too few to tell.
fn in_integers(demo: &Path, bundle: &Path, test: &dyn Dataset, engines: &EngineArgs) -> Result<Done> {
    let opened = Bundle::open(bundle)?;
    let train = source(demo).open()?.train;
    let calibration = Calibration::of(&*train, opened.preprocessing(), opened.card().network.input, 256)?;
    let job = Job {
        root: bundle,
        name: "model.int8.onnx",
        data: Some(test),
        options: parity::Options { images: false, ..parity::Options::default() },
        engines,
        undecided: true,
        give_back: false,
        shares: false,
    };
    let ways = [Scales::Exact, Scales::Free];
    quantise::into_bundle(&job, &ways, &Request::default(), &calibration, &mut |_, _, _| {})
}

/// Trains one student with progress.
fn learn(demo: &Path, name: &str, run: &Path, args: &Args) -> Result<()> {
    let mut settings = vec![format!("seed={}", args.seed)];
    settings.extend(args.set.iter().cloned());
    let recipe = Recipe::load(&demo.join(format!("{name}.toml")), &settings)?;
    train::carry_out(Plan::new(recipe, train::options())?, run, false)?;
    Ok(())
}

fn certify(bundle: &Path, test: &dyn Dataset, engines: &EngineArgs) -> Result<Certificate> {
    verify::certify(&Bundle::open(bundle)?, Some(test), &parity::Options::default(), engines)
}

fn test_images(demo: &Path) -> Result<std::sync::Arc<dyn Dataset>> {
    Ok(source(demo).open()?.test)
}

fn source(demo: &Path) -> Source {
    Source::Idx { root: demo.join("data"), classes: None }
}

/// `demo/` of the source: in the current folder or above it, else where this program was built.
fn folder() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here
        .ancestors()
        .chain([built])
        .map(|folder| folder.join("demo"))
        .find(|demo| demo.join("distilled.toml").is_file());
    match found {
        Some(demo) => Ok(demo),
        None => bail!("the folder `demo` of the source is not here\n  hint: run this inside a clone of the project"),
    }
}

fn free_folder() -> PathBuf {
    let numbered = (2..).map(|n| PathBuf::from(format!("runs/demo-{n}")));
    let mut places = std::iter::once(PathBuf::from("runs/demo")).chain(numbered);
    places.find(|place| !place.exists()).unwrap_or_default()
}
