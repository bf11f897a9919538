//! Does the file on the small computer decide like the network that was trained, or like another file?
//!
//! Every labelled image goes through decoding, preprocessing and every runtime. Where the reference holds an answer to the
//! same pixels the two are a pair; over all pairs the certificate gives agreement, the paired difference of accuracy with
//! its interval, flipped images, and a verdict at a margin. `allclose` on noise would raise false alarms and hide faults.

pub(crate) mod answer;
mod answers;
mod candidates;
mod goldens;
mod integers;
mod paired;
mod record;
mod reference;
mod robustness;
pub(crate) mod seeded;
mod verdict;

use answers::{Answered, answer_all};
use attar_data::Dataset;
pub use attar_formats::certificate::{
    Allowed, Both, BundleFacts, CERTIFICATE_VERSION, Certificate, ClassChange, Compression, Cpu, DataFacts, Flip,
    GoldenNumbers, Implementation, IntegerReference, LeftOut, LogitNumbers, Paired, ReferenceFacts, Runtime, Skipped,
    Verdict,
};
use integers::Definitions;

use crate::bundle::{Predictions, Split};
use crate::engine::{EngineKind, arithmetic, cpu};
use crate::error::{Error, Result};
use crate::subject::Subject;
pub use candidates::{Candidate, candidates, defined, foreign_candidates, made_from};
pub use record::Recorded;
pub use reference::{Reference, verify_against};
use robustness::on_harder_images;

/// How to verify.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Points of accuracy that may be lost.
    pub margin_points: f64,
    /// Most flipped images to list.
    pub most_flips: usize,
    /// Whether to keep the listed images for the HTML page.
    pub images: bool,
    /// Quanta by which a logit of an 8-bit file may differ from what its integers are defined to give, in other runtimes than
    /// Attar's own, which gives the same bytes.
    pub most_quanta: u32,
    /// Images that the slow definition of an 8-bit file's integers answers before one of the engine's levels may stand in for it.
    pub reference_images: usize,
    /// Whether to go on without images that cannot be read, which are counted and named; otherwise they are an error.
    pub leave_out_bad: bool,
    /// On how many of the labelled images accuracy under corruptions is asked for, if it is.
    pub corrupted_images: Option<usize>,
}

impl Default for Options {
    /// A margin of 0.5 points, 48 flips with their images; 8 quanta, and 16 images by the definition; no corruptions.
    fn default() -> Self {
        Self {
            margin_points: 0.5,
            most_flips: 48,
            images: true,
            most_quanta: 8,
            reference_images: 16,
            leave_out_bad: false,
            corrupted_images: None,
        }
    }
}

