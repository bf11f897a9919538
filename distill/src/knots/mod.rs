//! A number that changes over the run: knots in time, joined. Learning rates and loss weights are all of this type.
//!
//! Time is the epoch, fractional and counted from 1: epoch 61 is `61.0 <= e < 62.0`, a run of `E` epochs ends at
//! `E + 1`. In a recipe it is a number, or a table:
//!
//! ```toml
//! weight = 0.5                                                          # constant
//! weight = { at = [[1, 0.0], [61, 1.0]] }                               # off for the first 60 epochs
//! weight = { at = [[1, 6.0], [60, 5.4], [160, 4.86]], join = "hold" }   # steps
//! learning_rate = { at = [[1, 0.0], [6, 0.1], [201, 0.0]], join = ["linear", "cosine"] }  # warm-up, then cosine
//! learning_rate = { at = [[0, 0.1], [0.5, 0.01]], unit = "fraction" }   # fractions of the run, 0 to 1
//! ```

mod reach;
mod read;
mod schema;
#[cfg(test)]
mod tests;

use std::f64::consts::PI;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A piecewise function of time. Before the first knot it has the first value, after the last knot the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct Knots {
    /// `(time, value)`; at least one, times increasing, all finite.
    at: Vec<(f64, f64)>,
    /// How each gap is crossed: one fewer than the knots.
    joins: Vec<Join>,
    unit: Unit,
}

/// How the gap between two knots is crossed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// The earlier value holds until the later knot: steps.
    #[default]
    Hold,
    /// A straight line.
    Linear,
    /// Half a cosine wave: flat at both knots.
    Cosine,
}

/// What times are counted in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Epochs from 1.
    #[default]
    Epochs,
    /// Fractions of the run: 0 is its start (epoch 1.0), 1 its end.
    Fraction,
}

impl From<f64> for Knots {
    fn from(value: f64) -> Self {
        Self::constant(value)
    }
}

impl Knots {
    /// The same value at all times.
    pub fn constant(value: f64) -> Self {
        Self { at: vec![(1.0, value)], joins: Vec::new(), unit: Unit::Epochs }
    }

    /// Half a cosine wave over the whole run, from its start to its end.
    pub fn cosine(from: f64, to: f64) -> Self {
        Self { at: vec![(0.0, from), (1.0, to)], joins: vec![Join::Cosine], unit: Unit::Fraction }
    }

    /// Knots `(time, value)` joined by `join`.
    ///
    /// # Errors
    /// A sentence saying what is wrong: no knots, a number that is not finite, times that do not increase, an epoch
    /// before 1, a fraction outside 0 to 1.
    pub fn new(at: Vec<(f64, f64)>, join: Join, unit: Unit) -> Result<Self, String> {
        let gaps = at.len().saturating_sub(1);
        Self::with_joins(at, vec![join; gaps], unit)
    }

    /// Knots `(time, value)` with one join for each gap.
    ///
    /// # Errors
    /// As [`Knots::new`], and when there is not one join for each gap.
    pub fn with_joins(at: Vec<(f64, f64)>, joins: Vec<Join>, unit: Unit) -> Result<Self, String> {
        if at.is_empty() {
            return Err("`at` is empty, expected at least one knot [time, value]".to_owned());
        }
        if joins.len() + 1 != at.len() {
            let (knots, gaps) = (at.len(), at.len() - 1);
            return Err(format!("`join` lists {}, but {knots} knots have {gaps} gaps between them", joins.len()));
        }
        for (i, &(time, value)) in at.iter().enumerate() {
            let knot = format!("knot {} ([{time}, {value}])", i + 1);
            if !time.is_finite() || !value.is_finite() {
                return Err(format!("{knot} is not finite"));
            }
            if i > 0 && at[i - 1].0 >= time {
                return Err(format!("{knot}: times must increase, but the knot before it is at {}", at[i - 1].0));
            }
            match unit {
                Unit::Epochs if time < 1.0 => {
                    return Err(format!(
                        "{knot}: epochs are counted from 1\n  hint: the run starts at 1; for shares of the run write unit = \"fraction\""
                    ));
                }
                Unit::Fraction if !(0.0..=1.0).contains(&time) => {
                    return Err(format!("{knot}: a fraction of the run lies between 0 and 1"));
                }
                _ => {}
            }
        }
        Ok(Self { at, joins, unit })
    }

    /// The value at `epoch` (fractional, from 1) of a run of `total_epochs`.
    pub fn value(&self, epoch: f64, total_epochs: f64) -> f64 {
        let time = match self.unit {
            Unit::Epochs => epoch,
            Unit::Fraction if total_epochs > 0.0 => (epoch - 1.0) / total_epochs,
            Unit::Fraction => 0.0,
        };
        let after = self.at.partition_point(|&(knot, _)| knot <= time);
        if after == 0 {
            return self.at[0].1;
        }
        let (t0, v0) = self.at[after - 1];
        let Some(&(t1, v1)) = self.at.get(after) else { return v0 };
        let share = (time - t0) / (t1 - t0);
        match self.joins[after - 1] {
            Join::Hold => v0,
            Join::Linear => v0 + (v1 - v0) * share,
            Join::Cosine => v0 + (v1 - v0) * 0.5 * (1.0 - (PI * share).cos()),
        }
    }

    /// The same course at `factor` times the height.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { at: self.at.iter().map(|&(time, value)| (time, value * factor)).collect(), ..self.clone() }
    }

    /// The values at the knots; every value at any time lies between two of them.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.at.iter().map(|&(_, value)| value)
    }
}

/// Back to what a recipe says: a number for one knot, otherwise the table with every default spelled out.
impl Serialize for Knots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [(_, value)] = self.at.as_slice() {
            return serializer.serialize_f64(*value);
        }
        let mut table = serializer.serialize_struct("Knots", 3)?;
        table.serialize_field("at", &self.at)?;
        if self.joins.windows(2).all(|pair| pair[0] == pair[1]) {
            table.serialize_field("join", &self.joins[0])?;
        } else {
            table.serialize_field("join", &self.joins)?;
        }
        table.serialize_field("unit", &self.unit)?;
        table.end()
    }
}
