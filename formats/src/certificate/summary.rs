//! A certificate in one table: the network that was trained, and behind it every model in every runtime.

use attar_measures::Interval;

use super::{Both, Certificate, ClassChange, IntegerReference, Paired, Runtime, Verdict};

/// One row of [`Certificate::summary`]. Accuracies in percent, over the paired images.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// Number of the runtime among those of the certificate, from 1; none of what is compared with.
    pub number: Option<usize>,
    /// What answered: a runtime, and the file with its precision.
    pub name: String,
    /// Images decided rightly.
    pub accuracy: f64,
    /// Balanced accuracy: the mean of the accuracies of all classes with images.
    pub balanced: Option<f64>,
    /// Accuracy less the reference's, in points, with its interval; none of the reference.
    pub difference: Option<(f64, Interval)>,
    /// Images decided otherwise than by the reference.
    pub flips: Option<usize>,
    /// Mean negative log-likelihood of the labels, in nats.
    pub nll: Option<f64>,
    /// Expected calibration error.
    pub ece: Option<f64>,
    /// Mean Brier score.
    pub brier: Option<f64>,
    /// Does the runtime compute what the file says? Of an 8-bit file: held to what its integers are defined to give.
    pub implementation: Option<Verdict>,
    /// Does the file, of fewer bits than the reference, decide like it? Where nothing defines what a runtime is to give, its
    /// verdict is on both and stands here.
    pub compression: Option<Verdict>,
}

/// Which side of a comparison.
#[derive(Clone, Copy)]
enum Side {
    Reference,
    Runtime,
}

impl SummaryRow {
    /// The heads of [`cells`](Self::cells).
    pub const HEAD: [&'static str; 11] = [
        "",
        "what answered",
        "accuracy",
        "balanced",
        "difference [95 % interval]",
        "flips",
        "NLL",
        "ECE",
        "Brier",
        "implementation",
        "compression",
    ];

    /// The row for people, as [`HEAD`](Self::HEAD) says; `-` where there is nothing to say.
    pub fn cells(&self) -> [String; 11] {
        let number = |value: Option<f64>| or_none(value.map(|value| format!("{value:.4}")));
        let verdict = |verdict: Option<Verdict>| or_none(verdict.map(|verdict| verdict.word().to_owned()));
        let difference = |(points, Interval { low, high })| format!("{points:+.3} [{low:+.3}, {high:+.3}]");
        [
            self.number.map_or_else(String::new, |number| format!("[{number}]")),
            self.name.clone(),
            format!("{:.2} %", self.accuracy),
            or_none(self.balanced.map(|balanced| format!("{balanced:.2} %"))),
            or_none(self.difference.map(difference)),
            or_none(self.flips.map(|flips| flips.to_string())),
            number(self.nll),
            number(self.ece),
            number(self.brier),
            verdict(self.implementation),
            verdict(self.compression),
        ]
    }

    fn of(name: String, paired: &Paired, side: Side) -> Self {
        let number = |both: &Both| match side {
            Side::Reference => both.reference,
            Side::Runtime => Some(both.runtime),
        };
        let of_class = |class: &ClassChange| match side {
            Side::Reference => class.reference_accuracy,
            Side::Runtime => class.runtime_accuracy,
        };
        let classes = &paired.classes;
        let balanced = classes.iter().map(of_class).sum::<f64>() / classes.len() as f64;
        let of_runtime = matches!(side, Side::Runtime);
        Self {
            number: None,
            name,
            accuracy: if of_runtime { paired.runtime_accuracy } else { paired.reference_accuracy },
            balanced: (!classes.is_empty()).then_some(balanced),
            difference: of_runtime.then_some((paired.difference, paired.interval)),
            flips: of_runtime.then_some(paired.flips),
            nll: number(&paired.negative_log_likelihood),
            ece: number(&paired.calibration_error),
            brier: paired.brier_score.as_ref().and_then(number),
            implementation: None,
            compression: None,
        }
    }
}

fn or_none(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

impl Certificate {
    /// All that was compared in one table: first the reference (the network that was trained, or the file that answered in its
    /// place), then every file in every runtime, in front of the first of an 8-bit file what its integers are defined to give.
    /// Empty where no image was paired.
    pub fn summary(&self) -> Vec<SummaryRow> {
        let Some(any) = self.pairs().next() else { return Vec::new() };
        let reference = match &self.reference {
            None => "the network that was trained".to_owned(),
            Some(of) => format!("reference: {} {}, {} ({})", of.engine, of.version, of.file, of.precision),
        };
        let mut rows = vec![SummaryRow::of(reference, any, Side::Reference)];
        let mut told: Vec<&str> = Vec::new();
        for (at, runtime) in self.runtimes.iter().enumerate() {
            let integers = self.reference_of(runtime);
            if let Some(one) = integers.filter(|one| !told.contains(&one.file_sha256.as_str())) {
                told.push(&one.file_sha256);
                rows.extend(of_integers(one));
            }
            let Some(paired) = &runtime.paired else { continue };
            let (implementation, compression) = verdicts(runtime, integers);
            let row = SummaryRow::of(runtime.name(), paired, Side::Runtime);
            rows.push(SummaryRow { number: Some(at + 1), implementation, compression, ..row });
        }
        rows
    }

    /// All comparisons with the reference, which are over the same images.
    fn pairs(&self) -> impl Iterator<Item = &Paired> {
        let integers = self.integers.iter().filter_map(|one| one.compression.as_ref()?.paired.as_ref());
        self.runtimes.iter().filter_map(|runtime| runtime.paired.as_ref()).chain(integers)
    }
}

impl Runtime {
    /// For people: the runtime, at which of its SIMD levels, and the file with its precision.
    pub fn name(&self) -> String {
        let Self { engine, version, file, precision, .. } = self;
        let level = self.level.as_ref().map(|level| format!(" at {level}")).unwrap_or_default();
        format!("{engine} {version}{level}, {file} ({precision})")
    }
}

fn of_integers(one: &IntegerReference) -> Option<SummaryRow> {
    let compression = one.compression.as_ref()?;
    let name = format!("integers of {} as defined", one.file);
    let row = SummaryRow::of(name, compression.paired.as_ref()?, Side::Runtime);
    Some(SummaryRow { compression: Some(compression.verdict), ..row })
}

/// On the implementation and on the compression.
fn verdicts(runtime: &Runtime, integers: Option<&IntegerReference>) -> (Option<Verdict>, Option<Verdict>) {
    match &runtime.implementation {
        Some(held) => {
            let compression = integers.and_then(|one| one.compression.as_ref()).map(|of| of.verdict);
            (Some(held.verdict), compression)
        }
        None if runtime.precision == "f32" => (Some(runtime.verdict), None),
        None => (None, Some(runtime.verdict)),
    }
}
