//! Where a student starts: its network, by the zoo or of what it starts from, and its first weights, their classes in the order of
//! the data's.

use std::path::Path;

use attar_exec::Params;
use attar_formats::card::{NetworkFacts, Origin};
use attar_formats::classes::align;
use attar_formats::graph::Opened;
use attar_formats::rename::{Fitted, Head};
use attar_models::Graph;
use attar_models::zoo::NetworkSpec;
use candle_core::Device;

use super::data::PlannedData;
use super::ground::build_network;
use super::rewrite::{InIntegers, Rewritten, rewritten};
use super::source::{Source, open};
use super::{GivenStudent, fail};
use crate::error::Result;
use crate::recipe::{Recipe, StartHead, StudentSection, StudentSource};

/// Where a recipe names the student's network.
const NETWORK: &str = "student.network";

/// Where a student starts.
pub(super) struct Start {
    pub(super) student: Graph,
    /// Where that network came from.
    pub(super) origin: Origin,
    pub(super) params: Params,
    /// Of a network in integers what it learns by.
    pub(super) integers: Option<InIntegers>,
    /// sha256 of the weights, where it does not start from random ones.
    pub(super) sha256: Option<String>,
    /// What people should know of it.
    pub(super) notes: Vec<String>,
}

impl Start {
    /// As the recipe has it, or as a program gave it.
    pub(super) fn of(
        recipe: &Recipe,
        given: Option<GivenStudent>,
        data: &PlannedData,
        device: &Device,
    ) -> Result<Self> {
        let section = &recipe.student;
        let named = named(section, NETWORK, data)?;
        let source = section.from.as_ref().map(|from| open(from, given, data.input)).transpose()?;
        let mut notes = Vec::new();
        let head =
            match (section.from.as_ref().map(StudentSource::head), source.as_ref().and_then(|s| s.labels.as_ref())) {
                (Some(StartHead::New), _) => Head::New,
                (_, Some((card, labels))) => by_name(data.classes(), labels, card, &mut notes)?,
                (_, None) => Head::Given,
            };
        let Opened { graph, origin, note } =
            named.map_or_else(|| of_source(section, NETWORK, source.as_ref(), data), Ok)?;
        notes.extend(note);
        let (found, sha256) = source.map_or((None, None), |source| (source.weights, source.sha256));
        let params = match found {
            None => Params::init(&graph, recipe.seed, "", device)?,
            Some(found) => {
                let Fitted { mut weights, fresh, notes: said } = found.fitted(&graph, &head)?;
                notes.extend(said);
                if !fresh.is_empty() {
                    let mut anew = Params::init(&graph, recipe.seed, "", device)?;
                    anew.retain(|name| fresh.iter().any(|own| own == name));
                    weights.0.extend(anew.to_weights()?.0);
                    notes.push(format!("{} start anew", fresh.join(" and ")));
                }
                Params::from_weights(&graph, &weights, device)?
            }
        };
        let mut notes: Vec<String> = notes.into_iter().map(|note| format!("student.from: {note}")).collect();
        let (student, params, integers) = match rewritten(recipe, &graph, &params, data, device)? {
            None => (graph, params, None),
            Some(Rewritten { graph, params, integers, note }) => {
                notes.push(note);
                (graph, params, Some(integers))
            }
        };
        Ok(Self { student, origin, params, integers, sha256, notes })
    }
}

/// The network of a student that is still to come; `key` is where its recipe names it.
pub(super) fn network(section: &StudentSection, key: &str, data: &PlannedData) -> Result<Opened> {
    if let Some(named) = named(section, key, data)? {
        return Ok(named);
    }
    let source = section.from.as_ref().map(|from| open(from, None, data.input)).transpose()?;
    of_source(section, key, source.as_ref(), data)
}

/// The network of the zoo that `[student]` names, if it does.
fn named(section: &StudentSection, key: &str, data: &PlannedData) -> Result<Option<Opened>> {
    let Some(network) = &section.network else { return Ok(None) };
    if is_given(section) {
        return Err(fail(key, "stands beside a network of the program\n  hint: one of them is the student"));
    }
    let (network, graph) = build_network(network, key, data)?;
    Ok(Some(Opened { graph, origin: Origin::Zoo(network), note: None }))
}

fn is_given(section: &StudentSection) -> bool {
    matches!(section.from, Some(StudentSource::Given { .. }))
}

/// The network of what a student starts from, with a last layer of the data's classes.
fn of_source(section: &StudentSection, key: &str, source: Option<&Source>, data: &PlannedData) -> Result<Opened> {
    let Some(opened) = source.map(Source::network).transpose()?.flatten() else {
        let problem = match section.from {
            Some(_) => "is missing, and a file of weights does not say of which network they are",
            None => "is missing",
        };
        let hint = "name a network of the zoo (`attar models`), or let student.from name a run or a bundle, which holds its own";
        return Err(fail(key, format!("{problem}\n  hint: {hint}")));
    };
    let Opened { graph, origin, note } = opened;
    let wrong = |problem: String| fail("student.from", problem);
    let NetworkFacts { name, classes, input } = NetworkFacts::of(&graph).map_err(|error| wrong(error.to_string()))?;
    if input != data.input {
        return Err(wrong(format!(
            "its network `{name}` takes {input:?}, but the data comes as {:?}\n  \
             hint: prepare the images like that (data.preprocessing), or name a network of the zoo in student.network, which is \
             built for any size",
            data.input
        )));
    }
    let wanted = data.classes().len();
    if is_given(section) && classes != wanted {
        return Err(wrong(format!(
            "its network `{name}` has {classes} classes, the data {wanted}\n  hint: `Graph::with_classes` gives it another last layer"
        )));
    }
    let origin = match origin {
        Origin::Zoo(spec) => Origin::Zoo(NetworkSpec { classes: wanted, ..spec }),
        other @ (Origin::Graph(_) | Origin::Program { .. }) => other,
    };
    let graph = graph.with_classes(wanted).map_err(|error| wrong(error.to_string()))?;
    Ok(Opened { graph, origin, note })
}

/// The head's rows in the order of the data's classes.
fn by_name(classes: &[String], labels: &[String], card: &Path, notes: &mut Vec<String>) -> Result<Head> {
    if labels.is_empty() {
        return Ok(Head::Given);
    }
    let aligned = align(classes, labels).map_err(|problem| {
        let problem = format!(
            "the weights are of other classes, by {}: {problem}\n  hint: to fine-tune, let the last layer start anew: \
             student.from = {{ kind = \"weights\", path = \"...\", head = \"new\" }}",
            card.display()
        );
        fail("student.from", problem)
    })?;
    let is_same = aligned.is_identity();
    notes.extend(aligned.note);
    Ok(if is_same { Head::Given } else { Head::Rows { columns: aligned.columns, of: aligned.of } })
}
