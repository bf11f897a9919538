//! `attar data`: what is in a data set, is it sound, and where does it come from?

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use attar::table;
use attar_data::fetch::{self, Known, RemoteFile};
use attar_data::{Dataset, Finding, LeftOut, Report, Source, SplitReport};
use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;

use super::print;
use crate::progress;
use crate::source::{CacheArgs, source};

/// Looks into, checks and fetches data sets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Splits, classes and sizes.
    #[command(after_help = "Examples:\n  attar data info idx:demo/data\n  attar data info image-folder:photos --json")]
    Info {
        /// `idx:DIR`, `cifar10:PATH`, `cifar100:PATH` or `image-folder:DIR`.
        #[arg(value_parser = source)]
        data: Source,
        /// Look at this split alone: `train`, `test`, `val` or any other folder of an image folder.
        #[arg(long, value_name = "NAME")]
        split: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Broken files, empty or tiny classes, images that are in train and in another split. Exit code 1 when something is wrong.
    #[command(
        after_help = "Examples:\n  attar data check image-folder:photos\n  attar data check image-folder:photos --split val\n  attar data check idx:demo/data --json"
    )]
    Check {
        /// `idx:DIR`, `cifar10:PATH`, `cifar100:PATH` or `image-folder:DIR`.
        #[arg(value_parser = source)]
        data: Source,
        /// Look at this split alone: `train`, `test`, `val` or any other folder of an image folder.
        #[arg(long, value_name = "NAME")]
        split: Option<String>,
        #[command(flatten)]
        cache: CacheArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetches mnist, fashion-mnist, cifar10 or cifar100 from its official host, or checks and installs files at hand.
    #[command(
        after_help = "Examples:\n  attar data fetch fashion-mnist\n  attar data fetch cifar100 --from cifar-100-binary.tar.gz --into data/cifar100"
    )]
    Fetch {
        /// mnist, fashion-mnist, cifar10 or cifar100.
        name: String,
        /// An official file, or a folder of all of them, instead of the network.
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
        /// Where to; `data/NAME` without it.
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.action {
        Action::Info { data, split, json } => info(data, split.as_deref(), *json).map(|()| ExitCode::SUCCESS),
        Action::Check { data, split, cache, json } => check(data, split.as_deref(), *cache, *json),
        Action::Fetch { name, from, into, json } => {
            let known = Known::named(name)?;
            let into = into.clone().unwrap_or_else(|| Path::new("data").join(known.name()));
            fetch(known, from.as_deref(), &into, *json).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// What is in a data set, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Info<'a> {
    /// Images of each split, by its name.
    #[serde(flatten)]
    images: BTreeMap<String, usize>,
    classes: Vec<Class>,
    notes: &'a [String],
    /// Files and folders that were not taken for images, how many of each kind.
    left_out: &'a LeftOut,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize, JsonSchema)]
struct Class {
    /// Its name.
    class: String,
    /// Its images in each split, by the split's name.
    #[serde(flatten)]
    images: BTreeMap<String, usize>,
}

/// What was fetched, as it is printed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Fetched {
    files: Vec<PathBuf>,
    /// As a recipe names it.
    source: Source,
}

fn info(source: &Source, split: Option<&str>, json: bool) -> Result<()> {
    let survey = source.survey(split)?;
    let per_class: Vec<Vec<usize>> = survey.splits.iter().map(|(_, images)| count(images.as_ref())).collect();
    let of = |split: &Vec<usize>, class: usize| split.get(class).copied().unwrap_or(0);
    if json {
        let class = |(at, class): (usize, &String)| Class {
            class: class.clone(),
            images: survey
                .splits
                .iter()
                .zip(&per_class)
                .map(|((name, _), split)| (name.clone(), of(split, at)))
                .collect(),
        };
        return print(&super::versioned(&Info {
            images: survey.splits.iter().map(|(name, images)| (name.clone(), images.len())).collect(),
            classes: survey.classes.iter().enumerate().map(class).collect(),
            notes: &survey.notes,
            left_out: &survey.left_out,
            findings: &survey.findings,
        })?);
    }
    let row = |(at, class): (usize, &String)| -> Vec<String> {
        std::iter::once(class.clone()).chain(per_class.iter().map(|split| of(split, at).to_string())).collect()
    };
    let rows: Vec<Vec<String>> = survey.classes.iter().enumerate().map(row).collect();
    let head: Vec<&str> = std::iter::once("class").chain(survey.splits.iter().map(|(name, _)| name.as_str())).collect();
    let purpose = |name: &str| match name {
        "train" => "to learn from".to_owned(),
        "test" => "to test".to_owned(),
        other => format!("in {other}"),
    };
    let sizes: Vec<String> =
        survey.splits.iter().map(|(name, images)| format!("{} images {}", images.len(), purpose(name))).collect();
    let mut text = table::render(&head, &rows);
    text += &format!("\n{} classes, {}", survey.classes.len(), sizes.join(", "));
    if let Some((_, images)) = survey.splits.iter().find(|(_, images)| !images.is_empty()) {
        let image = images.image(0)?;
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        text += &format!("\nthe first is {width}x{height} pixels of {channels} channels");
    }
    let notes = survey.notes.iter().cloned().chain(survey.left_out.note());
    notes.for_each(|note| text += &format!("\n{note}"));
    if !survey.findings.is_empty() {
        text += &format!("\n{} things are wrong:{}", survey.findings.len(), Finding::list(&survey.findings));
    }
    print(&text)
}

/// Images of each class.
fn count(images: &dyn Dataset) -> Vec<usize> {
    let mut counts = vec![0; images.classes().len()];
    for label in images.labels() {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}

fn check(source: &Source, split: Option<&str>, cache: CacheArgs, json: bool) -> Result<ExitCode> {
    let survey = source.survey(split)?;
    let progress = progress::scanning();
    let report =
        attar_data::check(&survey, cache.open(source).as_ref(), &|done, of| progress("scanning images", done, of));
    print(&if json { super::versioned(&report)? } else { report_text(&report) })?;
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}

fn report_text(report: &Report) -> String {
    let order = ["train", "val", "test"];
    let place = |name: &String| order.iter().position(|known| known == name).unwrap_or(order.len());
    let mut splits: Vec<_> = report.splits.iter().collect();
    splits.sort_by_key(|(name, _)| place(name));
    let mut lines: Vec<String> = splits.into_iter().flat_map(|(name, split)| split_lines(name, split)).collect();
    let leaks: Vec<_> = report.leaks().collect();
    lines.push(format!(
        "duplicates: {} groups of equal images, {} of them in both train and {}",
        report.duplicates.len(),
        leaks.len(),
        if report.splits.contains_key("val") { "another split" } else { "test" }
    ));
    for leak in leaks.iter().take(20) {
        let others = leak.images.iter().filter(|(split, _)| *split != "train").flat_map(|(_, images)| images.clone());
        let others: Vec<String> = others.collect();
        lines.push(format!("  {} = {} ({})", leak.of("train").join(", "), others.join(", "), leak.classes.join(" / ")));
    }
    lines.extend(report.notes.iter().cloned().chain(report.left_out.note()));
    lines.extend(report.findings.iter().map(|found| format!("  {}: {}", found.name, found.problem)));
    lines.push(if report.is_clean() { "sound" } else { "NOT SOUND" }.to_owned());
    lines.join("\n")
}

fn split_lines(name: &str, split: &SplitReport) -> Vec<String> {
    let sizes: Vec<String> = split.sizes.iter().take(6).map(|(size, count)| format!("{count} of {size}")).collect();
    let mut lines = vec![format!(
        "{name}: {} images, {}; largest class {:.2} times the smallest",
        split.images,
        sizes.join(", "),
        split.imbalance
    )];
    for (what, classes) in [("empty classes", &split.empty_classes), ("fewer than 10 images", &split.tiny_classes)] {
        if !classes.is_empty() {
            lines.push(format!("  {what}: {}", classes.join(", ")));
        }
    }
    lines.extend(split.corrupt.iter().map(|file| format!("  corrupt: {}: {}", file.name, file.problem)));
    lines
}

fn fetch(known: Known, from: Option<&Path>, into: &Path, json: bool) -> Result<()> {
    let installed = match from {
        Some(from) => fetch::install(known, from, into)?,
        None => {
            let downloads = tempfile::tempdir()?;
            for file in known.files() {
                download(file, &downloads.path().join(file.name))?;
            }
            fetch::install(known, downloads.path(), into)?
        }
    };
    let source = known.source(into);
    if json {
        return print(&super::versioned(&Fetched { files: installed, source })?);
    }
    let paths: Vec<String> = installed.iter().map(|path| path.display().to_string()).collect();
    print(&format!("{}\nin a recipe:\n[data]\nsource = {}", paths.join("\n"), toml::Value::try_from(&source)?))
}

fn download(file: &RemoteFile, to: &Path) -> Result<()> {
    let hint = "hint: without a network, get the file elsewhere and use --from FILE";
    let response =
        ureq::get(file.url).call().with_context(|| format!("{} could not be fetched\n  {hint}", file.url))?;
    // A wrong or hostile answer must not fill the disk; the checksum judges what arrived.
    let mut body = response.into_body().into_reader().take(2 * file.bytes);
    let mut out = std::fs::File::create(to).with_context(|| to.display().to_string())?;
    let bar = progress::bar(file.bytes);
    bar.set_prefix(file.name);
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        let read = body.read(&mut buffer).with_context(|| format!("{} broke off\n  {hint}", file.url))?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).with_context(|| to.display().to_string())?;
        total += read as u64;
        bar.set_position(total);
    }
    bar.finish_and_clear();
    Ok(())
}
