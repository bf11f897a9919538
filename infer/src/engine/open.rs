//! Opens an ONNX file or a plan in a runtime: what it says of itself is read first, what it gives comes out as logits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_formats::files;
use attar_formats::hash::sha256;
use attar_formats::onnx_metadata::{self, Said};
use attar_onnx::{external, wire};

use super::onnx::OnnxFile;
#[cfg(feature = "ort")]
use super::ort_session;
#[cfg(feature = "edge")]
use super::plans::Plans;
#[cfg(feature = "tract")]
use super::tract;
use super::{Engine, EngineKind, EngineSpec, answers};
use crate::error::{Error, Result};

/// What to do about an input whose sizes are free.
#[cfg(any(feature = "tract", feature = "ort"))]
pub(super) const FREE_SIZES: &str = "\n  hint: export it with a fixed height and width; `dynamic_axes` (or `dynamic_shapes`) of \
                                     torch.onnx.export is for the batch alone";

/// A model as runtimes take it, in memory, whole: an ONNX file, or a plan of Attar's own engine. It is opened in one runtime
/// after the other; what the engine `attar` compiles of an ONNX file is kept for whoever opens it again.
#[derive(Clone)]
pub struct EngineModel {
    name: String,
    origin: PathBuf,
    sha256: String,
    data_files: BTreeMap<String, String>,
    precision: String,
    bytes: Vec<u8>,
    #[cfg(feature = "edge")]
    plans: Plans,
}

