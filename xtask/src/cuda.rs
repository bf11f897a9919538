//! Type-checks the CUDA features where no CUDA toolkit is installed.
//!
//! Candle's build scripts ask `nvcc` for its version and for PTX. A type check needs neither to be real, so a stand-in
//! answers: the right version line, empty outputs. What it checks cannot be linked.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

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

/// `cargo check` with the stand-in first on the path: with cuDNN, then with our own convolutions alone.
pub(crate) fn check() -> Result<()> {
    let root = tempfile::tempdir()?;
    let bin = root.path().join("bin");
    install_stand_in(&bin)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?;
    for features in ["cudnn", "cuda"] {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["check", "--release", "--package", "attar-distill", "--all-targets", "--features", features])
            .env("PATH", &path)
            .env("CUDA_HOME", root.path())
            .env("CUDA_COMPUTE_CAP", "90")
            .status()
            .context("cargo could not be started")?;
        ensure!(status.success(), "the feature `{features}` does not type-check ({status})");
    }
    Ok(())
}

fn install_stand_in(bin: &Path) -> Result<()> {
    std::fs::create_dir_all(bin)?;
    let nvcc = bin.join("nvcc");
    std::fs::write(&nvcc, STAND_IN)?;
    std::fs::set_permissions(&nvcc, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
