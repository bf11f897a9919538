//! The verdict: what an interval says about a margin, and how many more images would decide.

use attar_formats::certificate::Verdict;
use attar_measures::{Counts, score_interval};

/// What the counts say about a margin in percentage points.
pub(super) fn of(counts: &Counts, margin_points: f64) -> Verdict {
    if counts.n <= 0.0 {
        return Verdict::NumbersOnly;
    }
    decided(counts, margin_points)
        .unwrap_or_else(|| Verdict::Inconclusive { more_images: more_images(counts, margin_points) })
}

fn decided(counts: &Counts, margin_points: f64) -> Option<Verdict> {
    let interval = score_interval(counts);
    let threshold = -margin_points / 100.0;
    if interval.low > threshold {
        Some(Verdict::Equivalent)
    } else if interval.high < threshold {
        Some(Verdict::Worse)
    } else {
        None
    }
}

/// How many more images decide if the flips keep their present shares: the interval is recomputed for larger and larger
/// samples, then the smallest that decides is found by bisection.
fn more_images(counts: &Counts, margin_points: f64) -> Option<u64> {
    const MOST: f64 = 1e10;
    let decides = |n: f64| decided(&counts.scaled(n / counts.n), margin_points).is_some();
    let (mut short, mut enough) = (counts.n, counts.n);
    while !decides(enough) {
        short = enough;
        enough *= 2.0;
        if enough > MOST {
            return None;
        }
    }
    while enough - short > 0.5 {
        let middle = 0.5 * (short + enough);
        if decides(middle) { enough = middle } else { short = middle }
    }
    Some(round_up_to_two_digits((enough - counts.n).ceil() as u64))
}

/// A projection from a sample deserves two digits, and should err on the side of deciding.
fn round_up_to_two_digits(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    n.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(gained: f64, lost: f64, n: f64) -> Counts {
        Counts { gained, lost, n }
    }

    #[test]
    fn verdicts_and_exit_codes() {
        struct Case(f64, f64, f64, &'static str, u8);
        let cases = [
            Case(0.0, 0.0, 10_000.0, "equivalent", 0),
            Case(0.0, 0.0, 200.0, "inconclusive", 3),
            Case(100.0, 0.0, 10_000.0, "equivalent", 0),
            Case(0.0, 200.0, 10_000.0, "worse", 1),
            Case(20.0, 60.0, 10_000.0, "inconclusive", 3),
            Case(0.0, 0.0, 0.0, "numbers only", 3),
        ];
        for Case(gained, lost, n, word, code) in cases {
            let verdict = of(&counts(gained, lost, n), 0.5);
            assert_eq!((verdict.word(), verdict.exit_code()), (word, code), "{gained} {lost} {n}");
        }
    }

    #[test]
    fn the_promised_number_of_images_decides() {
        for (gained, lost, n) in [(0.0, 0.0, 200.0), (2.0, 4.0, 300.0), (20.0, 60.0, 10_000.0), (0.0, 9.0, 1000.0)] {
            let start = counts(gained, lost, n);
            let Verdict::Inconclusive { more_images: Some(more) } = of(&start, 0.5) else { panic!("{start:?}") };
            let after = |more: f64| decided(&start.scaled((n + more) / n), 0.5);
            assert!(after(more as f64).is_some(), "{start:?}: {more} more images do not decide");
            assert!(after(more as f64 * 0.85).is_none(), "{start:?}: {more} more images are too many");
        }
    }

    #[test]
    fn no_flip_in_200_images_asks_for_the_closed_form() {
        // z² / (n + z²) < 0.005 from n = 765 on.
        let verdict = of(&counts(0.0, 0.0, 200.0), 0.5);
        assert_eq!(verdict, Verdict::Inconclusive { more_images: Some(570) });
        assert_eq!(verdict.to_string(), "inconclusive: about 570 more images");
    }

    #[test]
    fn exactly_at_the_margin_nothing_decides() {
        assert_eq!(of(&counts(0.0, 5.0, 1000.0), 0.5), Verdict::Inconclusive { more_images: None });
    }
}
