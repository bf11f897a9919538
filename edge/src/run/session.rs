//! A plan with memory of its own: what a program with an allocator uses.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Alone, Done, Engine, Input, Team, aligned};
use crate::error::{Error, Result};
use crate::level::{Kernels, Level};
use crate::plan::{Header, Model};

/// A plan, its packed constants, its working memory and its threads. All memory is taken when it is made; runs take none.
pub struct Session {
    bytes: Vec<u8>,
    header: Header,
    kernels: &'static Kernels,
    packed: Vec<u8>,
    arena: Vec<u8>,
    team: Box<dyn Team + Send>,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session")
            .field("level", &self.level())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Loads, checks and packs a plan.
    ///
    /// # Errors
    /// As [`Model::load`] and [`Model::prepare`].
    pub fn new(bytes: Vec<u8>, level: Level) -> Result<Self> {
        Self::with_team(bytes, level, Box::new(Alone))
    }

    /// The same, to run on the threads of a team.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_team(bytes: Vec<u8>, level: Level, team: Box<dyn Team + Send>) -> Result<Self> {
        let kernels = level.kernels().ok_or(Error::Level(level.name()))?;
        let model = Model::load(&bytes)?;
        let (header, need) = (*model.header(), model.memory_for(level, team.workers())?);
        let mut packed = vec![0; need.packed];
        model.prepare(level, &mut packed)?;
        let arena = vec![0; need.arena];
        Ok(Self { bytes, header, kernels, packed, arena, team })
    }

    /// The plan.
    pub fn model(&self) -> Model<'_> {
        Model::accepted(&self.bytes, self.header)
    }

    /// The level it runs at.
    pub fn level(&self) -> Level {
        self.kernels.level
    }

    /// How many threads it runs on.
    pub fn threads(&self) -> usize {
        self.team.workers()
    }

    /// Logits of one image.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<()> {
        self.run_watched(input, logits, &mut |_| {})
    }

    /// The same; `watch` is called when a step is done.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_watched(&mut self, input: Input<'_>, logits: &mut [f32], watch: &mut dyn FnMut(Done<'_>)) -> Result<()> {
        let Self { bytes, header, kernels, packed, arena, team } = self;
        let length = packed.len();
        let packed = &*aligned(packed, length, "packed constants")?;
        let engine = Engine { model: Model::accepted(bytes, *header), kernels, packed };
        engine.run_watched(input, logits, arena, &**team, watch)
    }
}
