//! Which taps of the student follow which of the teacher: a rule for both networks, or a written list.

use std::fmt;

use attar_models::{Graph, NodeId, Op};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Result;
use crate::losses::{Connector, Site, Step, Tap, Taps};

/// A rule, or a list of `[student tap, teacher tap]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Pairs {
    /// One rule for both networks.
    Rule(Rule),
    /// Taps by name: a stage (`layer1`) or any node (`layer1.0.conv1`).
    Listed(Vec<[String; 2]>),
}

/// How pairs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Every stage of the student with the teacher's stage at the same position.
    Stages,
    /// The middle stage of each; of an even number the earlier one.
    Middle,
    /// The last stage of each.
    Last,
    /// What the final linear layer of each reads, before any dropout.
    Penultimate,
}

/// A tap of the student and the one of the teacher that it follows.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::losses) struct Pair {
    /// The student's tap, unique among the pairs of a loss: what a connector there is called.
    pub(in crate::losses) name: String,
    pub(in crate::losses) student: NodeId,
    pub(in crate::losses) teacher: NodeId,
}

impl Pairs {
    pub(in crate::losses) fn stages() -> Self {
        Self::Rule(Rule::Stages)
    }

    pub(in crate::losses) fn middle() -> Self {
        Self::Rule(Rule::Middle)
    }

    pub(in crate::losses) fn last() -> Self {
        Self::Rule(Rule::Last)
    }

    pub(in crate::losses) fn penultimate() -> Self {
        Self::Rule(Rule::Penultimate)
    }

    /// The pairs in these networks.
    pub(in crate::losses) fn resolve(&self, site: &Site<'_>) -> Result<Vec<Pair>> {
        let (student, teacher) = (site.student, site.teacher()?);
        let (own, other) = match self {
            Self::Rule(Rule::Stages) => stages(site, student, teacher)?,
            Self::Rule(rule) => (vec![rule.find(site, student)?], vec![rule.find(site, teacher)?]),
            Self::Listed(list) if list.is_empty() => {
                return Err(site.error("pairs", "the list is empty, expected [student tap, teacher tap] or a rule"));
            }
            Self::Listed(list) => {
                let find = |graph: &Graph, side: &str, name: &String| {
                    let id = graph.tap(name).map_err(|error| site.error("pairs", format!("{side}: {error}")))?;
                    Ok((name.clone(), id))
                };
                let own = list.iter().map(|[own, _]| find(student, "student", own)).collect::<Result<Vec<_>>>()?;
                let other = list.iter().map(|[_, other]| find(teacher, "teacher", other)).collect::<Result<_>>()?;
                (own, other)
            }
        };
        let pair = |(i, ((name, student), (_, teacher))): (usize, (&Found, &Found))| {
            let before = own.iter().take(i).filter(|(other, _)| other == name).count();
            let name = if before == 0 { name.clone() } else { format!("{name}-{}", before + 1) };
            Pair { name, student: *student, teacher: *teacher }
        };
        Ok(own.iter().zip(&other).enumerate().map(pair).collect())
    }

    /// The pair of a loss that compares two features.
    pub(in crate::losses) fn only(&self, site: &Site<'_>) -> Result<Pair> {
        let pairs = self.resolve(site)?;
        let count = pairs.len();
        <[Pair; 1]>::try_from(pairs)
            .map(|[pair]| pair)
            .map_err(|_| site.error("pairs", format!("this loss compares one pair, the recipe names {count}")))
    }

    /// The taps of these pairs, with the connectors that `connect` makes for the student's side.
    pub(in crate::losses) fn taps(
        &self,
        site: &Site<'_>,
        mut connect: impl FnMut(&Pair) -> Result<Option<Graph>>,
    ) -> Result<Taps> {
        let (mut student, mut teacher) = (Vec::new(), Vec::new());
        for pair in self.resolve(site)? {
            let connector = connect(&pair)?.map(|graph| Connector { name: pair.name.clone(), graph });
            student.push(Tap { node: pair.student, connector });
            teacher.push(pair.teacher);
        }
        Ok(Taps { student, teachers: vec![teacher] })
    }
}

