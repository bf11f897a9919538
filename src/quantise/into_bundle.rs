//! A bundle gets a model in integers: ways are tried until one decides like the network in floats.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_data::Dataset;
use attar_infer::Bundle;
use attar_infer::engine::EngineModel;
use attar_infer::parity::Options;
use schemars::JsonSchema;
use serde::Serialize;

use super::kept::Kept;
use super::{Calibration, Files, InFloats, Report, Request, Scales, Shares, Storage, given_back, weights_only};
use crate::Engines;
use crate::add::{self, Added, Outcome};

/// What a bundle is to get, and how that is judged.
#[derive(Clone)]
pub struct Job<'a> {
    /// The bundle's folder.
    pub root: &'a Path,
    /// What the model is to be called in it.
    pub name: &'a str,
    /// Labelled images to judge by.
    pub data: Option<&'a dyn Dataset>,
    /// The margin, and how pairs are compared.
    pub options: Options,
    /// Who runs it.
    pub engines: &'a Engines,
    /// Whether it is listed, too, where nothing is decided.
    pub undecided: bool,
    /// Whether layers are given back to floats until the margin holds.
    pub give_back: bool,
    /// Whether the shares of layers are asked for in any case.
    pub shares: bool,
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let images = self.data.map(Dataset::len);
        f.debug_struct("Job")
            .field("root", &self.root)
            .field("name", &self.name)
            .field("images", &images)
            .finish_non_exhaustive()
    }
}

/// One way to quantise, and how it was judged.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Try {
    /// What was done.
    pub quantised: Report,
    /// What became of it.
    #[serde(flatten)]
    pub added: Added,
    /// Name of the plan in the bundle, where it is listed.
    pub plan: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Done {
    /// What was tried, the last of which counts.
    pub tries: Vec<Try>,
    /// What each layer costs, where that was asked for or needed.
    pub shares: Option<Shares>,
    /// Where the last model lies when it was not listed although nothing spoke against it.
    pub candidate: Option<PathBuf>,
}

impl Done {
    /// What the last way came to.
    pub fn last(&self) -> Option<&Try> {
        self.tries.last()
    }
}

