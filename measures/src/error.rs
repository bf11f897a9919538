//! An answer that cannot be judged, said for people.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Logits that are not finite or too few, or a label that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answers: {problem}")]
pub struct Error {
    /// Which image, what is wrong, and what was expected.
    pub problem: String,
}
