//! ONNX Runtime on the CPU, through `ort`.

use std::collections::BTreeMap;
use std::path::Path;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef};

use super::open::FREE_SIZES;
use super::outputs::{Given, per_sample};
use super::{Engine, EngineSpec, OrtSearch, Output, Signature, ort_library};
use crate::error::{Error, Result};

const NAME: &str = "ort";

pub(super) struct Ort {
    session: Session,
    signature: Signature,
    outputs: Vec<Output>,
    version: String,
    threads: usize,
}

impl Ort {
    pub(super) fn open(
        model: &[u8],
        origin: &Path,
        spec: &EngineSpec,
        size: Option<[usize; 3]>,
        taps: usize,
    ) -> Result<Self> {
        let threads = spec.threads;
        let library = ort_library::load(&spec.ort)?;
        let failed =
            |problem: String| Error::Engine { engine: NAME, problem: format!("{}: {problem}", origin.display()) };
        let mut session = builder(&library.environment, threads, spec.unfused)
            .and_then(|mut builder| builder.commit_from_memory(model).map_err(said))
            .map_err(failed)?;
        let signature = signature(&mut session, size, taps).map_err(failed)?;
        let outputs = outputs(&mut session, signature, taps).map_err(failed)?;
        let version = library.version + if spec.unfused { " unfused" } else { "" };
        Ok(Self { session, signature, outputs, version, threads })
    }
}

impl Engine for Ort {
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

    fn threads(&self, _: usize) -> usize {
        self.threads
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        let failed = |problem: String| Error::Engine { engine: NAME, problem };
        let signature = self.signature;
        signature.split(NAME, &self.outputs, batch, n, |part, n| {
            let given = answer(&mut self.session, signature.input, part, n).map_err(failed)?;
            Ok(given.into_iter().map(|(_, values)| values).collect())
        })
    }
}

/// All outputs for `n` images.
fn answer(
    session: &mut Session,
    [c, h, w]: [usize; 3],
    images: &[f32],
    n: usize,
) -> std::result::Result<Vec<Given>, String> {
    let input = TensorRef::from_array_view(([n, c, h, w], images)).map_err(said)?;
    let outputs = session.run(ort::inputs![input]).map_err(said)?;
    let one = |at: usize| {
        let (shape, values) = outputs[at].try_extract_tensor::<f32>().map_err(said)?;
        Ok((shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect(), values.to_vec()))
    };
    (0..outputs.len()).map(one).collect()
}

/// The logits, and what the `taps` behind them are, by a run on black images.
fn outputs(session: &mut Session, signature: Signature, taps: usize) -> std::result::Result<Vec<Output>, String> {
    let names: Vec<String> = session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    if taps == 0 {
        let shape = vec![signature.classes];
        return Ok(names.into_iter().map(|name| Output { name, shape: shape.clone() }).collect());
    }
    for (outlet, name) in session.outputs().iter().zip(&names) {
        float_shape(&format!("value `{name}`"), outlet)?;
    }
    let n = signature.fixed_batch.unwrap_or(1);
    let black = vec![0.0; n * signature.input_len()];
    let given = answer(session, signature.input, &black, n)?;
    per_sample(&names, &given, n)
}

pub(super) fn builder(
    environment: &ort::environment::Environment,
    threads: usize,
    unfused: bool,
) -> std::result::Result<SessionBuilder, String> {
    let level = if unfused { GraphOptimizationLevel::Disable } else { GraphOptimizationLevel::All };
    let builder = Session::builder(environment).map_err(said)?;
    let builder = builder.with_optimization_level(level).map_err(said)?;
    builder.with_intra_threads(threads).map_err(said)
}

/// How many operations of each kind there are once a model is optimised, which is written to `path`.
pub(super) fn fused(model: &[u8], search: &OrtSearch, path: &Path) -> Result<BTreeMap<String, usize>> {
    let library = ort_library::load(search)?;
    let failed = |problem: String| Error::Engine { engine: NAME, problem };
    let builder = builder(&library.environment, 1, false).map_err(failed)?;
    let mut builder = builder.with_optimized_model_path(path).map_err(|error| failed(error.to_string()))?;
    builder.commit_from_memory(model).map_err(|error| failed(error.to_string()))?;
    let written = std::fs::read(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    let mut counts = BTreeMap::new();
    for operation in super::onnx::OnnxFile::read(&written).operations() {
        *counts.entry(operation.to_owned()).or_insert(0) += 1;
    }
    Ok(counts)
}

/// Shapes; sizes that the file leaves free are those of `size`.
fn signature(session: &mut Session, size: Option<[usize; 3]>, taps: usize) -> std::result::Result<Signature, String> {
    let input = only("input", session.inputs())?;
    let shape = float_shape("input", input)?;
    let wrong =
        || format!("the input is {shape:?}, expected [N, C, H, W] with C, H and W known (-1 is unknown){FREE_SIZES}");
    let &[n, c, h, w] = &shape[..] else { return Err(wrong()) };
    let known = |at: usize, dim: i64| usize::try_from(dim).ok().or(size.map(|size| size[at])).filter(|dim| *dim > 0);
    let (Some(c), Some(h), Some(w)) = (known(0, c), known(1, h), known(2, w)) else { return Err(wrong()) };
    if n == 0 {
        return Err(wrong());
    }
    let fixed_batch = usize::try_from(n).ok();
    let own = session.outputs().len().saturating_sub(taps);
    let output = float_shape("output", only("output", &session.outputs()[..own])?)?;
    let classes = match output[..] {
        [rows, classes] if classes > 0 && (rows == n || rows < 0 || n < 0) => classes as usize,
        // Sizes that the file leaves free may leave its output open, too: one image tells.
        _ if size.is_some() && output.contains(&-1) => {
            classes_of_an_answer(session, [fixed_batch.unwrap_or(1), c, h, w])?
        }
        ref shape => {
            return Err(format!("the output is {shape:?}, expected logits [N, K] with K known (-1 is unknown)"));
        }
    };
    Ok(Signature { input: [c, h, w], classes, fixed_batch })
}

fn classes_of_an_answer(session: &mut Session, [n, c, h, w]: [usize; 4]) -> std::result::Result<usize, String> {
    let given = answer(session, [c, h, w], &vec![0f32; n * c * h * w], n)?;
    match given.first().map(|(shape, _)| &shape[..]) {
        Some(&[rows, classes]) if rows == n && classes > 0 => Ok(classes),
        found => Err(format!("the output is {found:?}, expected logits [N, K]")),
    }
}

fn only<'s>(what: &str, outlets: &'s [Outlet]) -> std::result::Result<&'s Outlet, String> {
    match outlets {
        [one] => Ok(one),
        several => Err(format!("{} {what}s, expected one", several.len())),
    }
}

fn float_shape(what: &str, outlet: &Outlet) -> std::result::Result<Vec<i64>, String> {
    let dtype = outlet.dtype();
    match (dtype.tensor_type(), dtype.tensor_shape()) {
        (Some(TensorElementType::Float32), Some(shape)) => Ok(shape.to_vec()),
        _ => Err(format!("the {what} is {dtype:?}, expected a tensor of 32-bit floats")),
    }
}

/// ONNX Runtime's message, which ends in line breaks.
#[allow(clippy::needless_pass_by_value)] // so that `map_err` takes it as it is
pub(super) fn said<R>(error: ort::Error<R>) -> String {
    error.to_string().trim().to_owned()
}
