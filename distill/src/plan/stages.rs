//! Stages that are still to come, checked before the first one trains.

use std::collections::BTreeMap;
use std::path::PathBuf;

use attar_models::Outline;

use super::Plan;
use super::arrangement::Arrangement;
use super::ground::Ground;
use super::participants::KnownTeacher;
use super::start::network;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, StudentSection, TeacherNorm};

impl Plan {
    /// Checks the stages behind the first one of [`Recipe::chain`] before that has trained, so that a mistake in the
    /// third is not found after two trainings.
    ///
    /// # Errors
    /// As [`Plan::new`], naming the stage.
    pub fn check_stages(stages: &[(Recipe, PathBuf)], allow_idle: bool) -> Result<()> {
        for pair in stages.windows(2) {
            let [(before, _), (recipe, _)] = pair else { continue };
            check(recipe, &before.student, allow_idle).map_err(|error| match error {
                Error::Recipe { key, problem } => {
                    Error::Recipe { key, problem: format!("{problem}\n  in the stage `{}`", recipe.name) }
                }
                other => other,
            })?;
        }
        Ok(())
    }
}

/// Checks a recipe whose teachers are the student `before`, of which nothing but the outline is there yet. It learns from the
/// same images as the first stage, which has looked at them.
fn check(recipe: &Recipe, before: &StudentSection, allow_idle: bool) -> Result<()> {
    let ground = Ground::of(recipe, None, None, None)?;
    let before = network(before, "stages", &ground.data)?.graph;
    let known = recipe.teachers.iter().map(|section| KnownTeacher {
        batch_statistics: section.bn == TeacherNorm::Batch,
        ..KnownTeacher::whole(&section.name, Outline::from(&before))
    });
    Arrangement::of(recipe, &ground, known.collect(), BTreeMap::new(), allow_idle).map(drop)
}
