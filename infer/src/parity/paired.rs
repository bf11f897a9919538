//! From answers to numbers: the paired comparison of one runtime with the reference.

use attar_data::Dataset;
use attar_measures::{BINS, Counts, Interval, brier_score, calibration_error, mcnemar_exact, percent, score_interval};

use super::answer::Answer;
use crate::bundle::Predictions;
use crate::error::Result;
use attar_formats::certificate::{Both, ClassChange, Flip, LogitNumbers, Paired};

/// A paired answer: index in the data set, what the runtime said, the reference's row, the largest difference of a logit.
struct Pair<'a> {
    index: usize,
    answer: &'a Answer,
    row: usize,
    difference: f32,
}

/// Right and wrong, counted over the pairs.
pub(super) fn counts(answers: &[Answer], reference: &Predictions) -> Counts {
    let mut counts = Counts { gained: 0.0, lost: 0.0, n: 0.0 };
    for pair in pairs(answers) {
        counts.n += 1.0;
        match (reference.top1[pair.row] == pair.answer.label, pair.answer.right()) {
            (false, true) => counts.gained += 1.0,
            (true, false) => counts.lost += 1.0,
            _ => {}
        }
    }
    counts
}

/// Compares all paired answers; `None` when there are none.
///
/// # Errors
/// When a flipped image that is to be shown cannot be decoded again.
pub(super) fn compare(
    answers: &[Answer],
    reference: &Predictions,
    labels: &[String],
    data: &dyn Dataset,
    most_flips: usize,
    images: bool,
) -> Result<Option<Paired>> {
    let pairs: Vec<Pair<'_>> = pairs(answers).collect();
    if pairs.is_empty() {
        return Ok(None);
    }
    let share = |count: usize| percent(count, pairs.len());
    let counts = counts(answers, reference);
    let Interval { low, high } = score_interval(&counts);
    let reference_right = |pair: &Pair<'_>| reference.top1[pair.row] == pair.answer.label;
    let mut flips: Vec<&Pair<'_>> = pairs.iter().filter(|p| reference.top1[p.row] != p.answer.top1).collect();
    let count = flips.len();
    flips.sort_by(|a, b| reference.margin(b.row).total_cmp(&reference.margin(a.row)).then(a.index.cmp(&b.index)));
    flips.truncate(most_flips);
    let flipped = flips.into_iter().map(|pair| flip(pair, reference, labels, data, images)).collect::<Result<_>>()?;
    let classes = classes(&pairs, reference, labels);
    Ok(Some(Paired {
        images: pairs.len(),
        agreement: share(pairs.len() - count),
        reference_accuracy: share(pairs.iter().filter(|p| reference_right(p)).count()),
        runtime_accuracy: share(pairs.iter().filter(|p| p.answer.right()).count()),
        difference: 100.0 * counts.difference(),
        interval: Interval { low: 100.0 * low, high: 100.0 * high },
        gained: counts.gained as u64,
        lost: counts.lost as u64,
        flips: count,
        flipped,
        worst_class: worst_class(&classes),
        classes,
        logits: logit_numbers(&pairs, reference),
        calibration_error: calibration(&pairs, reference),
        negative_log_likelihood: surprise(&pairs, reference),
        brier_score: Some(brier(&pairs, reference)),
        mcnemar_p: mcnemar_exact(counts.gained as u64, counts.lost as u64),
    }))
}

fn pairs(answers: &[Answer]) -> impl Iterator<Item = Pair<'_>> {
    answers.iter().filter_map(|answer| {
        let (row, difference) = answer.paired?;
        Some(Pair { index: answer.index, answer, row, difference })
    })
}

fn flip(pair: &Pair<'_>, reference: &Predictions, labels: &[String], data: &dyn Dataset, images: bool) -> Result<Flip> {
    let name = |class: u32| labels.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let png = if images { Some(data.image(pair.index)?.to_png()?) } else { None };
    Ok(Flip {
        index: pair.index,
        name: data.name(pair.index),
        label: name(pair.answer.label),
        reference: name(reference.top1[pair.row]),
        runtime: name(pair.answer.top1),
        reference_margin: reference.margin(pair.row),
        runtime_margin: pair.answer.margin,
        png,
    })
}

