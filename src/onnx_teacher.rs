//! An ONNX file as a teacher: gives `infer`'s engine the face of `distill`'s teacher.

use attar_distill::Error;
use attar_distill::teacher::{Answers, OnnxRequest, OnnxTeacher, OpenOnnx};
use attar_infer::engine;
use attar_models::files;

use crate::engines::EngineArgs;

/// Opens ONNX teachers in the runtime that the recipe names or the first at hand, with all threads: nothing else computes while a teacher answers.
pub(crate) fn opener() -> OpenOnnx {
    Box::new(open)
}

fn open(request: &OnnxRequest<'_>) -> Result<OnnxTeacher, Error> {
    let path = request.path;
    let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
    let bytes = files::read(path, files::MOST_BINARY).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut spec = EngineArgs::named(request.engine).first().map_err(|error| fail(error.to_string()))?;
    spec.threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut engine = engine::open(&spec, &bytes, path).map_err(|error| fail(error.to_string()))?;
    let signature = engine.signature();
    Ok(OnnxTeacher {
        answer: Box::new(move |images, n| engine.run(images, n).map_err(|error| error.to_string())),
        input: signature.input,
        classes: signature.classes,
        answers: Answers::Logits,
    })
}
