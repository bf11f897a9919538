//! Makes link-time stand-ins for NVIDIA's libraries, so that one binary starts with and without them.
//!
//! Candle links `libcuda` and its companions in the ordinary way, and such a binary does not start where they are not. A stand-in is a
//! static library with one trampoline for each function in cudarc's bindings (so a new cudarc brings new stand-ins): the first call
//! opens the real library, from the folders in `ATTAR_CUDA_PATH` (separated by colons) or by the loader's own search, and every later
//! call is one jump. Where the library is missing, functions answer with that library's own error code.

mod bindings;
#[cfg(test)]
mod tests;
mod trampolines;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::cargo;
use crate::toolkit::Toolkit;
use bindings::Answer;

const RESOLVE_C: &str = include_str!("resolve.c");

/// A library's file name is `lib{link}.so.{version}`.
struct Library {
    /// What `-l` calls it.
    link: &'static str,
    /// The folder of cudarc's sources with its bindings.
    bindings: &'static str,
    /// The version in its file name; `None` is the toolkit's major version.
    version: Option<u32>,
    /// What it answers where it is not there.
    absent: &'static str,
    /// What it answers for a function that it does not have yet.
    unknown: &'static str,
    /// What it opens by name while it runs, as beginnings of file names; `{}` is the toolkit's major version.
    companions: &'static [&'static str],
}

const LIBRARIES: [Library; 6] = [
    Library {
        link: "cuda",
        bindings: "driver",
        version: Some(1),
        absent: "CUDA_ERROR_NO_DEVICE",
        unknown: "CUDA_ERROR_NOT_SUPPORTED",
        companions: &[],
    },
    Library {
        link: "nvrtc",
        bindings: "nvrtc",
        version: None,
        absent: "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE",
        unknown: "NVRTC_ERROR_INTERNAL_ERROR",
        companions: &["libnvrtc-builtins.so.{}"],
    },
    Library {
        link: "curand",
        bindings: "curand",
        version: Some(10),
        absent: "CURAND_STATUS_INITIALIZATION_FAILED",
        unknown: "CURAND_STATUS_VERSION_MISMATCH",
        companions: &[],
    },
    Library {
        link: "cublas",
        bindings: "cublas",
        version: None,
        absent: "CUBLAS_STATUS_NOT_INITIALIZED",
        unknown: "CUBLAS_STATUS_NOT_SUPPORTED",
        companions: &["libcublasLt.so.{}"],
    },
    Library {
        link: "cublasLt",
        bindings: "cublaslt",
        version: None,
        absent: "CUBLAS_STATUS_NOT_INITIALIZED",
        unknown: "CUBLAS_STATUS_NOT_SUPPORTED",
        companions: &[],
    },
    Library {
        link: "cudnn",
        bindings: "cudnn",
        version: Some(9),
        absent: "CUDNN_STATUS_NOT_INITIALIZED",
        unknown: "CUDNN_STATUS_NOT_SUPPORTED",
        companions: &["libcublasLt.so.{}", "libcublas.so.{}", "libnvrtc-builtins.so.{}", "libnvrtc.so.{}"],
    },
];

/// The two sources of a stand-in.
struct Sources {
    assembly: String,
    c: String,
}

/// A folder whose `lib` holds what a build links against: the stand-ins, the static CUDA runtime and the static C++ library.
///
/// Its name is a hash of what went in, so that cargo links anew when a stand-in changes.
pub(crate) fn make(toolkit: &Toolkit) -> Result<PathBuf> {
    let cudarc = bindings::cudarc()?;
    let mut hash = Sha256::new();
    hash.update(toolkit.cudart.as_os_str().as_encoded_bytes());
    let mut stand_ins = Vec::new();
    for library in &LIBRARIES {
        let file = cudarc.join(library.bindings).join("sys/mod.rs");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let sources = write(library, &text, toolkit.version.0).with_context(|| file.display().to_string())?;
        hash.update(&sources.assembly);
        hash.update(&sources.c);
        stand_ins.push((library, sources));
    }
    let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let parent = cargo::target_folder()?.join("cuda");
    let done = parent.join(format!("link-{hash}"));
    if done.is_dir() {
        return Ok(done);
    }
    std::fs::create_dir_all(&parent)?;
    let scratch = tempfile::tempdir_in(&parent)?;
    let lib = scratch.path().join("lib");
    std::fs::create_dir(&lib)?;
    for (library, sources) in stand_ins {
        compile(library.link, &sources, &lib)?;
    }
    std::os::unix::fs::symlink(&toolkit.cudart, lib.join("libcudart.a"))?;
    if let Some(file) = static_cpp_library()? {
        std::os::unix::fs::symlink(file, lib.join("libstdc++.a"))?;
    }
    std::fs::rename(scratch.keep(), &done)?;
    Ok(done)
}

