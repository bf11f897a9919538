//! An ONNX file that a runtime runs, as a teacher: another room runs it, here its answers become tensors.

use std::fmt;
use std::path::Path;

use attar_exec::Outputs;
use attar_models::{NodeId, Outline};
use candle_core::{Device, Tensor};

use super::{Question, Teacher};
use crate::error::{Error, Result};

/// Answers `n` preprocessed images `[n, C, H, W]` with logits `[n, K]`, or says what went wrong.
pub type Answer = Box<dyn FnMut(&[f32], usize) -> std::result::Result<Vec<f32>, String> + Send>;

/// Answers `n` preprocessed images with the logits and then the values that it was opened for, each for all images.
pub type AnswerAll = Box<dyn FnMut(&[f32], usize) -> std::result::Result<Vec<Vec<f32>>, String> + Send>;

/// Opens the file once more, for these values by their names.
pub type OpenTapped = Box<dyn FnOnce(&[String]) -> std::result::Result<AnswerAll, String> + Send>;

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

/// An ONNX file as a teacher.
pub struct OnnxTeacher {
    /// Runs it.
    pub answer: Answer,
    /// What goes in, what comes out, and which values it can hand over.
    pub outline: Outline,
    /// What the file gives. `answer` hands over logits, or log-probabilities, which are logits as good as any to a softmax.
    pub answers: Answers,
    /// Opens it for values; nothing where it hands over its answer only.
    pub tapped: Option<OpenTapped>,
    /// It, opened for values.
    pub opened: Option<Opened>,
}

/// A file opened for some of its values.
pub struct Opened {
    answer: AnswerAll,
    taps: Vec<NodeId>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({:?})", self.taps)
    }
}

impl fmt::Debug for OnnxTeacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnnxTeacher({:?} -> {})", self.outline.input_shape(), self.outline.classes())
    }
}

impl Teacher for OnnxTeacher {
    fn prepare(&mut self, taps: &[NodeId]) -> Result<()> {
        let (false, Some(open)) = (taps.is_empty(), self.tapped.take()) else { return Ok(()) };
        let names: Vec<String> = taps.iter().map(|tap| self.outline.value(*tap).name.clone()).collect();
        let answer = open(&names).map_err(|problem| Error::Teacher { problem })?;
        self.opened = Some(Opened { answer, taps: taps.to_vec() });
        Ok(())
    }

    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let input = question.pixels;
        let n = input.dim(0)?;
        let images = input.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let fail = |problem: String| Error::Teacher { problem };
        let mut values = match (&mut self.opened, taps.is_empty()) {
            (Some(opened), false) => (opened.answer)(&images, n).map_err(fail)?.into_iter(),
            _ => vec![(self.answer)(&images, n).map_err(fail)?].into_iter(),
        };
        let tensor = |values: Option<Vec<f32>>, shape: &[usize]| -> Result<Tensor> {
            let values = values.ok_or_else(|| fail("answers with fewer values than were asked for".to_owned()))?;
            Ok(Tensor::from_vec(values, [&[n], shape].concat(), input.device())?)
        };
        let logits = tensor(values.next(), &[self.outline.classes()])?;
        let handed: Vec<Vec<f32>> = values.collect();
        let place =
            |tap: &NodeId| self.opened.as_ref().and_then(|opened| opened.taps.iter().position(|own| own == tap));
        let one = |tap: &NodeId| {
            let values = place(tap).and_then(|at| handed.get(at)).cloned();
            tensor(values, &self.outline.value(*tap).shape)
        };
        Ok(Outputs { logits, taps: taps.iter().map(one).collect::<Result<_>>()? })
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
        let mut teacher = OnnxTeacher {
            answer: Box::new(answer),
            outline: Outline::logits_only("two", [1, 1, 1], 2),
            answers: Answers::Logits,
            tapped: None,
            opened: None,
        };
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
