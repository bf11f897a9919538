//! The views of a plan: settings checked, the networks that they ask found.

use attar_data::Pipeline;
use attar_models::suggest;

use super::Gives;
use super::losses::{Cast, Source};
use crate::error::{Error, Result};
use crate::recipe::{Climb, ViewKind, ViewSection};

/// A view that can be made.
#[derive(Debug, Clone)]
pub(crate) struct PlannedView {
    pub(crate) name: String,
    pub(crate) kind: ViewKind,
    /// The network that is attacked, or the teacher that chooses.
    pub(crate) asks: Option<Source>,
}

impl PlannedView {
    pub(crate) fn check(section: &ViewSection, cast: &Cast, pipeline: &Pipeline) -> Result<Self> {
        let fail = |key: &str, problem: String| {
            let key = format!("views.{}{}{key}", section.name, if key.is_empty() { "" } else { "." });
            Error::Recipe { key, problem }
        };
        let share = |key, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(fail(key, format!("{value}, expected a share from 0 to 1"))),
        };
        let positive = |key, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(fail(key, format!("{value}, expected a finite number above 0"))),
        };
        let mut asks = None;
        match &section.kind {
            ViewKind::Augmented { augment, .. } => {
                let own = Pipeline { augment: augment.clone(), ..pipeline.clone() };
                own.check().map_err(|error| fail("augment", error.to_string()))?;
            }
            ViewKind::Mixup { alpha, p } | ViewKind::Cutmix { alpha, p } => {
                positive("alpha", *alpha)?;
                share("p", *p)?;
            }
            ViewKind::Adversarial { against, climb, epsilon, step, steps, random_start } => {
                if *climb == Climb::Divergence && !random_start {
                    let problem = "false, but where it starts the divergence has no slope, and nothing would move";
                    return Err(fail("random_start", problem.to_owned()));
                }
                positive("epsilon", *epsilon)?;
                share("epsilon", *epsilon)?;
                positive("step", *step)?;
                if *steps == 0 {
                    return Err(fail("steps", "0, expected at least 1".to_owned()));
                }
                let known: Vec<&str> = cast.answering().collect();
                let unknown = || fail("against", suggest(&format!("unknown name `{against}`"), against, &known));
                asks = Some(cast.source(against).ok_or_else(unknown)?);
                if let Some(Source::Teacher(i)) = asks
                    && cast.teachers[i].gives != Gives::All
                {
                    return Err(fail("against", "an ONNX file or stored answers have no gradient".to_owned()));
                }
                if let (Some(Source::Teacher(i)), Climb::Labels) = (asks, climb)
                    && let Err(problem) = &cast.teachers[i].logits
                {
                    return Err(fail("against", format!("the attack climbs from the labels, and {problem}")));
                }
                if matches!(asks, Some(Source::Teacher(i)) if cast.own_sight.contains(&i)) {
                    let problem = "sees the images in its own size, where the student's pixels cannot be moved";
                    return Err(fail("against", format!("`{against}` {problem}")));
                }
            }
            ViewKind::Extracurricular { teacher, from, to, candidates } => {
                if !(from.is_finite() && to.is_finite() && from <= to) {
                    return Err(fail("from", format!("{from} to {to}, expected two finite numbers in order")));
                }
                if *candidates == 0 {
                    return Err(fail("candidates", "0, expected at least 1".to_owned()));
                }
                let chooser = match (teacher, cast.teachers.len()) {
                    (Some(name), _) => {
                        let known: Vec<&str> = cast.teachers.iter().map(|teacher| teacher.name.as_str()).collect();
                        let position = known.iter().position(|known| known == name);
                        let unknown = || fail("teacher", suggest(&format!("unknown name `{name}`"), name, &known));
                        position.ok_or_else(unknown)?
                    }
                    (None, 1) => 0,
                    (None, count) => {
                        return Err(fail("teacher", format!("the recipe has {count} teachers: say which one chooses")));
                    }
                };
                if cast.teachers[chooser].gives == Gives::StoredLogits {
                    return Err(fail("teacher", "stored answers are to training images, not to others".to_owned()));
                }
                asks = Some(Source::Teacher(chooser));
            }
        }
        Ok(Self { name: section.name.clone(), kind: section.kind.clone(), asks })
    }
}
