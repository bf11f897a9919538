//! Memory for results, not cleared for what is overwritten.

use crate::value::Value;

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