/// The compiler's own static C++ library, if it has one: found before the shared one, it spares users a `libstdc++`.
fn static_cpp_library() -> Result<Option<PathBuf>> {
    let output = Command::new("cc").arg("-print-file-name=libstdc++.a").output().context("cc could not be started")?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(path.is_absolute().then_some(path))
}

fn write(library: &Library, bindings: &str, major: u32) -> Result<Sources> {
    let functions = bindings::functions(bindings)?;
    ensure!(!functions.is_empty(), "no functions found: cudarc writes its bindings in another way now");
    let resolve = format!("attar_resolve_{}", library.link);
    let names: Vec<&str> = functions.keys().map(String::as_str).collect();
    let assembly = trampolines::assembly(&names, &resolve);
    let absent = bindings::code(bindings, library.absent)?;
    let unknown = bindings::code(bindings, library.unknown)?;
    let c = header(library, &functions, (absent, unknown), major, &resolve) + RESOLVE_C;
    Ok(Sources { assembly, c })
}

/// What `resolve.c` expects above itself.
fn header(
    library: &Library,
    functions: &BTreeMap<String, Answer>,
    (absent, unknown): (u32, u32),
    major: u32,
    resolve: &str,
) -> String {
    let version = library.version.unwrap_or(major);
    let companions = library.companions.iter().map(|name| format!("\"{}\", ", name.replace("{}", &major.to_string())));
    let mut text = format!(
        "#define LIBRARY \"lib{}.so.{version}\"\n#define DRIVER {}\n#define ABSENT {absent}\n#define UNKNOWN {unknown}\n\
         #define RESOLVE {resolve}\nstatic const char *const companions[] = {{{}0}};\n\
         enum answer {{ STATUS, ZERO, TEXT, EXPLANATION, NOTHING }};\n\
         static const struct {{ const char *name; enum answer answer; }} functions[] = {{\n",
        library.link,
        u32::from(library.link == "cuda"),
        companions.collect::<String>(),
    );
    for (name, answer) in functions {
        let answer = match answer {
            Answer::Status => "STATUS",
            Answer::Zero => "ZERO",
            Answer::Text => "TEXT",
            Answer::Explanation => "EXPLANATION",
            Answer::Nothing => "NOTHING",
        };
        writeln!(text, "    {{\"{name}\", {answer}}},").unwrap_or_default();
    }
    text + "};\n"
}

/// Compiles a stand-in to `lib{link}.a`: one object, so that whoever needs one function gets them all.
fn compile(link: &str, sources: &Sources, lib: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let at = |name: &str| scratch.path().join(name);
    std::fs::write(at("trampolines.s"), &sources.assembly)?;
    std::fs::write(at("resolve.c"), &sources.c)?;
    run(Command::new("cc").args(["-c", "-o"]).arg(at("a.o")).arg(at("trampolines.s")))?;
    let warnings = ["-Wall", "-Wextra", "-Wno-format-truncation", "-Werror"];
    let c = ["-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden"];
    run(Command::new("cc").args(c).args(warnings).args(["-c", "-o"]).arg(at("b.o")).arg(at("resolve.c")))?;
    run(Command::new("ld").args(["-r", "-o"]).arg(at("both.o")).args([at("a.o"), at("b.o")]))?;
    run(Command::new("ar").arg("rcs").arg(lib.join(format!("lib{link}.a"))).arg(at("both.o")))
}

/// Runs a compiler or a tool that comes with one.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let hint = || format!("{name} could not be started\n  hint: install a C compiler with its binutils, e.g. gcc");
    let output = command.output().with_context(hint)?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
