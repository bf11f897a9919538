//! The views of a plan: settings checked, the networks that they ask found.

use attar_data::{Augment, Pipeline};
use attar_models::suggest;

use super::ids::TeacherId;
use super::participants::{Participants, Source};
use crate::error::{Error, Result};
use crate::recipe::{Attack, CLEAN, Climb, ViewKind, ViewSection};

/// A view that can be made.
#[derive(Debug, Clone)]
pub(crate) struct PlannedView {
    pub(crate) name: String,
    pub(crate) kind: PlannedKind,
}

/// How a view is made; the networks that it asks are found.
#[derive(Debug, Clone)]
pub(crate) enum PlannedKind {
    /// The batch as it is.
    Clean,
    /// Augmented another way, with the draws of the plain view where `same_draws`.
    Augmented {
        augment: Vec<Augment>,
        same_draws: bool,
    },
    Mixup {
        alpha: f64,
        p: f64,
    },
    Cutmix {
        alpha: f64,
        p: f64,
    },
    /// Moved so that the network `against` errs.
    Adversarial {
        attack: Attack,
        against: Source,
    },
    /// Between and beyond images, chosen by a teacher.
    Extracurricular {
        chooser: TeacherId,
        range: [f64; 2],
        candidates: usize,
    },
}

impl PlannedView {
    /// The batch as it is.
    pub(crate) fn clean() -> Self {
        Self { name: CLEAN.to_owned(), kind: PlannedKind::Clean }
    }

    /// The network that is asked to make it.
    pub(crate) fn asks(&self) -> Option<Source> {
        match self.kind {
            PlannedKind::Adversarial { against, .. } => Some(against),
            PlannedKind::Extracurricular { chooser, .. } => Some(Source::Teacher(chooser)),
            PlannedKind::Clean
            | PlannedKind::Augmented { .. }
            | PlannedKind::Mixup { .. }
            | PlannedKind::Cutmix { .. } => None,
        }
    }

    pub(crate) fn check(section: &ViewSection, participants: &Participants, pipeline: &Pipeline) -> Result<Self> {
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
        let kind = match &section.kind {
            ViewKind::Augmented { augment, same_draws } => {
                let own = Pipeline { augment: augment.clone(), ..pipeline.clone() };
                own.check().map_err(|error| fail("augment", error.to_string()))?;
                PlannedKind::Augmented { augment: augment.clone(), same_draws: *same_draws }
            }
            ViewKind::Mixup { alpha, p } | ViewKind::Cutmix { alpha, p } => {
                positive("alpha", *alpha)?;
                share("p", *p)?;
                match section.kind {
                    ViewKind::Cutmix { .. } => PlannedKind::Cutmix { alpha: *alpha, p: *p },
                    _ => PlannedKind::Mixup { alpha: *alpha, p: *p },
                }
            }
            &ViewKind::Adversarial { ref against, climb, epsilon, step, steps, random_start } => {
                let attack = Attack { epsilon, step, steps, random_start, climb };
                attack.check().map_err(|(key, problem)| fail(key, problem))?;
                let known = participants.answering();
                let unknown = || fail("against", suggest(&format!("unknown name `{against}`"), against, &known));
                let source = participants.source(against).ok_or_else(unknown)?;
                if let Source::Teacher(id) = source {
                    let teacher = &participants.teachers[id];
                    if !teacher.attackable {
                        let problem = format!("`{against}` has no gradient: an ONNX file or stored answers have none");
                        return Err(fail("against", problem));
                    }
                    if let (Climb::Labels, Err(problem)) = (attack.climb, &teacher.logits) {
                        return Err(fail("against", format!("the attack climbs from the labels, and {problem}")));
                    }
                    if teacher.own_pixels {
                        let problem = "sees the images in its own size, where the student's pixels cannot be moved";
                        return Err(fail("against", format!("`{against}` {problem}")));
                    }
                }
                PlannedKind::Adversarial { attack, against: source }
            }
            ViewKind::Extracurricular { teacher, from, to, candidates } => {
                if !(from.is_finite() && to.is_finite() && from <= to) {
                    return Err(fail("from", format!("{from} to {to}, expected two finite numbers in order")));
                }
                if *candidates == 0 {
                    return Err(fail("candidates", "0, expected at least 1".to_owned()));
                }
                let known = || participants.teachers.rows().map(|teacher| teacher.name.as_str());
                let chooser = match (teacher, participants.teachers.ids().collect::<Vec<_>>().as_slice()) {
                    (Some(name), _) => {
                        participants.teachers.find(|teacher| teacher.name == *name).ok_or_else(|| {
                            let known: Vec<&str> = known().collect();
                            fail("teacher", suggest(&format!("unknown name `{name}`"), name, &known))
                        })?
                    }
                    (None, [only]) => *only,
                    (None, all) => {
                        let count = all.len();
                        return Err(fail("teacher", format!("the recipe has {count} teachers: say which one chooses")));
                    }
                };
                if participants.teachers[chooser].only_samples {
                    return Err(fail("teacher", "stored answers are to training images, not to others".to_owned()));
                }
                PlannedKind::Extracurricular { chooser, range: [*from, *to], candidates: *candidates }
            }
        };
        Ok(Self { name: section.name.clone(), kind })
    }
}
