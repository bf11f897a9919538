//! A network to time: one of the zoo, or an ONNX file.

use std::path::Path;

use attar_models::zoo::{self, NetworkSpec};
use attar_models::{Graph, Weights};

use crate::error::{Error, Result};
use crate::plan::onnx;

/// A network, with weights where it came with them.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is.
    pub graph: Graph,
    /// What it came with; a network of the zoo has none yet.
    pub weights: Option<Weights>,
    /// What people should know of it.
    pub notes: Vec<String>,
}

impl Subject {
    /// A network of the zoo.
    ///
    /// # Errors
    /// As [`zoo::build`].
    pub fn zoo(spec: &NetworkSpec) -> Result<Self> {
        Ok(Self { graph: zoo::build(spec)?, weights: None, notes: Vec::new() })
    }

    /// The network that an ONNX file is, with its weights; `size` is height and width of its image. A file that leaves sizes
    /// open takes these, with three channels.
    ///
    /// # Errors
    /// A file that cannot be read, that holds no network which can be trained, or that states another size.
    pub fn onnx(path: &Path, size: Option<usize>) -> Result<Self> {
        let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
        let mut import = onnx::read(path, size.map(|size| [3, size, size]))?;
        let mut notes = std::mem::take(&mut import.notes);
        let (graph, weights) = onnx::network(import).map_err(fail)?;
        notes.extend(attar_onnx::without_norms(&graph));
        let subject = Self { graph, weights: Some(weights), notes };
        let [_, height, width] = subject.input();
        match size.filter(|size| [height, width] != [*size; 2]) {
            Some(size) => Err(fail(format!(
                "its images are {height}x{width}, expected {size}x{size}\n  hint: leave the size away, or export it anew"
            ))),
            None => Ok(subject),
        }
    }

    /// Shape of a sample, `[C, H, W]`.
    pub fn input(&self) -> [usize; 3] {
        // No graph is made with another number of axes.
        <[usize; 3]>::try_from(self.graph.input_shape()).unwrap_or_default()
    }

    /// Numbers in its answer.
    pub fn classes(&self) -> usize {
        self.graph.output_shape().iter().product()
    }
}