/// Makes the certificate of a subject over loaded runtimes, with labelled images or without. `progress` hears how many of how
/// many images are done.
///
/// # Errors
/// When data and subject do not belong together (classes, labels, image shapes), when an image cannot be read, or when a
/// runtime fails or answers with something that is not a number.
pub fn verify(
    subject: &Subject,
    candidates: &mut [Candidate],
    skipped: Vec<Skipped>,
    data: Option<&dyn Dataset>,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Certificate> {
    if !(options.margin_points > 0.0 && options.margin_points < 100.0) {
        let problem = format!("{}, expected points of accuracy above 0 and below 100", options.margin_points);
        return Err(Error::Setting { setting: "margin", problem });
    }
    let mut definitions = Definitions::of(candidates, options.reference_images)?;
    let goldens: Vec<_> = candidates.iter_mut().map(|c| golden_numbers(subject, c)).collect::<Result<_>>()?;
    let asked = |data| answer_all(subject, candidates, &mut definitions, data, options.leave_out_bad, progress);
    let mut answered = data.map(asked).transpose()?;
    let distances = match &mut answered {
        Some(answered) => std::mem::take(&mut answered.distances),
        None => definitions.without_labels(subject, candidates)?,
    };
    let robustness = data.map(|data| on_harder_images(subject, candidates, data, options, progress));
    let robustness = robustness.transpose()?.flatten();
    let labelled = answered.as_ref().zip(data);
    let integers =
        definitions.facts(subject, labelled.map(|(answered, data)| (&answered.by_definition[..], data)), options)?;
    let mut runtimes = Vec::new();
    for (at, ((candidate, goldens), distance)) in candidates.iter().zip(goldens).zip(distances).enumerate() {
        let mut runtime = runtime(subject, candidate, goldens, labelled.map(|(all, data)| (all, at, data)), options)?;
        runtime.not_held = definitions.not_held[at].take();
        if let Some(of) = definitions.of[at] {
            let held = distance.judged(candidate, definitions.all[of].file(), subject, data, options)?;
            let compression = integers[of].compression.as_ref().map(|compression| compression.verdict);
            // Held to answers that are integers themselves, its own comparison with them stands.
            let other = compression.or(subject.has_reference().then_some(runtime.verdict));
            runtime.verdict = Verdict::worst(other.into_iter().chain([held.verdict])).unwrap_or(held.verdict);
            runtime.implementation = Some(held);
        }
        runtimes.push(runtime);
    }
    let verdict = Verdict::worst(runtimes.iter().map(|r| r.verdict)).unwrap_or(Verdict::NumbersOnly);
    Ok(Certificate {
        certificate_version: CERTIFICATE_VERSION,
        program: format!("attar {}", env!("CARGO_PKG_VERSION")),
        bundle: BundleFacts {
            network: subject.name().to_owned(),
            classes: subject.labels().len(),
            // Those of a file of others that answered are not ours.
            reference_weights_sha256: subject
                .predictions()
                .filter(|_| subject.answered_by.is_none())
                .map(|p| p.weights_sha256.clone()),
        },
        reference: subject.answered_by.clone(),
        margin_points: options.margin_points,
        confidence: attar_measures::CONFIDENCE,
        data: answered.as_ref().map(|answered| data_facts(answered, subject.predictions())),
        runtimes,
        cpu: Some(cpu()),
        integers,
        robustness,
        skipped,
        verdict,
    })
}

/// What one runtime did, held to the reference; `labelled` are all answers, its place among the runtimes, and the images.
fn runtime(
    subject: &Subject,
    candidate: &Candidate,
    goldens: Option<GoldenNumbers>,
    labelled: Option<(&Answered, usize, &dyn Dataset)>,
    options: &Options,
) -> Result<Runtime> {
    let (mut paired, mut accuracy_all, mut seconds, mut verdict) = (None, None, 0.0, Verdict::NumbersOnly);
    if let Some((answered, at, data)) = labelled {
        let answers = &answered.by_candidate[at];
        let right = answers.iter().filter(|answer| answer.right()).count();
        accuracy_all = (!answers.is_empty()).then(|| 100.0 * right as f64 / answers.len() as f64);
        seconds = answered.seconds[at];
        if let Some(reference) = subject.predictions() {
            paired = paired::compare(answers, reference, subject.labels(), data, options.most_flips, options.images)?;
            verdict = verdict::of(&paired::counts(answers, reference), options.margin_points);
        }
    }
    let reason = goldens.as_ref().and_then(GoldenNumbers::problem);
    if reason.is_some() {
        verdict = Verdict::Worse;
    }
    let own = candidate.engine.name() == EngineKind::Attar.name();
    Ok(Runtime {
        engine: candidate.engine.name().to_owned(),
        version: candidate.engine.version().to_owned(),
        file: candidate.file.clone(),
        file_sha256: candidate.file_sha256.clone(),
        data_files: candidate.data_files.clone(),
        precision: candidate.precision.clone(),
        arithmetic: (own && candidate.precision == "int8").then(arithmetic),
        level: candidate.engine.level().map(str::to_owned),
        answers: candidate.engine.answers(),
        seconds,
        goldens,
        accuracy_all,
        paired,
        implementation: None,
        not_held: None,
        verdict,
        reason,
    })
}

/// The subject's goldens, number by number, in a loaded runtime; `None` when it has none.
///
/// # Errors
/// When a golden cannot be decoded, has another shape than the model takes, or the runtime fails.
pub fn golden_numbers(subject: &Subject, candidate: &mut Candidate) -> Result<Option<GoldenNumbers>> {
    goldens::compare(subject, candidate.engine.as_mut(), &candidate.precision)
}

fn data_facts(answered: &Answered, reference: Option<&Predictions>) -> DataFacts {
    let splits = |wanted: Split| {
        let paired = answered.rows.iter().flatten();
        paired.filter(|row| reference.is_some_and(|reference| reference.split[**row] == wanted)).count()
    };
    DataFacts {
        images: answered.rows.len(),
        paired: answered.rows.iter().flatten().count(),
        repeated: answered.repeated,
        paired_validation: splits(Split::Validation),
        paired_test: splits(Split::Test),
        reference_test: reference.map_or(0, |r| r.split.iter().filter(|s| **s == Split::Test).count()),
        notes: answered.notes.clone(),
        left_out: answered.left_out.clone(),
    }
}
