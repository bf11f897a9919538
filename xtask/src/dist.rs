//! Builds the programs as they are shipped: `attar-infer` for the edge, small or with every runtime, and `attar` with CUDA for
//! machines with and without a GPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{cargo, portable, stubs, toolkit};

/// PTX for Ampere, which drivers translate for every newer GPU; older ones lack the `bf16` that Candle's kernels use.
const COMPUTE_CAPABILITY: &str = "80";

/// What the small `attar-infer` is built of: plans in Attar's own engine, and the verbs.
const SMALL: &str = "edge,cli";

/// How it is built as it is shipped.
pub(crate) const SMALL_PROFILE: &str = "small";

/// Most bytes of it.
const MOST: u64 = 3_000_000;

/// Builds the small `attar-infer`, which runs plans in Attar's own engine, and prints its path and size.
///
/// # Errors
/// When it does not build, or has become larger than it is meant to be.
pub(crate) fn small(profile: &str) -> Result<()> {
    let program = infer(profile, &["--no-default-features", "--features", SMALL])?;
    // Other profiles keep what this one leaves out.
    let bytes = std::fs::metadata(&program).with_context(|| format!("{} was not built", program.display()))?.len();
    ensure!(
        profile != SMALL_PROFILE || bytes <= MOST,
        "{} has {bytes} bytes, expected at most {MOST}\n  \
         hint: `cargo tree --package attar-infer --no-default-features --features {SMALL}` shows what it is made of",
        program.display()
    );
    Ok(())
}

/// Builds `attar-infer` with tract, ONNX Runtime and the compiler of plans, too, and prints its path and size.
pub(crate) fn every_runtime(profile: &str) -> Result<()> {
    infer(profile, &[]).map(drop)
}

fn infer(profile: &str, features: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo::command();
    build(cargo.args(["build", "--profile", profile, "--package", "attar-infer"]).args(features))?;
    let program = cargo::target_folder()?.join(profile_folder(profile)).join("attar-infer");
    println!("{}: {}", program.display(), megabytes(&program)?);
    Ok(program)
}

/// Builds `attar` with CUDA and cuDNN so that it starts on every x86-64 Linux, and prints what it asks of a machine.
pub(crate) fn cuda(profile: &str) -> Result<()> {
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        bail!(
            "`dist --cuda` makes programs for x86-64 Linux, on x86-64 Linux\n  \
             hint: elsewhere install CUDA and run `cargo build --release --features cuda,cudnn`"
        );
    }
    let toolkit = toolkit::find()?;
    let (major, minor) = toolkit.version;
    eprintln!("CUDA {major}.{minor}: {}", toolkit.nvcc.display());
    let link = stubs::make(&toolkit)?;
    let capability = std::env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| COMPUTE_CAPABILITY.to_owned());
    let compiler = toolkit.nvcc.parent().context("nvcc lies in no folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(compiler.to_owned()).chain(std::env::split_paths(&path)))?;

    let mut cargo = cargo::command();
    cargo.args(["build", "--profile", profile, "--package", "attar", "--features", "cuda,cudnn"]);
    // cudarc asks the first `nvcc` for its version and links what lies in these folders: the stand-ins and nothing else.
    cargo.env("PATH", path).env("NVCC", &toolkit.nvcc).env("CUDA_HOME", &link).env("CUDA_COMPUTE_CAP", capability);
    for other in ["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"] {
        cargo.env_remove(other);
    }
    build(&mut cargo)?;

    // A place of its own: the next build without CUDA does not overwrite it.
    let target = cargo::target_folder()?;
    let program = target.join("cuda").join("attar");
    let built = target.join(profile_folder(profile)).join("attar");
    stubs::run(Command::new("strip").arg("-o").arg(&program).arg(&built))?;
    portable::check(&program)?;
    println!("{}: {}", program.display(), megabytes(&program)?);
    portable::report(&program)
}

fn build(cargo: &mut Command) -> Result<()> {
    let status = cargo.status().context("cargo could not be started")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(())
}

/// Cargo's folder for the profile `dev` has another name.
fn profile_folder(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

fn megabytes(file: &Path) -> Result<String> {
    let bytes = std::fs::metadata(file).with_context(|| format!("{} was not built", file.display()))?.len();
    Ok(format!("{:.1} MB", bytes as f64 / 1e6))
}
