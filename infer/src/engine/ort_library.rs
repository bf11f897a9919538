//! Finds and loads ONNX Runtime's shared library, once a process.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::OrtSearch;
use crate::error::{Error, Result};

/// The oldest ONNX Runtime 1.x whose C interface has all that is called here.
const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// The loaded library. ONNX Runtime allows one library and one environment a process, so it is kept for ever.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) version: String,
    pub(super) environment: ort::environment::Environment,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads the library that the search finds, or returns the one that is loaded already.
///
/// # Errors
/// [`Error::Unavailable`] when none is found, none can be used, or another than the named one is loaded already.
pub(super) fn load(search: &OrtSearch) -> Result<Loaded> {
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(there) = &*loaded {
        let other = |named: &&PathBuf| same_file(named, &there.path).is_none();
        if let Some(named) = search.library.as_ref().filter(other) {
            let problem = format!(
                "{} was asked for, but this process already uses {}\n  hint: one library a process",
                named.display(),
                there.path.display()
            );
            return Err(unavailable(problem));
        }
        return Ok(there.clone());
    }
    let (candidates, named) = candidates(search);
    let mut refused = Vec::new();
    for candidate in &candidates {
        match try_load(candidate) {
            Ok(new) => {
                *loaded = Some(new.clone());
                return Ok(new);
            }
            Err(problem) => refused.push(format!("\n  {}: {problem}", candidate.display())),
        }
    }
    if named {
        return Err(unavailable(format!("the library that was named cannot be used{}", refused.concat())));
    }
    let tried = if refused.is_empty() { "\n  no candidate was found".to_owned() } else { refused.concat() };
    Err(unavailable(format!(
        "no library of ONNX Runtime 1.{OLDEST_MINOR} or newer{tried}\n  hint: name it with ORT_DYLIB_PATH=/path/to/{}, or install \
         Python's `onnxruntime`",
        file_name()
    )))
}

fn unavailable(problem: String) -> Error {
    Error::Unavailable { engine: "ort".to_owned(), problem }
}

fn same_file(a: &Path, b: &Path) -> Option<()> {
    (a.canonicalize().ok()? == b.canonicalize().ok()?).then_some(())
}

fn file_name() -> String {
    format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// Files to try, in order, and whether somebody named one (then there is no other).
fn candidates(search: &OrtSearch) -> (Vec<PathBuf>, bool) {
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(named) = search.library.clone().or(variable) {
        return (vec![named], true);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let folders = beside.into_iter().chain(search.folders.iter().cloned());
    let mut found: Vec<PathBuf> = folders.flat_map(|folder| libraries_in(&folder)).collect();
    if found.is_empty() {
        found.extend(python_folder().into_iter().flat_map(|folder| libraries_in(&folder)));
    }
    (found, false)
}

/// Files called like ONNX Runtime's library, `libonnxruntime.so.1.31.1` included, newest name first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let wanted =
        |name: &str| name == file_name() || name.starts_with("libonnxruntime.so.") || name == "onnxruntime.dll";
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        files.filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(wanted)).collect();
    found.sort();
    found.reverse();
    found
}

/// Folder of the native libraries of Python's `onnxruntime`, found without importing it.
fn python_folder() -> Option<PathBuf> {
    const FIND: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                        print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new("python3").args(["-c", FIND]).output().ok().filter(|o| o.status.success())?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (!folder.is_empty()).then(|| Path::new(folder).join("capi"))
}

fn try_load(path: &Path) -> std::result::Result<Loaded, String> {
    // A relative path would be looked for beside the executable first; say exactly which file is meant.
    let path = path.canonicalize().map_err(|e| e.to_string())?;
    let version = version_of(&path)?;
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if !version.starts_with("1.") || minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        return Err(format!("version {version}, expected 1.{OLDEST_MINOR} or newer"));
    }
    let builder = ort::init_from(&path).map_err(|e| e.to_string())?;
    let environment = builder.with_name("attar").with_telemetry(false).build().map_err(|e| e.to_string())?;
    environment.set_log_level(ort::logging::LogLevel::Fatal); // what it logs it also returns as an error
    Ok(Loaded { path, version, environment })
}

/// Asks the library itself, before anything else is called in it.
#[allow(unsafe_code)]
fn version_of(path: &Path) -> std::result::Result<String, String> {
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: loading runs the library's initialisers; whoever put a file there, or named it, asks for exactly that.
    let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
    // SAFETY: the symbol, where it exists, has this type since ONNX Runtime 1.0.
    let get = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase") };
    let get = get.map_err(|_| "not ONNX Runtime (it exports no OrtGetApiBase)".to_owned())?;
    // SAFETY: takes nothing and returns a pointer to a static table, or null.
    let base = unsafe { get().as_ref() }.ok_or("OrtGetApiBase returned nothing")?;
    // SAFETY: returns a static, zero-terminated string.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    Ok(version.to_string_lossy().into_owned())
}
