//! What can go wrong with an ONNX file, said for people: what, where, what was expected, then a hint.

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error about an ONNX file, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that no file can be written with.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting, e.g. `opset`.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A file that cannot be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A node that cannot be written as ONNX.
    #[error("node `{node}`: {problem}")]
    Node {
        /// Name of the node.
        node: String,
        /// Why not.
        problem: String,
    },
    /// The network or its weights.
    #[error(transparent)]
    Model(#[from] attar_models::Error),
}
