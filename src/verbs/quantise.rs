//! `attar quantise`: a run, a bundle or an ONNX file becomes a bundle with a model of 8-bit integers, judged before it is listed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use attar::add::Added;
use attar::export::{self, OnnxFile};
use attar::quantise::{
    AdaRound, Calibration, Calibrator, Done, ImagesFrom, Job, Request, Scales, Storage, Try, Tuning,
};
use attar::{end_to_end, quantise, table};
use attar_data::{Dataset, Source};
use attar_formats::bundle::EndToEndModel;
use attar_infer::Bundle;
use attar_infer::cli::data::{DataArgs, source};
use attar_infer::cli::stated::StatedArgs;
use attar_infer::cli::{Exit, Versioned, print, say};
use attar_infer::parity::Options;
use schemars::JsonSchema;
use serde::Serialize;

use super::end_to_end::EndToEndArgs;
use super::verify::with_bar;
use crate::engines::EngineArgs;
use crate::progress;

/// Quantises a network to 8-bit integers after training, and lists the file and its plan in the bundle if they decide like the
/// network in floats within the margin.
///
/// With exact scales (powers of two) every runtime must come to the same bits, however it fuses; with free scales there is
/// less error of rounding. Without --scales, exact ones are tried first, and free ones where those do not hold the margin.
///
/// A bundle gets the new models beside what it has. Of a run, or an ONNX file in floats, the bundle is made first, as `attar
/// export` makes it.
///
/// A command that was interrupted goes on where it was.
///
/// Exit codes: 0 listed, 1 worse, 3 not decided (nothing was added but with --undecided), 2 any error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar quantise runs/distilled --data image-folder:photos --out bundles/int8 --undecided\n  attar quantise model.onnx --labels labels.txt --preprocessing preprocessor_config.json --data image-folder:photos --out bundles/theirs --scales free --html layers.html --undecided\n  attar quantise bundles/int8 --weights-only f16 --undecided\n  attar quantise bundles/int8 --data-free --images 8 --name model.own.onnx --undecided"
)]
pub(crate) struct Args {
    /// The bundle or run directory, or an ONNX file.
    #[arg(value_name = "BUNDLE|RUN|FILE")]
    subject: PathBuf,
    /// The bundle that is made of a run or a file; `bundles/NAME` without it.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Labelled images to judge by; their `train` split is what ranges are found by.
    #[command(flatten)]
    data: DataArgs,
    /// Find ranges by these images and not by the training split of --data: `KIND:PATH`, their `train` split or, where there
    /// is none, all. They should be like those of training, and none of those that it is judged by.
    #[arg(long, value_name = "KIND:PATH", value_parser = source)]
    calibration: Option<Source>,
    /// Find ranges by images that are made of what the network's batch norms remember: where there is no data. The bundle must
    /// hold the network as it was trained.
    #[arg(long, conflicts_with = "calibration")]
    data_free: bool,
    /// How many images ranges are found by; 256 without it, 64 of --data-free.
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Which scales: `exact` or `free`; both are tried without it.
    #[arg(long, value_name = "KIND", value_parser = scales)]
    scales: Option<Scales>,
    /// CPUs that it is for. On those with `vnni` or `dotprod` (Arm), weights have 8 bits; `any` has 7, with which other
    /// runtimes keep their promises on older CPUs, too.
    #[arg(long, value_name = "CPU", default_value = "any")]
    target: Target,
    /// How ranges are found: `mse`, `min-max` or `percentile:P` with P of 100.
    #[arg(long, value_name = "HOW", default_value = "mse", value_parser = calibrator)]
    calibrator: Calibrator,
    /// Only store weights in fewer bits, as `f16` or `int8`, and compute in floats as before: the file is smaller, and no quicker.
    /// No images are needed for it; it is called model.f16.onnx or model.w8.onnx.
    #[arg(long, value_name = "KIND", value_parser = storage, conflicts_with_all = ["scales", "adaround", "equalise", "keep", "tune"])]
    weights_only: Option<Storage>,
    /// Nodes that stay in floats, by name.
    #[arg(long, value_name = "NODE", num_args = 1..)]
    keep: Vec<String>,
    /// Scale channels between layers first, so that their weights use their ranges alike (cross-layer equalisation).
    #[arg(long)]
    equalise: bool,
    /// Learn for each weight whether it goes up or down, by so many steps a layer (AdaRound); 1000 without a number.
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "1000")]
    adaround: Option<usize>,
    /// Estimate batch norms anew: each channel of a convolution gets back the mean and the deviation that it has in floats, by
    /// its scale and its bias. Where exact scales are tried first, it is done to free ones alone.
    #[arg(long, conflicts_with_all = ["tune", "weights_only"])]
    re_estimate_norms: bool,
    /// Leave biases as they are rounded, and do not let them take back what rounding moves means by.
    #[arg(long)]
    no_bias_correction: bool,
    /// Tune scales and biases until the answers on calibration images are as close as they come to those in floats (KL
    /// divergence), by so many steps; 200 without a number.
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "200", conflicts_with = "adaround")]
    tune: Option<usize>,
    /// What the model is called in the bundle; model.int8.onnx without it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Give layers back to floats, those first that gain most for the time that they take longer, until what is left holds the
    /// margin; at most half of them.
    #[arg(long)]
    give_back: bool,
    /// Write a page of what each layer costs, in answers and in time.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Points of accuracy that may be lost.
    #[arg(long, visible_alias = "margin", default_value_t = 0.5, value_name = "POINTS")]
    max_drop: f64,
    /// List it, too, where nothing is decided.
    #[arg(long)]
    undecided: bool,
    #[command(flatten)]
    end_to_end: EndToEndArgs,
    /// What an ONNX file does not say.
    #[command(flatten)]
    stated: StatedArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

