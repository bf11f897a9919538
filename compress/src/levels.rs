//! What 8-bit numbers stand for: scale and zero point of values, from what was seen of them.

use serde::{Deserialize, Serialize};

use crate::observe::Histogram;

/// Which scales there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scales {
    /// Any.
    Free,
    /// Powers of two, and even zero points: then sums and products of floats are exact, and every runtime, whether it fuses
    /// to integers or computes in floats, comes to the same bits ([`crate::exactness`]).
    Exact,
}

/// How the range of a value is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Calibrator {
    /// All that was seen.
    MinMax,
    /// The middle `percent` of 100 of what was seen, half of the rest cut off at each end; NVIDIA's default is 99.99.
    Percentile {
        /// Above 0, up to 100.
        percent: f64,
    },
    /// The part, of 0.2 to 1 of the range in steps of 0.01, whose squared error of rounding and clipping is least.
    Mse,
}

/// Scale and zero point of unsigned 8-bit numbers: they stand for `(number - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Above 0.
    pub scale: f32,
    /// The number that stands for 0.
    pub zero: u8,
}

/// Numbers that are not 0.
const MOST: f32 = 255.0;

/// Smallest scale: dividing by it overflows no float.
const LEAST_SCALE: f32 = 1e-30;

impl Levels {
    /// Those whose numbers reach from `low` to `high`, and through 0.
    pub fn between(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / MOST).max(LEAST_SCALE);
        Self { scale, zero: (-low / scale).round_ties_even().clamp(0.0, MOST) as u8 }
    }

    /// A power of two for a scale, and an even zero point, which rounds alike whether it is added before or after.
    fn power_of_two(scale: f32, low: f32) -> Self {
        let zero = (-low.min(0.0) / scale / 2.0).round_ties_even() * 2.0;
        Self { scale, zero: zero.clamp(0.0, MOST - 1.0) as u8 }
    }

    /// What a value becomes (ONNX `QuantizeLinear`, then `DequantizeLinear`).
    pub fn rounded(&self, value: f32) -> f32 {
        let zero = f32::from(self.zero);
        let number = ((value / self.scale).round_ties_even() + zero).clamp(0.0, MOST);
        (number - zero) * self.scale
    }

    /// Mean squared error of rounding and clipping what was seen.
    pub fn error(&self, seen: &Histogram) -> f64 {
        let (mut sum, mut count) = (0.0, 0u64);
        for (value, times) in seen.bins() {
            let error = f64::from(self.rounded(value)) - f64::from(value);
            sum += error * error * times as f64;
            count += times;
        }
        sum / count.max(1) as f64
    }

    /// The levels for what was seen of a value that is never above `highest`.
    pub fn choose(seen: &Histogram, calibrator: Calibrator, scales: Scales, highest: Option<f32>) -> Self {
        let [low, high] = match calibrator {
            Calibrator::MinMax => seen.range(),
            Calibrator::Percentile { percent } => seen.percentile(percent),
            Calibrator::Mse => least_error(seen),
        };
        let high = highest.map_or(high, |highest| high.min(highest));
        match scales {
            Scales::Free => Self::between(low, high),
            Scales::Exact => {
                // Of the power that holds the range and its halves the one that is nearest; halves clip.
                let range = (high.max(0.0) - low.min(0.0)).max(LEAST_SCALE);
                let whole = (range / MOST).log2().ceil().exp2();
                let candidates = [whole, whole / 2.0, whole / 4.0].map(|scale| Self::power_of_two(scale, low));
                let errors = candidates.map(|levels| levels.error(seen));
                let best = (1..3).fold(0, |best, at| if errors[at] < errors[best] { at } else { best });
                candidates[best]
            }
        }
    }
}

/// The part of the range with the least error; the larger one where two are alike.
fn least_error(seen: &Histogram) -> [f32; 2] {
    let [low, high] = seen.range();
    let part = |percent: u32| [low, high].map(|end| end * percent as f32 / 100.0);
    let error = |[low, high]: [f32; 2]| Levels::between(low, high).error(seen);
    let mut best = (part(100), error(part(100)));
    for percent in (20..100).rev() {
        let error = error(part(percent));
        if error < best.1 {
            best = (part(percent), error);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: impl Iterator<Item = f32> + Clone) -> Histogram {
        let (low, high) = values.clone().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let mut histogram = Histogram::new(low, high);
        histogram.count(&values.collect::<Vec<_>>());
        histogram
    }

    /// One value far out costs little when it is cut off, and much when it is not.
    #[test]
    fn an_outlier_is_cut_off_where_error_counts_and_kept_where_range_does() {
        let values: Vec<f32> = (0..100_000u32).map(|at| at as f32 / 100_000.0).collect();
        let mut seen = Histogram::new(0.0, 40.0);
        (0..100).for_each(|_| seen.count(&values)); // so rare is the one that is far out
        seen.count(&[40.0]);
        let levels = |calibrator| Levels::choose(&seen, calibrator, Scales::Free, None);
        assert!((levels(Calibrator::MinMax).scale * 255.0 - 40.0).abs() < 1e-3);
        let percentile = levels(Calibrator::Percentile { percent: 99.99 }).scale * 255.0;
        assert!((percentile - 1.0).abs() < 0.02, "{percentile}");
        assert!((levels(Calibrator::Mse).scale * 255.0 - 8.0).abs() < 0.1, "20 % is as far as it looks");
    }

    #[test]
    fn exact_levels_are_powers_of_two_around_an_even_number() {
        for (low, high) in [(-0.93f32, 3.1f32), (0.0, 6.0), (-1e-9, 2e-9), (-77.0, 0.5), (0.0, 0.0)] {
            let seen = seen((0..=1000u32).map(|at| low + (high - low) * at as f32 / 1000.0));
            for calibrator in [Calibrator::MinMax, Calibrator::Mse, Calibrator::Percentile { percent: 99.9 }] {
                let levels = Levels::choose(&seen, calibrator, Scales::Exact, None);
                assert_eq!(levels.scale.to_bits() & 0x007f_ffff, 0, "{levels:?}");
                assert_eq!(levels.zero % 2, 0, "{levels:?}");
                assert_eq!(levels.rounded(0.0), 0.0);
            }
        }
    }

    /// ONNX's rounding: ties to even, then the zero point, then the ends.
    #[test]
    fn rounding_is_onnx_rounding() {
        let levels = Levels { scale: 1.0, zero: 3 };
        let numbers = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 300.0, -300.0].map(|x| levels.rounded(x) + 3.0);
        assert_eq!(numbers, [1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 7.0, 255.0, 0.0]);
    }

    #[test]
    fn a_value_that_never_is_above_6_has_levels_that_end_there() {
        let seen = seen((0..1000u32).map(|at| at as f32 / 999.0 * 6.0));
        let levels = Levels::choose(&seen, Calibrator::MinMax, Scales::Free, Some(6.0));
        assert_eq!((levels.scale, levels.zero), (6.0 / 255.0, 0));
    }
}
