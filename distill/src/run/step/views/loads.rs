//! Which batches the loaders make for a step: the plain one, that of each view that augments another way, and beside each those
//! of the teachers that see the same crops in their own size.

use std::collections::BTreeMap;

use attar_data::Pipeline;
use candle_core::Tensor;

use super::{Look, view_seed};
use crate::error::Result;
use crate::plan::{PlannedLoss, Source};
use crate::recipe::ViewKind;
use crate::run::step::learner::Learner;
use crate::run::step::passes::lost;

/// One batch of a step: of which view, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) struct Load {
    view: usize,
    /// The teacher whose own it is; the student's and everybody else's if `None`.
    teacher: Option<usize>,
}

impl Learner {
    /// The batches of a step in their order: view by view, in each the student's first.
    pub(in crate::run) fn loads(&self) -> Vec<Load> {
        let augmented = |i: &usize| matches!(self.views[*i].kind, ViewKind::Augmented { .. });
        let views = std::iter::once(0).chain((0..self.views.len()).filter(augmented).map(|i| i + 1));
        let teachers = |view: usize| (0..self.teachers.len()).filter(move |teacher| self.has_own(*teacher, view));
        let load = |view: usize| {
            std::iter::once(None).chain(teachers(view).map(Some)).map(move |teacher| Load { view, teacher })
        };
        views.flat_map(load).collect()
    }

    /// Whether a teacher needs a batch of its own of a view: other views are made of the plain one.
    fn has_own(&self, teacher: usize, view: usize) -> bool {
        let asks = |loss: &&PlannedLoss| loss.teachers.contains(&Source::Teacher(teacher));
        let read = view == 0 || self.losses.iter().filter(asks).any(|loss| loss.views.contains(&view));
        self.teachers[teacher].input.own().is_some() && read
    }

    /// How the batches of a step are made where the plain one is made by `plain`, each with the seed of its draws.
    pub(in crate::run) fn pipelines(&self, plain: &Pipeline) -> Vec<(Pipeline, u64)> {
        let pipeline = |load: Load| {
            let view = load.view.checked_sub(1).map(|i| &self.views[i]);
            let (pipeline, seed) = match view.map(|view| (&view.kind, &view.name)) {
                Some((ViewKind::Augmented { augment, same_draws }, name)) => {
                    let seed = if *same_draws { self.seed } else { view_seed(self.seed, name) };
                    (Pipeline { augment: augment.clone(), ..plain.clone() }, seed)
                }
                _ => (plain.clone(), self.seed),
            };
            match load.teacher {
                None => (pipeline, seed),
                Some(i) => (self.teachers[i].input.pipeline(&pipeline), seed),
            }
        };
        self.loads().into_iter().map(pipeline).collect()
    }

    /// The views that were loaded, by their position, each with what teachers see of it.
    pub(super) fn loaded(&self, loaded: &[Look]) -> Result<BTreeMap<usize, Look>> {
        let mut loaded = loaded.iter().cloned();
        let mut looks = BTreeMap::new();
        for Load { view, teacher } in self.loads() {
            let look = loaded.next().ok_or_else(|| lost("a batch"))?;
            match teacher {
                None => drop(looks.insert(view, look)),
                Some(teacher) => {
                    looks.get_mut(&view).ok_or_else(|| lost("a view"))?.own.insert(teacher, look.x);
                }
            }
        }
        Ok(looks)
    }

    /// What a teacher sees of a view.
    pub(in crate::run) fn seen<'a>(&self, teacher: usize, look: &'a Look) -> Result<&'a Tensor> {
        match self.teachers[teacher].input.own() {
            None => Ok(&look.x),
            Some(_) => look.own.get(&teacher).ok_or_else(|| lost("a teacher's own batch")),
        }
    }
}
