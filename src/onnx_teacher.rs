//! An ONNX file as a teacher in a runtime: gives `infer`'s engine the face of `distill`'s teacher.

use std::path::Path;

use attar_distill::teacher::{Answer, AnswerAll, Answers, OnnxRequest, OnnxTeacher, OpenOnnx, OpenTapped};
use attar_distill::{Error, Outline};
use attar_formats::files;
use attar_infer::engine::{self, Engine, EngineKind, EngineSpec};
use attar_onnx::{Import, ReadOptions};

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
    let answers = match engine.answers() {
        engine::Answers::Logits => Answers::Logits,
        engine::Answers::Probabilities => Answers::Probabilities,
        engine::Answers::LogProbabilities => Answers::LogProbabilities,
    };
    let outline = outline(&spec, request, engine.as_ref());
    let answer: Answer = Box::new(move |images, n| engine.run(images, n).map_err(|error| error.to_string()));
    let tapped = opener_of_taps(spec, path, request.input);
    Ok(OnnxTeacher::new(outline, answer).gives(answers).tapped(tapped))
}

/// Opens the file once more, for the values that are tapped.
fn opener_of_taps(spec: EngineSpec, path: &Path, input: Option<[usize; 3]>) -> OpenTapped {
    let path = path.to_owned();
    Box::new(move |taps: &[String]| {
        let opened = engine::open_with_taps(&spec, &path, input, taps).map_err(|error| error.to_string())?;
        let mut engine = opened.engine;
        let answer: AnswerAll = Box::new(move |images, n| engine.run_all(images, n).map_err(|error| error.to_string()));
        Ok(answer)
    })
}

/// What the file can be asked for: its answer, and the values whose shapes the file tells or, where it does not, the runtime
/// finds. A file that is no graph to the reader hands over its answer alone.
fn outline(spec: &EngineSpec, request: &OnnxRequest<'_>, engine: &dyn Engine) -> Outline {
    let signature = engine.signature();
    let closed = || Outline::logits_only("logits", signature.input, signature.classes);
    let bytes = files::read(request.path, files::MOST_BINARY).ok();
    let options = ReadOptions { input: request.input };
    let import = bytes.and_then(|bytes| attar_onnx::read(&bytes, request.path, options).ok());
    let Some(import) = import else { return closed() };
    let shapes = found(spec, request, &import).unwrap_or_else(|| known(&import));
    shapes
        .into_iter()
        .fold(closed(), |outline, (name, shape)| outline.clone().with_value(name, &shape).unwrap_or(outline))
}

/// Operations that make floats of floats, so that every one of their values is one that a runtime hands over.
const FLOATS: [&str; 14] = [
    "Add",
    "BatchNormalization",
    "Clip",
    "Conv",
    "Gelu",
    "Gemm",
    "HardSwish",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "ReduceMean",
    "Relu",
    "Sigmoid",
    "Softmax",
];

/// Values and shapes as the runtime gives them for one image; nothing where it refuses one of them.
fn found(spec: &EngineSpec, request: &OnnxRequest<'_>, import: &Import) -> Option<Vec<(String, Vec<usize>)>> {
    let behind_answer = |value: &str| value == import.output;
    let floats = import.operations.iter().filter(|operation| FLOATS.contains(&operation.op.as_str()));
    let taps: Vec<String> =
        floats.map(|operation| operation.value.clone()).filter(|value| !behind_answer(value)).collect();
    let opened = engine::open_with_taps(spec, request.path, request.input, &taps).ok()?;
    let outputs = opened.engine.outputs().iter().filter(|output| taps.contains(&output.name));
    Some(outputs.map(|output| (output.name.clone(), output.shape.clone())).collect())
}

/// Those whose shapes the file tells.
fn known(import: &Import) -> Vec<(String, Vec<usize>)> {
    let inner = import.operations.iter().filter(|operation| operation.value != import.output);
    inner.filter_map(|operation| Some((operation.value.clone(), operation.shape.clone()?))).collect()
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