/// Every class with pairs, in the order of the labels.
fn classes(pairs: &[Pair<'_>], reference: &Predictions, labels: &[String]) -> Vec<ClassChange> {
    // Images, right in the reference, right in the runtime.
    let mut counts = vec![(0usize, 0usize, 0usize); labels.len()];
    for pair in pairs {
        let class = &mut counts[pair.answer.label as usize];
        class.0 += 1;
        class.1 += usize::from(reference.top1[pair.row] == pair.answer.label);
        class.2 += usize::from(pair.answer.right());
    }
    let seen = labels.iter().zip(counts).filter(|(_, (images, ..))| *images > 0);
    seen.map(|(class, (images, before, after))| ClassChange {
        class: class.clone(),
        images,
        reference_accuracy: percent(before, images),
        runtime_accuracy: percent(after, images),
    })
    .collect()
}

/// The class whose accuracy fell most, the first of equal ones.
fn worst_class(classes: &[ClassChange]) -> ClassChange {
    let change = |class: &ClassChange| class.runtime_accuracy - class.reference_accuracy;
    let worst = classes.iter().min_by(|a, b| change(a).total_cmp(&change(b)));
    worst.cloned().unwrap_or_else(|| ClassChange {
        class: String::new(),
        images: 0,
        reference_accuracy: 0.0,
        runtime_accuracy: 0.0,
    })
}

fn logit_numbers(pairs: &[Pair<'_>], reference: &Predictions) -> LogitNumbers {
    let max_diff = pairs.iter().map(|pair| pair.difference).fold(0.0, f32::max);
    let mut margins: Vec<f32> = pairs.iter().map(|pair| reference.margin(pair.row)).collect();
    margins.sort_by(f32::total_cmp);
    LogitNumbers {
        all_compared: reference.logits.is_some(),
        max_diff: max_diff.into(),
        smallest_margin: margins.first().copied().unwrap_or(0.0).into(),
        median_margin: margins.get(margins.len() / 2).copied().unwrap_or(0.0).into(),
        within_reach: margins.iter().filter(|margin| **margin <= 2.0 * max_diff).count(),
    }
}

fn calibration(pairs: &[Pair<'_>], reference: &Predictions) -> Both {
    let of_reference = pairs.iter().map(|pair| {
        let largest = reference.top(pair.row).next().map_or(f64::NEG_INFINITY, |(_, logit)| logit.into());
        let confidence = (largest - f64::from(reference.log_sum_exp[pair.row])).exp();
        (confidence, reference.top1[pair.row] == pair.answer.label)
    });
    let of_runtime = pairs.iter().map(|pair| (pair.answer.confidence, pair.answer.right()));
    Both {
        reference: calibration_error(of_reference, BINS),
        runtime: calibration_error(of_runtime, BINS).unwrap_or(0.0),
    }
}

fn surprise(pairs: &[Pair<'_>], reference: &Predictions) -> Both {
    let of_reference = |pair: &Pair<'_>| {
        let label = pair.answer.label;
        let stored = reference.top(pair.row).find(|(class, _)| *class == label).map(|(_, logit)| logit);
        let logit = reference.logits(pair.row).map(|all| all[label as usize]).or(stored)?;
        Some(f64::from(reference.log_sum_exp[pair.row]) - f64::from(logit))
    };
    let n = pairs.len() as f64;
    let total: Option<f64> = pairs.iter().map(of_reference).sum();
    Both {
        reference: total.map(|total| total / n),
        runtime: pairs.iter().map(|pair| pair.answer.surprise).sum::<f64>() / n,
    }
}

fn brier(pairs: &[Pair<'_>], reference: &Predictions) -> Both {
    let of_reference =
        |pair: &Pair<'_>| reference.logits(pair.row).map(|all| brier_score(all, pair.answer.label as usize));
    let n = pairs.len() as f64;
    let total: Option<f64> = pairs.iter().map(of_reference).sum();
    Both {
        reference: total.map(|total| total / n),
        runtime: pairs.iter().map(|pair| pair.answer.brier).sum::<f64>() / n,
    }
}
