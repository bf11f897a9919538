//! How far two sides are apart at a value, and what of it rounding explains.

use serde::Serialize;

use super::points::Levels;

/// What one node of 32-bit floats may add, in spreads (standard deviations) of its value. A sum of K products that is
/// rounded at every step is off by about `sqrt(K) * 2^-24` of its spread: 4e-6 at K = 4608; transforms (Winograd, FFT) cost a
/// factor of ten. Weights rounded to `bf16` move a value by about 1e-3.
pub(super) const FLOATS: f64 = 1e-4;

/// A spread is at least this part of the largest number, of which [`FLOATS`] is then two units in the last place: a small
/// difference of large numbers is rounded as they are.
const LEAST_SPREAD: f64 = 1.0 / 1024.0;

/// The part of a value's numbers that may be one quantum off: numbers at a tie, which two right roundings take to different
/// sides. ONNX Runtime and tract differ so in up to 2 % of a value, where scales are in a simple ratio.
pub(super) const TIES: f64 = 0.02;

/// What quantising a layer may cost, in spreads of its value (root mean square): 20 dB. Eight bits cost a hundredth.
pub(super) const QUANTISING: f64 = 0.1;

/// The part of a value's numbers that may lie beyond the range of its bytes.
pub(super) const CLIPPED: f64 = 0.01;

/// How a value is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Floats on both sides: differences in spreads of side A's value.
    Floats,
    /// Whole numbers of one scale on both sides: differences in quanta.
    Quanta(f32),
    /// Numbers of different kinds: what quantising costs, in spreads. `Some` has the ends of the coarser side's range.
    Quantising(Option<[f64; 2]>),
}

impl Rule {
    /// For values that mean this on sides A and B.
    pub(super) fn of(a: Option<Levels>, b: Option<Levels>, alike: bool) -> Self {
        let ends = |levels: Levels| levels.range().map(|number| levels.real(number));
        match (a, b) {
            (Some(a), Some(b)) if a.step_of(b) => Self::Quanta(a.scale),
            (_, Some(levels)) | (Some(levels), None) => Self::Quantising(Some(ends(levels))),
            (None, None) if alike => Self::Floats,
            (None, None) => Self::Quantising(None),
        }
    }

    /// What differences are counted in.
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Quanta(_) => Unit::Quanta,
            Self::Floats | Self::Quantising(_) => Unit::Spreads,
        }
    }
}

/// What differences are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Standard deviations of side A's value.
    Spreads,
    /// Steps between whole numbers.
    Quanta,
}

/// Differences at a value, B less A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Errors {
    /// The largest; infinite where one side has a number and the other has none.
    #[serde(serialize_with = "finite")]
    pub max: f64,
    /// Root of the mean square.
    #[serde(serialize_with = "finite")]
    pub rms: f64,
    /// The part of the numbers that differ by half a quantum or more; of floats, that differ at all.
    pub off: f64,
    /// Of values that one side quantises: the part of the other's numbers that lies beyond the range of the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipped: Option<f64>,
}

/// JSON has no infinity: the largest number stands for it.
fn finite<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.clamp(-f64::MAX, f64::MAX))
}

/// Sums over the images of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Measure {
    count: u64,
    sum: f64,
    squares: f64,
    largest: f64,
    max: f64,
    error_squares: f64,
    off: u64,
    clipped: u64,
    /// The image with the largest difference.
    pub(super) worst: usize,
}

