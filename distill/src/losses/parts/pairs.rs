//! Which taps of the student follow which of the teacher: a rule for both networks, or a written list.

use std::fmt;

use attar_models::{Graph, NodeId, Outline, ValueKind};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::de::{self, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Result;
use crate::losses::{BuildContext, Connector, Step, Tap, Taps};

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
    /// Every stage with that at the same position.
    pub fn stages() -> Self {
        Self::Rule(Rule::Stages)
    }

    /// The middle stage of each.
    pub fn middle() -> Self {
        Self::Rule(Rule::Middle)
    }

    /// The last stage of each.
    pub fn last() -> Self {
        Self::Rule(Rule::Last)
    }

    /// What the final linear layer of each reads.
    pub fn penultimate() -> Self {
        Self::Rule(Rule::Penultimate)
    }

    /// The pairs in these networks.
    pub(in crate::losses) fn resolve(&self, context: &BuildContext<'_>) -> Result<Vec<Pair>> {
        let (student, teacher) = (context.student, context.teacher()?);
        if teacher.is_closed() {
            let problem = format!(
                "`{}` gives only logits (an ONNX file or stored answers), and this loss reads inside its teacher\n  hint: use a loss of logits, or the network itself as the teacher",
                teacher.name()
            );
            return Err(context.error("pairs", problem));
        }
        let (own, other) = match self {
            Self::Rule(Rule::Stages) => stages(context, student, teacher)?,
            Self::Rule(rule) => (vec![rule.find(context, student)?], vec![rule.find(context, teacher)?]),
            Self::Listed(list) if list.is_empty() => {
                return Err(context.error("pairs", "the list is empty, expected [student tap, teacher tap] or a rule"));
            }
            Self::Listed(list) => {
                let find = |network: &Outline, side: &str, name: &String| {
                    let id = network.tap(name).map_err(|error| context.error("pairs", format!("{side}: {error}")))?;
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
    pub(in crate::losses) fn only(&self, context: &BuildContext<'_>) -> Result<Pair> {
        let pairs = self.resolve(context)?;
        let count = pairs.len();
        <[Pair; 1]>::try_from(pairs)
            .map(|[pair]| pair)
            .map_err(|_| context.error("pairs", format!("this loss compares one pair, the recipe names {count}")))
    }

    /// The taps of these pairs, with the connectors that `connect` makes for the student's side.
    pub(in crate::losses) fn taps(
        &self,
        context: &BuildContext<'_>,
        mut connect: impl FnMut(&Pair) -> Result<Option<Graph>>,
    ) -> Result<Taps> {
        let (mut student, mut teacher) = (Vec::new(), Vec::new());
        for pair in self.resolve(context)? {
            let connector = connect(&pair)?.map(|graph| Connector { name: pair.name.clone(), graph });
            student.push(Tap { node: pair.student, connector });
            teacher.push(pair.teacher);
        }
        Ok(Taps { student, teachers: vec![teacher] })
    }
}

impl Pair {
    /// The shapes `[C, H, W]` of the student's tap and the teacher's.
    pub(in crate::losses) fn maps(&self, context: &BuildContext<'_>) -> Result<([usize; 3], [usize; 3])> {
        let map = |network: &Outline, id: NodeId, side: &str| {
            let node = network.value(id);
            <[usize; 3]>::try_from(node.shape.as_slice()).map_err(|_| {
                let problem = format!("needs maps [C, H, W], `{}` of the {side} has {:?}", node.name, node.shape);
                context.error("pairs", problem)
            })
        };
        Ok((map(context.student, self.student, "student")?, map(context.teacher()?, self.teacher, "teacher")?))
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

fn stages(context: &BuildContext<'_>, student: &Outline, teacher: &Outline) -> Result<(Vec<Found>, Vec<Found>)> {
    let (own, other) = (student.stages(), teacher.stages());
    if own.len() != other.len() || own.is_empty() {
        let side = |network: &Outline| {
            let names: Vec<&str> = network.stages().iter().map(|(name, _)| name.as_str()).collect();
            format!("`{}` has {} ({})", network.name(), names.len(), names.join(", "))
        };
        let problem = format!("stages cannot be paired: student {}, teacher {}", side(student), side(teacher));
        return Err(context.error("pairs", problem + HINT));
    }
    Ok((own.to_vec(), other.to_vec()))
}

const HINT: &str = "\n  hint: write pairs = [[\"student tap\", \"teacher tap\"], ...]";

impl Rule {
    /// The one node of a network that the rule means; of all stages the first.
    fn find(self, context: &BuildContext<'_>, network: &Outline) -> Result<Found> {
        let stages = network.stages();
        let (found, lacks) = match self {
            Self::Stages => (stages.first().cloned(), "has no stages"),
            Self::Middle => (stages.get(stages.len().saturating_sub(1) / 2).cloned(), "has no stages"),
            Self::Last => (stages.last().cloned(), "has no stages"),
            Self::Penultimate => (penultimate(network), "does not end in a linear layer"),
        };
        found.ok_or_else(|| context.error("pairs", format!("`{}` {lacks}{HINT}", network.name())))
    }
}

/// What the final linear layer reads; a dropout before it only adds noise to that.
fn penultimate(network: &Outline) -> Option<Found> {
    let last = network.value(network.output());
    let mut id = *last.inputs.first().filter(|_| last.kind == ValueKind::Linear)?;
    while network.value(id).kind == ValueKind::Dropout {
        id = *network.value(id).inputs.first()?;
    }
    Some((network.value(id).name.clone(), id))
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
