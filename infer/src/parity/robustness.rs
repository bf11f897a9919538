//! After export on harder images: every runtime answers the same images, plain and under each corruption.

use attar_data::Dataset;
use attar_data::corrupt::{Corrupted, Corruption, SEVERITIES};
use attar_formats::certificate::{Condition, ConditionKind, PairedAccuracy, Robustness, UnderCondition};
use attar_measures::{Counts, Interval, percent, score_interval};

use super::Candidate;
use super::answer::Answer;
use super::answers::answer_all;
use super::integers::Definitions;
use crate::error::Result;
use crate::subject::Subject;

/// Accuracy of every candidate on at most `count` of the images, of each class as many as of the others, under every corruption.
/// Decisions are compared with those of the first candidate of 32-bit floats, image by image. `progress` hears how many of how
/// many images are done.
///
/// # Errors
/// As [`super::verify`].
pub(super) fn under_corruptions(
    subject: &Subject,
    candidates: &mut [Candidate],
    (data, leave_out_bad): (&dyn Dataset, bool),
    count: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Robustness> {
    let subject = subject.clone().with_reference(None, None);
    let mut nobody = Definitions::none(candidates.len());
    let baseline = candidates.iter().position(|candidate| candidate.precision == "f32");
    let corrupted = Corruption::ALL.into_iter().flat_map(|kind| SEVERITIES.map(|severity| Some((kind, severity))));
    let asked: Vec<Option<(Corruption, u8)>> = [None].into_iter().chain(corrupted).collect();
    let mut conditions = Vec::with_capacity(asked.len());
    for (at, how) in asked.iter().enumerate() {
        let images = Corrupted::new(data, count, *how);
        let tick = &mut |done: usize, all: usize| progress(at * all + done, asked.len() * all);
        let answered = answer_all(&subject, candidates, &mut nobody, &images, leave_out_bad, tick)?;
        let of_baseline = baseline.map(|at| &answered.by_candidate[at][..]);
        let under = |(at, answers): (usize, &Vec<Answer>)| UnderCondition {
            accuracy: percent(answers.iter().filter(|answer| answer.right()).count(), answers.len()),
            paired: of_baseline.filter(|_| baseline != Some(at)).map(|baseline| paired(baseline, answers)),
        };
        conditions.push(Condition {
            kind: if how.is_some() { ConditionKind::Corruption } else { ConditionKind::Clean },
            name: how.map_or("clean", |(kind, _)| kind.name()).to_owned(),
            severity: how.map(|(_, severity)| severity),
            images: answered.rows.len(),
            runtimes: answered.by_candidate.iter().enumerate().map(under).collect(),
        });
    }
    Ok(Robustness { baseline: baseline.map(|at| at + 1), conditions })
}

/// Both answered the same images in the same order.
fn paired(baseline: &[Answer], answers: &[Answer]) -> PairedAccuracy {
    let right = |answers: &[Answer]| answers.iter().map(Answer::right).collect::<Vec<bool>>();
    let counts = Counts::of(&right(baseline), &right(answers));
    let Interval { low, high } = score_interval(&counts);
    PairedAccuracy {
        difference: 100.0 * counts.difference(),
        interval: Interval { low: 100.0 * low, high: 100.0 * high },
        gained: counts.gained as u64,
        lost: counts.lost as u64,
        flips: baseline.iter().zip(answers).filter(|(a, b)| a.top1 != b.top1).count(),
    }
}
