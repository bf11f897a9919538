//! One small face for every runtime that can execute an ONNX file.

#[cfg(feature = "ort")]
use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "ort")]
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod answers;
#[cfg(feature = "edge")]
pub(crate) mod attar;
mod cpu;
mod definition;
mod inner;
pub(crate) mod onnx;
mod open;
#[cfg(feature = "ort")]
mod ort_library;
#[cfg(feature = "ort")]
mod ort_session;
mod outputs;
#[cfg(feature = "edge")]
mod plans;
#[cfg(feature = "tract")]
mod tract;
#[cfg(any(feature = "tract", feature = "ort"))]
pub(crate) mod values;

pub use attar_formats::certificate::Answers;
pub(crate) use cpu::cpu;
pub(crate) use definition::{Definition, IntegerFile, Integers, arithmetic};
pub(crate) use inner::Inner;
#[cfg(any(feature = "tract", feature = "ort", feature = "compile"))]
pub(crate) use open::plain;
pub use open::{EngineModel, Opened, open, open_file, open_with_taps, values};
pub use outputs::Output;

/// A loaded image classifier: float images in, logits out.
pub trait Engine: Send {
    /// Name of the runtime, e.g. `tract`.
    fn name(&self) -> &'static str;

    /// Version of the runtime, e.g. `0.23.9`.
    fn version(&self) -> &str;

    /// What it takes and gives.
    fn signature(&self) -> Signature;

    /// What [`run_all`](Engine::run_all) gives, by the names in the file: the logits, then the values that were asked for
    /// when it was opened.
    fn outputs(&self) -> &[Output];

    /// What the file gives; [`run`](Engine::run) makes logits of it.
    fn answers(&self) -> Answers {
        Answers::Logits
    }

    /// The SIMD level, of Attar's own engine.
    fn level(&self) -> Option<&'static str> {
        None
    }

    /// How many threads a call of `n` images keeps busy.
    fn threads(&self, n: usize) -> usize {
        let _ = n;
        1
    }

    /// Logits `[n, K]`, row-major, of `n` preprocessed images `[n, C, H, W]`. A file that insists on a batch size is asked in
    /// batches of that size, the last filled up with black images.
    ///
    /// # Errors
    /// [`Error::Engine`] when the batch has the wrong length or the runtime fails.
    fn run(&mut self, batch: &[f32], n: usize) -> Result<Vec<f32>> {
        Ok(self.run_all(batch, n)?.into_iter().next().unwrap_or_default())
    }

    /// The same, and the values that were asked for: for each of [`outputs`](Engine::outputs) its numbers `[n, ...]`.
    ///
    /// # Errors
    /// As [`run`](Engine::run).
    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>>;
}

/// Shapes of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// `[C, H, W]` of one input image.
    pub input: [usize; 3],
    /// Number of logits.
    pub classes: usize,
    /// The batch size the file insists on; `None` when its batch axis is free.
    pub fixed_batch: Option<usize>,
}

impl Signature {
    /// Floats in one input image.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }
}

/// The runtimes this crate knows, compiled in or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// tract, linked in: pure Rust, nothing to install.
    Tract,
    /// ONNX Runtime, loaded at run time from a shared library.
    Ort,
    /// Attar's own, linked in: plans, and ONNX files whose operations it knows; the same int8 answers on every CPU.
    Attar,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tract, Self::Ort, Self::Attar];

    /// Name as it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::Ort => "ort",
            Self::Attar => "attar",
        }
    }

    /// The feature that links it in.
    #[cfg(not(all(feature = "tract", feature = "ort", feature = "edge")))]
    fn feature(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::Ort => "ort",
            Self::Attar => "edge",
        }
    }

    /// Whether this build has it.
    pub fn compiled(self) -> bool {
        match self {
            Self::Tract => cfg!(feature = "tract"),
            Self::Ort => cfg!(feature = "ort"),
            Self::Attar => cfg!(feature = "edge"),
        }
    }
}

/// Whether this build has runtimes for plans alone, and none for ONNX files.
pub(crate) const PLANS_ONLY: bool =
    cfg!(feature = "edge") && !cfg!(any(feature = "compile", feature = "tract", feature = "ort"));

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| attar_models::Error::unknown("engine", name, &names).into())
    }
}

/// Which runtime, and how to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSpec {
    /// Which runtime.
    pub kind: EngineKind,
    /// Threads for one call; at least 1. tract works on one image with one thread, so it shares out the images of a batch.
    pub threads: usize,
    /// Where to find ONNX Runtime.
    pub ort: OrtSearch,
    /// Whether ONNX Runtime computes each operation as the file says it, and fuses none: to see what fusing changes.
    pub unfused: bool,
}

