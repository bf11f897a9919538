//! Rows of logits as probabilities and decisions. Of equal logits the first counts as the largest,
//! everywhere.

use std::cmp::Ordering;

/// `ln Σ exp(z)` of logits `[K]`, shifted by the largest so that nothing overflows.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let shift = logits.iter().fold(f64::NEG_INFINITY, |most, z| most.max(f64::from(*z)));
    shift + logits.iter().map(|z| (f64::from(*z) - shift).exp()).sum::<f64>().ln()
}

/// Logarithms of the probabilities of logits, `[K]`.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let log_sum = log_sum_exp(logits);
    logits.iter().map(|z| f64::from(*z) - log_sum).collect()
}

/// Probabilities of logits, `[K]`.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    log_softmax(logits).into_iter().map(f64::exp).collect()
}

/// Index of the largest value; 0 of none. One that is not a number is the largest only where it is
/// the first.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

/// Indices of the `k` largest values, falling; `compare` is their order, e.g. [`f32::total_cmp`].
pub fn top<T>(values: &[T], k: usize, compare: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| compare(&values[*b], &values[*a]).then(a.cmp(b)));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert!((log_sum_exp(&[3e38, -3e38]) - f64::from(3e38_f32)).abs() < 1e-9);
        assert_eq!(log_sum_exp(&[0.0]), 0.0);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn probabilities_by_hand() {
        let probabilities = softmax(&[0.0, 2f32.ln(), 0.0]);
        for (got, expected) in probabilities.iter().zip([0.25, 0.5, 0.25]) {
            assert!((got - expected).abs() < 1e-7, "{probabilities:?}");
        }
        assert!((softmax(&[-3.0, 80.0, 79.5]).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(log_softmax(&[7.5]), [0.0]);
    }

    #[test]
    fn the_first_of_equals_comes_first() {
        assert_eq!((argmax(&[1.0, 3.0, 3.0]), argmax(&[])), (1, 0));
        assert_eq!(top(&[1.0, 3.0, 1.0, 3.0], 3, f32::total_cmp), [1, 3, 0]);
        assert_eq!(top(&[0.5, f64::NEG_INFINITY], 9, f64::total_cmp), [0, 1]);
        assert!(top(&[1.0], 0, f32::total_cmp).is_empty() && top(&[], 3, f32::total_cmp).is_empty());
    }
}
