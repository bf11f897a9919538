//! What can be wrong with a plan, or with what it is given.

use core::fmt;

/// Why a plan cannot be used. It holds no text of its own, so that it needs no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin as a plan does.
    NotAPlan,
    /// Another version of the format.
    Version {
        /// The version it says.
        found: u32,
    },
    /// Another definition of the integer arithmetic than [`crate::arithmetic::ARITHMETIC`].
    Arithmetic {
        /// The number it says.
        found: u32,
    },
    /// The bytes end too early, or are more than the plan says.
    Length {
        /// Bytes that the plan says it has.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Something of the plan as a whole.
    Plan(&'static str),
    /// A tensor.
    Tensor {
        /// Its number.
        tensor: u32,
        /// What is wrong.
        problem: &'static str,
    },
    /// A step.
    Step {
        /// Its number.
        step: u32,
        /// What is wrong.
        problem: &'static str,
    },
    /// A level that this program or this CPU does not have.
    Level(&'static str),
    /// A slice that the caller gave is too short, or not of the size it must have.
    Room {
        /// Which one.
        what: &'static str,
        /// Elements it needs.
        needed: usize,
        /// Elements it has.
        found: usize,
    },
    /// The plan does not say how the bytes of an image become its input.
    NoPreprocessing,
}

/// Results of this crate.
pub type Result<T> = core::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPlan => f.write_str("is no plan: it does not begin with `ATTARPLN`\n  hint: `attar compile` makes plans"),
            Self::Version { found } => write!(
                f,
                "is a plan of version {found}, expected {}\n  hint: compile the network again with this release",
                crate::plan::VERSION
            ),
            Self::Arithmetic { found } => write!(
                f,
                "was compiled for arithmetic {found}, which this engine does not compute; it computes {}\n  hint: compile the \
                 network again with this release",
                crate::arithmetic::ARITHMETIC
            ),
            Self::Length { expected, found } => write!(f, "has {found} bytes, expected {expected}: cut off, or more than a plan"),
            Self::Plan(problem) => f.write_str(problem),
            Self::Tensor { tensor, problem } => write!(f, "tensor {tensor}: {problem}"),
            Self::Step { step, problem } => write!(f, "step {step}: {problem}"),
            Self::Level(name) => write!(f, "this program or CPU has no level `{name}`"),
            Self::Room { what, needed, found } => write!(f, "{what}: {found} elements, expected {needed}"),
            Self::NoPreprocessing => {
                f.write_str("the plan does not say how bytes of images become numbers\n  hint: compile it with preprocessing, or give floats")
            }
        }
    }
}

impl core::error::Error for Error {}
