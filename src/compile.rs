//! An ONNX file becomes a plan for Attar's own engine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_edge::{Level, Model, plan};
use attar_infer::engine::EngineModel;
use attar_infer::parity::Options;
use attar_infer::{Bundle, EngineKind};
use attar_onnx::ReadOptions;
use attar_pixels::Preprocessing;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Engines;
use crate::add::{self, Request};

/// A plan and what is to be known of it.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Its bytes: the same for the same file, wherever they are made.
    pub plan: Vec<u8>,
    /// What it takes and holds.
    pub report: Report,
}

/// What a plan takes and holds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Bytes of the plan.
    pub bytes: usize,
    /// Bytes of working memory of a run, scratch of one thread included, at this machine's level.
    pub working_memory: usize,
    /// Bytes of the constants as this machine's level packs them.
    pub packed: usize,
    /// The SIMD level that these are of.
    pub level: String,
    /// `int8` where layers are computed in integers, else `f32`.
    pub precision: String,
    /// Number of the integer arithmetic.
    pub arithmetic: u32,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Of these, how many are computed in integers.
    pub integer_macs: u64,
    /// How many steps there are of each kind.
    pub steps: BTreeMap<String, usize>,
    /// Whether it takes the bytes of an image as they are.
    pub takes_pixels: bool,
}

/// Compiles an ONNX file; `input` are the sizes of its image where it leaves them open, `how` is what makes its input of
/// pixels, which the plan then takes as bytes.
///
/// # Errors
/// What stands in the way, with the name of the node.
pub fn compile(model: &EngineModel, input: Option<[usize; 3]>, how: Option<&Preprocessing>) -> Result<Compiled> {
    let import = attar_onnx::read(model.bytes(), model.origin(), ReadOptions { input })?;
    let Some((graph, weights)) = &import.network else {
        let all: Vec<String> = import.obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
        bail!("{}: not all of its operations are known{}", model.origin().display(), all.concat());
    };
    let mut source = [0; 32];
    for (at, byte) in source.iter_mut().enumerate() {
        *byte = model.sha256().get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()).unwrap_or(0);
    }
    let options = attar_compile::Options { preprocessing: how.and_then(of_bytes), source };
    let plan = attar_compile::compile(graph, weights, options).with_context(|| model.origin().display().to_string())?;
    let report = report(&plan)?;
    Ok(Compiled { plan, report })
}

/// The normalisation, where it is one of three channels.
fn of_bytes(how: &Preprocessing) -> Option<plan::Preprocessing> {
    let [mean, std] = [&how.mean, &how.std].map(|values| <[f32; 3]>::try_from(values.as_slice()).ok());
    Some(plan::Preprocessing { divisor: 255.0, mean: mean?, std: std? })
}

/// What a plan takes and holds.
///
/// # Errors
/// When it is no plan that this engine takes.
pub fn report(bytes: &[u8]) -> Result<Report> {
    let model = Model::load(bytes)?;
    let level = Level::best();
    let memory = model.memory(level)?;
    let tensors: Vec<plan::Tensor> = model.tensors().collect();
    let mut steps = BTreeMap::new();
    let mut integer_macs = 0;
    for step in model.steps() {
        *steps.entry(step.what().to_owned()).or_insert(0) += 1;
        let bytes = step.inputs().next().is_some_and(|input| tensors[input as usize].quantisation().is_some());
        integer_macs += if bytes { step.macs(&model) } else { 0 };
    }
    Ok(Report {
        bytes: bytes.len(),
        working_memory: memory.arena,
        packed: memory.packed,
        level: level.name().to_owned(),
        precision: if integer_macs > 0 { "int8" } else { "f32" }.to_owned(),
        arithmetic: attar_edge::arithmetic::ARITHMETIC,
        macs: model.macs(),
        integer_macs,
        steps,
        takes_pixels: model.header().preprocessing.is_some(),
    })
}

/// Adds a plan to the bundle that its model is of, if the goldens come out.
///
/// # Errors
/// As [`add::add`]; goldens that do not come out.
pub fn list(bundle: &Bundle, made_from: &str, plan: &Path) -> Result<()> {
    let request = Request { model: plan, name: None, made_from: Some(made_from), undecided: true };
    let engines = Engines { engine: vec![EngineKind::Attar], ..Engines::default() };
    let options = Options { images: false, ..Options::default() };
    let added = add::add(bundle, &request, None, &options, &engines, &mut |_, _| {})?;
    if !added.listed {
        bail!("the plan does not answer like the bundle's goldens; nothing was added\n{}", added.certificate);
    }
    Ok(())
}