impl EngineSpec {
    /// One thread, default places.
    pub fn new(kind: EngineKind) -> Self {
        Self { kind, threads: 1, ort: OrtSearch::default(), unfused: false }
    }

    /// Whether a model can be opened so.
    pub(crate) fn check(&self) -> Result<()> {
        match self.threads {
            0 => Err(Error::Setting { setting: "threads", problem: "0, expected at least 1".to_owned() }),
            _ => Ok(()),
        }
    }
}

/// Where ONNX Runtime's library is looked for, first hit wins: `library`, the variable `ORT_DYLIB_PATH`, beside the
/// executable, `folders`, the `onnxruntime` package of `python3`. A library that was named (by `library` or the variable)
/// is the only one tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtSearch {
    /// The library file itself.
    pub library: Option<PathBuf>,
    /// Folders that may hold it, e.g. where a build script fetched it to.
    pub folders: Vec<PathBuf>,
}

#[cfg(not(all(feature = "tract", feature = "ort", feature = "edge")))]
fn not_compiled(kind: EngineKind) -> Error {
    let there: Vec<&str> = EngineKind::ALL.into_iter().filter(|k| k.compiled()).map(EngineKind::name).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Error::Unavailable {
        engine: kind.name().to_owned(),
        problem: format!(
            "this build leaves it out\n  available: {there}\n  hint: build with `--features {}`",
            kind.feature()
        ),
    }
}

/// What [`available`] found out about one runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Availability {
    /// Which runtime.
    pub engine: EngineKind,
    /// Its version, when it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The library it comes from, when it comes from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Availability {
    /// Whether the runtime can be used.
    pub fn usable(&self) -> bool {
        self.problem.is_none()
    }
}

/// Every runtime with its version, or why it cannot be used.
pub fn available(search: &OrtSearch) -> Vec<Availability> {
    vec![tract_available(), ort_available(search), attar_available()]
}

#[cfg(feature = "edge")]
fn attar_available() -> Availability {
    match attar::level() {
        Ok(level) => Availability {
            engine: EngineKind::Attar,
            version: Some(attar::version(level)),
            library: None,
            problem: None,
        },
        Err(problem) => {
            Availability { engine: EngineKind::Attar, version: None, library: None, problem: Some(problem) }
        }
    }
}

#[cfg(not(feature = "edge"))]
fn attar_available() -> Availability {
    unusable(EngineKind::Attar, &not_compiled(EngineKind::Attar))
}

#[cfg(feature = "tract")]
fn tract_available() -> Availability {
    Availability { engine: EngineKind::Tract, version: Some(tract::VERSION.to_owned()), library: None, problem: None }
}

#[cfg(not(feature = "tract"))]
fn tract_available() -> Availability {
    unusable(EngineKind::Tract, &not_compiled(EngineKind::Tract))
}

#[cfg(feature = "ort")]
fn ort_available(search: &OrtSearch) -> Availability {
    match ort_library::load(search) {
        Ok(loaded) => Availability {
            engine: EngineKind::Ort,
            version: Some(loaded.version.clone()),
            library: Some(loaded.path.clone()),
            problem: None,
        },
        Err(error) => unusable(EngineKind::Ort, &error),
    }
}

#[cfg(not(feature = "ort"))]
fn ort_available(_: &OrtSearch) -> Availability {
    unusable(EngineKind::Ort, &not_compiled(EngineKind::Ort))
}

fn unusable(engine: EngineKind, error: &Error) -> Availability {
    Availability { engine, version: None, library: None, problem: Some(error.to_string()) }
}

/// How many operations of each kind ONNX Runtime makes of a model, which it writes to `path` as it runs it.
///
/// # Errors
/// [`Error::Unavailable`] where it is not there; [`Error::Engine`] where it refuses the model.
#[cfg(feature = "ort")]
pub fn fused(model: &[u8], search: &OrtSearch, path: &Path) -> Result<BTreeMap<String, usize>> {
    ort_session::fused(model, search, path)
}

/// Where ONNX Runtime was found, if it was; for tests that need it.
pub fn onnx_runtime(search: &OrtSearch) -> Option<PathBuf> {
    available(search).into_iter().find(|a| a.engine == EngineKind::Ort && a.usable()).and_then(|a| a.library)
}
