//! Why a network is not compressed.

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network or its weights.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
    /// Running it.
    #[error(transparent)]
    Run(#[from] attar_exec::Error),
    /// A setting, or what is to be compressed: which, and what was expected.
    #[error("{what}: {problem}")]
    Setting {
        /// What it is about.
        what: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A device that failed.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn setting(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setting { what: what.into(), problem: problem.into() }
    }
}
