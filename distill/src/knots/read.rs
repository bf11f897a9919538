//! Reads [`Knots`] from a recipe by hand: serde's untagged enums answer "data did not match any variant", people need more.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Join, Knots, Unit};

const FIELDS: &[&str] = &["at", "join", "unit"];

impl<'de> Deserialize<'de> for Knots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KnotsVisitor)
    }
}

struct KnotsVisitor;

impl<'de> Visitor<'de> for KnotsVisitor {
    type Value = Knots;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a table such as { at = [[1, 0.1], [61, 0.02]], join = \"hold\" }")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Knots, E> {
        if !value.is_finite() {
            return Err(E::custom(format!("{value} is not finite")));
        }
        Ok(Knots::constant(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Knots, E> {
        Ok(Knots::constant(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Knots, E> {
        Ok(Knots::constant(value as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Knots, A::Error> {
        let (mut at, mut join, mut unit) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "at" => at = Some(map.next_value::<Vec<Knot>>()?),
                "join" => join = Some(map.next_value::<Joins>()?),
                "unit" => unit = Some(map.next_value::<Unit>()?),
                other => return Err(A::Error::unknown_field(other, FIELDS)),
            }
        }
        let at = at.ok_or_else(|| A::Error::custom("`at` is missing, expected a list of knots [time, value]"))?;
        let at: Vec<(f64, f64)> = at.into_iter().map(|knot| (knot.0, knot.1)).collect();
        let unit = unit.unwrap_or_default();
        match join.unwrap_or(Joins::All(Join::default())) {
            Joins::All(join) => Knots::new(at, join, unit),
            Joins::Each(joins) => Knots::with_joins(at, joins, unit),
        }
        .map_err(A::Error::custom)
    }
}

/// One knot, `[time, value]`.
struct Knot(f64, f64);

impl<'de> Deserialize<'de> for Knot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KnotVisitor)
    }
}

struct KnotVisitor;

impl<'de> Visitor<'de> for KnotVisitor {
    type Value = Knot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a knot [time, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Knot, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element::<f64>()? {
            numbers.push(number);
        }
        match numbers.as_slice() {
            [time, value] => Ok(Knot(*time, *value)),
            other => Err(A::Error::custom(format!("{other:?} is not a knot, expected two numbers [time, value]"))),
        }
    }
}

/// One join for all gaps, or one for each.
enum Joins {
    All(Join),
    Each(Vec<Join>),
}

impl<'de> Deserialize<'de> for Joins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JoinsVisitor)
    }
}

struct JoinsVisitor;

impl<'de> Visitor<'de> for JoinsVisitor {
    type Value = Joins;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"hold\", \"linear\" or \"cosine\", or a list with one of them for each gap")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Joins, E> {
        Join::deserialize(serde::de::value::StrDeserializer::new(name)).map(Joins::All)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Joins, A::Error> {
        let mut joins = Vec::new();
        while let Some(join) = seq.next_element()? {
            joins.push(join);
        }
        Ok(Joins::Each(joins))
    }
}
