//! Teachers: a batch in, logits and taps out; the trainer cannot tell one kind from another.

mod aligned;
mod candle;
mod given;
mod onnx;
mod stored;
mod zoo;

use attar_exec::Outputs;
use attar_models::NodeId;
use candle_core::Tensor;

use crate::error::{Error, Result};

pub(crate) use aligned::Aligned;
pub use candle::{Candle, Handed};
pub use given::Given;
pub use onnx::{Answer, AnswerAll, Answers, OnnxRequest, OnnxTeacher, OpenOnnx, OpenTapped};
pub(crate) use zoo::ZooTeacher;

/// What a teacher is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The batch, `[N, C, H, W]`.
    pub pixels: &'a Tensor,
    /// Which training images these are, where they are that, as the plain view shows them.
    pub samples: Option<Samples<'a>>,
}

/// Training images as augmented at an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Index of each image in the training set.
    pub ids: &'a [u32],
}

/// A frozen network that a student learns from.
pub trait Teacher: Send {
    /// Logits `[N, K]` and the named taps, in the order asked for.
    ///
    /// # Errors
    /// A batch that does not fit, or a device that failed.
    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs>;

    /// Hears once, before the first question, which taps it will be asked for.
    ///
    /// # Errors
    /// Taps that it cannot hand over.
    fn prepare(&mut self, _taps: &[NodeId]) -> Result<()> {
        Ok(())
    }

    /// Whether it answers only where a question says which training images it is about.
    fn only_samples(&self) -> bool {
        false
    }

    /// Gradient `[N, C, H, W]` in the batch of something whose gradient in the logits is `slope` of the logits: what an
    /// attack on the teacher climbs.
    ///
    /// # Errors
    /// A teacher that has no gradient, a batch that does not fit, or a device that failed.
    fn input_gradient(&mut self, _: &Tensor, _: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        Err(Error::Teacher { problem: "it has no gradient to be attacked with".to_owned() })
    }
}
