//! `attar bench-train`: speed and memory of a training step, part by part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use attar::table;
use attar_distill::profile::{Pass, Spent};
use attar_distill::run::Part;
use attar_distill::run::bench::{self, Case, Round, Subject, Trainer};
use attar_distill::{DeviceChoice, Precision};
use attar_infer::bench::memory;
use attar_infer::cli::say;
use attar_measures::median;
use attar_models::zoo::{self, NetworkSpec, Stem};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::print;

/// Different batches that the steps walk through.
const BATCHES: usize = 4;

/// Times the training step of a network, alone or with a teacher: images a second, milliseconds by part, peak memory.
///
/// The step is the one of `attar train` and `attar distill`, with SGD (momentum 0.9, Nesterov, weight decay 5e-4), on
/// generated batches that are made before the clock starts. With --teacher the loss is CE + 6 CD + 0.1 GKD. Dropout is off in
/// networks of the zoo; one of an ONNX file has what the file has.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Parts: `data` is the copy of a batch to the device; `forward` is student, connectors and the values of the losses;\n`backward` is the gradients of the losses, then of connectors and student; `update` is the gradient norm, the optimiser\nand counting what the student got right. They add up to the step. On CUDA they come from one more round that waits for\nthe device after each part.\n\nPeak memory is how far the resident set rose, networks included, batches not; on CUDA it is the host's alone.\n\nExamples:\n  attar bench-train resnet20\n  attar bench-train resnet8x4 --teacher resnet32x4 --batch 64 --json\n  attar bench-train resnet18 --stem cifar --size 32 --classes 100 --threads 1\n  attar bench-train resnet50 --batch 16 --steps 3 --repeats 3\n  attar bench-train model.onnx --batch 16 --size 224"
)]
pub(crate) struct Args {
    /// The network that learns: one of the zoo (see `attar models`), or an ONNX file with its weights.
    #[arg(value_name = "MODEL|FILE.onnx")]
    model: String,
    /// A network to learn from, by running statistics: of the zoo, with generated weights, or an ONNX file.
    #[arg(long, value_name = "MODEL|FILE.onnx")]
    teacher: Option<String>,
    /// Images in a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// `cpu`, `cuda` or `auto`.
    #[arg(long, default_value = "cpu", value_parser = word::<DeviceChoice>)]
    device: DeviceChoice,
    /// `f32`, `tf32` or `bf16`.
    #[arg(long, default_value = "f32", value_parser = word::<Precision>)]
    precision: Precision,
    /// Number of classes; the network's usual one without it, and a file's own.
    #[arg(long)]
    classes: Option<usize>,
    /// Height and width of the images; the network's usual ones without it. A file that states its sizes must agree.
    #[arg(long)]
    size: Option<usize>,
    /// First layers of the networks that have the choice: `imagenet` or `cifar`.
    #[arg(long, value_parser = word::<Stem>)]
    stem: Option<Stem>,
    /// Width multiplier of the student (MobileNetV2).
    #[arg(long)]
    width: Option<f64>,
    /// Learning rate.
    #[arg(long, default_value_t = 0.1)]
    lr: f64,
    /// Steps in a round.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Steps before the first round.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Rounds; best and median are reported.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Threads to compute with; all of them without it.
    #[arg(long)]
    threads: Option<usize>,
    /// Write weights and batches to this safetensors file before the first step, for another program to start from.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// One more round that tells what each kind of operation took.
    #[arg(long)]
    profile: bool,
    /// Print JSON, with the loss of every step.
    #[arg(long)]
    json: bool,
}

/// A word of a closed list as recipes write it, e.g. `cpu`.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// What was measured.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name and options in the zoo, or an ONNX file; classes and input, `[C, H, W]`.
    #[schemars(with = "BTreeMap<String, Value>")]
    model: Told,
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    teacher: Option<Told>,
    batch: usize,
    device: &'static str,
    precision: Precision,
    threads: usize,
    steps: usize,
    warmup: usize,
    repeats: usize,
    images_per_second: Rate,
    step_ms: Rate,
    /// Milliseconds a step, by part; of the best round, on CUDA of one more.
    #[serde(serialize_with = "as_object")]
    #[schemars(with = "BTreeMap<String, f64>")]
    split_ms: Vec<(&'static str, f64)>,
    /// What each kind of operation took, the longest first, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    profile: Vec<Operation>,
    /// Most resident memory above what there was before the networks were built.
    peak_memory_bytes: Option<u64>,
    /// Of every step from the first, warm-up included.
    losses: Vec<f64>,
}

/// Which network was timed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told {
    Zoo(NetworkSpec),
    File { file: PathBuf, classes: usize, input: [usize; 3] },
}

impl Told {
    fn name(&self) -> String {
        match self {
            Self::Zoo(spec) => spec.name.clone(),
            Self::File { file, .. } => file.display().to_string(),
        }
    }

    fn input(&self) -> [usize; 3] {
        match self {
            Self::Zoo(NetworkSpec { input, .. }) | Self::File { input, .. } => *input,
        }
    }

