//! Type-checks the CUDA features where no CUDA toolkit is installed.
//!
//! Candle's build scripts ask `nvcc` for its version and for PTX. A type check needs neither to be real, so a stand-in
//! answers: the right version line, empty outputs. What it checks cannot be linked. Our own kernels are compiled when a program
//! runs, so here NVRTC is asked whether they would be.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::{cargo, nvrtc};

const STAND_IN: &str = r#"#!/bin/bash
case "$1" in
  --version) printf 'nvcc: NVIDIA (R) Cuda compiler driver\nstub\nstub\nCuda compilation tools, release 13.0, V13.0.88\n' ;;
  --list-gpu-code) echo sm_90 ;;
  *)
    out=; folder=
    for ((i = 1; i <= $#; i++)); do
      next=$((i + 1))
      case "${!i}" in -o) out=${!next} ;; --output-directory | -odir) folder=${!next} ;; esac
    done
    [ -n "$out" ] && : >"$out"
    [ -n "$folder" ] && for source in "$@"; do
      case "$source" in *.cu) : >"$folder/$(basename "$source" .cu).ptx" ;; esac
    done
    true ;;
esac
"#;

/// Every way in which the CUDA features are built: the executor alone with each of them, and the whole program.
const CHECKS: [[&str; 4]; 3] = [
    ["--package", "attar-exec", "--features", "cuda"],
    ["--package", "attar-exec", "--features", "cudnn"],
    ["--package", "attar", "--features", "cuda,cudnn"],
];

/// `cargo check` with the stand-in first on the path.
///
/// It has a target folder of its own: a real build would take the empty kernels for compiled ones.
pub(crate) fn check() -> Result<()> {
    let target = cargo::target_folder()?.join("check-cuda");
    let home = target.join("toolkit");
    let bin = home.join("bin");
    install_stand_in(&bin)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&path)))?;
    for check in CHECKS {
        let what = check.join(" ");
        eprintln!("cargo check {what}");
        let status = cargo::command()
            .args(["check", "--all-targets"])
            .args(check)
            .arg("--target-dir")
            .arg(&target)
            .env("PATH", &path)
            .env("NVCC", bin.join("nvcc"))
            .env("CUDA_HOME", &home)
            .env("CUDA_COMPUTE_CAP", "90")
            .status()
            .context("cargo could not be started")?;
        ensure!(status.success(), "the CUDA features do not type-check: cargo check {what} ({status})");
    }
    match nvrtc::fetch() {
        Ok(folder) => nvrtc::compile_kernels(&folder),
        Err(error) if cargo::in_ci() => Err(error.context("CI compiles the kernels")),
        Err(error) => {
            eprintln!("NVRTC could not be fetched, the kernels were not compiled: {error:#}");
            Ok(())
        }
    }
}

fn install_stand_in(bin: &Path) -> Result<()> {
    std::fs::create_dir_all(bin)?;
    let nvcc = bin.join("nvcc");
    std::fs::write(&nvcc, STAND_IN)?;
    std::fs::set_permissions(&nvcc, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
