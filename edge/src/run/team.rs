//! Who works: one thread, or several that share out rows.

/// Threads that work together. Rows are shared out, never sums, so that bits do not depend on their number.
///
/// # Safety
/// `workers` always says the same; `run` calls `work` once with each number below it, with no number twice at a time, and
/// returns, also by a panic, only when all calls have: each has memory of its own by its number.
pub unsafe trait Team: Sync {
    /// How many there are, the caller included; at least 1.
    fn workers(&self) -> usize;

    /// Calls `work` once with each number below [`Team::workers`], at the same time, and returns when all are done.
    fn run(&self, work: &(dyn Fn(usize) + Sync));
}

/// The caller alone.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

// SAFETY: one call, by the caller.
unsafe impl Team for Alone {
    fn workers(&self) -> usize {
        1
    }

    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        work(0);
    }
}
