//! Who works: one thread, or several that share out rows.

/// Threads that work together. Rows are shared out, never sums, so that bits do not depend on their number.
///
/// # Safety
/// `workers` is always the same number; `run` calls with each number below it once and with no other, and returns, or
/// unwinds, only when no call is going on any more: each has memory of its own that nobody else may write.
pub unsafe trait Team: Sync {
    /// How many there are, the caller included; at least 1.
    fn workers(&self) -> usize;

    /// Calls `work` once with each number below [`Team::workers`], at the same time, and returns when all are done.
    fn run(&self, work: &(dyn Fn(usize) + Sync));
}

/// The caller alone.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

// SAFETY: it calls once, with 0.
unsafe impl Team for Alone {
    fn workers(&self) -> usize {
        1
    }

    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        work(0);
    }
}