/// What a network is to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// Any CPU.
    Any,
    /// Intel and AMD with VNNI.
    Vnni,
    /// Arm with dot products.
    Dotprod,
}

fn storage(text: &str) -> Result<Storage, String> {
    match text {
        "f16" => Ok(Storage::F16),
        "int8" => Ok(Storage::Int8),
        _ => Err("expected f16 or int8".to_owned()),
    }
}

fn scales(text: &str) -> Result<Scales, String> {
    match text {
        "exact" => Ok(Scales::Exact),
        "free" => Ok(Scales::Free),
        _ => Err("expected exact or free".to_owned()),
    }
}

fn calibrator(text: &str) -> Result<Calibrator, String> {
    let percent = |text: &str| text.parse::<f64>().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0);
    match text.split_once(':') {
        None if text == "mse" => Ok(Calibrator::Mse),
        None if text == "min-max" => Ok(Calibrator::MinMax),
        Some(("percentile", number)) => percent(number)
            .map(|percent| Calibrator::Percentile { percent })
            .ok_or_else(|| format!("`{number}` is no percentile, expected more than 0 and at most 100")),
        _ => Err("expected mse, min-max or percentile:P".to_owned()),
    }
}

/// What came out.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Written {
    #[serde(flatten)]
    models: Models,
    /// The file that takes pixels, where it was asked for and the model is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end: Option<EndToEndModel>,
}

/// What was tried; of weights alone what became of the file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Models {
    /// In integers.
    Integers(Done),
    /// In floats, with smaller weights.
    SmallWeights(Box<Added>),
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    args.end_to_end.check(&args.engines)?;
    let root = bundle(args)?;
    let bundle = Bundle::open(&root)?;
    let data = args.data.open_for(bundle.labels())?;
    let own_name = match args.weights_only {
        None => "model.int8.onnx",
        Some(Storage::Int8) => "model.w8.onnx",
        Some(Storage::F16 | Storage::F32) => "model.f16.onnx",
    };
    let job = Job {
        root: &root,
        name: args.name.as_deref().unwrap_or(own_name),
        data: data.as_deref(),
        options: Options { margin_points: args.max_drop, images: false, ..Options::default() },
        engines: &args.engines,
        undecided: args.undecided,
        give_back: args.give_back,
        shares: args.html.is_some(),
    };
    let (exit, models, mut words) = match args.weights_only {
        Some(storage) => {
            let added = with_bar("verify", 0, |tick| quantise::small_weights(&job, storage, tick))?;
            let words = super::add::text(&added, &root);
            (super::add::exit(&added), Models::SmallWeights(Box::new(added)), words)
        }
        None => {
            let done = in_integers(args, &job, &bundle)?;
            let exit = done.last().map_or(Exit::NotSo, |tried| super::add::exit(&tried.added));
            let words = text(&done, &root);
            (exit, Models::Integers(done), words)
        }
    };
    let is_listed = Bundle::open(&root)?.models().iter().any(|model| model.file == job.name);
    let end_to_end = if is_listed { args.end_to_end.add(&root, job.name, &args.engines)? } else { None };
    words.extend(end_to_end.iter().map(|made| format!("\n{}", end_to_end::text(made))));
    match args.json {
        true => Versioned::new(Written { models, end_to_end }).print()?,
        false => print(&words)?,
    }
    Ok(exit.into())
}

