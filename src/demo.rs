//! Exported networks side by side: accuracy on the same test images, size, latency, measured in one run.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_data::Dataset;
use attar_formats::files;
use attar_infer::bench::{self, Options};
use attar_infer::bundle::{Predictions, Split};
use attar_infer::engine::EngineSpec;
use attar_infer::parity::Runtime;
use attar_infer::report::html;
use attar_infer::{Bundle, Certificate, EngineKind};
use attar_measures::{Counts, Interval, percent, score_interval, wilson_interval};
use maud::{Markup, html};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Engines;
use crate::quantise::Done;
use crate::table::{self, si};

/// A network in the comparison.
#[derive(Debug)]
pub struct Contender {
    title: &'static str,
    bundle: PathBuf,
    run: Option<PathBuf>,
}

impl Contender {
    /// A bundle, and the run that it was exported from where that is at hand.
    pub fn new(title: &'static str, bundle: &Path, run: Option<&Path>) -> Self {
        Self { title, bundle: bundle.to_owned(), run: run.map(Path::to_owned) }
    }
}

/// What the table says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Comparison {
    rows: Vec<Row>,
    /// The last student against each of the others.
    pairs: Vec<Pair>,
    test_images: usize,
}

/// One network. Accuracies in percent.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    title: &'static str,
    network: String,
    parameters: usize,
    macs: u64,
    onnx_bytes: u64,
    test_top1: f64,
    /// 95 % Wilson interval of the accuracy.
    test_top1_interval: [f64; 2],
    /// After the last epoch, beside the best one by validation.
    test_top1_last: Option<f64>,
    engine: String,
    latency_ms: f64,
}

/// One student against another, paired on the same test images; points of accuracy.
#[derive(Debug, Serialize, JsonSchema)]
struct Pair {
    title: &'static str,
    against: &'static str,
    gained: usize,
    lost: usize,
    difference: f64,
    interval: [f64; 2],
}

/// A contender's title, and whether it was right about each test image.
type Answers<'a> = (&'static str, &'a [bool]);

impl Comparison {
    /// Measures all contenders: the teacher first, then the students, the last of which is compared with the others.
    ///
    /// # Errors
    /// A bundle that cannot be read, knows other test images, or does not run.
    pub fn of(contenders: &[Contender], test: &dyn Dataset, engines: &Engines) -> Result<Self> {
        let hashes = attar_data::pixel_hashes(test)?;
        let answers: Vec<Vec<bool>> = contenders.iter().map(|one| right(one, test, &hashes)).collect::<Result<_>>()?;
        let rows =
            contenders.iter().zip(&answers).map(|(one, right)| row(one, right, engines)).collect::<Result<_>>()?;
        let titles = contenders.iter().map(|one| one.title);
        let named: Vec<Answers<'_>> = titles.zip(answers.iter().map(Vec::as_slice)).collect();
        let [_, others @ .., taught] = &named[..] else { anyhow::bail!("a teacher and students are compared") };
        let pairs = others.iter().map(|other| Pair::of(*taught, *other)).collect();
        Ok(Self { rows, pairs, test_images: test.len() })
    }

    /// Adds the last student once more, as its bundle has it in integers: judged by `done`, timed in the engine `attar`.
    ///
    /// # Errors
    /// A bundle that cannot be read, or does not run.
    pub fn add_integers(&mut self, title: &'static str, bundle: &Path, done: &Done) -> Result<()> {
        let Some(tried) = done.last().filter(|tried| tried.added.listed) else { return Ok(()) };
        let (Some(student), Some(plan)) = (self.rows.last(), &tried.plan) else { return Ok(()) };
        let runtimes = &tried.added.certificate.runtimes;
        let paired = runtimes.iter().filter_map(|runtime| runtime.paired.as_ref()).next_back();
        let paired = paired.context("the model in integers was judged by no image")?;
        let hits = (paired.runtime_accuracy / 100.0 * paired.images as f64).round() as usize;
        let interval = wilson_interval(hits, paired.images);
        let bundle = Bundle::open(bundle)?;
        let options = Options { least_time: std::time::Duration::from_secs(1), ..Options::default() };
        let measured = bench::bench(&bundle, &[EngineSpec::new(EngineKind::Attar)], &options)?;
        let measured = measured.iter().find(|measured| measured.file == *plan).context("the plan was not measured")?;
        let row = Row {
            title,
            network: student.network.clone(),
            parameters: student.parameters,
            macs: student.macs,
            onnx_bytes: tried.quantised.onnx_bytes as u64,
            test_top1: percent(hits, paired.images),
            test_top1_interval: [100.0 * interval.low, 100.0 * interval.high],
            test_top1_last: None,
            engine: measured.engine.clone(),
            latency_ms: measured.latency_ms.p50,
        };
        self.rows.push(row);
        Ok(())
    }

    /// The table as a section of a page.
    pub fn html(&self) -> Markup {
        let cells: Vec<Vec<String>> = self.rows.iter().map(Row::cells).collect();
        html! {
            h2 { "Side by side" }
            (html::table(&HEADER, &cells))
            @for pair in &self.pairs { p { (pair) } }
        }
    }

