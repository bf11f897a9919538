//! Does the file on the small computer decide like the network that was trained, or like another file?
//!
//! Every labelled image goes through decoding, preprocessing and every runtime. Where the reference holds an answer to the
//! same pixels the two are a pair; over all pairs the certificate gives agreement, the paired difference of accuracy with
//! its interval, flipped images, and a verdict at a margin. `allclose` on noise would raise false alarms and hide faults.

mod answer;
mod answers;
mod candidates;
mod certificate;
mod goldens;
mod paired;
mod record;
mod reference;
pub(crate) mod seeded;
mod text;
mod verdict;

use answers::{Answered, answer_all};
use attar_data::Dataset;

use crate::bundle::{Predictions, Split};
use crate::error::{Error, Result};
use crate::subject::Subject;
pub use candidates::{Candidate, candidates, foreign_candidates};
pub use certificate::{
    Both, BundleFacts, CERTIFICATE_VERSION, Certificate, ClassChange, DataFacts, Flip, GoldenNumbers, LeftOut,
    LogitNumbers, Paired, ReferenceFacts, Runtime, Skipped,
};
pub use record::Recorded;
pub use reference::{Reference, verify_against};
pub use verdict::Verdict;

/// How to verify.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Points of accuracy that may be lost.
    pub margin_points: f64,
    /// Most flipped images to list.
    pub most_flips: usize,
    /// Whether to keep the listed images for the HTML page.
    pub images: bool,
    /// Whether to go on without images that cannot be read, which are counted and named; otherwise they are an error.
    pub leave_out_bad: bool,
}

impl Default for Options {
    /// A margin of 0.5 points, 48 flips with their images.
    fn default() -> Self {
        Self { margin_points: 0.5, most_flips: 48, images: true, leave_out_bad: false }
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
    let goldens: Vec<_> = candidates.iter_mut().map(|c| golden_numbers(subject, c)).collect::<Result<_>>()?;
    let leave_out_bad = options.leave_out_bad;
    let answered = data.map(|data| answer_all(subject, candidates, data, leave_out_bad, progress)).transpose()?;
    let mut runtimes = Vec::new();
    for (at, (candidate, goldens)) in candidates.iter().zip(goldens).enumerate() {
        let (mut paired, mut accuracy_all, mut seconds, mut verdict) = (None, None, 0.0, Verdict::NumbersOnly);
        if let Some((data, answered)) = data.zip(answered.as_ref()) {
            let answers = &answered.by_candidate[at];
            let right = answers.iter().filter(|answer| answer.right()).count();
            accuracy_all = (!answers.is_empty()).then(|| 100.0 * right as f64 / answers.len() as f64);
            seconds = answered.seconds[at];
            if let Some(reference) = subject.predictions() {
                paired =
                    paired::compare(answers, reference, subject.labels(), data, options.most_flips, options.images)?;
                verdict = Verdict::of(&paired::counts(answers, reference), options.margin_points);
            }
        }
        let reason = goldens.as_ref().and_then(GoldenNumbers::problem);
        if reason.is_some() {
            verdict = Verdict::Worse;
        }
        runtimes.push(Runtime {
            engine: candidate.engine.name().to_owned(),
            version: candidate.engine.version().to_owned(),
            file: candidate.file.clone(),
            file_sha256: candidate.file_sha256.clone(),
            data_files: candidate.data_files.clone(),
            precision: candidate.precision.clone(),
            answers: candidate.engine.answers(),
            seconds,
            goldens,
            accuracy_all,
            paired,
            verdict,
            reason,
        });
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
        skipped,
        verdict,
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
