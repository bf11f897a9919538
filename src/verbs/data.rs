//! `attar data`: what is in a data set, is it sound, and where does it come from?

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use attar_data::fetch::{self, Known, RemoteFile};
use attar_data::{Dataset, Source};
use attar_data::{Report, SplitReport};
use clap::Subcommand;

use super::print;
use crate::progress;
use crate::source::source;
use crate::table;

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
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Broken files, empty or tiny classes, images that are in train and in test. Exit code 1 when something is wrong.
    #[command(
        after_help = "Examples:\n  attar data check image-folder:photos\n  attar data check idx:demo/data --json"
    )]
    Check {
        /// `idx:DIR`, `cifar10:PATH`, `cifar100:PATH` or `image-folder:DIR`.
        #[arg(value_parser = source)]
        data: Source,
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
        Action::Info { data, json } => info(data, *json).map(|()| ExitCode::SUCCESS),
        Action::Check { data, json } => check(data, *json),
        Action::Fetch { name, from, into, json } => {
            let known = Known::named(name)?;
            let into = into.clone().unwrap_or_else(|| Path::new("data").join(known.name()));
            fetch(known, from.as_deref(), &into, *json).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn info(source: &Source, json: bool) -> Result<()> {
    let splits = source.open()?;
    let classes = splits.train.classes();
    let count = |data: &dyn Dataset, class: usize| (0..data.len()).filter(|&i| data.label(i) as usize == class).count();
    if json {
        let per_class: Vec<_> = classes
            .iter()
            .enumerate()
            .map(|(at, name)| {
                serde_json::json!({"class": name, "train": count(&*splits.train, at), "test": count(&*splits.test, at)})
            })
            .collect();
        let info = serde_json::json!({"train": splits.train.len(), "test": splits.test.len(), "classes": per_class});
        return print(&super::versioned(&info)?);
    }
    let rows: Vec<Vec<String>> = classes
        .iter()
        .enumerate()
        .map(|(at, name)| {
            vec![name.clone(), count(&*splits.train, at).to_string(), count(&*splits.test, at).to_string()]
        })
        .collect();
    let (train, test) = (splits.train.len(), splits.test.len());
    let mut text = table::render(&["class", "train", "test"], &rows);
    text += &format!("\n{} classes, {train} images to learn from, {test} to test", classes.len());
    if train > 0 {
        let image = splits.train.image(0)?;
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        text += &format!("\nthe first is {width}x{height} pixels of {channels} channels");
    }
    print(&text)
}

fn check(source: &Source, json: bool) -> Result<ExitCode> {
    let report = attar_data::check(&source.open()?);
    print(&if json { super::versioned(&report)? } else { report_text(&report) })?;
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}

fn report_text(report: &Report) -> String {
    let mut lines = split_lines("train", &report.train);
    lines.extend(split_lines("test", &report.test));
    let leaks: Vec<_> = report.leaks().collect();
    lines.push(format!(
        "duplicates: {} groups of equal images, {} of them in both train and test",
        report.duplicates.len(),
        leaks.len()
    ));
    for leak in leaks.iter().take(20) {
        lines.push(format!("  {} = {} ({})", leak.train.join(", "), leak.test.join(", "), leak.classes.join(" / ")));
    }
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
        return print(&super::versioned(&serde_json::json!({"files": installed, "source": source}))?);
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
