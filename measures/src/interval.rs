//! How much of a difference or a share is luck: score intervals and McNemar's test.
//!
//! T. Tango, Equivalence test and confidence interval for the difference in proportions for the
//! paired-sample design, Statistics in Medicine 17, 891-908, 1998. Unlike the Wald interval it has
//! width when no sample flipped.

use serde::{Deserialize, Serialize};

/// Quantile of the standard normal distribution for a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// Confidence of [`score_interval`].
pub const CONFIDENCE: f64 = 0.95;

/// What happened to `n` samples that two classifiers answered. Counts may be fractions when a
/// larger sample is projected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Wrong in the first, the reference, right in the second, the runtime.
    pub gained: f64,
    /// Right in the first, wrong in the second.
    pub lost: f64,
    /// All samples.
    pub n: f64,
}

impl Counts {
    /// Of two classifiers' answers to the same samples, right or not; what is longer than the other
    /// is cut.
    pub fn of(reference: &[bool], runtime: &[bool]) -> Self {
        let mut counts = Self { gained: 0.0, lost: 0.0, n: 0.0 };
        for pair in reference.iter().zip(runtime) {
            counts.n += 1.0;
            match pair {
                (false, true) => counts.gained += 1.0,
                (true, false) => counts.lost += 1.0,
                _ => {}
            }
        }
        counts
    }

    /// The observed difference of accuracies, runtime minus reference, in -1..1.
    pub fn difference(&self) -> f64 {
        if self.n > 0.0 { (self.gained - self.lost) / self.n } else { 0.0 }
    }

    /// The same shares of a sample `scale` times as large.
    #[must_use]
    pub fn scaled(&self, scale: f64) -> Self {
        Self { gained: self.gained * scale, lost: self.lost * scale, n: self.n * scale }
    }
}

/// A closed interval, of differences in -1..1 or of a share in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interval {
    /// Lower limit.
    pub low: f64,
    /// Upper limit.
    pub high: f64,
}

/// Tango's 95 % score interval for the true difference of accuracies: all differences that the
/// score test does not reject. Without samples it is [-1, 1].
pub fn score_interval(counts: &Counts) -> Interval {
    if counts.n <= 0.0 {
        return Interval { low: -1.0, high: 1.0 };
    }
    Interval { low: limit(counts, -1.0, Z), high: limit(counts, 1.0, -Z) }
}

