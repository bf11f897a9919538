//! The losses of a plan: built against the graphs, their taps resolved, their connectors sized.

use std::collections::BTreeSet;

use attar_models::Graph;

use super::PlannedTeacher;
use crate::error::{Error, Result};
use crate::knots::Knots;
use crate::losses::{Loss, Taps};
use crate::recipe::{LossSection, Recipe};

/// A loss that fits the networks.
pub(crate) struct PlannedLoss {
    pub(crate) name: String,
    pub(crate) weight: Knots,
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) taps: Taps,
    pub(crate) needs_teacher: bool,
}

impl std::fmt::Debug for PlannedLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlannedLoss").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the parameters of a connector live: `losses.<loss>.<connector>.`.
pub(crate) fn prefix(loss: &str, connector: &str) -> String {
    format!("losses.{loss}.{connector}.")
}

pub(super) fn plan(recipe: &Recipe, student: &Graph, teachers: &[PlannedTeacher]) -> Result<Vec<PlannedLoss>> {
    let graphs: Vec<Graph> = teachers.iter().map(|teacher| teacher.graph.clone()).collect();
    let mut losses = Vec::with_capacity(recipe.losses.len());
    for section in &recipe.losses {
        let planned = fit(section, student, &graphs)?;
        if !planned.taps.teacher.is_empty() && teachers.first().is_some_and(|teacher| !teacher.has_taps) {
            return Err(fail(section, "reads inside the teacher; an ONNX file gives only logits".to_owned()));
        }
        losses.push(planned);
    }
    Ok(losses)
}

/// One loss built against the networks.
pub(crate) fn fit(section: &LossSection, student: &Graph, teachers: &[Graph]) -> Result<PlannedLoss> {
    let loss = section.loss.build(&section.name, student, teachers)?;
    let taps = loss.taps();
    let mut names = BTreeSet::new();
    let connectors = taps.student.iter().filter_map(|tap| tap.connector.as_ref());
    if let Some(twice) = connectors.map(|c| &c.name).find(|name| !names.insert(*name)) {
        return Err(fail(section, format!("has two connectors called `{twice}`")));
    }
    Ok(PlannedLoss {
        name: section.name.clone(),
        weight: section.weight.clone(),
        needs_teacher: section.loss.needs_teacher(),
        loss,
        taps,
    })
}

fn fail(section: &LossSection, problem: String) -> Error {
    Error::Recipe { key: format!("losses.{}", section.name), problem }
}
