//! The views of a batch: as it is, augmented another way, mixed, attacked, or drawn anew between its images.

mod adversarial;
mod extracurricular;
mod loads;
mod mix;
mod random;

use std::collections::{BTreeMap, BTreeSet};

use attar_pixels::Preprocessing;
use candle_core::Device;

use crate::error::Result;
use crate::plan::{LossId, PlannedKind, PlannedLoss, PlannedView, Table, ViewId};
use crate::run::feed::batch::ViewBatch;
use crate::run::step::Position;
use crate::run::step::students::Students;
use crate::run::step::teachers::Teachers;

use loads::Load;

pub(in crate::run) use adversarial::Bounds;
pub(in crate::run) use loads::Loaded;
pub(in crate::run) use random::generator;

/// The views of a run, and what is needed to make them.
pub(in crate::run) struct Views {
    table: Table<ViewId, PlannedView>,
    /// The batches that the loaders make for a step, in their order.
    loads: Vec<Load>,
    /// What made pixels into input.
    preprocessing: Preprocessing,
    seed: u64,
    device: Device,
}

impl Views {
    /// Views that these losses read and these teachers look at.
    pub(in crate::run) fn new(
        table: Table<ViewId, PlannedView>,
        teachers: &Teachers,
        losses: &Table<LossId, PlannedLoss>,
        preprocessing: Preprocessing,
        (seed, device): (u64, &Device),
    ) -> Self {
        let loads = loads::find(&table, teachers, losses, seed);
        Self { table, loads, preprocessing, seed, device: device.clone() }
    }

    /// Names of the views.
    pub(in crate::run) fn names(&self) -> Table<ViewId, String> {
        self.table.rows().map(|view| view.name.clone()).collect()
    }

    /// The views that are wanted, made of those that were loaded.
    pub(in crate::run) fn make(
        &self,
        loaded: &Loaded,
        wanted: &BTreeSet<ViewId>,
        students: &Students,
        teachers: &mut Teachers,
        at: Position,
    ) -> Result<BTreeMap<ViewId, ViewBatch>> {
        let clean = loaded.of(ViewId::CLEAN);
        let mut made = BTreeMap::new();
        for id in wanted {
            let view = &self.table[*id];
            let mut rng = generator(self.seed, at, &view.name);
            let batch = match &view.kind {
                PlannedKind::Clean | PlannedKind::Augmented { .. } => loaded.of(*id).clone(),
                PlannedKind::Mixup { alpha, p } => mix::mixup(clean, *alpha, *p, &mut rng)?,
                PlannedKind::Cutmix { alpha, p } => mix::cutmix(clean, *alpha, *p, &mut rng)?,
                PlannedKind::Adversarial { attack, against } => {
                    let bounds = Bounds::of(&self.preprocessing, &self.device)?;
                    let x = attack.on(*against, clean, &bounds, students, teachers, &mut rng)?;
                    // Nobody who has pixels of their own reads it: the plan sees to that.
                    ViewBatch { x, own: BTreeMap::new(), ..clean.clone() }
                }
                PlannedKind::Extracurricular { chooser, range, candidates } => {
                    self.extracurricular(clean, &mut teachers.0, *chooser, (*range, *candidates), &mut rng)?
                }
            };
            made.insert(*id, batch);
        }
        Ok(made)
    }
}
