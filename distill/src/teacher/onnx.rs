//! An ONNX file as a teacher: another room runs it, here its answers become tensors.

use std::fmt;
use std::path::Path;

use attar_exec::Outputs;
use attar_models::NodeId;
use candle_core::{Device, Tensor};

use super::{Question, Teacher};
use crate::error::{Error, Result};

/// Answers `n` preprocessed images `[n, C, H, W]` with logits `[n, K]`, or says what went wrong.
pub type Answer = Box<dyn FnMut(&[f32], usize) -> std::result::Result<Vec<f32>, String> + Send>;

/// Opens an ONNX file as a teacher. The front door supplies it, because engines live in another room.
pub type OpenOnnx = Box<dyn Fn(&OnnxRequest<'_>) -> Result<OnnxTeacher>>;

/// Which file to open, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxRequest<'a> {
    /// The file.
    pub path: &'a Path,
    /// The runtime that the recipe names (`tract`, `ort`); the first at hand if it names none.
    pub engine: Option<&'a str>,
    /// What its preprocessing makes of the images, `[C, H, W]`, for a file that leaves sizes open.
    pub input: Option<[usize; 3]>,
}

/// What an ONNX file answers with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answers {
    /// Logits.
    #[default]
    Logits,
    /// Probabilities; [`OnnxTeacher::answer`] hands over `ln max(p, 2^-126)`.
    Probabilities,
    /// Log-probabilities, handed over as they are.
    LogProbabilities,
}

impl Answers {
    /// What people should know of a teacher that answers so; nothing where it answers with logits.
    pub(crate) fn note(self) -> Option<&'static str> {
        match self {
            Self::Logits => None,
            Self::Probabilities => Some(
                "answers with probabilities: taken as ln max(p, 2^-126); a probability below 2^-126 is one there, and what it was is lost",
            ),
            Self::LogProbabilities => Some("answers with log-probabilities: taken as they are"),
        }
    }
}

/// An ONNX file as a teacher: logits only, no taps.
pub struct OnnxTeacher {
    /// Runs it.
    pub answer: Answer,
    /// Shape of one input sample, `[C, H, W]`.
    pub input: [usize; 3],
    /// Number of logits.
    pub classes: usize,
    /// What the file gives. `answer` hands over logits, or log-probabilities, which are logits as good as any to a softmax.
    pub answers: Answers,
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
        let mut teacher =
            OnnxTeacher { answer: Box::new(answer), input: [1, 1, 1], classes: 2, answers: Answers::Logits };
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