impl EngineModel {
    /// Reads the file at `path`, made by whomever: arrays in files beside it are read, inside of its folder only.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`] when a file is missing or not what it should be.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path, files::MOST_BINARY).map_err(Error::io(path))?;
        let (sha256, precision) = (sha256(&bytes), precision(&bytes).to_owned());
        let (bytes, data_files) = match external::any(&bytes) {
            false => (bytes, BTreeMap::new()),
            true => {
                let whole = external::inline(&bytes, path).map_err(|problem| Error::format(path, problem))?;
                (whole.model, whole.files)
            }
        };
        let (name, origin) = (path.display().to_string(), path.to_owned());
        Ok(Self { data_files, ..Self::of(name, origin, sha256, precision, bytes) })
    }

    /// A model of these bytes, called `name`, all of it in them.
    ///
    /// # Errors
    /// [`Error::Format`] where arrays of it lie in other files.
    pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Self> {
        check_one_file(&bytes, Path::new(name))?;
        let (sha256, precision) = (sha256(&bytes), precision(&bytes).to_owned());
        Ok(Self::of(name.to_owned(), PathBuf::from(name), sha256, precision, bytes))
    }

    /// A model of a bundle, which lists its name, precision and sha256.
    pub(crate) fn listed(name: &str, origin: PathBuf, precision: &str, sha256: String, bytes: Vec<u8>) -> Result<Self> {
        check_one_file(&bytes, &origin)?;
        let (name, precision) = (name.to_owned(), precision.to_owned());
        Ok(Self::of(name, origin, sha256, precision, bytes))
    }

    fn of(name: String, origin: PathBuf, sha256: String, precision: String, bytes: Vec<u8>) -> Self {
        Self {
            name,
            origin,
            sha256,
            data_files: BTreeMap::new(),
            precision,
            bytes,
            #[cfg(feature = "edge")]
            plans: Plans::default(),
        }
    }

    /// The same with all its arrays in one file of this name, as a bundle holds it.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        let sha256 = sha256(&self.bytes);
        Self { name: name.to_owned(), sha256, data_files: BTreeMap::new(), ..self }
    }

    /// What it is called: its path, or its name in a bundle.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies.
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// sha256 of the file, 64 hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The same of each file beside it that holds arrays of it, by its name.
    pub fn data_files(&self) -> &BTreeMap<String, String> {
        &self.data_files
    }

    /// Its precision: `f32`, `int8`, or of floats with smaller weights `f16` or `w8`.
    pub fn precision(&self) -> &str {
        &self.precision
    }

    /// Its bytes, with all arrays.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a plan for Attar's own engine, and no ONNX file.
    pub fn is_plan(&self) -> bool {
        is_plan(&self.bytes)
    }

    /// Whether a runtime is for files of this kind: a plan runs in Attar's own, an ONNX file in any.
    pub fn is_for(&self, kind: EngineKind) -> bool {
        kind == EngineKind::Attar || !self.is_plan()
    }

    /// Number of the integer arithmetic whose bytes a plan promises; `None` of plans of floats and of ONNX files.
    pub fn arithmetic(&self) -> Option<u32> {
        #[cfg(feature = "edge")]
        if self.is_plan() && self.precision == "int8" {
            return Some(attar_edge::arithmetic::ARITHMETIC);
        }
        None
    }

    /// `[C, H, W]` of its input; sizes that it leaves free are `None`.
    ///
    /// # Errors
    /// [`Error::Format`] when it does not take one image `[N, C, H, W]`, or is a plan that the engine refuses.
    pub fn sizes(&self) -> Result<[Option<usize>; 3]> {
        #[cfg(feature = "edge")]
        if self.is_plan() {
            let sizes = super::attar::sizes(&self.bytes).map_err(|problem| Error::format(&self.origin, problem));
            return Ok(sizes?.map(Some));
        }
        let file = OnnxFile::read(&self.bytes);
        check_layout(&file, &self.origin)?;
        let problem = "not an ONNX file that takes one image [N, C, H, W]";
        file.sizes().ok_or_else(|| Error::format(&self.origin, problem))
    }

    /// What its metadata says of classes and preprocessing.
    ///
    /// # Errors
    /// [`Error::Format`] where a property that is known has another form than its writer gives it.
    pub fn said(&self) -> Result<Said> {
        if is_plan(&self.bytes) {
            return Ok(Said::default());
        }
        let said = onnx_metadata::said(&wire::metadata(&self.bytes));
        said.map_err(|error| Error::format(&self.origin, error.to_string()))
    }

    /// Names of its classes, if it is a file of ours, which carries them.
    pub(crate) fn own_labels(&self) -> Option<Vec<String>> {
        OnnxFile::read(&self.bytes).labels()
    }

    /// Opens it in a runtime. Where it leaves sizes of its input free, they are those of `input`, `[C, H, W]`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(&self, spec: &EngineSpec, input: Option<[usize; 3]>) -> Result<Box<dyn Engine>> {
        self.open_with_taps(spec, input, &[])
    }

    /// [`EngineModel::open`]; the engine's [`run_all`](Engine::run_all) gives the values called `taps` behind the logits.
    ///
    /// # Errors
    /// As [`open_with_taps`].
    pub fn open_with_taps(
        &self,
        spec: &EngineSpec,
        input: Option<[usize; 3]>,
        taps: &[String],
    ) -> Result<Box<dyn Engine>> {
        load(spec, self.source(), input, taps)
    }

    /// What engines are made of.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            bytes: &self.bytes,
            origin: &self.origin,
            #[cfg(feature = "edge")]
            plans: &self.plans,
        }
    }
}

/// What engines are made of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Of an ONNX file or a plan.
    pub(crate) bytes: &'a [u8],
    /// What errors call it, and where arrays beside it are looked for.
    pub(crate) origin: &'a Path,
    /// What was compiled of it.
    #[cfg(feature = "edge")]
    pub(crate) plans: &'a Plans,
}

impl std::fmt::Debug for EngineModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineModel").field("name", &self.name).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// Loads `model` (the bytes of an ONNX file) into a runtime; `origin` names it in errors. All of it is in these bytes: files
/// beside it are not read ([`open_file`] does).
///
/// # Errors
/// [`Error::Unavailable`] when the runtime is not there, [`Error::Engine`] when it cannot use the model: garbage,
/// unsupported operators, not one float image `[N, C, H, W]` in and one `[N, K]` out, or answers of which no logits can be
/// made.
pub fn open(spec: &EngineSpec, model: &[u8], origin: &Path) -> Result<Box<dyn Engine>> {
    check_one_file(model, origin)?;
    let source = Source {
        bytes: model,
        origin,
        #[cfg(feature = "edge")]
        plans: &Plans::default(),
    };
    load(spec, source, None, &[])
}

