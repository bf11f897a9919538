//! Which runtimes a verb uses, and where ONNX Runtime is looked for: one set of options for every verb.

use std::path::PathBuf;

use anyhow::Result;

use crate::bundle::Bundle;
use crate::engine::{self, EngineKind, EngineModel, EngineSpec, OrtSearch};
use crate::parity::{self, Candidate, Skipped};
use crate::side::Side;
use crate::subject::Subject;

/// Where ONNX Runtime is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OrtArgs {
    /// ONNX Runtime's library; without it ORT_DYLIB_PATH, the program's folder, what `cargo xtask fetch-ort` fetched and
    /// Python's onnxruntime package are tried.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "ort")))]
    pub ort_library: Option<PathBuf>,
}

impl OrtArgs {
    /// Where to look.
    pub fn search(&self) -> OrtSearch {
        OrtSearch { library: self.ort_library.clone(), folders: fetched().into_iter().collect() }
    }
}

/// The folder that `cargo xtask fetch-ort` fills: `target/onnxruntime`, seen from `target/release/attar`.
fn fetched() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(2).take(2).map(|folder| folder.join("onnxruntime")).find(|folder| folder.is_dir())
}

/// Which runtimes, and how they run.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// Runtimes to use, comma separated: tract, ort, attar. Without it, every one at hand; a verb that needs one takes the
    /// first.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub engine: Vec<EngineKind>,
    /// Threads a runtime may use.
    #[arg(long, default_value_t = 1, value_name = "N", alias = "threads")]
    pub engine_threads: usize,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub ort: OrtArgs,
    /// Whether ONNX Runtime is a candidate once more, without fusing: an option of `verify` alone.
    #[arg(skip)]
    pub ort_unfused: bool,
}

impl Default for EngineArgs {
    fn default() -> Self {
        Self { engine: Vec::new(), engine_threads: 1, ort: OrtArgs::default(), ort_unfused: false }
    }
}

impl EngineArgs {
    /// Loads a bundle's models, or `models` in their place, into the runtimes. One that was named must be there; without
    /// names, those at hand are used and the certificate says which were not.
    ///
    /// # Errors
    /// As [`parity::candidates`] and [`parity::foreign_candidates`].
    pub fn candidates(&self, bundle: &Bundle, models: &[PathBuf]) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
        if models.is_empty() {
            return Ok(parity::candidates(bundle, &self.compared(), &self.optional())?);
        }
        let models: Vec<EngineModel> = models.iter().map(|path| EngineModel::read(path)).collect::<Result<_, _>>()?;
        self.foreign_candidates(&Subject::from(bundle), &models, None)
    }

    /// The same of ONNX files that are no bundle's own, in all runtimes but one.
    ///
    /// # Errors
    /// As [`parity::foreign_candidates`].
    pub fn foreign_candidates(
        &self,
        subject: &Subject,
        models: &[EngineModel],
        but: Option<&str>,
    ) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
        let others = |specs: Vec<EngineSpec>| -> Vec<EngineSpec> {
            specs.into_iter().filter(|spec| spec.unfused || Some(spec.kind.name()) != but).collect()
        };
        Ok(parity::foreign_candidates(subject, models, &others(self.compared()), &others(self.optional()))?)
    }

    /// Where a reference is asked live: in the runtime that was named, else in ONNX Runtime, which most people call right, else
    /// in tract, else in Attar's own, where a plan is asked.
    pub fn reference(&self, named: Option<EngineKind>) -> Vec<EngineSpec> {
        let kinds = named.map_or(vec![EngineKind::Ort, EngineKind::Tract, EngineKind::Attar], |kind| vec![kind]);
        kinds.into_iter().map(|kind| self.spec(kind)).collect()
    }

    /// The runtimes that were named, or every one at hand.
    pub fn usable(&self) -> Vec<EngineSpec> {
        if !self.engine.is_empty() {
            return self.named();
        }
        let found = engine::available(&self.ort.search());
        found.iter().filter(|found| found.usable()).map(|found| self.spec(found.engine)).collect()
    }

    /// The one runtime for a verb that uses one: the first named, else tract, ONNX Runtime or Attar's own, whichever this build
    /// has first.
    pub fn first(&self) -> EngineSpec {
        self.first_that(|_| true)
    }

    /// The same, among those that the first model of `side` is for.
    pub fn first_for(&self, side: &Side) -> EngineSpec {
        self.first_that(|kind| side.models().first().is_none_or(|model| model.is_for(kind)))
    }

    fn first_that(&self, takes: impl Fn(EngineKind) -> bool) -> EngineSpec {
        let there = EngineKind::ALL.into_iter().find(|kind| kind.compiled() && takes(*kind));
        self.spec(self.engine.first().copied().or(there).unwrap_or(EngineKind::Attar))
    }

    /// One runtime with these options.
    pub fn spec(&self, kind: EngineKind) -> EngineSpec {
        EngineSpec { threads: self.engine_threads, ort: self.ort.search(), ..EngineSpec::new(kind) }
    }

    /// Those that are used where they are there, because none was named.
    pub fn optional(&self) -> Vec<EngineSpec> {
        if self.engine.is_empty() { EngineKind::ALL.map(|kind| self.spec(kind)).into() } else { Vec::new() }
    }

    /// Those that were named, and ONNX Runtime without fusing where that is asked for.
    fn compared(&self) -> Vec<EngineSpec> {
        let unfused = self.ort_unfused.then(|| EngineSpec { unfused: true, ..self.spec(EngineKind::Ort) });
        self.named().into_iter().chain(unfused).collect()
    }

    /// Those that were named.
    pub fn named(&self) -> Vec<EngineSpec> {
        self.engine.iter().map(|kind| self.spec(*kind)).collect()
    }
}
