//! Runs plain loops compiled for the best instructions that the machine has.

use std::cell::RefCell;

/// Runs `work` in a copy compiled for AVX-512, AVX2 or what else the machine has. `work` should be one call of an
/// `#[inline(always)]` function over slices, so that the compiler vectorises it in each copy.
#[inline(always)]
pub(crate) fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Lends `len` floats of this thread's scratch memory, with unspecified contents. It is kept between calls, so that hot
/// loops do not allocate. A call inside another gets memory of its own.
pub(crate) fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
    let mut memory = SCRATCH.with(RefCell::take);
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
    let result = work(&mut memory[..len]);
    SCRATCH.with(|kept| {
        kept.replace(memory);
    });
    result
}
