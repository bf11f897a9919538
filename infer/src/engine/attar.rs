//! Attar's own engine, linked in: it runs plans, and ONNX files that it compiles to plans when they are opened.

use std::path::Path;

use attar_edge::{Alone, Input, Level, Session, Team, Threads};

use super::open::Source;
use super::{Engine, Output, Signature};
use crate::error::{Error, Result};

pub(crate) const NAME: &str = "attar";

/// A plan and its memory.
pub(super) struct Attar {
    session: Session,
    signature: Signature,
    outputs: [Output; 1],
    version: String,
}

/// What the engine is: release, SIMD level, and the number of its integer arithmetic.
pub(crate) fn version(level: Level) -> String {
    format!("{} {level} arithmetic {}", env!("CARGO_PKG_VERSION"), attar_edge::arithmetic::ARITHMETIC)
}

/// The SIMD level: the one that `ATTAR_SIMD` names, else the best of this CPU.
pub(super) fn level() -> std::result::Result<Level, String> {
    let Some(name) = std::env::var_os("ATTAR_SIMD") else { return Ok(Level::best()) };
    let name = name.to_string_lossy();
    let known: Vec<&str> = Level::ALL.into_iter().filter(|level| level.available()).map(Level::name).collect();
    match Level::from_name(&name) {
        Some(level) if level.available() => Ok(level),
        _ => Err(format!("ATTAR_SIMD = {name}, expected one of {}", known.join(", "))),
    }
}

/// Whether bytes are a plan and no ONNX file.
pub(super) fn is_plan(model: &[u8]) -> bool {
    model.starts_with(&attar_edge::plan::MAGIC)
}

/// `[C, H, W]` that a plan takes, or why it is none that the engine takes.
pub(super) fn sizes(plan: &[u8]) -> std::result::Result<[usize; 3], String> {
    let plan = attar_edge::Model::load(plan).map_err(|error| error.to_string())?;
    Ok(plan.header().input.map(|size| size as usize))
}

/// `int8` of a plan with integer layers, `f32` of others; `None` for what is no plan.
pub(super) fn precision(model: &[u8]) -> Option<&'static str> {
    let plan = is_plan(model).then(|| attar_edge::Model::load(model).ok())??;
    let integers = plan.tensors().any(|tensor| tensor.quantisation().is_some());
    Some(if integers { "int8" } else { "f32" })
}

impl Attar {
    pub(super) fn open(source: Source<'_>, threads: usize, size: Option<[usize; 3]>) -> Result<Self> {
        let (session, output) = session(source, threads, size)?;
        let header = *session.model().header();
        let classes = header.classes as usize;
        let signature = Signature { input: header.input.map(|size| size as usize), classes, fixed_batch: None };
        let outputs = [Output { name: output, shape: vec![classes] }];
        let version = version(session.level());
        Ok(Self { session, signature, outputs, version })
    }
}

/// A plan, or an ONNX file that is compiled to one, ready to run; and the name of its answer.
pub(crate) fn session(source: Source<'_>, threads: usize, size: Option<[usize; 3]>) -> Result<(Session, String)> {
    let Source { bytes, origin, plans } = source;
    let failed = |problem: String| Error::Engine { engine: NAME, problem: format!("{}: {problem}", origin.display()) };
    let (plan, output) = match is_plan(bytes) {
        true => (bytes.to_vec(), "logits".to_owned()),
        false => {
            let compiled = plans.of(bytes, origin, size).map_err(failed)?;
            (compiled.plan.clone(), compiled.output.clone())
        }
    };
    let level = level().map_err(failed)?;
    let team: Box<dyn Team + Send> = if threads > 1 { Box::new(Threads::new(threads)) } else { Box::new(Alone) };
    let session = Session::with_team(plan, level, team).map_err(|error| failed(error.to_string()))?;
    if !session.model().intact() {
        return Err(failed("the plan is damaged: its checksum is another".to_owned()));
    }
    Ok((session, output))
}

/// The plan of an ONNX file, and the name of its answer.
#[cfg(feature = "compile")]
pub(super) fn compiled(
    model: &[u8],
    origin: &Path,
    size: Option<[usize; 3]>,
) -> std::result::Result<(Vec<u8>, String), String> {
    let import =
        attar_onnx::read(model, origin, attar_onnx::ReadOptions { input: size }).map_err(|error| error.to_string())?;
    let Some((graph, weights)) = &import.network else {
        let first = import.obstacles.first().map(ToString::to_string).unwrap_or_default();
        return Err(format!("the engine cannot compute it: {first}"));
    };
    let plan = attar_compile::compile(graph, weights, attar_compile::Options::default());
    Ok((plan.map_err(|error| error.to_string())?, import.output))
}

#[cfg(not(feature = "compile"))]
pub(super) fn compiled(_: &[u8], _: &Path, _: Option<[usize; 3]>) -> std::result::Result<(Vec<u8>, String), String> {
    Err("is no plan\n  hint: this small program runs plans, which `attar compile` makes".to_owned())
}

impl Engine for Attar {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn signature(&self) -> Signature {
        self.signature
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn level(&self) -> Option<&'static str> {
        Some(self.session.level().name())
    }

    fn threads(&self, _: usize) -> usize {
        self.session.threads()
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        let (length, classes) = (self.signature.input_len(), self.signature.classes);
        if Some(batch.len()) != length.checked_mul(n) {
            let problem = format!("{} floats for {n} images of {:?}", batch.len(), self.signature.input);
            return Err(Error::Engine { engine: NAME, problem });
        }
        let mut logits = vec![0.0; n * classes];
        for (image, logits) in batch.chunks_exact(length).zip(logits.chunks_exact_mut(classes)) {
            let ran = self.session.run(Input::Floats(image), logits);
            ran.map_err(|error| Error::Engine { engine: NAME, problem: error.to_string() })?;
        }
        Ok(vec![logits])
    }
}
