//! Runs a plan: one step after the other, in memory that the caller gives.

mod image;
mod layer;
mod memory;
mod pairs;
#[cfg(feature = "alloc")]
mod session;
mod steps;
mod team;
#[cfg(feature = "std")]
mod threads;

use crate::error::{Error, Result};
use crate::level::{Kernels, Level};
use crate::plan::{Model, Step};

pub use image::Input;
#[cfg(feature = "alloc")]
pub(crate) use image::check as check_input;
#[cfg(feature = "alloc")]
pub use session::Session;
pub use team::{Alone, Team};
#[cfg(feature = "std")]
pub use threads::Threads;

use layer::Layer;
use memory::Work;

/// Where a vector begins.
const ALIGNMENT: usize = 64;

/// Bytes that an engine needs; any alignment will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Working memory of a run.
    pub arena: usize,
    /// Packed constants, written once by [`Model::prepare`].
    pub packed: usize,
}

/// A plan that is ready to run at one level.
#[derive(Debug)]
pub struct Engine<'a> {
    model: Model<'a>,
    kernels: &'static Kernels,
    /// Begins at a multiple of 64.
    packed: &'a [u8],
}

/// What a watcher is told when a step is done.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// Number of the step.
    pub step: u32,
    /// Name of the node.
    pub name: &'a str,
    /// What it was.
    pub what: &'static str,
    /// Multiply-accumulates of it.
    pub macs: u64,
}

impl<'a> Engine<'a> {
    /// The plan.
    pub fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// The level it runs at.
    pub fn level(&self) -> Level {
        self.kernels.level
    }

    /// Logits of one image. Allocates nothing and does not panic.
    ///
    /// `arena` has [`Memory::arena`] bytes; what is in it does not matter.
    ///
    /// # Errors
    /// [`Error::Room`] when a slice has not the length that the plan says; [`Error::NoPreprocessing`] for bytes of an image
    /// where the plan does not say what they mean.
    pub fn run(&self, input: Input<'_>, logits: &mut [f32], arena: &mut [u8]) -> Result<()> {
        self.run_watched(input, logits, arena, &Alone, &mut |_| {})
    }

    /// The same by the threads of a team, of which `arena` has the memory ([`Model::memory_for`]). The same bits.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_with(&self, input: Input<'_>, logits: &mut [f32], arena: &mut [u8], team: &dyn Team) -> Result<()> {
        self.run_watched(input, logits, arena, team, &mut |_| {})
    }

    /// The same; `watch` is called when a step is done.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_watched(
        &self,
        input: Input<'_>,
        logits: &mut [f32],
        arena: &mut [u8],
        team: &dyn Team,
        watch: &mut dyn FnMut(Done<'_>),
    ) -> Result<()> {
        let model = &self.model;
        image::check(model, input, logits)?;
        let scratch = scratch(model, self.kernels);
        let arena = aligned(arena, self::arena(model, scratch, team.workers()), "working memory")?;
        let work = Work::new(model, self.kernels, arena, scratch, team);
        let mut packed = self.packed;
        let tables = match model.header().preprocessing {
            Some(_) => packed.split_off(..image::TABLES).unwrap_or_default(),
            None => &[],
        };
        for (number, step) in (0..).zip(model.steps()) {
            work.begin(number, &step);
            match step {
                Step::Load { output } => image::load(&work, input, output, tables),
                Step::Store { input } => image::store(&work, input, logits),
                Step::Convolution(convolution) => {
                    let layer = Layer::of(model, convolution);
                    let own = packed.split_off(..layer.packed(self.kernels)).unwrap_or_default();
                    layer.run(&work, own);
                }
                other => steps::run(&work, &other),
            }
            watch(Done { step: number, name: model.name(number), what: step.what(), macs: step.macs(model) });
        }
        Ok(())
    }
}

impl<'a> Model<'a> {
    /// Bytes that an engine of this level needs, for one thread.
    ///
    /// # Errors
    /// [`Error::Level`] when this program or CPU does not have it.
    pub fn memory(&self, level: Level) -> Result<Memory> {
        self.memory_for(level, 1)
    }

    /// The same for several threads, each of which has scratch of its own.
    ///
    /// # Errors
    /// As [`Model::memory`].
    pub fn memory_for(&self, level: Level, threads: usize) -> Result<Memory> {
        let kernels = level.kernels().ok_or(Error::Level(level.name()))?;
        let tables = if self.header().preprocessing.is_some() { image::TABLES } else { 0 };
        let layers = self.convolutions().map(|layer| layer.packed(kernels)).fold(0, usize::saturating_add);
        Ok(Memory {
            arena: arena(self, scratch(self, kernels), threads),
            packed: tables.saturating_add(layers).saturating_add(ALIGNMENT),
        })
    }

    /// Packs the plan's constants as a level wants them into `packed`, of [`Memory::packed`] bytes.
    ///
    /// # Errors
    /// [`Error::Level`] when this program or CPU does not have the level, [`Error::Room`] when `packed` is too short.
    pub fn prepare(&self, level: Level, packed: &'a mut [u8]) -> Result<Engine<'a>> {
        let kernels = level.kernels().ok_or(Error::Level(level.name()))?;
        let needed = self.memory(level)?.packed;
        let room = aligned(packed, needed, "packed constants")?;
        let mut rest = &mut *room;
        if let Some(preprocessing) = self.header().preprocessing {
            let (tables, behind) = rest.split_at_mut(image::TABLES);
            image::tables(self, preprocessing, tables);
            rest = behind;
        }
        for layer in self.convolutions() {
            let (own, behind) = rest.split_at_mut(layer.packed(kernels));
            layer.pack(self, kernels, own);
            rest = behind;
        }
        Ok(Engine { model: *self, kernels, packed: room })
    }

    fn convolutions(&self) -> impl Iterator<Item = Layer> + '_ {
        self.steps().filter_map(|step| match step {
            Step::Convolution(convolution) => Some(Layer::of(self, convolution)),
            _ => None,
        })
    }
}

/// Bytes of working memory: the arena, scratch for each thread, and room to begin at a multiple of 64.
fn arena(model: &Model<'_>, scratch: usize, threads: usize) -> usize {
    let own = model.header().arena as usize;
    own.saturating_add(threads.saturating_mul(scratch)).saturating_add(ALIGNMENT)
}

/// Bytes of scratch of the step that needs most.
fn scratch(model: &Model<'_>, kernels: &'static Kernels) -> usize {
    model.convolutions().map(|layer| layer.scratch(kernels)).max().unwrap_or(0)
}

/// The part of `memory` that begins at a multiple of 64.
fn aligned<'m>(memory: &'m mut [u8], needed: usize, what: &'static str) -> Result<&'m mut [u8]> {
    let found = memory.len();
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    if found < needed || start >= ALIGNMENT {
        return Err(Error::Room { what, needed, found });
    }
    Ok(&mut memory[start..])
}
