//! Why a network cannot be compiled.

/// Errors of this room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node that the engine cannot compute, or not with these numbers.
    #[error("node `{node}`: {problem}")]
    Node {
        /// The node.
        node: String,
        /// What stands in the way.
        problem: String,
    },
    /// Graph and weights do not fit.
    #[error(transparent)]
    Network(#[from] attar_models::Error),
    /// The engine refuses the plan that was made: a fault of this room.
    #[error(
        "the plan does not pass the engine's own checks: {0}\n  hint: this is a fault of Attar's; please report it with the file"
    )]
    Plan(attar_edge::Error),
}

/// Results of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn node(node: &str, problem: impl Into<String>) -> Self {
        Self::Node { node: node.to_owned(), problem: problem.into() }
    }
}
