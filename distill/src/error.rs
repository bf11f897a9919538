//! What can go wrong while learning, said for people: what, where, what was expected, then a hint.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about a recipe, a run or a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that cannot be run: which key, what is wrong, what would be right.
    #[error("recipe: {key}: {problem}")]
    Recipe {
        /// Dotted path of the key, e.g. `losses.cd.weight`.
        key: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A network or its weights.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
    /// A file that rooms hand each other: card, weights.
    #[error(transparent)]
    Formats(#[from] attar_formats::Error),
    /// Images or labels.
    #[error(transparent)]
    Data(#[from] attar_data::Error),
    /// What the pixels room says, of an encoded image or a preprocessing.
    #[error(transparent)]
    Pixels(#[from] attar_pixels::Error),
    /// Tensors: a shape that does not fit, a device that failed.
    #[error("{}", first_line(.0))]
    Tensor(#[from] candle_core::Error),
    /// Anything else that the executor refuses.
    #[error(transparent)]
    Exec(attar_exec::Error),
    /// A network in integers.
    #[error(transparent)]
    Compress(#[from] attar_compress::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of a run is not what it should be: truncated, from another recipe, changed.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Training left the finite numbers.
    #[error("epoch {epoch}, step {step}: {what}")]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step in the epoch, from 1.
        step: usize,
        /// Which number is not finite; what is left, and a hint, once the run has ended by it.
        what: String,
    },
    /// A teacher that could not answer.
    #[error("a teacher failed: {problem}")]
    Teacher {
        /// What its runtime said.
        problem: String,
    },
    /// A network's answer that cannot be judged: logits that are not finite or too few, a label that it does not know.
    #[error("answers: {problem}")]
    Answer {
        /// Which image, and what is wrong.
        problem: String,
    },
    /// A device that this machine or this build does not have.
    #[error("device `{device}`: {problem}")]
    Device {
        /// As asked for.
        device: String,
        /// Why not, and what to do.
        problem: String,
    },
}

impl From<attar_exec::Error> for Error {
    /// The executor's errors in the words of recipes: an optimiser is set at `train.optimiser`.
    fn from(error: attar_exec::Error) -> Self {
        match error {
            attar_exec::Error::Model(error) => Self::Model(error),
            attar_exec::Error::Tensor(error) => Self::Tensor(error),
            attar_exec::Error::Optimiser { setting, problem } => {
                Self::Recipe { key: format!("train.optimiser.{setting}"), problem }
            }
            attar_exec::Error::Device { device, problem } => Self::Device { device, problem },
            error => Self::Exec(error),
        }
    }
}

/// Candle appends a backtrace to its messages; people need the first line.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl From<attar_measures::Error> for Error {
    fn from(attar_measures::Error { problem }: attar_measures::Error) -> Self {
        Self::Answer { problem }
    }
}
