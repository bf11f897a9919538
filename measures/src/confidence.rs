//! What confidence is worth: how far it lies from accuracy, and whether it tells right answers from
//! wrong ones.

use crate::logits::softmax;

/// Bins of [`calibration_error`] where nothing else is said.
pub const BINS: usize = 15;

/// Expected calibration error, 0 to 1, of (confidence, right) over equally wide bins of confidence,
/// open below and closed above: the mean of |accuracy - confidence| of the bins, weighted by their
/// images (Guo et al. 2017, arXiv 1706.04599, equation 3). `None` without answers or bins.
pub fn calibration_error(answers: impl IntoIterator<Item = (f64, bool)>, bins: usize) -> Option<f64> {
    if bins == 0 {
        return None;
    }
    // Of each bin: the sum of its confidences less its right answers, which is its size times their
    // distance.
    let (mut gaps, mut count) = (vec![0.0; bins], 0_usize);
    for (confidence, right) in answers {
        let at = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        gaps[at] += confidence - f64::from(u8::from(right));
        count += 1;
    }
    (count > 0).then(|| gaps.iter().map(|gap| gap.abs()).sum::<f64>() / count as f64)
}

/// Area under the risk-coverage curve, 0 to 1, of (confidence, right): the mean, over all numbers
/// n, of the share of wrong answers among the n most confident ones (Geifman et al. 2019, arXiv
/// 1805.08206). Less is better; it falls when answers are right more often, and when the wrong ones
/// are the less confident.
///
/// Deviation from PS-KD's code, which leaves the order of equal confidences to the sorting: theirs
/// count as mixed evenly, the mean over all orders. `None` without answers.
pub fn risk_coverage_area(answers: &[(f64, bool)]) -> Option<f64> {
    let mut falling = answers.to_vec();
    falling.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut wrong, mut area) = (0.0, 0.0, 0.0);
    for equal in falling.chunk_by(|a, b| a.0 == b.0) {
        let rate = equal.iter().filter(|(_, right)| !right).count() as f64 / equal.len() as f64;
        for _ in equal {
            seen += 1.0;
            wrong += rate;
            area += wrong / seen;
        }
    }
    (!answers.is_empty()).then(|| area / answers.len() as f64)
}

/// Brier score of the answer `[K]` to one image, 0 to 2, less being better: the squared distance of
/// its probabilities from those of the label, which are 1 and 0, summed over the classes (Brier
/// 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78,
/// 1-3). Of many images it is the mean. `label` is one of the K.
pub fn brier_score(logits: &[f32], label: usize) -> f64 {
    let distance = |(class, p): (usize, f64)| (p - f64::from(u8::from(class == label))).powi(2);
    softmax(logits).into_iter().enumerate().map(distance).sum()
}
