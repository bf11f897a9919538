//! What can go wrong on the way out, said for people: what, where, what was expected, then a hint.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that no file can be written with.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The model as ONNX.
    #[error(transparent)]
    Onnx(#[from] attar_onnx::Error),
    /// The network, its weights, its card, or a file of them.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
    /// A file that rooms hand each other: card, weights.
    #[error(transparent)]
    Formats(#[from] attar_formats::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the run is missing something, or belongs to other weights.
    #[error("{}: {problem}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What was written holds something that is not the network's own.
    #[error("{file} would carry tensors that are not the network's own: {}\n  hint: nothing was exported; this is a bug in attar, please report it", names.join(", "))]
    Foreign {
        /// Which file of the bundle.
        file: &'static str,
        /// Names of the tensors.
        names: Vec<String>,
    },
}
