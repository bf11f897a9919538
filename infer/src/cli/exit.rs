//! Exit codes: one table for every verb of both programs (`docs/exit-codes.md`).

use std::process::ExitCode;

/// How a verb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked and holds, or what was wanted is done.
    Held,
    /// It was asked and is not so: worse, goldens or bytes differ, findings, a target missed.
    NotSo,
    /// Something went wrong, also where only some of several items failed.
    Error,
    /// It was asked and is not decided: inconclusive, or numbers only.
    Undecided,
    /// It was interrupted (SIGINT).
    Interrupted,
}

impl Exit {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::NotSo => 1,
            Self::Error => 2,
            Self::Undecided => 3,
            Self::Interrupted => 130,
        }
    }

    /// What an error exits with: [`Exit::Error`], unless it is the answer [`NotSo`].
    pub fn of(error: &anyhow::Error) -> Self {
        if error.downcast_ref::<NotSo>().is_some() { Self::NotSo } else { Self::Error }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An answer that ends a verb early: what was asked is not so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSo(pub String);
