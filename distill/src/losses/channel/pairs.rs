//! Which taps of the student follow which of the teacher: all stages in order, or a written list.

use std::fmt;

use attar_models::{Graph, NodeId};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Site;
use crate::error::Error;

/// `"stages"`, or a list of `[student tap, teacher tap]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pairs {
    /// Every stage of the student with the teacher's stage at the same position.
    #[default]
    Stages,
    /// Taps by name: a stage (`layer1`) or any node (`layer1.0.conv1`).
    Listed(Vec<[String; 2]>),
}

impl Pairs {
    /// Name of the student's tap and both nodes, for each pair.
    pub(super) fn resolve(
        &self,
        site: &Site<'_>,
        student: &Graph,
        teacher: &Graph,
    ) -> Result<Vec<(String, NodeId, NodeId)>, Error> {
        match self {
            Self::Stages => stages(site, student, teacher),
            Self::Listed(list) if list.is_empty() => {
                Err(site.error("pairs", "the list is empty, expected [student tap, teacher tap] or \"stages\""))
            }
            Self::Listed(list) => {
                let find = |graph: &Graph, side: &str, name: &str| {
                    graph.tap(name).map_err(|error| site.error("pairs", format!("{side}: {error}")))
                };
                list.iter()
                    .map(|[own, other]| {
                        Ok((own.clone(), find(student, "student", own)?, find(teacher, "teacher", other)?))
                    })
                    .collect()
            }
        }
    }
}

fn stages(site: &Site<'_>, student: &Graph, teacher: &Graph) -> Result<Vec<(String, NodeId, NodeId)>, Error> {
    let (own, other) = (student.stages(), teacher.stages());
    if own.len() != other.len() || own.is_empty() {
        let side = |graph: &Graph| {
            let names: Vec<&str> = graph.stages().iter().map(|(name, _)| name.as_str()).collect();
            format!("`{}` has {} ({})", graph.name(), names.len(), names.join(", "))
        };
        let problem = format!(
            "stages cannot be paired: student {}, teacher {}\n  hint: write pairs = [[\"student tap\", \"teacher tap\"], ...]",
            side(student),
            side(teacher)
        );
        return Err(site.error("pairs", problem));
    }
    Ok(own.iter().zip(other).map(|((name, own), (_, other))| (name.clone(), *own, *other)).collect())
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stages => serializer.serialize_str("stages"),
            Self::Listed(list) => list.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"stages\", or a list of pairs [\"student tap\", \"teacher tap\"]")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Pairs, E> {
        if name == "stages" { Ok(Pairs::Stages) } else { Err(E::invalid_value(de::Unexpected::Str(name), &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
        let mut list = Vec::new();
        while let Some(names) = seq.next_element::<Vec<String>>()? {
            let pair = <[String; 2]>::try_from(names).map_err(|names| {
                de::Error::custom(format!("{names:?} is not a pair [\"student tap\", \"teacher tap\"]"))
            })?;
            list.push(pair);
        }
        Ok(Pairs::Listed(list))
    }
}