fn check_one_file(model: &[u8], origin: &Path) -> Result<()> {
    if external::any(model) {
        let problem = "arrays of it lie in other files, which no manifest lists\n  hint: save it as one file";
        return Err(Error::format(origin, problem));
    }
    Ok(())
}

/// Whether bytes are a plan for Attar's own engine; all else is taken for an ONNX file.
fn is_plan(model: &[u8]) -> bool {
    #[cfg(feature = "edge")]
    return super::attar::is_plan(model);
    #[cfg(not(feature = "edge"))]
    return model.starts_with(b"ATTARPLN");
}

/// Precision of a model's arithmetic, as far as its file says it.
fn precision(model: &[u8]) -> &'static str {
    #[cfg(feature = "edge")]
    if let Some(precision) = super::attar::precision(model) {
        return precision;
    }
    OnnxFile::read(model).precision()
}

/// Refuses images with their channels last.
fn check_layout(file: &OnnxFile<'_>, origin: &Path) -> Result<()> {
    if file.channels_last() {
        let problem = format!(
            "its input `{name}` has the channels last, [N, H, W, C], as TensorFlow writes them; expected [N, C, H, W]\n  \
             hint: convert it with `tf2onnx --inputs-as-nchw {name}`",
            name = file.input_name()
        );
        return Err(Error::format(origin, problem));
    }
    Ok(())
}

