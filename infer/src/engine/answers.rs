//! What a file's answers are: logits, probabilities or their logarithms. Whoever asks an engine gets logits.

use attar_formats::certificate::Answers;

use super::onnx::Head;
use super::{Engine, Output, Signature};
use crate::error::{Error, Result};

/// The smallest probability whose logarithm is taken: the smallest normal number.
const SMALLEST: f32 = f32::MIN_POSITIVE;

/// An engine whose answers are turned into logits.
struct AsLogits {
    engine: Box<dyn Engine>,
    answers: Answers,
}

impl Engine for AsLogits {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn version(&self) -> &str {
        self.engine.version()
    }

    fn signature(&self) -> Signature {
        self.engine.signature()
    }

    fn outputs(&self) -> &[Output] {
        self.engine.outputs()
    }

    fn answers(&self) -> Answers {
        self.answers
    }

    fn level(&self) -> Option<&'static str> {
        self.engine.level()
    }

    fn threads(&self, n: usize) -> usize {
        self.engine.threads(n)
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        let mut all = self.engine.run_all(batch, n)?;
        if self.answers == Answers::Probabilities {
            all.iter_mut().take(1).flatten().for_each(|value| *value = logarithm(*value));
        }
        Ok(all)
    }
}

/// `ln max(p, 2^-126)`; what is no number stays none.
fn logarithm(probability: f32) -> f32 {
    if probability.is_nan() { probability } else { probability.max(SMALLEST).ln() }
}

/// Finds out what the engine's answers are, from the operation that makes them and, where that leaves it open, from its
/// answers to a few images, and gives an engine that answers with logits.
///
/// # Errors
/// [`Error::Engine`] for a sigmoid's answers, for a softmax whose rows do not sum to one, and when the engine fails.
pub(super) fn as_logits(mut engine: Box<dyn Engine>, head: Head, origin: &str) -> Result<Box<dyn Engine>> {
    let name = engine.name();
    let fail = |problem: String| Err(Error::Engine { engine: name, problem: format!("{origin}: {problem}") });
    if head == Head::Linear || engine.signature().classes == 1 {
        return Ok(engine);
    }
    if head == Head::Sigmoid {
        return fail(
            "its answers come from a Sigmoid: a probability for each class by itself, which do not exclude each other\n  \
             hint: export the network without its last activation, so that it gives logits"
                .to_owned(),
        );
    }
    let rows = probe(engine.as_mut())?;
    let classes = engine.signature().classes;
    let all = |like: fn(&[f32]) -> bool| rows.chunks(classes).all(like);
    let answers = match head {
        _ if all(are_probabilities) => Answers::Probabilities,
        _ if all(are_log_probabilities) => Answers::LogProbabilities,
        Head::Softmax | Head::LogSoftmax => {
            return fail(
                "its last operation is a softmax, but its answers do not sum to one over the classes\n  hint: the axis of \
                 the softmax must be that of the classes; or export the network without it, so that it gives logits"
                    .to_owned(),
            );
        }
        _ => return Ok(engine),
    };
    Ok(Box::new(AsLogits { engine, answers }))
}

/// Images that are asked about: enough that logits do not sum to one by chance.
const PROBES: usize = 4;

/// Answers to a black image, a ramp and noise, always the same.
fn probe(engine: &mut dyn Engine) -> Result<Vec<f32>> {
    let len = engine.signature().input_len();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0 // in -2..2
    };
    let mut images = vec![0.0; len];
    images.extend((0..len).map(|i| (i % 255) as f32 / 64.0 - 2.0));
    images.extend((0..(PROBES - 2) * len).map(|_| noise()));
    // One at a time: a runtime has planned for one image already.
    let answers = images.chunks(len).map(|image| engine.run(image, 1)).collect::<Result<Vec<_>>>()?;
    Ok(answers.concat())
}

/// How far a sum of probabilities in half precision, or quantised ones, may be from one.
const SLACK: f32 = 0.02;

fn are_probabilities(row: &[f32]) -> bool {
    row.iter().all(|p| (-1e-3..=1.001).contains(p)) && (row.iter().sum::<f32>() - 1.0).abs() < SLACK
}

fn are_log_probabilities(row: &[f32]) -> bool {
    row.iter().all(|p| *p <= 1e-3) && (row.iter().map(|p| p.exp()).sum::<f32>() - 1.0).abs() < SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives rows made of the sum of an image.
    struct Fake(fn(f32) -> [f32; 3], [Output; 1]);

    impl Engine for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn version(&self) -> &str {
            "1"
        }

        fn signature(&self) -> Signature {
            Signature { input: [1, 2, 2], classes: 3, fixed_batch: None }
        }

        fn outputs(&self) -> &[Output] {
            &self.1
        }

        fn run_all(&mut self, batch: &[f32], _: usize) -> Result<Vec<Vec<f32>>> {
            Ok(vec![batch.chunks(4).flat_map(|image| self.0(image.iter().sum())).collect()])
        }
    }

    fn logits(x: f32) -> [f32; 3] {
        [x, 0.5, -x]
    }

    fn softmax(x: f32) -> [f32; 3] {
        let e = logits(x).map(f32::exp);
        e.map(|v| v / e.iter().sum::<f32>())
    }

    fn made(answer: fn(f32) -> [f32; 3], head: Head) -> Result<Box<dyn Engine>> {
        let output = Output { name: "y".to_owned(), shape: vec![3] };
        as_logits(Box::new(Fake(answer, [output])), head, "x.onnx")
    }

    #[test]
    fn probabilities_become_their_logarithms_and_logits_stay() {
        let image = [1.0, 0.5, 0.0, 0.0];
        let row = |answer, head| {
            let mut engine = made(answer, head).unwrap();
            (engine.answers(), engine.run(&image, 1).unwrap())
        };
        let log: Vec<f32> = softmax(1.5).map(f32::ln).into();
        for head in [Head::Softmax, Head::Other] {
            assert_eq!(row(softmax, head), (Answers::Probabilities, log.clone()));
        }
        for head in [Head::LogSoftmax, Head::Other] {
            assert_eq!(row(|x| softmax(x).map(f32::ln), head), (Answers::LogProbabilities, log.clone()));
        }
        for head in [Head::Linear, Head::Other] {
            assert_eq!(row(logits, head), (Answers::Logits, logits(1.5).into()));
        }
        assert_eq!(row(|_| [0.0, 1.0, 0.0], Head::Softmax).1, [SMALLEST.ln(), 0.0, SMALLEST.ln()]);
        assert!(logarithm(f32::NAN).is_nan() && logarithm(-1e-9) == SMALLEST.ln());
    }

    #[test]
    fn what_cannot_be_logits_is_refused() {
        let problem = |answer, head| made(answer, head).err().unwrap().to_string();
        let sigmoid = problem(|x| logits(x).map(|v| 1.0 / (1.0 + (-v).exp())), Head::Sigmoid);
        assert!(sigmoid.contains("Sigmoid") && sigmoid.contains("hint") && sigmoid.contains("x.onnx"), "{sigmoid}");
        assert!(problem(|_| [1.0, 1.0, 1.0], Head::Softmax).contains("do not sum to one"));
    }
}
