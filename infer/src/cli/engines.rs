//! Which runtimes a verb uses, and where ONNX Runtime is looked for: one set of options for every verb.

use std::path::PathBuf;

use anyhow::Result;

use crate::bundle::Bundle;
use crate::engine::{self, EngineKind, EngineSpec, OrtSearch};
use crate::parity::{self, Candidate, Skipped};

/// Where ONNX Runtime is.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OrtArgs {
    /// ONNX Runtime's library; without it ORT_DYLIB_PATH, the program's folder, what `cargo xtask fetch-ort` fetched and
    /// Python's onnxruntime package are tried.
    #[arg(long, value_name = "FILE")]
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
    /// Runtimes to use, comma separated: tract, ort. Without it, every one at hand; a verb that needs one takes the
    /// first.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub engine: Vec<EngineKind>,
    /// Threads a runtime may use.
    #[arg(long, default_value_t = 1, value_name = "N", alias = "threads")]
    pub engine_threads: usize,
    /// Where ONNX Runtime is.
    #[command(flatten)]
    pub ort: OrtArgs,
}

impl Default for EngineArgs {
    fn default() -> Self {
        Self { engine: Vec::new(), engine_threads: 1, ort: OrtArgs::default() }
    }
}

impl EngineArgs {
    /// Loads a bundle's models, or `models` in their place, into the runtimes. One that was named must be there; without
    /// names, those at hand are used and the certificate says which were not.
    ///
    /// # Errors
    /// As [`parity::candidates`].
    pub fn candidates(&self, bundle: &Bundle, models: &[PathBuf]) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
        let wanted = self.named();
        let optional: Vec<EngineSpec> = match wanted.is_empty() {
            true => EngineKind::ALL.map(|kind| self.spec(kind)).into(),
            false => Vec::new(),
        };
        Ok(match models {
            [] => parity::candidates(bundle, &wanted, &optional)?,
            models => parity::foreign_candidates(bundle, models, &wanted, &optional)?,
        })
    }

    /// The runtimes that were named, or every one at hand.
    pub fn usable(&self) -> Vec<EngineSpec> {
        if !self.engine.is_empty() {
            return self.named();
        }
        let found = engine::available(&self.ort.search());
        found.iter().filter(|found| found.usable()).map(|found| self.spec(found.engine)).collect()
    }

    /// The one runtime for a verb that uses one: the first named, else tract if it is there, else ONNX Runtime.
    pub fn first(&self) -> EngineSpec {
        let there = if EngineKind::Tract.compiled() { EngineKind::Tract } else { EngineKind::Ort };
        self.spec(self.engine.first().copied().unwrap_or(there))
    }

    /// One runtime with these options.
    pub fn spec(&self, kind: EngineKind) -> EngineSpec {
        EngineSpec { kind, threads: self.engine_threads, ort: self.ort.search() }
    }

    fn named(&self) -> Vec<EngineSpec> {
        self.engine.iter().map(|kind| self.spec(*kind)).collect()
    }
}