/// Between the estimate and the `end` of the scale, the difference at which the statistic is `z`.
/// It falls with the difference, so bisection finds it.
fn limit(counts: &Counts, end: f64, z: f64) -> f64 {
    let (mut inside, mut outside) = (counts.difference(), end);
    for _ in 0..100 {
        let middle = 0.5 * (inside + outside);
        if statistic(counts, middle).abs() < z.abs() {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    0.5 * (inside + outside)
}

/// Tango's equation 8: the score statistic of the hypothesis that the true difference is `d`.
fn statistic(counts: &Counts, d: f64) -> f64 {
    let Counts { gained, lost, n } = *counts;
    let variance = n * (2.0 * share_lost(counts, d) + d * (1.0 - d));
    let distance = gained - lost - n * d;
    if distance == 0.0 {
        0.0
    } else if variance <= 0.0 {
        f64::INFINITY.copysign(distance)
    } else {
        distance / variance.sqrt()
    }
}

/// The most likely share of lost samples when the difference is `d`, written without cancellation:
/// the larger root of `2n q² + B q + C = 0` with `B = (2n - gained + lost) d - gained - lost` and
/// `C = -lost d (1 - d)`.
fn share_lost(counts: &Counts, d: f64) -> f64 {
    let Counts { gained, lost, n } = *counts;
    let b = (2.0 * n - gained + lost) * d - gained - lost;
    let c = -lost * d * (1.0 - d);
    let root = (b * b - 8.0 * n * c).max(0.0).sqrt();
    let share = if b <= 0.0 {
        (root - b) / (4.0 * n)
    } else if c == 0.0 {
        0.0
    } else {
        -2.0 * c / (root + b)
    };
    share.max(0.0).max(-d)
}

/// Exact two-sided p of McNemar's test: the probability that `gained + lost` fair coins fall at
/// least this unevenly.
pub fn mcnemar_exact(gained: u64, lost: u64) -> f64 {
    let flips = gained + lost;
    let fewer = gained.min(lost);
    // ln of the binomial probability of k heads, carried from k to k + 1.
    let mut ln_probability = -(flips as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += ln_probability.exp();
        ln_probability += ((flips - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// The 95 % interval, in 0..1, of a share of which `correct` of `n` were seen (Wilson 1927). Of
/// nothing it is [0, 1].
pub fn wilson_interval(correct: usize, n: usize) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = n as f64;
    let p = correct as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    Interval { low: ((middle - half) / whole).max(0.0), high: ((middle + half) / whole).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn wilsons_interval_is_the_published_one() {
        let of = |correct, n| {
            let Interval { low, high } = wilson_interval(correct, n);
            [low, high]
        };
        let [low, high] = of(81, 263); // Newcombe 1998, table I
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        assert_eq!(of(0, 0), [0.0, 1.0]);
        let [low, high] = of(10, 10);
        assert!((low - 0.7225).abs() < 1e-4 && (high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn paired_counts_by_hand() {
        let (yes, no) = (true, false);
        let counts = Counts::of(&[yes, no, no, yes, yes], &[yes, yes, no, no, yes, yes]);
        assert_eq!(counts, Counts { gained: 1.0, lost: 1.0, n: 5.0 });
        assert_eq!(Counts::of(&[], &[]).difference(), 0.0);
    }

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        gained: f64,
        lost: f64,
        n: f64,
        low: f64,
        high: f64,
    }

    #[test]
    fn limits_are_those_of_the_numerical_likelihood() {
        let fixture: Fixture = serde_json::from_str(include_str!("../../tests/fixtures/intervals/tango.json")).unwrap();
        assert!(fixture.cases.len() > 15);
        for Case { gained, lost, n, low, high } in fixture.cases {
            let found = score_interval(&Counts { gained, lost, n });
            let worst = (found.low - low).abs().max((found.high - high).abs());
            assert!(worst < 1e-9, "gained {gained}, lost {lost}, n {n}: {found:?}, expected {low}..{high}");
        }
    }

    #[test]
    fn nothing_flipped_still_leaves_room() {
        for n in [1.0, 20.0, 1e4, 1e6] {
            let found = score_interval(&Counts { gained: 0.0, lost: 0.0, n });
            let expected = Z * Z / (n + Z * Z);
            assert!((found.high - expected).abs() < 1e-12 && (found.low + expected).abs() < 1e-12, "{n}: {found:?}");
        }
        assert_eq!(score_interval(&Counts { gained: 0.0, lost: 0.0, n: 0.0 }), Interval { low: -1.0, high: 1.0 });
    }

    #[test]
    fn exchanging_the_classifiers_mirrors_the_interval() {
        for (gained, lost, n) in [(3.0, 11.0, 200.0), (0.0, 4.0, 50.0), (0.5, 2.25, 17.5)] {
            let one = score_interval(&Counts { gained, lost, n });
            let other = score_interval(&Counts { gained: lost, lost: gained, n });
            assert!((one.low + other.high).abs() < 1e-9 && (one.high + other.low).abs() < 1e-9);
        }
    }

    /// Share of intervals that hold the true difference, over `trials` samples of `n` pairs.
    fn coverage(rng: &mut Stream, p_gained: f64, p_lost: f64, n: u32, trials: u32) -> f64 {
        let mut held = 0;
        for _ in 0..trials {
            let mut counts = Counts { gained: 0.0, lost: 0.0, n: f64::from(n) };
            for _ in 0..n {
                let u = rng.unit();
                counts.gained += f64::from(u8::from(u < p_gained));
                counts.lost += f64::from(u8::from(u >= p_gained && u < p_gained + p_lost));
            }
            let found = score_interval(&counts);
            let truth = p_gained - p_lost;
            held += u32::from(found.low <= truth && truth <= found.high);
        }
        f64::from(held) / f64::from(trials)
    }

    #[test]
    fn about_95_of_100_intervals_hold_the_truth() {
        let rng = &mut Stream::of_number(1998);
        let cases = [
            // Rare flips, where most samples have none and the Wald interval is a point.
            (0.0, 0.0, 30),
            (0.001, 0.001, 200),
            (0.0, 0.004, 200),
            (0.01, 0.01, 50),
            (0.01, 0.03, 100),
            (0.05, 0.05, 30),
            (0.1, 0.2, 40),
            (0.02, 0.02, 1000),
        ];
        for (p_gained, p_lost, n) in cases {
            let share = coverage(rng, p_gained, p_lost, n, 4000);
            println!("gained {p_gained}, lost {p_lost}, n {n}: {share}");
            assert!(share >= 0.93, "gained {p_gained}, lost {p_lost}, n {n}: coverage {share}");
        }
    }

    #[test]
    fn mcnemar_is_the_binomial_test() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(mcnemar_exact(0, 0), 1.0));
        assert!(close(mcnemar_exact(3, 3), 1.0));
        assert!(close(mcnemar_exact(0, 5), 0.0625));
        assert!(close(mcnemar_exact(8, 1), 2.0 * 10.0 / 512.0));
        assert!(mcnemar_exact(5000, 5000) > 0.99, "no underflow in a large sample");
    }
}
