//! Memory for results: kept when it is freed, and not cleared for what is overwritten.

use crate::value::Value;

/// Lets this process keep the memory that it frees for what it allocates next, instead of giving it back to the system; call
/// it first thing in `main`. A training step frees and allocates the same large tensors over and over, and memory that
/// comes anew from the system costs a page fault for every 4 KiB: a third of a step of a small network.
///
/// Does something where the C library is glibc, whose thresholds it raises, and nothing elsewhere. All threads share one
/// arena then, because what one arena keeps does not serve the others.
pub fn keep_freed_memory() {
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

/// Memory for an output of a kernel: `len` values that are whatever was there. Kernels overwrite their outputs, so zeros
/// would be written for nothing, which is a tenth of a training step.
#[must_use]
pub fn unwritten<T: Value>(len: usize) -> Vec<T> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[allow(unsafe_code)] // memory that Rust has not seen anybody write
    {
        let mut values = Vec::with_capacity(len);
        let first: *mut T = values.as_mut_ptr();
        // SAFETY: `len` values have room there, and any bits are a value. The assembly does nothing, but as far as the
        // language knows it may have written the memory that it was given the address of: no value is uninitialised.
        unsafe {
            std::arch::asm!("/* {0} */", in(reg) first, options(nostack, preserves_flags));
            values.set_len(len);
        }
        values
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        vec![T::default(); len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_and_none_is_none() {
        let mut values = unwritten::<f32>(1000);
        values.iter_mut().zip(0u16..).for_each(|(value, i)| *value = f32::from(i));
        assert_eq!((values.len(), values[0], values[999]), (1000, 0.0, 999.0));
        assert!(unwritten::<f32>(0).is_empty());
    }
}