impl Pair {
    /// The shapes `[C, H, W]` of the student's tap and the teacher's.
    pub(in crate::losses) fn maps(&self, site: &Site<'_>) -> Result<([usize; 3], [usize; 3])> {
        let map = |graph: &Graph, id: NodeId, side: &str| {
            let node = graph.node(id);
            <[usize; 3]>::try_from(node.shape.as_slice()).map_err(|_| {
                let problem = format!("needs maps [C, H, W], `{}` of the {side} has {:?}", node.name, node.shape);
                site.error("pairs", problem)
            })
        };
        Ok((map(site.student, self.student, "student")?, map(site.teacher()?, self.teacher, "teacher")?))
    }
}

/// The sum of `term(index, student, teacher)` over the pairs of taps.
pub(in crate::losses) fn sum(
    step: &Step<'_>,
    term: impl Fn(usize, &Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let view = step.view()?;
    let (student, teacher) = (&view.student.taps, &view.teacher()?.taps);
    if student.len() != teacher.len() || student.is_empty() {
        let message = format!("a loss of pairs over {} student and {} teacher taps", student.len(), teacher.len());
        return Err(candle_core::Error::Msg(message).into());
    }
    let mut terms = Vec::with_capacity(student.len());
    for (i, (student, teacher)) in student.iter().zip(teacher).enumerate() {
        terms.push(term(i, student, teacher)?);
    }
    Ok(Tensor::stack(&terms, 0)?.sum_all()?)
}

/// The name that a recipe gives a node, and the node.
type Found = (String, NodeId);

fn stages(site: &Site<'_>, student: &Graph, teacher: &Graph) -> Result<(Vec<Found>, Vec<Found>)> {
    let (own, other) = (student.stages(), teacher.stages());
    if own.len() != other.len() || own.is_empty() {
        let side = |graph: &Graph| {
            let names: Vec<&str> = graph.stages().iter().map(|(name, _)| name.as_str()).collect();
            format!("`{}` has {} ({})", graph.name(), names.len(), names.join(", "))
        };
        let problem = format!("stages cannot be paired: student {}, teacher {}", side(student), side(teacher));
        return Err(site.error("pairs", problem + HINT));
    }
    Ok((own.to_vec(), other.to_vec()))
}

const HINT: &str = "\n  hint: write pairs = [[\"student tap\", \"teacher tap\"], ...]";

impl Rule {
    /// The one node of a network that the rule means; of all stages the first.
    fn find(self, site: &Site<'_>, graph: &Graph) -> Result<Found> {
        let stages = graph.stages();
        let (found, lacks) = match self {
            Self::Stages => (stages.first().cloned(), "has no stages"),
            Self::Middle => (stages.get(stages.len().saturating_sub(1) / 2).cloned(), "has no stages"),
            Self::Last => (stages.last().cloned(), "has no stages"),
            Self::Penultimate => (penultimate(graph), "does not end in a linear layer"),
        };
        found.ok_or_else(|| site.error("pairs", format!("`{}` {lacks}{HINT}", graph.name())))
    }
}

/// What the final linear layer reads; a dropout before it only adds noise to that.
fn penultimate(graph: &Graph) -> Option<Found> {
    let last = graph.node(graph.output());
    let mut id = *last.inputs.first().filter(|_| matches!(last.op, Op::Linear(_)))?;
    while let Op::Dropout(_) = graph.node(id).op {
        id = *graph.node(id).inputs.first()?;
    }
    Some((graph.node(id).name.clone(), id))
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule such as \"stages\", or a list of pairs [\"student tap\", \"teacher tap\"]")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Pairs, E> {
        Rule::deserialize(name.into_deserializer()).map(Pairs::Rule)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Pairs, A::Error> {
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
