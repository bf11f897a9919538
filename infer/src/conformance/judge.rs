//! What an answer is.

use serde::{Deserialize, Serialize};

use super::case::Judge;

/// Largest error of floats that rounding explains, in units of the largest number of the answer: some fifty roundings that all
/// go one way, of sums of at most a few hundred products.
const ROUNDING: f64 = 1e-5;

/// What a runtime's answer to a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Bytes equal; floats to rounding.
    Right,
    /// Bytes that another right rounding would give, too: a few are one step off.
    OneStep,
    /// The runtime says that it does not compute the file.
    Refused,
    /// Other numbers.
    Wrong,
    /// It panicked.
    Crashed,
}

impl Verdict {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::OneStep => "one step",
            Self::Refused => "refused",
            Self::Wrong => "WRONG",
            Self::Crashed => "CRASHED",
        }
    }

    /// Whether it is nothing that anybody can rely on.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Wrong | Self::Crashed)
    }
}

/// How far an answer is from what is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Distance {
    /// The largest error: in steps, or of floats in units of the largest number. At most 1e30.
    pub largest: f64,
    /// The part of the numbers that are off by half a step or more; of floats, beyond rounding.
    pub off: f64,
}

/// Judges the answer of a runtime.
pub(super) fn judge(found: &[f32], right: &[f32], by: Judge) -> (Verdict, Distance) {
    if found.len() != right.len() {
        return (Verdict::Wrong, Distance { largest: 1e30, off: 1.0 });
    }
    let most = right.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let (unit, slack) = match by {
        Judge::Floats => (f64::from(most.max(f32::MIN_POSITIVE)), ROUNDING),
        Judge::Steps { step, .. } => (f64::from(step), 0.499),
    };
    let mut distance = Distance { largest: 0.0, off: 0.0 };
    for (found, right) in found.iter().zip(right) {
        let apart = if found == right { 0.0 } else { f64::from(found - right).abs() / unit };
        let apart = if apart.is_nan() { 1e30 } else { apart.min(1e30) };
        distance.largest = distance.largest.max(apart);
        distance.off += f64::from(u8::from(apart > slack));
    }
    distance.off /= right.len().max(1) as f64;
    // A few of few numbers are one; where nothing can be at a tie, none.
    let few = |ties: f64| if ties > 0.0 { ties.max(1.0 / right.len().max(1) as f64) } else { 0.0 };
    let verdict = match by {
        Judge::Floats if distance.largest <= ROUNDING => Verdict::Right,
        Judge::Steps { .. } if distance.largest <= 1e-3 => Verdict::Right,
        Judge::Steps { ties, .. } if distance.largest <= 1.001 && distance.off <= few(ties) => Verdict::OneStep,
        Judge::Floats | Judge::Steps { .. } => Verdict::Wrong,
    };
    (verdict, distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_from_ties_and_ties_from_faults() {
        let right: Vec<f32> = (0..100).map(|at| at as f32 * 0.5).collect();
        let by = Judge::Steps { step: 0.5, ties: 0.02 };
        let off = |count: usize, by: f32| -> Vec<f32> {
            right.iter().enumerate().map(|(at, x)| if at < count { x + by } else { *x }).collect()
        };
        let verdict = |found: &[f32]| judge(found, &right, by).0;
        assert_eq!(verdict(&right), Verdict::Right);
        assert_eq!(verdict(&off(2, 0.5)), Verdict::OneStep);
        assert_eq!(verdict(&off(3, 0.5)), Verdict::Wrong);
        assert_eq!(verdict(&off(1, 1.0)), Verdict::Wrong);
        assert_eq!(verdict(&right[1..]), Verdict::Wrong);
        assert_eq!(verdict(&off(1, f32::NAN)), Verdict::Wrong);
        assert_eq!(judge(&off(1, f32::NAN), &right, by).1, Distance { largest: 1e30, off: 0.01 });
    }

    #[test]
    fn floats_are_right_to_rounding() {
        let right = [100.0, 1.0, -3.0];
        let verdict = |found: &[f32]| judge(found, &right, Judge::Floats).0;
        assert_eq!(verdict(&[100.0, 1.0009, -3.0]), Verdict::Right);
        assert_eq!(verdict(&[100.0, 1.002, -3.0]), Verdict::Wrong);
        assert_eq!(verdict(&[f32::INFINITY, 1.0, -3.0]), Verdict::Wrong);
    }
}
