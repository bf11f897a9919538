//! Picks the SIMD level at run time and runs loops compiled for it; lends scratch memory.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use pulp::{Arch, WithSimd};

/// The best instructions that this machine has, or the level that `ATTAR_SIMD` names: `scalar`, or `avx2` on x86-64.
/// Whoever computes asks [`check_level`] first (programs when they begin, every network when it is made), so that a level
/// that is not there is an error and is not passed over. The variable is for tests and for comparing levels; it is read
/// once.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| {
        let wanted = std::env::var("ATTAR_SIMD").unwrap_or_default();
        named(&wanted).unwrap_or_default()
    })
}

/// Whether the level that `ATTAR_SIMD` names, where it names one, is there.
///
/// # Errors
/// In words for people: a level that there is not, or that this machine does not have.
pub fn check_level() -> Result<(), String> {
    static CHECKED: OnceLock<Result<(), String>> = OnceLock::new();
    let asked = || check(&std::env::var_os("ATTAR_SIMD").unwrap_or_default().to_string_lossy());
    CHECKED.get_or_init(asked).clone()
}

fn check(level: &str) -> Result<(), String> {
    if level.is_empty() || named(level).is_some() {
        return Ok(());
    }
    let known = if cfg!(target_arch = "x86_64") { "scalar, avx2" } else { "scalar" };
    let here: Vec<&str> = ["scalar", "avx2"].into_iter().filter(|level| named(level).is_some()).collect();
    Err(format!(
        "ATTAR_SIMD={level}: no such level here\n  known: {known}; this machine has: {}\n  hint: unset it for the best one that this machine has",
        here.join(", ")
    ))
}

fn named(level: &str) -> Option<Arch> {
    match level {
        "scalar" => Some(Arch::Scalar),
        #[cfg(target_arch = "x86_64")]
        "avx2" => pulp::x86::V3::try_new().map(Arch::V3),
        _ => None,
    }
}

/// Whether `a * b + c` is one instruction at the level that is used: it is at each of them but the scalar one.
pub(crate) fn fuses() -> bool {
    !matches!(arch(), Arch::Scalar)
}

/// Runs `work` in a copy compiled for AVX-512, AVX2 or what else the machine has. `work` should be one call of an
/// `#[inline(always)]` function over slices, so that the compiler vectorises it in each copy.
#[inline(always)]
pub(crate) fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    arch().dispatch(work)
}

/// Runs an operation that is written for vectors of any length.
#[inline(always)]
pub(crate) fn with_simd<Op: WithSimd>(op: Op) -> Op::Output {
    arch().dispatch(op)
}

/// Floats of a thread's scratch memory, with unspecified contents.
pub(crate) struct Scratch {
    memory: Vec<f32>,
    len: usize,
}

thread_local!(static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) });

impl Scratch {
    /// Lends `len` floats. Memory is kept between calls, so that hot loops do not allocate.
    pub(crate) fn lend(len: usize) -> Self {
        let mut memory = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        if cfg!(debug_assertions) {
            memory = vec![f32::NAN; len]; // what reads before it writes, or beyond its end, is found out
        } else if memory.len() < len {
            memory = vec![0.0; len];
        }
        Self { memory, len }
    }
}

impl Deref for Scratch {
    type Target = [f32];
    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Scratch {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| kept.borrow_mut().push(memory));
    }
}

/// Calls `work` with [`Scratch`].
#[inline(always)]
pub(crate) fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    work(&mut Scratch::lend(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_not_there_is_told() {
        assert!(check("").is_ok() && check("scalar").is_ok());
        let problem = check("avx9").unwrap_err();
        assert!(
            problem.contains("ATTAR_SIMD=avx9") && problem.contains("scalar") && problem.contains("hint:"),
            "{problem}"
        );
    }
}
