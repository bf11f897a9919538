//! `attar add`: a bundle gets a further model, checked before it is listed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use attar::add::{Added, Outcome, Request};
use attar_data::Dataset;
use attar_infer::Bundle;
use attar_infer::cli::data::DataArgs;
use attar_infer::cli::{Exit, Versioned, print};
use attar_infer::parity::Options;

use super::verify::with_bar;
use crate::engines::EngineArgs;

/// Adds an ONNX file of the same classes, e.g. a quantised one, to a bundle's models, after running it and comparing it with the
/// bundle's reference answers.
///
/// It is listed where its decisions on --data are equivalent at the margin, or where it computes in 32-bit floats and the goldens
/// come out within rounding. Its certificate travels as certificates/NAME.json. What the bundle had before stays as it is.
///
/// Exit codes: 0 listed, 1 worse, 3 not decided (nothing was added but with --undecided), 2 any error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar add bundles/distilled float.onnx\n  attar add bundles/distilled quantised.onnx --name model.int8.onnx --made-from model.onnx --data image-folder:photos --margin 1"
)]
pub(crate) struct Args {
    /// The bundle directory.
    bundle: PathBuf,
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// What it is called in the bundle; as the file without it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The file of the bundle that it was made from, e.g. model.onnx, where that is known.
    #[arg(long, value_name = "NAME")]
    made_from: Option<String>,
    /// Labelled images.
    #[command(flatten)]
    data: DataArgs,
    /// Points of accuracy that may be lost.
    #[arg(long, default_value_t = 0.5, value_name = "POINTS", allow_negative_numbers = true)]
    margin: f64,
    /// Go on without images that cannot be read; they are counted and named in the certificate.
    #[arg(long, requires = "data")]
    leave_out_bad: bool,
    /// List it, too, where nothing is decided.
    #[arg(long)]
    undecided: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let bundle = Bundle::open(&args.bundle)?;
    let data = args.data.open_for(bundle.labels())?;
    let request = Request {
        model: &args.model,
        name: args.name.as_deref(),
        made_from: args.made_from.as_deref(),
        undecided: args.undecided,
    };
    let options =
        Options { margin_points: args.margin, images: false, leave_out_bad: args.leave_out_bad, ..Options::default() };
    let data: Option<&dyn Dataset> = data.as_deref();
    let added = with_bar("verify", 0, |tick| attar::add::add(&bundle, &request, data, &options, &args.engines, tick))?;
    let exit = exit(&added);
    match args.json {
        true => Versioned::new(added).print()?,
        false => print(&text(&added, &args.bundle))?,
    }
    Ok(exit.into())
}

pub(super) fn exit(added: &Added) -> Exit {
    match (added.listed, added.outcome) {
        (true, _) => Exit::Held,
        (false, Outcome::Undecided) => Exit::Undecided,
        (false, Outcome::Worse | Outcome::Agrees) => Exit::NotSo,
    }
}

pub(super) fn text(added: &Added, bundle: &Path) -> String {
    let (file, bundle) = (&added.file, bundle.display());
    let came_to = match (added.listed, added.outcome) {
        (true, Outcome::Undecided) => format!("{bundle} lists {file} now, although nothing is decided"),
        (true, _) => format!("{bundle} lists {file} now; its certificate is certificates/{file}.json"),
        (false, Outcome::Undecided) => format!(
            "{file} was not added: its numbers alone decide nothing\n  hint: --data names labelled images, more of them decide \
             more; --undecided lists it all the same"
        ),
        (false, _) => format!("{file} was not added"),
    };
    format!("{}\n\n{came_to}", added.certificate)
}
