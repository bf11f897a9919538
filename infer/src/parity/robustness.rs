//! After export on harder images: every runtime answers the same images, plain, under each corruption, and those that the trained
//! network was attacked by.

use attar_data::corrupt::{Corrupted, Corruption, SEVERITIES};
use attar_data::{Dataset, InMemory};
use attar_formats::certificate::{Condition, ConditionKind, PairedAccuracy, Robustness, UnderCondition};
use attar_measures::{Counts, Interval, percent, score_interval};

use super::answer::Answer;
use super::answers::answer_all;
use super::integers::Definitions;
use super::{Candidate, Options};
use crate::error::{Error, Result};
use crate::subject::Subject;

/// What is done to images.
enum How {
    Clean,
    Corrupted(Corruption, u8),
    Attacked(String),
}

/// Accuracy of every candidate under every corruption, on as many of the images as was asked for, and on the attacked images
/// that the subject brings; `None` where there is neither. Decisions are compared with those of the first candidate of 32-bit
/// floats, image by image. `progress` hears how many of how many images are done.
///
/// # Errors
/// As [`super::verify`].
pub(super) fn on_harder_images(
    subject: &Subject,
    candidates: &mut [Candidate],
    data: &dyn Dataset,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Option<Robustness>> {
    let asked = conditions(subject, options);
    if asked.is_empty() {
        return Ok(None);
    }
    let baseline = candidates.iter().position(|candidate| candidate.precision == "f32");
    let (plain, attacked) = (subject.clone().with_reference(None, None), subject.at_its_size());
    let mut conditions = Vec::with_capacity(asked.len());
    for (at, how) in asked.iter().enumerate() {
        let tick = &mut |done: usize, all: usize| progress(at * all + done, asked.len() * all);
        let count = options.corrupted_images.unwrap_or(0);
        let (subject, images): (&Subject, Box<dyn Dataset + '_>) = match how {
            How::Clean => (&plain, Box::new(Corrupted::new(data, count, None))),
            How::Corrupted(kind, severity) => (&plain, Box::new(Corrupted::new(data, count, Some((*kind, *severity))))),
            How::Attacked(name) => (&attacked, Box::new(under_attack(&attacked, name)?)),
        };
        let mut nobody = Definitions::none(candidates.len());
        let answered = answer_all(subject, candidates, &mut nobody, images.as_ref(), options.leave_out_bad, tick)?;
        conditions.push(condition(how, &answered.by_candidate, baseline));
    }
    Ok(Some(Robustness { baseline: baseline.map(|at| at + 1), conditions }))
}

fn conditions(subject: &Subject, options: &Options) -> Vec<How> {
    let mut asked = Vec::new();
    if options.corrupted_images.is_some() {
        asked.push(How::Clean);
        let kinds = Corruption::ALL.into_iter();
        asked.extend(kinds.flat_map(|kind| SEVERITIES.map(|severity| How::Corrupted(kind, severity))));
    }
    let names = subject.attacks().into_iter().flat_map(|attacks| attacks.pixels.keys());
    asked.extend(names.cloned().map(How::Attacked));
    asked
}

/// The images under an attack, in the subject's classes.
fn under_attack(subject: &Subject, name: &str) -> Result<InMemory> {
    let missing = || Error::Data { problem: format!("there are no images under the attack `{name}`") };
    let attacks = subject.attacks().ok_or_else(missing)?;
    let pixels = attacks.pixels.get(name).ok_or_else(missing)?;
    let [height, width, channels] = attacks.shape;
    let [height, width] = [height, width].map(attar_pixels::clamp);
    let channels = u8::try_from(channels).unwrap_or(0);
    let (labels, classes) = (attacks.labels.clone(), subject.labels().to_vec());
    Ok(InMemory::new([height, width], channels, pixels.clone(), labels, classes, name)?)
}

fn condition(how: &How, answers: &[Vec<Answer>], baseline: Option<usize>) -> Condition {
    let (kind, name, severity) = match how {
        How::Clean => (ConditionKind::Clean, "clean".to_owned(), None),
        How::Corrupted(kind, severity) => (ConditionKind::Corruption, kind.name().to_owned(), Some(*severity)),
        How::Attacked(name) => (ConditionKind::Attack, name.clone(), None),
    };
    let of_baseline = baseline.and_then(|at| answers.get(at));
    let under = |(at, answers): (usize, &Vec<Answer>)| UnderCondition {
        accuracy: percent(answers.iter().filter(|answer| answer.right()).count(), answers.len()),
        paired: of_baseline.filter(|_| baseline != Some(at)).map(|baseline| paired(baseline, answers)),
    };
    let images = answers.first().map_or(0, Vec::len);
    Condition { kind, name, severity, images, runtimes: answers.iter().enumerate().map(under).collect() }
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
