//! What several numbers come to: share, mean and deviation, median, quantile.

use serde::{Deserialize, Serialize};

/// `part` of `whole` in percent; 0 of nothing.
pub fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Mean and, of two or more values, their standard deviation (divided by n - 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MeanSd {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; `None` of one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
}

impl MeanSd {
    /// `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, sd })
    }
}

/// Of numbers that are sorted: the middle one, or the mean of the two in the middle. `None` of
/// nothing.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[half - 1] + upper) / 2.0 } else { upper })
}

/// Of numbers that are sorted: the smallest one that at least `share` (0 to 1) of them do not
/// exceed, the nearest-rank quantile. `None` of nothing.
pub fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
    sorted.get(rank - 1).or(sorted.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations_by_hand() {
        assert_eq!(MeanSd::of([]), None);
        assert_eq!(MeanSd::of([3.0]), Some(MeanSd { mean: 3.0, sd: None }));
        assert_eq!(MeanSd::of([1.0, 3.0]), Some(MeanSd { mean: 2.0, sd: Some(2f64.sqrt()) }));
    }

    #[test]
    fn shares_medians_and_quantiles_by_hand() {
        assert_eq!((percent(1, 4), percent(0, 0)), (25.0, 0.0));
        assert_eq!((median(&[]), median(&[3.0]), median(&[1.0, 2.0])), (None, Some(3.0), Some(1.5)));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let of = |share| nearest_rank(&hundred, share);
        assert_eq!([of(0.0), of(0.5), of(0.9), of(0.999), of(1.0)], [1.0, 50.0, 90.0, 100.0, 100.0].map(Some));
        assert_eq!((nearest_rank(&[7.0], 0.5), nearest_rank(&[], 0.5)), (Some(7.0), None));
    }
}
