//! How this program allocates. A library must not decide that for the program that uses it.

/// Lets this process keep the memory that it frees for what it allocates next, instead of giving it back to the system; call
/// it first thing in `main`. A training step frees and allocates the same large tensors over and over, and memory that
/// comes anew from the system costs a page fault for every 4 KiB: a third of a step of a small network.
///
/// Does something where the C library is glibc, whose thresholds it raises, and nothing elsewhere. All threads share one
/// arena then, because what one arena keeps does not serve the others.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)] // a C function
    {
        /// More than any tensor has.
        const LARGE: libc::c_int = 1 << 30;
        /// The largest threshold that glibc before 2.35 takes.
        const LARGEST_ONCE: libc::c_int = 32 << 20;
        // SAFETY: `mallopt` takes any pair of numbers at any time and says 0 to those that it does not know.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
            if libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) == 0 {
                libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_ONCE);
            }
        }
    }
}
