//! Which batches the loaders make for a step: the plain one, that of each view that augments another way, and beside each those
//! of the teachers that see the same crops in their own size.

use std::collections::BTreeMap;

use attar_data::{Augment, Pipeline};

use super::Views;
use super::random::view_seed;
use crate::error::Result;
use crate::plan::{LossId, PlannedKind, PlannedLoss, PlannedView, Source, Table, TeacherId, TeacherInput, ViewId};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::teachers::Teachers;

/// One batch of a step: of which view, and for whom.
#[derive(Debug)]
pub(super) struct Load {
    view: ViewId,
    /// The teacher whose own it is, and how it sees images; the student's and everybody else's if `None`.
    teacher: Option<(TeacherId, TeacherInput)>,
    /// In place of the plain augmentation.
    augment: Option<Vec<Augment>>,
    /// Of its draws.
    seed: u64,
}

/// The batches of a step in their order: view by view, in each the student's first.
pub(super) fn find(
    views: &Table<ViewId, PlannedView>,
    teachers: &Teachers,
    losses: &Table<LossId, PlannedLoss>,
    seed: u64,
) -> Vec<Load> {
    let mut loads = Vec::new();
    for (view, planned) in views.iter() {
        let (augment, seed) = match &planned.kind {
            PlannedKind::Clean => (None, seed),
            PlannedKind::Augmented { augment, same_draws } => {
                (Some(augment), if *same_draws { seed } else { view_seed(seed, &planned.name) })
            }
            // Made of the plain one.
            PlannedKind::Mixup { .. }
            | PlannedKind::Cutmix { .. }
            | PlannedKind::Adversarial { .. }
            | PlannedKind::Extracurricular { .. } => continue,
        };
        let mut add = |teacher| loads.push(Load { view, teacher, augment: augment.cloned(), seed });
        add(None);
        for (id, teacher) in teachers.0.iter() {
            let asks = |loss: &&PlannedLoss| loss.teachers.contains(&Source::Teacher(id));
            // Views that are made of the plain one need it whoever reads them.
            let read = view == ViewId::CLEAN || losses.rows().filter(asks).any(|loss| loss.views.contains(&view));
            if teacher.input.own().is_some() && read {
                add(Some((id, teacher.input.clone())));
            }
        }
    }
    loads
}

/// The batches of a step as they were loaded, each with what teachers see of it.
#[derive(Debug)]
pub(in crate::run) struct Loaded(BTreeMap<ViewId, ViewBatch>);

impl Loaded {
    /// A view that is loaded: the plain one, or one that augments another way.
    pub(super) fn of(&self, view: ViewId) -> &ViewBatch {
        &self.0[&view] // [`Views::group`] has put all of them here
    }

    /// Samples in the batch.
    pub(in crate::run) fn len(&self) -> usize {
        self.of(ViewId::CLEAN).len()
    }
}

impl Views {
    /// How the batches of a step are made where the plain one is made by `plain`, each with the seed of its draws.
    pub(in crate::run) fn pipelines(&self, plain: &Pipeline) -> Vec<(Pipeline, u64)> {
        let pipeline = |load: &Load| {
            let own = |augment: &Vec<Augment>| Pipeline { augment: augment.clone(), ..plain.clone() };
            let pipeline = load.augment.as_ref().map_or_else(|| plain.clone(), own);
            match &load.teacher {
                None => (pipeline, load.seed),
                Some((_, input)) => (input.pipeline(&pipeline), load.seed),
            }
        };
        self.loads.iter().map(pipeline).collect()
    }

    /// The batches that [`Views::pipelines`] made, as views.
    ///
    /// # Errors
    /// More or fewer batches than pipelines.
    pub(in crate::run) fn group(&self, batches: Vec<ViewBatch>) -> Result<Loaded> {
        if batches.len() != self.loads.len() {
            let problem = format!("a step takes {} batches, it was given {}", self.loads.len(), batches.len());
            return Err(candle_core::Error::Msg(problem).into());
        }
        let mut grouped: BTreeMap<ViewId, ViewBatch> = BTreeMap::new();
        for (Load { view, teacher, .. }, batch) in self.loads.iter().zip(batches) {
            match teacher {
                None => drop(grouped.insert(*view, batch)),
                // The student's came before.
                Some((id, _)) => {
                    grouped.entry(*view).and_modify(|of_student| drop(of_student.own.insert(*id, batch.x)));
                }
            }
        }
        Ok(Loaded(grouped))
    }
}
