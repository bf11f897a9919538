//! An ONNX file as a teacher: gives `infer`'s engine the face of `distill`'s teacher.

use std::path::Path;

use attar_distill::Error;
use attar_distill::teacher::{OnnxTeacher, OpenOnnx};
use attar_infer::engine;

use crate::engines::EngineArgs;

/// Opens ONNX teachers in the first runtime at hand, with all threads: nothing else computes while a teacher answers.
pub(crate) fn opener() -> OpenOnnx {
    Box::new(open)
}

fn open(path: &Path) -> Result<OnnxTeacher, Error> {
    let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
    let mut spec = EngineArgs::default().first();
    spec.threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut engine = engine::open_file(&spec, path, None).map_err(|error| fail(error.to_string()))?.engine;
    let signature = engine.signature();
    Ok(OnnxTeacher {
        answer: Box::new(move |images, n| engine.run(images, n).map_err(|error| error.to_string())),
        input: signature.input,
        classes: signature.classes,
    })
}