    /// Everything a reader needs to check the table: numbers, seed, how settings were chosen, the certificate.
    ///
    /// # Errors
    /// When `search.json` cannot be read from the demo's folder.
    pub fn receipt<'a>(
        &'a self,
        seed: u64,
        seconds: f64,
        certificate: &'a Certificate,
        demo: &Path,
    ) -> Result<Receipt<'a>> {
        let search = demo.join("search.json");
        let text = files::read(&search, files::MOST_TEXT).with_context(|| search.display().to_string())?;
        let settings_chosen_by = serde_json::from_slice(&text).with_context(|| search.display().to_string())?;
        let attar = env!("CARGO_PKG_VERSION");
        Ok(Receipt { attar, seed, seconds, comparison: self, settings_chosen_by, certificate })
    }
}

/// What a reader needs to check a demo: `receipt.json` in its folder, and what `attar demo --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Receipt<'a> {
    /// Version of the program.
    attar: &'static str,
    /// Seed of the students' runs.
    seed: u64,
    /// How long it took.
    seconds: f64,
    comparison: &'a Comparison,
    /// How the settings of each method were chosen: `demo/search.json`.
    settings_chosen_by: serde_json::Value,
    /// The last student's bundle against its run, on the test images.
    certificate: &'a Certificate,
}

/// For each test image, whether the trained network's own answer was right.
fn right(one: &Contender, test: &dyn Dataset, hashes: &[[u8; 32]]) -> Result<Vec<bool>> {
    let reference = one.bundle.join(attar_formats::bundle::file::PREDICTIONS);
    let predictions = Predictions::read(&reference)?;
    let answer = |(at, hash): (usize, &[u8; 32])| {
        let label = test.label(at);
        let row = predictions.row(hash, label).filter(|row| predictions.split[*row] == Split::Test);
        let row = row.with_context(|| format!("{} does not know {}", reference.display(), test.name(at)))?;
        Ok(predictions.top1[row] == label)
    };
    hashes.iter().enumerate().map(answer).collect()
}

fn row(one: &Contender, right: &[bool], engines: &Engines) -> Result<Row> {
    let bundle = Bundle::open(&one.bundle)?;
    let spec = engines.first();
    let options = Options { least_time: std::time::Duration::from_secs(1), ..Options::default() };
    let measured = bench::bench(&bundle, &[spec], &options)?;
    let measured = measured.first().context("nothing was measured")?;
    let graph = attar_formats::graph::of_card(bundle.card(), &one.bundle)?.graph;
    let hits = right.iter().filter(|right| **right).count();
    let interval = wilson_interval(hits, right.len());
    let last = one.run.as_ref().map(|run| crate::report::run::read_receipt(run)).transpose()?;
    Ok(Row {
        title: one.title,
        network: bundle.card().network.name.clone(),
        parameters: graph.parameter_count(),
        macs: graph.macs(),
        onnx_bytes: measured.file_bytes,
        test_top1: percent(hits, right.len()),
        test_top1_interval: [100.0 * interval.low, 100.0 * interval.high],
        test_top1_last: last.map(|receipt| receipt.test_top1_last),
        engine: measured.engine.clone(),
        latency_ms: measured.latency_ms.p50,
    })
}

impl Pair {
    fn of((title, taught): Answers<'_>, (against, alone): Answers<'_>) -> Self {
        let counts = Counts::of(alone, taught);
        let Interval { low, high } = score_interval(&counts);
        Self {
            title,
            against,
            gained: counts.gained as usize,
            lost: counts.lost as usize,
            difference: 100.0 * counts.difference(),
            interval: [100.0 * low, 100.0 * high],
        }
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [low, high] = self.interval;
        write!(
            f,
            "{} minus {}: {:+.2} points of test accuracy, 95 % interval [{low:+.2}, {high:+.2}] (paired: {} gained, {} lost): ",
            self.title, self.against, self.difference, self.gained, self.lost
        )?;
        f.write_str(match (low > 0.0, high < 0.0) {
            (true, _) => "the former is better",
            (_, true) => "the former is worse",
            _ => "on these images the two are not distinguishable",
        })
    }
}

const HEADER: [&str; 8] = ["", "network", "parameters", "MACs", "ONNX", "test accuracy", "last epoch", "latency"];

impl Row {
    fn cells(&self) -> Vec<String> {
        let [low, high] = self.test_top1_interval;
        vec![
            self.title.to_owned(),
            self.network.clone(),
            si(self.parameters as f64),
            si(self.macs as f64),
            format!("{:.2} MB", self.onnx_bytes as f64 / 1e6),
            format!("{:.2} % [{low:.2}, {high:.2}]", self.test_top1),
            self.test_top1_last.map_or("-".to_owned(), |last| format!("{last:.2} %")),
            format!("{:.3} ms ({})", self.latency_ms, self.engine),
        ]
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cells: Vec<Vec<String>> = self.rows.iter().map(Row::cells).collect();
        f.write_str(&table::render(&HEADER, &cells))?;
        writeln!(
            f,
            "\n{} test images; accuracy of the best epoch by validation, with its 95 % interval",
            self.test_images
        )?;
        self.pairs.iter().try_for_each(|pair| writeln!(f, "{pair}"))
    }
}

/// One runtime's parity in a line.
pub fn parity_line(runtime: &Runtime) -> String {
    match &runtime.paired {
        Some(paired) => format!(
            "{} of {} decisions flipped, accuracy difference {:+.3} points [{:+.3}, {:+.3}], largest logit difference {:.1e}",
            paired.flips,
            paired.images,
            paired.difference,
            paired.interval.low,
            paired.interval.high,
            paired.logits.max_diff
        ),
        None => "no labelled images in common with the reference".to_owned(),
    }
}
