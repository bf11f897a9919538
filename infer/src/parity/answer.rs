//! One runtime's answer to one image, reduced to what the certificate needs, beside the reference's.

use attar_measures::{brier_score, log_softmax, log_sum_exp};

use crate::bundle::Predictions;

/// What a runtime said about one labelled image.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Position in the data set.
    pub(super) index: usize,
    pub(super) label: u32,
    pub(super) top1: u32,
    /// Distance between the two largest logits.
    pub(super) margin: f32,
    /// Probability of the top-1 class.
    pub(super) confidence: f64,
    /// -ln of the label's probability.
    pub(super) surprise: f64,
    /// Its Brier score.
    pub(super) brier: f64,
    /// The reference's row for these pixels, and the largest difference to its stored logits.
    pub(super) paired: Option<(usize, f32)>,
}

impl Answer {
    /// `of`: the image's position, label and row. `logits` that are `normalised` are known up to a constant.
    pub(super) fn new(
        logits: &[f32],
        normalised: bool,
        (index, label, row): (usize, u32, Option<usize>),
        reference: Option<&Predictions>,
    ) -> Self {
        let (top1, margin) = top1(logits);
        let log_sum_exp = log_sum_exp(logits);
        let logit = |class: u32| f64::from(logits[class as usize]);
        let paired = row.zip(reference).map(|(row, reference)| (row, difference(logits, normalised, row, reference)));
        Self {
            index,
            label,
            top1,
            margin,
            confidence: (logit(top1) - log_sum_exp).exp(),
            surprise: log_sum_exp - logit(label),
            brier: brier_score(logits, label as usize),
            paired,
        }
    }

    pub(super) fn right(&self) -> bool {
        self.top1 == self.label
    }
}

/// The first of the largest logits, and its distance to the next largest.
pub(crate) fn top1(logits: &[f32]) -> (u32, f32) {
    let (mut best, mut first, mut second) = (0, f32::NEG_INFINITY, f32::NEG_INFINITY);
    for (class, logit) in logits.iter().copied().enumerate() {
        if logit > first {
            (best, second, first) = (class, first, logit);
        } else if logit > second {
            second = logit;
        }
    }
    (best as u32, first - second)
}

/// The smallest logarithm of a probability that is told apart: an engine's probabilities end there.
const LEAST: f32 = -87.336_54;

/// Logits as logarithms of probabilities, not below [`LEAST`]: all that is known where a file gives probabilities.
pub(super) fn normalised(logits: &[f32]) -> Vec<f32> {
    log_softmax(logits).into_iter().map(|log| (log as f32).max(LEAST)).collect()
}

fn difference(logits: &[f32], as_probabilities: bool, row: usize, reference: &Predictions) -> f32 {
    let distance = |(a, b): (f32, f32)| (a - b).abs();
    let own = if as_probabilities { normalised(logits) } else { logits.to_vec() };
    let log_sum_exp = reference.log_sum_exp[row];
    let other = |logit: f32| if as_probabilities { (logit - log_sum_exp).max(LEAST) } else { logit };
    match reference.logits(row) {
        Some(all) => own.into_iter().zip(all.iter().map(|b| other(*b))).map(distance).fold(0.0, f32::max),
        None => reference.top(row).map(|(class, b)| distance((own[class as usize], other(b)))).fold(0.0, f32::max),
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, normalised, top1};

    #[test]
    fn the_first_of_equals_wins_by_nothing() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), (1, 0.0));
        assert_eq!(top1(&[-5.0, -7.0]), (0, 2.0));
        assert_eq!(top1(&[4.0]).0, 0);
    }

    #[test]
    fn a_constant_is_not_seen_in_probabilities() {
        let (a, b) = (normalised(&[1.0, 2.0, -200.0]), normalised(&[11.0, 12.0, -190.0]));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
        assert_eq!(a[2], LEAST);
        assert!((f64::from(f32::MIN_POSITIVE).ln() - f64::from(LEAST)).abs() < 1e-5);
    }
}
