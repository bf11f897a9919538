//! One runtime's answer to one image, reduced to what the certificate needs, beside the reference's.

use super::calibration::log_sum_exp;
use crate::bundle::Predictions;

/// What a runtime said about one labelled image.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) label: u32,
    pub(super) top1: u32,
    /// Distance between the two largest logits.
    pub(super) margin: f32,
    /// Probability of the top-1 class.
    pub(super) confidence: f64,
    /// -ln of the label's probability.
    pub(super) surprise: f64,
    /// The reference's row for these pixels, and the largest difference to its stored logits.
    pub(super) paired: Option<(usize, f32)>,
}

impl Answer {
    pub(super) fn new(logits: &[f32], label: u32, row: Option<usize>, reference: Option<&Predictions>) -> Self {
        let (top1, margin) = top1(logits);
        let log_sum_exp = log_sum_exp(logits);
        let logit = |class: u32| f64::from(logits[class as usize]);
        let paired = row.zip(reference).map(|(row, reference)| (row, difference(logits, row, reference)));
        Self {
            label,
            top1,
            margin,
            confidence: (logit(top1) - log_sum_exp).exp(),
            surprise: log_sum_exp - logit(label),
            paired,
        }
    }

    pub(super) fn right(&self) -> bool {
        self.top1 == self.label
    }
}

/// The first of the largest logits, and its distance to the next largest.
pub(super) fn top1(logits: &[f32]) -> (u32, f32) {
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

fn difference(logits: &[f32], row: usize, reference: &Predictions) -> f32 {
    let distance = |(a, b): (f32, f32)| (a - b).abs();
    match reference.logits(row) {
        Some(all) => logits.iter().copied().zip(all.iter().copied()).map(distance).fold(0.0, f32::max),
        None => reference.top(row).map(|(class, b)| distance((logits[class as usize], b))).fold(0.0, f32::max),
    }
}

#[cfg(test)]
mod tests {
    use super::top1;

    #[test]
    fn the_first_of_equals_wins_by_nothing() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), (1, 0.0));
        assert_eq!(top1(&[-5.0, -7.0]), (0, 2.0));
        assert_eq!(top1(&[4.0]).0, 0);
    }
}