    /// What is to be known of a file.
    fn of_file(file: &Path, subject: &Subject) -> Self {
        Self::File { file: file.to_owned(), classes: subject.classes(), input: subject.input() }
    }
}

/// The operations of one kind in one pass, a step.
#[derive(Debug, Serialize, JsonSchema)]
struct Operation {
    /// `eval` (a teacher), `forward` or `backward`.
    pass: &'static str,
    kind: String,
    calls: f64,
    ms: f64,
    /// Bytes of the values or gradients made.
    bytes: f64,
    /// 10^9 floating-point operations a second, where there are products.
    gflops: Option<f64>,
}

impl Operation {
    fn of(((pass, kind), spent): ((Pass, String), Spent), steps: usize) -> Self {
        let (seconds, steps) = (spent.time.as_secs_f64(), steps as f64);
        Self {
            pass: pass.name(),
            kind,
            calls: spent.calls as f64 / steps,
            ms: seconds * 1e3 / steps,
            bytes: spent.bytes as f64 / steps,
            gflops: (spent.flops > 0.0).then(|| spent.flops / seconds / 1e9),
        }
    }
}

/// Pairs as an object, in their order.
fn as_object<S: Serializer>(pairs: &[(&str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

/// Over the rounds.
#[derive(Debug, Serialize, JsonSchema)]
struct Rate {
    best: f64,
    median: f64,
}

impl Args {
    fn spec(&self, name: &str) -> NetworkSpec {
        let entry = zoo::catalog().into_iter().find(|entry| entry.name == name);
        // An unknown name is refused where the network is built, with the nearest known one.
        let mut spec = entry.as_ref().map_or_else(|| NetworkSpec::new(name, 100, [3, 32, 32]), zoo::Entry::spec);
        let has = |option: &str| entry.as_ref().is_some_and(|entry| entry.has(option));
        spec.classes = self.classes.unwrap_or(spec.classes);
        let [c, h, w] = spec.input;
        spec.input = [c, self.size.unwrap_or(h), self.size.unwrap_or(w)];
        if let Some(stem) = self.stem.filter(|_| has("stem")) {
            spec.options.set("stem", stem);
        }
        // Its masks are random, and another program's are others.
        if has("dropout") {
            spec.options.set("dropout", 0.0);
        }
        spec
    }

    /// A file, and the network that it is. `classes` are as many as it must know.
    fn file(&self, file: &Path, classes: Option<usize>) -> Result<(Told, Subject)> {
        let subject = Subject::onnx(file, self.size)?;
        for note in &subject.notes {
            say(format_args!("{}: {note}", file.display()));
        }
        if let Some(expected) = classes.filter(|expected| *expected != subject.classes()) {
            let found = subject.classes();
            bail!("{}: it knows {found} classes, expected {expected}\n  hint: say --classes {found}", file.display());
        }
        Ok((Told::of_file(file, &subject), subject))
    }

    /// The networks of the case: what each is, and itself.
    fn subjects(&self) -> Result<((Told, Subject), Option<(Told, Subject)>)> {
        let zoo = |spec: NetworkSpec| -> Result<(Told, Subject)> {
            let subject = Subject::zoo(&spec)?;
            Ok((Told::Zoo(spec), subject))
        };
        let student = match onnx(&self.model) {
            Some(_) if self.width.is_some() => bail!("--width: {} has the width that it has", self.model),
            Some(file) => self.file(file, self.classes)?,
            None => {
                let mut spec = self.spec(&self.model);
                if let Some(width) = self.width {
                    spec.options.set("width", width);
                }
                zoo(spec)?
            }
        };
        let (classes, input) = (student.1.classes(), student.1.input());
        let teacher = self.teacher.as_ref().map(|name| match onnx(name) {
            Some(file) => self.file(file, Some(classes)),
            None => zoo(NetworkSpec { classes, input, ..self.spec(name) }),
        });
        Ok((student, teacher.transpose()?))
    }

    /// What to time, and what its networks are.
    fn case(&self) -> Result<(Case, Told, Option<Told>)> {
        if self.steps == 0 || self.repeats == 0 || self.threads == Some(0) {
            bail!("--steps, --repeats and --threads must be at least 1");
        }
        let mut named = std::iter::once(&self.model).chain(&self.teacher);
        let has_stem = |name: &String| zoo::catalog().iter().any(|e| e.name == *name && e.has("stem"));
        if self.stem.is_some() && !named.any(has_stem) {
            bail!("--stem: {} has no such choice", self.model);
        }
        let ((model, student), teacher) = self.subjects()?;
        let (taught, teacher) = teacher.unzip();
        let opened = self.device.open()?;
        if let Some(note) = opened.note {
            say(note);
        }
        let case = Case {
            student,
            teacher,
            batch: self.batch,
            learning_rate: self.lr,
            device: opened.device,
            precision: self.precision,
            threads: self.threads,
        };
        Ok((case, model, taught))
    }
}

/// The file that a network's name is, if it is one.
fn onnx(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")).then_some(path)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let before = memory::start();
    let (case, model, teacher) = args.case()?;
    let batches = bench::generate(&case, BATCHES)?;
    let of_batches = batches.iter().map(bench::bytes).sum::<u64>();
    let on_cpu = case.device.is_cpu();
    let mut trainer = Trainer::new(case, batches, None)?;
    if let Some(path) = &args.save {
        bench::save(&trainer, path)?;
    }
    let mut losses = trainer.round(args.warmup)?.losses;
    let rounds = (0..args.repeats).map(|_| trainer.round(args.steps)).collect::<Result<Vec<Round>, _>>()?;
    let peak = before.and_then(memory::peak_since);
    let peak_memory_bytes = peak.map(|peak| peak.saturating_sub(of_batches));
    losses.extend(rounds.iter().flat_map(|round| &round.losses));
    let mut times: Vec<f64> = rounds.iter().map(|round| round.time.as_secs_f64() / args.steps as f64).collect();
    let mut split = rounds.iter().min_by_key(|round| round.time).map(|round| round.split).unwrap_or_default();
    if !on_cpu {
        trainer.wait_for_parts();
        split = trainer.round(args.steps)?.split;
    }
    let mut profile = Vec::new();
    if args.profile {
        let spent = trainer.profile(args.steps)?.1;
        profile = spent.into_iter().map(|spent| Operation::of(spent, args.steps)).collect();
        profile.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    }
    times.sort_by(f64::total_cmp);
    let (best, median) = times.first().copied().zip(median(&times)).context("nothing was timed")?;
    let report = Report {
        device: if on_cpu { "cpu" } else { "cuda" },
        model,
        teacher,
        batch: args.batch,
        precision: args.precision,
        threads: trainer.threads(),
        steps: args.steps,
        warmup: args.warmup,
        repeats: args.repeats,
        images_per_second: Rate { best: args.batch as f64 / best, median: args.batch as f64 / median },
        step_ms: Rate { best: best * 1e3, median: median * 1e3 },
        split_ms: Part::ALL.map(|part| (part.name(), split.of(part).as_secs_f64() * 1e3 / args.steps as f64)).to_vec(),
        profile,
        peak_memory_bytes,
        losses,
    };
    print(&match args.json {
        true => super::versioned(&report)?,
        false => report.text(),
    })
}

impl Report {
    fn text(&self) -> String {
        let teacher = self.teacher.as_ref().map(|it| format!(" learning from {}", it.name())).unwrap_or_default();
        let [c, h, w] = self.model.input();
        let head = format!(
            "{}{teacher}: {c}x{h}x{w}, batch {}, {}, {}, {} threads; {} rounds of {} steps\n\n",
            self.model.name(),
            self.batch,
            self.device,
            self.precision.as_str(),
            self.threads,
            self.repeats,
            self.steps
        );
        let rate =
            |what: &str, rate: &Rate| vec![what.to_owned(), format!("{:.1}", rate.best), format!("{:.1}", rate.median)];
        let rates = [rate("images/s", &self.images_per_second), rate("ms a step", &self.step_ms)];
        let total: f64 = self.split_ms.iter().map(|(_, ms)| ms).sum();
        let part = |(name, ms): &(&str, f64)| {
            vec![(*name).to_owned(), format!("{ms:.2}"), format!("{:.1} %", 100.0 * ms / total)]
        };
        let parts: Vec<Vec<String>> = self.split_ms.iter().map(part).collect();
        let memory = self.peak_memory_bytes.map_or("not measured here".to_owned(), |b| table::si(b as f64) + "B");
        let rates = table::render(&["", "best", "median"], &rates);
        let parts = table::render(&["part", "ms a step", "share"], &parts);
        format!("{head}{rates}\n{parts}{}\npeak memory  {memory}\n", self.operations())
    }

    /// The table of operations, if they were profiled.
    fn operations(&self) -> String {
        if self.profile.is_empty() {
            return String::new();
        }
        let total: f64 = self.profile.iter().map(|operation| operation.ms).sum();
        let row = |o: &Operation| {
            vec![
                o.kind.clone(),
                o.pass.to_owned(),
                format!("{:.0}", o.calls),
                format!("{:.2}", o.ms),
                format!("{:.1} %", 100.0 * o.ms / total),
                table::si(o.bytes) + "B",
                o.gflops.map_or(String::new(), |rate| format!("{rate:.1}")),
            ]
        };
        let rows: Vec<Vec<String>> = self.profile.iter().map(row).collect();
        let head = ["operation", "pass", "calls", "ms a step", "share", "makes", "GFLOP/s"];
        format!("\nby operation, {total:.2} ms a step\n{}", table::render(&head, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_recipes() {
        assert_eq!(word::<Precision>("bf16"), Ok(Precision::Bf16));
        assert!(word::<DeviceChoice>("gpu").unwrap_err().contains("`cpu`"));
    }
}
