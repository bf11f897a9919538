//! How honest are the probabilities: expected calibration error and negative log-likelihood.

/// Bins of [`calibration_error`].
pub(crate) const BINS: usize = 15;

/// Expected calibration error in 0..1 over equally wide bins of confidence (Guo et al., On calibration of modern neural
/// networks, 2017, equation 3): the sample-weighted mean of |accuracy - confidence|. `None` without samples.
pub(crate) fn calibration_error(answers: impl IntoIterator<Item = (f64, bool)>) -> Option<f64> {
    let mut bins = [(0u64, 0.0f64, 0u64); BINS];
    for (confidence, right) in answers {
        // Bins are open below and closed above, so that confidence 1 falls in the last one.
        let at = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[at].0 += 1;
        bins[at].1 += confidence;
        bins[at].2 += u64::from(right);
    }
    let n: u64 = bins.iter().map(|bin| bin.0).sum();
    let gaps: f64 = bins.iter().map(|(_, confidence, right)| (confidence - *right as f64).abs()).sum();
    (n > 0).then(|| gaps / n as f64)
}

/// ln of the sum of exponentials of one row of logits.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_error_by_hand() {
        assert_eq!(calibration_error([]), None);
        assert_eq!(calibration_error([(1.0, true), (1.0, true)]), Some(0.0));
        assert_eq!(calibration_error([(1.0, false)]), Some(1.0));
        // Two in one bin: mean confidence 0.95, accuracy 0.5; one in another: 0.5 against 1.
        let error = calibration_error([(0.94, true), (0.96, false), (0.5, true)]).unwrap();
        assert!((error - (2.0 * 0.45 + 0.5) / 3.0).abs() < 1e-12, "{error}");
    }

    #[test]
    fn log_sum_exp_does_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert!((log_sum_exp(&[0.0]) - 0.0).abs() < 1e-12);
    }
}
