//! What can go wrong with an image, said for people: what, where, what was expected, then a hint.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about an image or a setting of its preprocessing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An encoded image is not what its name promises: truncated, garbage, unsupported.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file, or what the caller calls it.
        path: PathBuf,
        /// What is wrong, where in the file, and what was expected.
        problem: String,
    },
    /// A setting that cannot be used with this image.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Error {
    /// What is wrong, without the file's path in front, for lists that name it themselves; the hint
    /// left out.
    pub fn problem(&self) -> String {
        let whole = match self {
            Self::Format { problem, .. } => problem.clone(),
            setting @ Self::Setting { .. } => setting.to_string(),
        };
        whole.split_once("\n  hint:").map(|(problem, _)| problem.to_owned()).unwrap_or(whole)
    }

    #[cfg(feature = "decode")]
    pub(crate) fn format(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { setting, problem: problem.into() }
    }
}
