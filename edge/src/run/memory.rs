//! Where tensors lie while a plan runs.
//!
//! Everything here stands on what `plan/check.rs` has seen: tensors lie within the arena with their borders and slack, those
//! that are needed at a time do not share memory, and a step's extents are within its tensors.

use core::marker::PhantomData;
use core::ops::Range;

use crate::layer::{Source, Target};
use crate::level::Kernels;
use crate::plan::{Copy, Kind, Model, Step, Tensor};
use crate::run::team::Team;

/// Multiply-accumulates below which a layer is not worth a second thread: waking one takes about half a microsecond.
const WORTH_SHARING: u64 = 1 << 20;

/// What steps work with.
pub(super) struct Work<'r> {
    pub(super) model: &'r Model<'r>,
    pub(super) kernels: &'static Kernels,
    /// First byte of the arena, which begins at a multiple of 64.
    arena: *mut u8,
    /// First byte of the first thread's scratch.
    scratch: *mut u8,
    /// Bytes of a thread's scratch.
    scratch_each: usize,
    team: &'r dyn Team,
    memory: PhantomData<&'r mut [u8]>,
}

// SAFETY: threads of a team write rows of their own; what they read, no one writes meanwhile.
unsafe impl Sync for Work<'_> {}

impl<'r> Work<'r> {
    /// `arena` is the plan's arena and, behind it, scratch for every thread.
    pub(super) fn new(
        model: &'r Model<'r>,
        kernels: &'static Kernels,
        arena: &'r mut [u8],
        scratch_each: usize,
        team: &'r dyn Team,
    ) -> Self {
        let own = (model.header().arena as usize).next_multiple_of(64).min(arena.len());
        let first = arena.as_mut_ptr();
        // SAFETY: within the slice.
        let scratch = unsafe { first.add(own) };
        Self { model, kernels, arena: first, scratch, scratch_each, team, memory: PhantomData }
    }

    /// Scratch of a thread.
    pub(super) fn scratch(&self, worker: usize) -> *mut u8 {
        self.scratch.wrapping_add(worker * self.scratch_each)
    }

    /// First element of a tensor's border.
    fn corner<T>(&self, tensor: &Tensor) -> *mut T {
        // SAFETY: the tensor lies within the arena.
        unsafe { self.arena.add(tensor.offset as usize).cast() }
    }

    /// A tensor for reading, from where a window with this padding begins.
    pub(super) fn source<T>(&self, number: u32, padding: [u32; 2]) -> Source<T> {
        let tensor = self.model.tensor(number);
        let from = |axis: usize| (tensor.border - padding[axis]) as usize;
        // SAFETY: padding is at most the border.
        let at = unsafe { self.corner::<T>(&tensor).add(tensor.place(from(0), from(1))) };
        Source { at, row: tensor.row(), pixel: tensor.size[2] as usize }
    }

    /// A tensor for writing, from its first pixel.
    pub(super) fn target<T>(&self, number: u32) -> Target<T> {
        let source = self.source::<T>(number, [0, 0]);
        Target { at: source.at.cast_mut(), row: source.row, pixel: source.pixel }
    }

    /// What comes before a step: the border of what it writes, if it is the first to write it.
    pub(super) fn begin(&self, number: u32, step: &Step) {
        let Some(output) = step.output() else { return };
        let tensor = self.model.tensor(output);
        if tensor.life[0] != number {
            return;
        }
        if matches!(step, Step::Copy(Copy { fill: true, .. })) {
            self.fill(&tensor, 0, tensor.bytes() as usize);
        } else if tensor.border > 0 {
            self.border(&tensor);
        }
    }

    /// `length` bytes of a tensor from `start` become its zero; of floats, too, whose bytes are zeros then.
    fn fill(&self, tensor: &Tensor, start: usize, length: usize) {
        let zero = match tensor.kind {
            Kind::Bytes { zero, .. } => zero,
            Kind::Floats => 0,
        };
        // SAFETY: the callers' ranges are within the tensor.
        unsafe { self.corner::<u8>(tensor).add(start).write_bytes(zero, length) };
    }

    fn border(&self, tensor: &Tensor) {
        let [height, width, channels] = tensor.size.map(|size| size as usize);
        let (element, border) = (tensor.width() as usize, tensor.border as usize);
        let (row, side) = (tensor.row() * element, border * channels * element);
        // Above, and left of the first row; between two rows, right and left are one piece; right of the last row, and below.
        self.fill(tensor, 0, border * row + side);
        let right = side + width * channels * element;
        for y in border..border + height - 1 {
            self.fill(tensor, y * row + right, 2 * side);
        }
        self.fill(tensor, (border + height - 1) * row + right, side + border * row);
    }

    /// Shares `rows` rows out over the threads, `together` at a time, where `macs` are worth it. `work` gets rows and the
    /// number of its thread.
    pub(super) fn rows(&self, rows: usize, together: usize, macs: u64, work: impl Fn(Range<usize>, usize) + Sync) {
        let workers = self.team.workers();
        if workers == 1 || macs < WORTH_SHARING {
            return work(0..rows, 0);
        }
        let pieces = rows.div_ceil(together.max(1));
        self.team.run(&|worker| {
            let edge = |worker: usize| (pieces * worker / workers * together).min(rows);
            let own = edge(worker)..edge(worker + 1);
            if !own.is_empty() {
                work(own, worker);
            }
        });
    }
}