/// A file that was opened where it lies.
pub struct Opened {
    /// It, in a runtime.
    pub engine: Box<dyn Engine>,
    /// sha256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// The same of each file beside it that holds arrays of it, by its name.
    pub data_files: BTreeMap<String, String>,
    /// Its precision: `f32`, `int8`, or of floats with smaller weights `f16` or `w8`.
    pub precision: String,
    /// Names of its classes, if it is a file of ours, which carries them.
    pub labels: Option<Vec<String>>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("sha256", &self.sha256)
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

/// Loads the ONNX file at `path`, made by whomever: arrays in files beside it are read, inside of its folder only. Where it
/// leaves sizes of its input free, they are those of `input`, `[C, H, W]`.
///
/// # Errors
/// As [`open`]; [`Error::Io`] and [`Error::Format`] when a file is missing or not what it should be.
pub fn open_file(spec: &EngineSpec, path: &Path, input: Option<[usize; 3]>) -> Result<Opened> {
    open_with_taps(spec, path, input, &[])
}

/// [`open_file`]; the engine's [`run_all`](Engine::run_all) gives the values called `taps` behind the logits, as rows
/// `[n, ...]`. Their shapes are found by a run on a black image ([`outputs`](Engine::outputs)).
///
/// # Errors
/// As [`open_file`]; [`Error::Format`] for a tap that no node makes ([`values`] lists them), that is the answer itself or
/// stands twice; [`Error::Engine`] for one that holds other numbers than 32-bit floats, or not a row for each image.
pub fn open_with_taps(spec: &EngineSpec, path: &Path, input: Option<[usize; 3]>, taps: &[String]) -> Result<Opened> {
    let model = EngineModel::read(path)?;
    let engine = model.open_with_taps(spec, input, taps)?;
    let EngineModel { sha256, data_files, precision, bytes, .. } = model;
    Ok(Opened { engine, sha256, data_files, precision, labels: OnnxFile::read(&bytes).labels() })
}

/// Names of all values that the nodes of an ONNX file make, in the order of the file: what can be tapped, and the answer.
pub fn values(model: &[u8]) -> Vec<String> {
    wire::values(model).into_iter().map(str::to_owned).collect()
}

/// The model with its taps behind its own outputs.
fn tapped(model: &[u8], origin: &Path, taps: &[String]) -> Result<Vec<u8>> {
    let (made, own) = (wire::values(model), wire::outputs(model));
    for (at, tap) in taps.iter().enumerate() {
        let problem = match (made.contains(&tap.as_str()), own.contains(&tap.as_str()), taps[..at].contains(tap)) {
            (false, ..) => {
                let near = attar_models::nearest(tap, made.iter().copied());
                let near = near.map(|near| format!("\n  hint: did you mean `{near}`?")).unwrap_or_default();
                format!("none of its {} values is called `{tap}`{near}", made.len())
            }
            (true, true, _) => format!("`{tap}` is its answer, which is given without a tap"),
            (true, false, true) => format!("`{tap}` is tapped twice"),
            (true, false, false) => continue,
        };
        return Err(Error::format(origin, problem));
    }
    Ok(wire::with_outputs(model, taps.iter().map(String::as_str)))
}

fn load(spec: &EngineSpec, source: Source<'_>, input: Option<[usize; 3]>, taps: &[String]) -> Result<Box<dyn Engine>> {
    spec.check()?;
    let Source { bytes, origin, .. } = source;
    if is_plan(bytes) {
        return plan(spec, source, taps);
    }
    let file = OnnxFile::read(bytes);
    check_layout(&file, origin)?;
    let (head, origin_text) = (file.head(), origin.display().to_string());
    let engine = match taps {
        [] => in_runtime(spec, source, input, 0)?,
        taps => in_runtime(spec, Source { bytes: &tapped(bytes, origin, taps)?, ..source }, input, taps.len())?,
    };
    answers::as_logits(engine, head, &origin_text)
}

/// Opens a plan, which one engine runs, and which gives logits alone.
fn plan(spec: &EngineSpec, source: Source<'_>, taps: &[String]) -> Result<Box<dyn Engine>> {
    let origin = source.origin;
    if spec.kind != EngineKind::Attar {
        let problem = format!("{}: a plan, which only the engine `attar` runs", origin.display());
        return Err(Error::Engine { engine: spec.kind.name(), problem });
    }
    if let [tap, ..] = taps {
        return Err(Error::format(origin, format!("a plan gives its logits, not `{tap}`")));
    }
    in_runtime(spec, source, None, 0)
}

/// A file in a runtime that gives its answer as it is, whether logits or probabilities.
#[cfg(any(feature = "tract", feature = "ort", feature = "compile"))]
pub(crate) fn plain(
    spec: &EngineSpec,
    model: &[u8],
    origin: &Path,
    input: Option<[usize; 3]>,
) -> Result<Box<dyn Engine>> {
    let source = Source {
        bytes: model,
        origin,
        #[cfg(feature = "edge")]
        plans: &Plans::default(),
    };
    in_runtime(spec, source, input, 0)
}

/// Hands the file to its runtime; `taps` counts the outputs behind its own.
fn in_runtime(
    spec: &EngineSpec,
    source: Source<'_>,
    input: Option<[usize; 3]>,
    taps: usize,
) -> Result<Box<dyn Engine>> {
    #[cfg(any(feature = "tract", feature = "ort"))]
    let Source { bytes: model, origin, .. } = source;
    match spec.kind {
        #[cfg(feature = "tract")]
        EngineKind::Tract => Ok(Box::new(tract::Tract::open(model, origin, spec.threads, input, taps)?)),
        #[cfg(feature = "ort")]
        EngineKind::Ort => Ok(Box::new(ort_session::Ort::open(model, origin, spec, input, taps)?)),
        #[cfg(feature = "edge")]
        EngineKind::Attar if taps > 0 => {
            let problem = format!("{}: it gives logits only, no values on the way", source.origin.display());
            Err(Error::Engine { engine: spec.kind.name(), problem })
        }
        #[cfg(feature = "edge")]
        EngineKind::Attar => Ok(Box::new(super::attar::Attar::open(source, spec.threads, input)?)),
        #[cfg(not(all(feature = "tract", feature = "ort", feature = "edge")))]
        missing => {
            let _ = (source, input, taps);
            Err(super::not_compiled(missing))
        }
    }
}
