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
    /// Probabilities; the teacher hands over `ln max(p, 2^-126)`.
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
    answer: Answer,
    outline: Outline,
    answers: Answers,
    /// Opens it for values, once.
    open: Option<OpenTapped>,
    /// It opened for these values.
    tapped: Option<(AnswerAll, Vec<NodeId>)>,
}

impl OnnxTeacher {
    /// A file that `answer` runs, and what goes in and comes out. Without more it hands over its answer alone, which are logits.
    pub fn new(outline: Outline, answer: Answer) -> Self {
        Self { answer, outline, answers: Answers::Logits, open: None, tapped: None }
    }

    /// What the file gives. Its answer hands over logits, or log-probabilities, which are logits as good as any to a softmax.
    #[must_use]
    pub fn gives(self, answers: Answers) -> Self {
        Self { answers, ..self }
    }

    /// It hands over the values of its outline, too: `open` is called once, with the names of those that a run asks for.
    #[must_use]
    pub fn tapped(self, open: OpenTapped) -> Self {
        Self { open: Some(open), ..self }
    }

    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }

    pub(crate) fn answers(&self) -> Answers {
        self.answers
    }

    /// Asks for logits `[n, K]` alone.
    pub(crate) fn logits(&mut self, images: &[f32], n: usize) -> std::result::Result<Vec<f32>, String> {
        (self.answer)(images, n)
    }
}

impl fmt::Debug for OnnxTeacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnnxTeacher({:?} -> {})", self.outline.input_shape(), self.outline.classes())
    }
}

impl Teacher for OnnxTeacher {
    fn prepare(&mut self, taps: &[NodeId]) -> Result<()> {
        let inner: Vec<NodeId> = taps.iter().copied().filter(|tap| *tap != self.outline.output()).collect();
        let (false, Some(open)) = (inner.is_empty(), self.open.take()) else { return Ok(()) };
        let names: Vec<String> = inner.iter().map(|tap| self.outline.value(*tap).name.clone()).collect();
        let answer = open(&names).map_err(|problem| Error::Teacher { problem })?;
        self.tapped = Some((answer, inner));
        Ok(())
    }

    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let input = question.pixels;
        let n = input.dim(0)?;
        let images = input.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let fail = |problem: String| Error::Teacher { problem };
        let tensor = |values: &[f32], shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_slice(values, [&[n], shape].concat(), input.device())?)
        };
        let classes = [self.outline.classes()];
        let (values, places) = match &mut self.tapped {
            Some((answer, places)) if !taps.is_empty() => (answer(&images, n).map_err(fail)?, &places[..]),
            _ => (vec![self.logits(&images, n).map_err(fail)?], &[][..]),
        };
        let (logits, inner) = values.split_first().ok_or_else(|| fail("gave no answer".to_owned()))?;
        let logits = tensor(logits, &classes)?;
        let tap = |tap: &NodeId| {
            let value = self.outline.value(*tap);
            if *tap == self.outline.output() {
                return Ok(logits.clone());
            }
            let values = places.iter().position(|place| place == tap).and_then(|at| inner.get(at));
            tensor(values.ok_or_else(|| fail(format!("does not hand over `{}`", value.name)))?, &value.shape)
        };
        Ok(Outputs { taps: taps.iter().map(tap).collect::<Result<_>>()?, logits: logits.clone() })
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
        let mut teacher = OnnxTeacher::new(Outline::logits_only("two", [1, 1, 1], 2), Box::new(answer));
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

    #[test]
    fn values_are_asked_by_their_names_and_come_in_the_order_of_the_question() -> Result<()> {
        let outline =
            Outline::logits_only("answer", [1, 1, 1], 1).with_value("block", &[2])?.with_value("stem", &[1])?;
        let [block, stem] = ["block", "stem"].map(|name| outline.tap(name).unwrap());
        let answer = outline.output();
        let open: OpenTapped = Box::new(|names| {
            assert_eq!(names, ["stem", "block"]);
            let all: AnswerAll = Box::new(|images, _| {
                let each = |factor: f32| images.iter().map(move |v| factor * v);
                Ok(vec![each(1.0).collect(), each(2.0).collect(), each(3.0).flat_map(|v| [v, -v]).collect()])
            });
            Ok(all)
        });
        let logits: Answer = Box::new(|images, _| Ok(images.to_vec()));
        let mut teacher = OnnxTeacher::new(outline, logits).tapped(open);
        teacher.prepare(&[stem, answer, block])?;
        let pixels = Tensor::from_vec(vec![1f32, 5.0], (2, 1, 1, 1), &Device::Cpu)?;
        let question = Question { pixels: &pixels, samples: None };
        let found = teacher.outputs(&question, &[block, stem, answer])?;
        let rows = found.taps.iter().map(|tap| tap.to_vec2::<f32>()).collect::<std::result::Result<Vec<_>, _>>()?;
        assert_eq!(
            rows,
            [vec![vec![3.0, -3.0], vec![15.0, -15.0]], vec![vec![2.0], vec![10.0]], vec![vec![1.0], vec![5.0]]]
        );
        assert!(teacher.outputs(&question, &[])?.taps.is_empty());
        let mut closed = OnnxTeacher::new(
            Outline::logits_only("answer", [1, 1, 1], 1).with_value("block", &[2])?,
            Box::new(|images, _| Ok(images.to_vec())),
        );
        assert!(
            closed
                .outputs(&question, &[block])
                .map(drop)
                .unwrap_err()
                .to_string()
                .contains("does not hand over `block`")
        );
        Ok(())
    }
}
