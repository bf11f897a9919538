//! Teachers: a batch in, logits and taps out; the trainer cannot tell one kind from another.

mod zoo;

use std::fmt;
use std::path::Path;

use attar_models::{Graph, NodeId};
use candle_core::Tensor;

use crate::error::Result;
use crate::network::Outputs;

pub(crate) use zoo::ZooTeacher;

/// A frozen network that a student learns from.
pub trait Teacher: Send {
    /// Logits `[N, K]` and the named taps, in the order asked for, of a batch `[N, C, H, W]`.
    ///
    /// # Errors
    /// A batch that does not fit, or a device that failed.
    fn outputs(&mut self, input: &Tensor, taps: &[NodeId]) -> Result<Outputs>;
}

/// Opens an ONNX file as a teacher. The front door supplies it, because the engine lives in another room.
pub type OpenOnnx = Box<dyn Fn(&Path) -> Result<OnnxTeacher>>;

/// An ONNX file as a teacher: logits only.
pub struct OnnxTeacher {
    /// Runs it.
    pub teacher: Box<dyn Teacher>,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// Number of logits.
    pub classes: usize,
    /// Class names, where the file has them.
    pub labels: Option<Vec<String>>,
}

impl fmt::Debug for OnnxTeacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnnxTeacher({:?} -> {})", self.input, self.classes)
    }
}

/// A graph that says only what goes in and how many logits come out, for teachers that have no taps.
pub(crate) fn logits_only(name: &str, input: [usize; 3], classes: usize) -> attar_models::Result<Graph> {
    use attar_models::{GraphBuilder, Op};
    let (mut builder, x) = GraphBuilder::new(name, input)?;
    let flat = builder.add("flatten", Op::Flatten, &[x])?;
    let linear = Op::Linear { in_features: input.iter().product(), out_features: classes, bias: false };
    let logits = builder.add("logits", linear, &[flat])?;
    Ok(builder.finish(logits))
}
