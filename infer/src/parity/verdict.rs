//! The verdict: what an interval says about a margin, and how many more images would decide.

use std::fmt;

use attar_measures::{Counts, score_interval};
use serde::{Deserialize, Serialize};

/// Does the runtime decide like the network that was trained?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval of the accuracy difference lies above minus the margin.
    Equivalent,
    /// The whole interval lies below minus the margin.
    Worse,
    /// The interval holds minus the margin.
    Inconclusive {
        /// About this many more images like these would decide; `None` when no number would, because the observed
        /// difference is minus the margin.
        #[serde(skip_serializing_if = "Option::is_none")]
        more_images: Option<u64>,
    },
    /// No labelled image could be paired: logits were compared, decisions were not.
    NumbersOnly,
}

impl Verdict {
    /// What the counts say about a margin in percentage points.
    pub fn of(counts: &Counts, margin_points: f64) -> Self {
        if counts.n <= 0.0 {
            return Self::NumbersOnly;
        }
        decided(counts, margin_points)
            .unwrap_or_else(|| Self::Inconclusive { more_images: more_images(counts, margin_points) })
    }

    /// The process exit code: 0 equivalent, 1 worse, 3 inconclusive or numbers only. (2 is any error.)
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Equivalent => 0,
            Self::Worse => 1,
            Self::Inconclusive { .. } | Self::NumbersOnly => 3,
        }
    }

    /// One word for a table: `equivalent`, `worse`, `inconclusive`, `numbers only`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Equivalent => "equivalent",
            Self::Worse => "worse",
            Self::Inconclusive { .. } => "inconclusive",
            Self::NumbersOnly => "numbers only",
        }
    }

    /// The verdict over several runtimes is the worst of theirs; numbers only counts as less than equivalent.
    pub(crate) fn worst(of: impl IntoIterator<Item = Self>) -> Option<Self> {
        of.into_iter().max_by_key(|verdict| match verdict {
            Self::Equivalent => (0, 0),
            Self::NumbersOnly => (1, 0),
            Self::Inconclusive { more_images } => (2, more_images.unwrap_or(u64::MAX)),
            Self::Worse => (3, 0),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconclusive { more_images: Some(more) } => write!(f, "inconclusive: about {more} more images"),
            Self::Inconclusive { more_images: None } => {
                write!(f, "inconclusive: the observed difference is the margin itself, no number of images decides")
            }
            other => f.write_str(other.word()),
        }
    }
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
            let verdict = Verdict::of(&counts(gained, lost, n), 0.5);
            assert_eq!((verdict.word(), verdict.exit_code()), (word, code), "{gained} {lost} {n}");
        }
    }

    #[test]
    fn the_promised_number_of_images_decides() {
        for (gained, lost, n) in [(0.0, 0.0, 200.0), (2.0, 4.0, 300.0), (20.0, 60.0, 10_000.0), (0.0, 9.0, 1000.0)] {
            let start = counts(gained, lost, n);
            let Verdict::Inconclusive { more_images: Some(more) } = Verdict::of(&start, 0.5) else {
                panic!("{start:?}")
            };
            let after = |more: f64| decided(&start.scaled((n + more) / n), 0.5);
            assert!(after(more as f64).is_some(), "{start:?}: {more} more images do not decide");
            assert!(after(more as f64 * 0.85).is_none(), "{start:?}: {more} more images are too many");
        }
    }

    #[test]
    fn no_flip_in_200_images_asks_for_the_closed_form() {
        // z² / (n + z²) < 0.005 from n = 765 on.
        let verdict = Verdict::of(&counts(0.0, 0.0, 200.0), 0.5);
        assert_eq!(verdict, Verdict::Inconclusive { more_images: Some(570) });
        assert_eq!(verdict.to_string(), "inconclusive: about 570 more images");
    }

    #[test]
    fn exactly_at_the_margin_nothing_decides() {
        assert_eq!(Verdict::of(&counts(0.0, 5.0, 1000.0), 0.5), Verdict::Inconclusive { more_images: None });
    }

    #[test]
    fn the_worst_runtime_speaks_for_all() {
        let undecided = Verdict::Inconclusive { more_images: Some(5) };
        assert_eq!(Verdict::worst([Verdict::Equivalent, Verdict::Worse, undecided]), Some(Verdict::Worse));
        assert_eq!(Verdict::worst([Verdict::Equivalent, Verdict::NumbersOnly]), Some(Verdict::NumbersOnly));
        assert_eq!(Verdict::worst([]), None);
    }
}
