//! What can go wrong between a bundle and its answers, said for people: what, where, what was expected, then a hint.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about a bundle, an engine or the data they are asked about.
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
    /// A file is not what its name promises: missing, truncated, changed, inconsistent with its neighbours.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, where in the file, and what was expected.
        problem: String,
    },
    /// An engine refused a model or a batch, or broke while working on it.
    #[error("{engine}: {problem}")]
    Engine {
        /// Name of the engine.
        engine: &'static str,
        /// What it said, on what.
        problem: String,
    },
    /// An engine is not there: not compiled in, or its library was not found.
    #[error("engine `{engine}` is not available: {problem}")]
    Unavailable {
        /// Name of the engine.
        engine: String,
        /// Why, where it was looked for, and what is available instead.
        problem: String,
    },
    /// The data and the model do not belong together.
    #[error("the data does not fit: {problem}")]
    Data {
        /// What differs, on both sides.
        problem: String,
    },
    /// Images that cannot be read or preprocessed.
    #[error(
        "{count} of {all} images cannot be used:{listed}\n  hint: `attar data check` looks at every image; --leave-out-bad goes \
         on without them and counts them"
    )]
    BadImages {
        /// How many.
        count: usize,
        /// Of how many.
        all: usize,
        /// The first of them, a line each.
        listed: String,
    },
    /// A setting that makes no sense.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// From the card or the preprocessing.
    #[error(transparent)]
    Models(#[from] attar_models::Error),
    /// A file that rooms hand each other: card, weights.
    #[error(transparent)]
    Formats(#[from] attar_formats::Error),
    /// From decoding, preprocessing or a data set.
    #[error(transparent)]
    Images(#[from] attar_data::Error),
    /// What the pixels room says, of an encoded image or a preprocessing.
    #[error(transparent)]
    Pixels(#[from] attar_pixels::Error),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn format(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Format { path: path.into(), problem: problem.into() }
    }
}
