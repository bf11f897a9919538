//! Opens an ONNX file in a runtime: what it says of itself is read first, what it gives comes out as logits.

use std::collections::BTreeMap;
use std::path::Path;

use attar_formats::files;
use attar_formats::hash::sha256;

use attar_onnx::external;

use super::onnx::OnnxFile;
#[cfg(feature = "ort")]
use super::ort_session;
#[cfg(feature = "tract")]
use super::tract;
use super::{Engine, EngineKind, EngineSpec, answers};
use crate::error::{Error, Result};

/// What to do about an input whose sizes are free.
#[cfg(any(feature = "tract", feature = "ort"))]
pub(super) const FREE_SIZES: &str = "\n  hint: export it with a fixed height and width; `dynamic_axes` (or `dynamic_shapes`) of \
                                     torch.onnx.export is for the batch alone";

/// Loads `model` (the bytes of an ONNX file) into a runtime; `origin` names it in errors. All of it is in these bytes: files
/// beside it are not read ([`open_file`] does).
///
/// # Errors
/// [`Error::Unavailable`] when the runtime is not there, [`Error::Engine`] when it cannot use the model: garbage,
/// unsupported operators, not one float image `[N, C, H, W]` in and one `[N, K]` out, or answers of which no logits can be
/// made.
pub fn open(spec: &EngineSpec, model: &[u8], origin: &Path) -> Result<Box<dyn Engine>> {
    let file = OnnxFile::read(model);
    if file.external() {
        let problem = "arrays of it lie in other files, which no manifest lists\n  hint: save it as one file";
        return Err(Error::format(origin, problem));
    }
    load(spec, model, origin, &file, None)
}

/// A file that was opened where it lies.
pub struct Opened {
    /// It, in a runtime.
    pub engine: Box<dyn Engine>,
    /// sha256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// The same of each file beside it that holds arrays of it, by its name.
    pub data_files: BTreeMap<String, String>,
    /// Precision of its arithmetic: `f32`, `f16` or `int8`.
    pub precision: &'static str,
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
    let bytes = files::read(path, files::MOST_BINARY).map_err(Error::io(path))?;
    let file = OnnxFile::read(&bytes);
    let (sha256, precision, labels) = (sha256(&bytes), file.precision(), file.labels());
    if !file.external() {
        let engine = load(spec, &bytes, path, &file, input)?;
        return Ok(Opened { engine, sha256, data_files: BTreeMap::new(), precision, labels });
    }
    let whole = external::inline(&bytes, path).map_err(|problem| Error::format(path, problem))?;
    let engine = load(spec, &whole.model, path, &file, input)?;
    Ok(Opened { engine, sha256, data_files: whole.files, precision, labels })
}

fn load(
    spec: &EngineSpec,
    model: &[u8],
    origin: &Path,
    file: &OnnxFile<'_>,
    input: Option<[usize; 3]>,
) -> Result<Box<dyn Engine>> {
    if spec.threads == 0 {
        return Err(Error::Setting { setting: "threads", problem: "0, expected at least 1".to_owned() });
    }
    if file.channels_last() {
        let problem = format!(
            "its input `{name}` has the channels last, [N, H, W, C], as TensorFlow writes them; expected [N, C, H, W]\n  \
             hint: convert it with `tf2onnx --inputs-as-nchw {name}`",
            name = file.input_name()
        );
        return Err(Error::format(origin, problem));
    }
    let engine: Box<dyn Engine> = match spec.kind {
        #[cfg(feature = "tract")]
        EngineKind::Tract => Box::new(tract::Tract::open(model, origin, spec.threads, input)?),
        #[cfg(feature = "ort")]
        EngineKind::Ort => Box::new(ort_session::Ort::open(model, origin, spec.threads, &spec.ort, input)?),
        #[cfg(not(all(feature = "tract", feature = "ort")))]
        missing => {
            let _ = (model, origin, input);
            return Err(super::not_compiled(missing));
        }
    };
    answers::as_logits(engine, file.head(), &origin.display().to_string())
}