impl Measure {
    /// Takes the numbers of an image.
    pub(super) fn add(&mut self, image: usize, a: &[f32], b: &[f32], rule: Rule) {
        let quantum = match rule {
            Rule::Quanta(scale) => f64::from(scale),
            Rule::Floats | Rule::Quantising(_) => 0.0,
        };
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            let error = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (b - a).abs() };
            let error = if error.is_nan() { f64::INFINITY } else { error };
            if error > self.max {
                (self.max, self.worst) = (error, image);
            }
            self.error_squares += error * error;
            self.off += u64::from(error > 0.5 * quantum);
            if let Rule::Quantising(Some([low, high])) = rule {
                self.clipped += u64::from(a.min(b) < low * 1.001 || a.max(b) > high * 1.001);
            }
            self.count += 1;
            if a.is_finite() {
                self.sum += a;
                self.squares += a * a;
                self.largest = self.largest.max(a.abs());
            }
        }
    }

    /// Standard deviation of side A's numbers, at least [`LEAST_SPREAD`] of the largest.
    fn spread(&self) -> f64 {
        let count = self.count.max(1) as f64;
        let mean = self.sum / count;
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt();
        deviation.max(self.largest * LEAST_SPREAD).max(f64::from(f32::MIN_POSITIVE))
    }

    /// In the unit of `rule`.
    pub(super) fn errors(&self, rule: Rule) -> Errors {
        let unit = match rule {
            Rule::Quanta(scale) => f64::from(scale),
            Rule::Floats | Rule::Quantising(_) => self.spread(),
        };
        let count = self.count.max(1) as f64;
        let clipped = matches!(rule, Rule::Quantising(Some(_))).then_some(self.clipped as f64 / count);
        let rms = (self.error_squares / count).sqrt();
        Errors { max: self.max / unit, rms: rms / unit, off: self.off as f64 / count, clipped }
    }

    /// Whether what a node adds by itself is rounding.
    pub(super) fn own_is_rounding(&self, rule: Rule) -> bool {
        let errors = self.errors(rule);
        match rule {
            Rule::Floats => errors.max <= FLOATS,
            Rule::Quanta(_) => errors.max <= 1.001 && self.off <= ((TIES * self.count as f64) as u64).max(1),
            Rule::Quantising(_) => errors.rms <= QUANTISING && errors.clipped.unwrap_or(0.0) <= CLIPPED,
        }
    }

    /// Whether what has come together up to a value is rounding, `depth` nodes deep. Of floats every node may add its own once
    /// and hands on what it was given in the same proportion to its spread. A tie among whole numbers moves sums of the next
    /// nodes next to other ties: in the end two right runtimes round independently of each other, and their numbers differ by
    /// two roundings (variance 1/12 each) a node. Floats that are made of bytes have the bytes' differences.
    pub(super) fn total_is_rounding(&self, rule: Rule, depth: usize, behind_bytes: bool) -> bool {
        let errors = self.errors(rule);
        let depth = depth.max(1) as f64;
        match rule {
            Rule::Floats if behind_bytes => errors.rms <= QUANTISING,
            Rule::Floats => errors.max <= FLOATS * depth,
            Rule::Quanta(_) => errors.rms <= (depth / 6.0).sqrt(),
            Rule::Quantising(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_judged_by_their_spread_and_bytes_by_their_quanta() {
        let a: Vec<f32> = (0..1000).map(|at| (at % 10) as f32).collect();
        let off = |by: f32| a.iter().map(|a| a + by).collect::<Vec<f32>>();
        let measure = |b: &[f32], rule: Rule| {
            let mut measure = Measure::default();
            measure.add(3, &a, b, rule);
            measure
        };
        let found = measure(&off(1e-3), Rule::Floats);
        let errors = found.errors(Rule::Floats);
        assert!((errors.max - 1e-3 / 2.872).abs() < 1e-5 && errors.off == 1.0 && found.worst == 3, "{errors:?}");
        assert!(!found.own_is_rounding(Rule::Floats) && !found.total_is_rounding(Rule::Floats, 3, false));
        assert!(found.total_is_rounding(Rule::Floats, 4, false) && found.total_is_rounding(Rule::Floats, 1, true));
        assert!(measure(&off(1e-4), Rule::Floats).own_is_rounding(Rule::Floats));

        let rule = Rule::Quanta(0.5);
        let mut one = a.clone();
        one.iter_mut().take(20).for_each(|a| *a += 0.5);
        assert!(measure(&one, rule).own_is_rounding(rule));
        one[20] += 0.5;
        assert!(!measure(&one, rule).own_is_rounding(rule), "more than ties");
        let mut two = a.clone();
        two[7] -= 1.0;
        assert!(!measure(&two, rule).own_is_rounding(rule) && measure(&two, rule).total_is_rounding(rule, 1, true));
        assert!(!measure(&off(0.5), rule).total_is_rounding(rule, 5, true));
        assert!(measure(&off(0.5), rule).total_is_rounding(rule, 6, true));
        assert_eq!(measure(&two, rule).errors(rule).max, 2.0);
    }

    #[test]
    fn what_is_no_number_on_one_side_is_infinitely_far() {
        let mut measure = Measure::default();
        measure.add(0, &[f32::NAN, f32::INFINITY, 1.0], &[f32::NAN, f32::INFINITY, 1.0], Rule::Floats);
        assert_eq!(measure.errors(Rule::Floats).max, 0.0);
        measure.add(1, &[1.0], &[f32::NAN], Rule::Floats);
        assert_eq!((measure.errors(Rule::Floats).max, measure.worst), (f64::INFINITY, 1));
        let json = serde_json::to_string(&measure.errors(Rule::Floats)).unwrap();
        assert!(json.contains("1.7976931348623157e+308"), "{json}");
    }

    #[test]
    fn a_range_that_is_cut_is_seen() {
        let levels = Levels { scale: 0.5, zero: 0, signed: true };
        let rule = Rule::of(None, Some(levels), true);
        assert_eq!(rule, Rule::Quantising(Some([-64.0, 63.5])));
        let mut measure = Measure::default();
        measure.add(0, &[1.0, 100.0, -3.0, 2.0], &[1.0, 63.5, -3.0, 2.0], rule);
        assert_eq!(measure.errors(rule).clipped, Some(0.25));
        assert!(!measure.own_is_rounding(rule));
        let same = Levels { zero: 128, signed: false, ..levels };
        assert_eq!(Rule::of(Some(levels), Some(same), true), Rule::Quanta(0.5));
        assert_eq!((Rule::of(None, None, true), Rule::of(None, None, false)), (Rule::Floats, Rule::Quantising(None)));
    }
}
