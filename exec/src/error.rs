//! What can go wrong while a network runs or learns, said for people: what, where, what was
//! expected, then a hint.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error about a network, a tensor or a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network or its weights.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
    /// Tensors: a shape that does not fit, a device that failed.
    #[error("{}", first_line(.0))]
    Tensor(#[from] candle_core::Error),
    /// A setting of an optimiser that does not do: which, and what was expected.
    #[error("optimiser: {setting}: {problem}")]
    Optimiser {
        /// Its name, e.g. `momentum`.
        setting: &'static str,
        /// What is wrong and what was expected.
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

/// Candle appends a backtrace to its messages; people need the first line.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
