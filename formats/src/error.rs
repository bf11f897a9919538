//! What can go wrong with a file that rooms hand each other, said for people: what, where, what was expected, then a hint.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error about a file of weights, a card or another contract.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not what its name promises: truncated, garbage, unsupported.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, where in the file, and what was expected.
        problem: String,
    },
    /// A part of a contract has a value that cannot be.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which part, e.g. `card`.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A network, or weights that do not fit it.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
    /// What the pixels room says, e.g. about a preprocessing.
    #[error(transparent)]
    Pixels(#[from] attar_pixels::Error),
}
