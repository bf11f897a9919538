//! An ONNX file as a teacher: another room runs it, here its answers become tensors.

use std::fmt;
use std::path::Path;

use attar_models::NodeId;
use candle_core::{Device, Tensor};

use super::{Question, Teacher};
use crate::error::{Error, Result};
use crate::network::Outputs;

/// Answers `n` preprocessed images `[n, C, H, W]` with logits `[n, K]`, or says what went wrong.
pub type Answer = Box<dyn FnMut(&[f32], usize) -> std::result::Result<Vec<f32>, String> + Send>;

/// Opens an ONNX file as a teacher. The front door supplies it, because engines live in another room.
pub type OpenOnnx = Box<dyn Fn(&Path) -> Result<OnnxTeacher>>;

/// An ONNX file as a teacher: logits only, no taps.
pub struct OnnxTeacher {
    /// Runs it.
    pub answer: Answer,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// Number of logits.
    pub classes: usize,
}

impl fmt::Debug for OnnxTeacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnnxTeacher({:?} -> {})", self.input, self.classes)
    }
}

impl Teacher for OnnxTeacher {
    fn outputs(&mut self, question: &Question<'_>, _: &[NodeId]) -> Result<Outputs> {
        let input = question.pixels;
        let n = input.dim(0)?;
        let images = input.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let logits = (self.answer)(&images, n).map_err(|problem| Error::Teacher { problem })?;
        let logits = Tensor::from_vec(logits, (n, self.classes), input.device())?;
        Ok(Outputs { logits, taps: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_tensors_and_a_failure_keeps_its_words() -> Result<()> {
        let answer = |images: &[f32], n: usize| match n {
            2 => Ok(images.iter().flat_map(|v| [*v, -*v]).collect()),
            _ => Err("only two".to_owned()),
        };
        let mut teacher = OnnxTeacher { answer: Box::new(answer), input: [1, 1, 1], classes: 2 };
        let two = Tensor::from_vec(vec![1f32, 3.0], (2, 1, 1, 1), &Device::Cpu)?;
        assert_eq!(
            teacher.outputs(&Question { pixels: &two, samples: None }, &[])?.logits.to_vec2::<f32>()?,
            [[1.0, -1.0], [3.0, -3.0]]
        );
        let one = two.narrow(0, 0, 1)?;
        let message =
            teacher.outputs(&Question { pixels: &one, samples: None }, &[]).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("only two"), "{message}");
        Ok(())
    }
}
