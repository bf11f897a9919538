//! What can go wrong with images and data sets, said for people: what, where, what was expected, then a hint.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about an image, a data set or a setting of this crate.
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
    /// A setting that cannot be used with this data.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// What the models room says, e.g. about a preprocessing or an unknown name.
    #[error(transparent)]
    Models(#[from] attar_models::Error),
    /// A file that rooms hand each other: card, weights.
    #[error(transparent)]
    Formats(#[from] attar_formats::Error),
    /// What the pixels room says, of an encoded image or a preprocessing.
    #[error(transparent)]
    Pixels(#[from] attar_pixels::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }

    /// What is wrong, without the file's path in front, for lists that name it themselves; the hint left out.
    pub fn problem(&self) -> String {
        let whole = match self {
            Self::Io { source, .. } => source.to_string(),
            Self::Format { problem, .. } => problem.clone(),
            Self::Pixels(error) => return error.problem(),
            other => other.to_string(),
        };
        whole.split_once("\n  hint:").map(|(problem, _)| problem.to_owned()).unwrap_or(whole)
    }

    pub(crate) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { setting, problem: problem.into() }
    }
}
