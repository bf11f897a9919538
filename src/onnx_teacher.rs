//! An ONNX file as a teacher: gives `infer`'s engine the face of `distill`'s teacher.

use attar_distill::teacher::{Answers, OnnxRequest, OnnxTeacher, OpenOnnx};
use attar_distill::{Error, Outline};
use attar_infer::engine::{self, EngineKind};

use crate::Engines;

/// Opens ONNX teachers in the runtime that the recipe names or the first at hand, with all threads: nothing else computes
/// while a teacher answers.
pub fn opener() -> OpenOnnx {
    Box::new(open)
}

fn open(request: &OnnxRequest<'_>) -> Result<OnnxTeacher, Error> {
    let path = request.path;
    let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
    let named = request.engine.map(str::parse::<EngineKind>).transpose().map_err(|error| fail(error.to_string()))?;
    let mut spec = Engines { engine: named.into_iter().collect(), ..Engines::default() }.first();
    spec.threads = std::thread::available_parallelism().map_or(1, usize::from);
    let opened = engine::open_file(&spec, path, request.input).map_err(|error| match error {
        attar_infer::Error::Io { path, source } => Error::Io { path, source },
        attar_infer::Error::Format { path, problem } => Error::Format { path, problem },
        other => fail(with_hint(other.to_string(), request.engine.is_none())),
    })?;
    let mut engine = opened.engine;
    let signature = engine.signature();
    let answers = match engine.answers() {
        engine::Answers::Logits => Answers::Logits,
        engine::Answers::Probabilities => Answers::Probabilities,
        engine::Answers::LogProbabilities => Answers::LogProbabilities,
    };
    Ok(OnnxTeacher {
        answer: Box::new(move |images, n| engine.run(images, n).map_err(|error| error.to_string())),
        outline: Outline::logits_only("onnx", signature.input, signature.classes),
        answers,
        tapped: None,
        opened: None,
    })
}

/// Another runtime may take what the first at hand does not, where no better hint is there.
fn with_hint(problem: String, unnamed: bool) -> String {
    match unnamed && !problem.contains("hint:") {
        true => {
            problem
                + "\n  hint: `engine = \"ort\"` in the recipe asks ONNX Runtime (`attar doctor` says whether it is there)"
        }
        false => problem,
    }
}