/// Tries the ways in `scales` in turn, the last one with more and more layers given back to floats where the job says so, and
/// ends with the first that is not worse. What is done lies beside the bundle until all is, and the same request goes on from
/// it. `progress` hears what is going on, and how many of how many are done.
///
/// # Errors
/// As [`InFloats`] and [`add::add`]; a bundle without an ONNX file in floats.
pub fn into_bundle(
    job: &Job<'_>,
    scales: &[Scales],
    request: &Request,
    calibration: &Calibration,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Done> {
    let (of, model) = float_model(job.root)?;
    let floats = InFloats::of(&model, calibration, request, progress)?;
    let kept = Kept::beside(job.root, job.name);
    let mut done = Done { tries: Vec::new(), shares: None, candidate: None };
    let mut request = request.clone();
    let mut integers = None;
    for scales in scales {
        request.scales = *scales;
        let (tried, made) = job.attempt(&of, &floats, &request, &kept, progress)?;
        let ends = tried.ends();
        done.tries.push(tried);
        integers = Some(made);
        if ends {
            break;
        }
    }
    let Some(mut integers) = integers else { return Ok(done) };
    let held = |done: &Done| done.last().is_some_and(Try::ends);
    if job.shares || (job.give_back && !held(&done)) {
        let tick = &mut |at, all| progress("layers", at, all);
        done.shares = Some(Shares::of((&model, &floats), &integers, &request, tick)?);
    }
    let order = done.shares.as_ref().filter(|_| job.give_back).map(Shares::order).unwrap_or_default();
    let own = request.keep.clone();
    for layers in given_back(&order) {
        if held(&done) {
            break;
        }
        request.keep = own.union(&layers).cloned().collect::<BTreeSet<_>>();
        let (tried, made) = job.attempt(&of, &floats, &request, &kept, progress)?;
        done.tries.push(tried);
        integers = made;
    }
    if done.last().is_some_and(|tried| !tried.added.listed && tried.added.outcome == Outcome::Undecided) {
        let path = beside(job.root, job.name);
        std::fs::write(&path, integers.bytes()).with_context(|| path.display().to_string())?;
        done.candidate = Some(path);
    }
    kept.remove()?;
    Ok(done)
}

/// A bundle gets its model in floats with weights in fewer bits.
///
/// # Errors
/// As [`weights_only`] and [`add::add`].
pub fn small_weights(job: &Job<'_>, storage: Storage, progress: &mut dyn FnMut(usize, usize)) -> Result<Added> {
    let bundle = Bundle::open(job.root)?;
    let (of, model) = float_model(job.root)?;
    let onnx = weights_only(&model, bundle.card().network.input, storage, opset(&bundle))?;
    job.judged(&bundle, &of, &onnx, progress)
}

/// `ROOT.NAME`, beside the folder, however its path is written.
pub(super) fn beside(root: &Path, name: &str) -> PathBuf {
    let mut path = root.components().as_path().as_os_str().to_owned();
    path.push(".");
    path.push(name);
    path.into()
}

/// The name of the bundle's ONNX file in floats, and the file.
fn float_model(root: &Path) -> Result<(String, EngineModel)> {
    let bundle = Bundle::open(root)?;
    let found = bundle.models().iter().find(|model| model.precision == "f32" && model.engine == "onnx");
    let found = found.with_context(|| format!("{} holds no ONNX file in floats", root.display()))?;
    Ok((found.file.clone(), bundle.engine_model(found)?))
}

fn opset(bundle: &Bundle) -> i64 {
    bundle.manifest().opset.unwrap_or(attar_onnx::Options::default().opset)
}

impl Try {
    /// Whether no other way needs to be tried: it is listed, or more images are what is missing.
    fn ends(&self) -> bool {
        self.added.listed || self.added.outcome == Outcome::Undecided
    }
}

impl Job<'_> {
    /// Quantises in one way, judges, and lists what holds, with its plan.
    fn attempt(
        &self,
        of: &str,
        floats: &InFloats<'_>,
        request: &Request,
        kept: &Kept,
        progress: &mut dyn FnMut(&'static str, usize, usize),
    ) -> Result<(Try, EngineModel)> {
        let bundle = Bundle::open(self.root)?;
        let Files { onnx, report } = floats.quantised(request, opset(&bundle), kept, progress)?;
        let added = self.judged(&bundle, of, &onnx, &mut |at, all| progress("verify", at, all))?;
        let integers = EngineModel::from_bytes(onnx, self.name)?;
        let plan = if added.listed { Some(self.plan(&integers)?) } else { None };
        Ok((Try { quantised: report, added, plan }, integers))
    }

    fn judged(
        &self,
        bundle: &Bundle,
        made_from: &str,
        onnx: &[u8],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Added> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(self.name);
        std::fs::write(&file, onnx).with_context(|| file.display().to_string())?;
        let made_from = Some(made_from);
        let request = add::Request { model: &file, name: None, made_from, undecided: self.undecided };
        add::add(bundle, &request, self.data, &self.options, self.engines, progress)
    }

    /// Lists the plan of a model that is listed now.
    fn plan(&self, model: &EngineModel) -> Result<String> {
        let bundle = Bundle::open(self.root)?;
        let compiled = crate::compile::compile(model, Some(bundle.card().network.input), Some(bundle.preprocessing()))?;
        let folder = tempfile::tempdir()?;
        let name = Path::new(self.name).with_extension("attar");
        let path = folder.path().join(&name);
        std::fs::write(&path, &compiled.plan).with_context(|| path.display().to_string())?;
        crate::compile::list(&bundle, self.name, &path)?;
        Ok(name.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_lies_beside_the_bundle_and_not_in_it() {
        for root in ["bundles/b", "bundles/b/", "bundles//b/."] {
            assert_eq!(beside(Path::new(root), "m.onnx"), Path::new("bundles/b.m.onnx"));
        }
    }
}
