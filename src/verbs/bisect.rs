//! `attar bisect`: the first node at which two sides part, and the smallest file that shows it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use attar_data::Dataset;
use attar_formats::recorded::Recorded;
use attar_infer::bisect::{self, Bisection, Images, Live, Other};
use attar_infer::cli::data::DataArgs;
use attar_infer::cli::engines::OrtArgs;
use attar_infer::cli::stated::StatedArgs;
use attar_infer::cli::{Exit, say};
use attar_infer::engine::{EngineModel, available};
use attar_infer::side::Side;
use attar_infer::{EngineKind, EngineSpec};
use attar_pixels::Preprocessing;

use super::print;
use super::verify::with_bar;

/// Images that are compared at most, without --images.
const IMAGES: usize = 16;

/// Finds the first node at which two sides part by more than rounding, and writes the smallest file that shows it.
///
/// A side is an ONNX file or a bundle in a runtime. B alone may be left out: then it is A's file in another runtime, or, with
/// --answers, what any other program recorded. Values are compared by name; a node's own error is told from what it inherits by
/// giving it the other side's numbers. Between an f32 file and its int8 form the table is sorted by what quantising each node
/// costs. Without --data both sides get 16 seeded images.
///
/// Exit codes: 0 they agree throughout, 1 they part (the node is named), 3 nothing to compare, 2 any error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar bisect model.onnx --engine-b tract\n  attar bisect float.onnx quantised.onnx --json\n  attar bisect bundles/distilled --data image-folder:photos --images 4 --out repro"
)]
pub(crate) struct Args {
    /// Side A: an ONNX file or a bundle.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Side B: another, or left out.
    #[arg(value_name = "B")]
    b: Option<PathBuf>,
    /// Values that another program recorded, a safetensors file or numpy's .npz: tensors by their names in A's file, the images
    /// under the name of its input, the first axis counting them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["b", "engine_b", "data"])]
    answers: Option<PathBuf>,
    /// A's runtime: ort, tract or attar. ONNX Runtime where it is there, else tract.
    #[arg(long, value_name = "NAME")]
    engine_a: Option<EngineKind>,
    /// B's runtime: A's for another file, another for the same.
    #[arg(long, value_name = "NAME")]
    engine_b: Option<EngineKind>,
    /// B in ONNX Runtime without fusing: each operation as the file says it.
    #[arg(long, conflicts_with = "answers")]
    unfused_b: bool,
    /// Images for both.
    #[command(flatten)]
    data: DataArgs,
    /// Compare at most this many images.
    #[arg(long, value_name = "N", default_value_t = IMAGES)]
    images: usize,
    /// How images become its input, where the file does not say it.
    #[command(flatten)]
    stated: StatedArgs,
    /// Where the file that shows it goes, with its input, both answers, a script and a text for an issue.
    #[arg(long, value_name = "DIR", default_value = "repro")]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    ort: OrtArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let a = Side::open(&args.a, &args.stated.stated())?;
    let b = args.b.as_deref().map(|path| Side::open(path, &args.stated.stated())).transpose()?;
    if args.images == 0 {
        bail!("--images 0: nothing to compare");
    }
    let model_a = model(&a)?;
    let engine_a =
        args.engine_a.or_else(|| usable(args, |_| true)).context("no runtime that runs ONNX files is at hand")?;
    let live_a = Live::new(model_a, spec(args, engine_a), a.input())?;
    let (other, recorded) = match (&args.answers, &b) {
        (Some(path), _) => {
            let file = Recorded::open(path)?;
            let (images, _) = bisect::recorded_images(&file, live_a.input(), a.input())?;
            (Other::Recorded(file), Some(images))
        }
        (None, b) => {
            let side = b.as_ref().unwrap_or(&a);
            let model_b = model(side)?;
            let same = model_b.sha256() == model_a.sha256();
            let other = || match (args.unfused_b, same) {
                (true, _) => Some(EngineKind::Ort),
                (false, true) => usable(args, |kind| kind != engine_a).or(b.as_ref().map(|_| engine_a)),
                (false, false) => Some(engine_a),
            };
            let kind = args.engine_b.or_else(other);
            let kind = kind.with_context(|| format!("only {engine_a} is at hand, and both sides are one file"))?;
            if args.unfused_b && kind != EngineKind::Ort {
                bail!("--unfused-b is for ONNX Runtime, and B runs in {kind}");
            }
            if same && kind == engine_a && !args.unfused_b {
                say(format_args!("both sides are one file in {kind}"));
            }
            if side.input() != a.input() {
                bail!(
                    "{} takes {:?}, {} {:?}: they cannot get the same images",
                    args.a.display(),
                    a.input(),
                    side.path().display(),
                    side.input()
                );
            }
            let spec = EngineSpec { unfused: args.unfused_b, ..spec(args, kind) };
            (Other::Live(Box::new(Live::new(model_b, spec, side.input())?)), None)
        }
    };
    let stated = a.preprocessing().or(b.as_ref().and_then(Side::preprocessing)).cloned();
    let data = args.data.open()?;
    let images = images(args, a.input(), recorded, stated.as_ref(), data.as_deref())?;
    let mut found = with_bar("bisect", 0, |tick| Ok(bisect::bisect(&live_a, &other, &images, tick)?))?;
    bisect::write_repro(&args.out, &live_a, &other, &images, &mut found)?;
    print_out(args, &found)
}

/// The file of a side that is compared: an ONNX file.
fn model(side: &Side) -> Result<&EngineModel> {
    let found = side.models().iter().find(|model| !model.is_plan());
    found.with_context(|| {
        format!("{} holds plans alone\n  hint: give the ONNX file, with the engine `attar`", side.path().display())
    })
}

fn spec(args: &Args, kind: EngineKind) -> EngineSpec {
    EngineSpec { ort: args.ort.search(), ..EngineSpec::new(kind) }
}

/// The first runtime at hand that is wanted: ONNX Runtime, else tract, else Attar's own.
fn usable(args: &Args, wanted: impl Fn(EngineKind) -> bool) -> Option<EngineKind> {
    let found = available(&args.ort.search());
    let there = |kind: &EngineKind| found.iter().any(|found| found.engine == *kind && found.usable());
    [EngineKind::Ort, EngineKind::Tract, EngineKind::Attar].into_iter().filter(there).find(|kind| wanted(*kind))
}

fn images<'i>(
    args: &Args,
    shape: [usize; 3],
    recorded: Option<Vec<f32>>,
    stated: Option<&'i Preprocessing>,
    data: Option<&'i dyn Dataset>,
) -> Result<Images<'i>> {
    Ok(match (recorded, data) {
        (Some(numbers), _) => Images::of_numbers(numbers, shape),
        (None, Some(data)) => {
            let how = stated.with_context(|| {
                format!(
                    "{} does not say how pixels become its input\n  hint: --preprocessing NAME|FILE",
                    args.a.display()
                )
            })?;
            Images::of_data(data, how, shape, args.images)
        }
        (None, None) => {
            let plain = || Preprocessing::normalise(vec![0.5; shape[0]], vec![0.25; shape[0]]);
            Images::seeded(stated.cloned().unwrap_or_else(plain), shape, args.images)?
        }
    })
}

fn print_out(args: &Args, found: &Bisection) -> Result<ExitCode> {
    match args.json {
        true => print(&super::versioned(found)?)?,
        false => print(&found.to_string())?,
    }
    Ok(match found.exit_code() {
        0 => Exit::Held,
        1 => Exit::NotSo,
        _ => Exit::Undecided,
    }
    .into())
}
