//! Which runtimes a verb uses, and where ONNX Runtime is looked for: one set of options for every verb.

use std::path::PathBuf;

use anyhow::Result;
use attar_infer::Bundle;
use attar_infer::engine::{self, EngineKind, EngineSpec, OrtSearch};
use attar_infer::parity::{self, Candidate, Skipped};

/// Where ONNX Runtime is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct OrtArgs {
    /// ONNX Runtime's library; without it ORT_DYLIB_PATH, the program's folder, what `cargo xtask fetch-ort` fetched and
    /// Python's onnxruntime package are tried.
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
}

impl OrtArgs {
    /// Where to look.
    pub(crate) fn search(&self) -> OrtSearch {
        OrtSearch { library: self.ort_library.clone(), folders: fetched().into_iter().collect() }
    }
}

/// The folder that `cargo xtask fetch-ort` fills: `target/onnxruntime`, seen from `target/release/attar`.
fn fetched() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(2).take(2).map(|folder| folder.join("onnxruntime")).find(|folder| folder.is_dir())
}

/// Which runtimes, and how they run.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct EngineArgs {
    /// Runtimes to use, comma separated: tract, ort. Without it, every one at hand; a verb that needs one takes the
    /// first.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    engine: Vec<String>,
    /// Threads a runtime may use.
    #[arg(long, default_value_t = 1)]
    engine_threads: usize,
    #[command(flatten)]
    ort: OrtArgs,
}

impl EngineArgs {
    /// The runtime of this name, or the first at hand.
    pub(crate) fn named(engine: Option<&str>) -> Self {
        Self { engine: engine.map(str::to_owned).into_iter().collect(), ..Self::default() }
    }

    /// Loads a bundle's models into the runtimes. One that was named must be there; without names, those at hand are used
    /// and the certificate says which were not.
    pub(crate) fn candidates(&self, bundle: &Bundle) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
        let named = self.engine.iter().map(|name| name.parse().map(|kind| self.spec(kind)));
        let wanted: Vec<EngineSpec> = named.collect::<Result<_, attar_infer::Error>>()?;
        let optional: Vec<EngineSpec> = match wanted.is_empty() {
            true => EngineKind::ALL.map(|kind| self.spec(kind)).into(),
            false => Vec::new(),
        };
        Ok(parity::candidates(bundle, &wanted, &optional)?)
    }

    /// The runtimes that were named, or every one at hand.
    pub(crate) fn usable(&self) -> Result<Vec<EngineSpec>> {
        if !self.engine.is_empty() {
            let named = self.engine.iter().map(|name| name.parse().map(|kind| self.spec(kind)));
            return Ok(named.collect::<Result<_, attar_infer::Error>>()?);
        }
        let found = engine::available(&self.ort.search());
        Ok(found.iter().filter(|found| found.usable()).map(|found| self.spec(found.engine)).collect())
    }

    fn spec(&self, kind: EngineKind) -> EngineSpec {
        EngineSpec { kind, threads: self.engine_threads, ort: self.ort.search() }
    }

    /// The one runtime for a verb that uses one: the first named, else tract if it is there, else ONNX Runtime.
    pub(crate) fn first(&self) -> Result<EngineSpec> {
        let kind = match self.engine.first() {
            Some(name) => name.parse()?,
            None if EngineKind::Tract.compiled() => EngineKind::Tract,
            None => EngineKind::Ort,
        };
        Ok(self.spec(kind))
    }
}