fn in_integers(args: &Args, job: &Job<'_>, bundle: &Bundle) -> Result<Done> {
    if args.re_estimate_norms && args.scales == Some(Scales::Exact) {
        bail!(
            "--re-estimate-norms moves the scales of weights, and exact ones stay powers of two\n  hint: without \
             --re-estimate-norms, or without --scales=exact"
        );
    }
    let calibration = calibration(args, bundle)?;
    let ways = args.scales.map_or_else(|| vec![Scales::Exact, Scales::Free], |scales| vec![scales]);
    let request = Request {
        weight_bits: if args.target == Target::Any { 7 } else { 8 },
        calibrator: args.calibrator,
        keep: args.keep.iter().cloned().collect(),
        equalise: args.equalise,
        adaround: args.adaround.map(|steps| AdaRound { steps, ..AdaRound::default() }),
        re_estimate_norms: args.re_estimate_norms,
        correct_biases: !args.no_bias_correction,
        tune: args.tune.map(|steps| Tuning { steps, ..Tuning::default() }),
        ..Request::default()
    };
    let bar = progress::bar(0);
    let done = quantise::into_bundle(job, &ways, &request, &calibration, &mut |what, at, all| {
        bar.set_prefix(what);
        bar.set_length(all as u64);
        bar.set_position(at as u64);
    })?;
    bar.finish_and_clear();
    if let (Some(path), Some(shares), Some(last)) = (&args.html, &done.shares, done.last()) {
        let outcome = format!("{}, at a margin of {} points", last.added.certificate.verdict, args.max_drop);
        let page = quantise::page(&format!("{} in integers", job.root.display()), &last.quantised, shares, &outcome);
        attar_formats::write::bytes(path, page.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(done)
}

/// The bundle that gets the models, made now where there is none yet.
fn bundle(args: &Args) -> Result<PathBuf> {
    let subject = &args.subject;
    if subject.join(attar_formats::bundle::file::MANIFEST).is_file() {
        if let Some(out) = &args.out {
            bail!(
                "{} is a bundle, which gets the models itself\n  hint: without --out {}, or on a copy",
                subject.display(),
                out.display()
            );
        }
        return Ok(subject.clone());
    }
    let is_file = subject.is_file();
    let name = if is_file { subject.file_stem() } else { subject.file_name() };
    let name = name.context("what is to be quantised has no name\n  hint: --out names the bundle")?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("bundles").join(name));
    if out.join(attar_formats::bundle::file::MANIFEST).is_file() {
        bail!(
            "{} is a bundle already\n  hint: `{}` goes on with it; or choose another place with --out",
            out.display(),
            on_with(&out, subject)
        );
    }
    let mut options = export::Options::default();
    let exported = if is_file {
        let file = OnnxFile::open(subject, &args.stated.stated())?;
        let data = args.data.open_for(file.labels())?;
        if data.is_none() {
            options.goldens = attar_export::Goldens::Synthetic;
        }
        let data: Option<&dyn Dataset> = data.as_deref();
        with_bar("answers", 0, |tick| file.export(&out, &options, &args.engines, data, tick))?
    } else {
        export::export_verified(subject, &out, &options, &args.engines)?
    };
    exported.notes.iter().for_each(say);
    say(format!("{}: the bundle in floats is made", out.display()));
    Ok(out)
}

/// This command, of the bundle that is there by now.
fn on_with(bundle: &Path, subject: &Path) -> String {
    let mut words = vec!["attar".to_owned()];
    let mut given = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = given.next() {
        if word == "--out" {
            given.next();
        } else if !word.starts_with("--out=") {
            let word = if Path::new(&word) == subject { bundle.display().to_string() } else { word };
            words.push(if word.contains(char::is_whitespace) { format!("'{word}'") } else { word });
        }
    }
    words.join(" ")
}

fn calibration(args: &Args, bundle: &Bundle) -> Result<Calibration> {
    let [c, h, w] = bundle.card().network.input;
    if args.data_free {
        return with_bar("images", 0, |tick| Calibration::synthesised(bundle, args.images.unwrap_or(64), tick));
    }
    let data = match (&args.calibration, &args.data.data) {
        (Some(own), _) => own.open_judged(Some("train"), &[]).or_else(|why| {
            say(format!("--calibration: no training split, the images that there are count ({why})"));
            own.open_judged(None, &[])
        })?,
        (None, Some(data)) => data.open_judged(Some("train"), bundle.labels()).context(
            "there is no training split to find ranges by\n  hint: --calibration names images that it is not judged by",
        )?,
        (None, None) => bail!(
            "there are no images to find ranges by\n  hint: --data or --calibration names some; --data-free makes some of what the \
             network remembers"
        ),
    };
    Calibration::of(data.as_ref(), bundle.preprocessing(), [c, h, w], args.images.unwrap_or(256))
}

fn text(done: &Done, root: &Path) -> String {
    let mut parts: Vec<String> = done.tries.iter().map(|tried| way(tried, root)).collect();
    if let Some(candidate) = &done.candidate {
        parts.push(format!("nothing is decided; the file is kept as {}", candidate.display()));
    }
    parts.join("\n\n")
}

/// One way, and what became of it.
fn way(tried: &Try, root: &Path) -> String {
    let Try { quantised: report, added, plan } = tried;
    let mut lines = vec![format!(
        "{} scales, {}-bit weights{}, ranges by {} of {} {}: {} layers in integers, {}",
        report.scales,
        report.weight_bits,
        report.adaround_steps.map(|steps| format!(" by AdaRound ({steps} steps)")).unwrap_or_default(),
        report.calibrator,
        report.images,
        match report.images_from {
            ImagesFrom::Data => "images",
            ImagesFrom::BatchNorms => "images made of its batch norms",
        },
        report.integer_layers,
        table::si(report.onnx_bytes as f64) + "B",
    )];
    if report.re_estimated_norms {
        lines.push("batch norms were estimated anew".to_owned());
    }
    lines.extend(report.tuned.map(|tuned| {
        format!(
            "tuned by {} steps: KL divergence from the answers in floats {:.2e} to {:.2e} nats",
            tuned.steps, tuned.before, tuned.after
        )
    }));
    if !report.float_layers.is_empty() {
        lines.push(format!("in floats: {}", report.float_layers.join(", ")));
    }
    if report.across_relu6 > 0 {
        lines.push(format!("{} pairs of layers have a ReLU6 between and were not equalised", report.across_relu6));
    }
    match report.inexact.first().filter(|_| report.scales == "exact") {
        None if report.scales == "exact" => {
            let clips = added.certificate.integers.iter().any(|integers| integers.beyond_16_bits.is_some());
            let but = if clips { ", unless it adds two products in 16 bits" } else { "" };
            lines.push(format!("exact: every runtime must come to the same bits, fused or not{but}"));
        }
        None => {}
        Some(first) => lines.push(format!(
            "not exact at {} of its nodes, the first `{}`: {}",
            report.inexact.len(),
            first.node,
            first.why
        )),
    }
    lines.push(super::add::text(added, root));
    lines.extend(
        plan.as_ref().map(|plan| format!("{} lists {plan} now, its plan for the engine attar", root.display())),
    );
    lines.join("\n")
}
