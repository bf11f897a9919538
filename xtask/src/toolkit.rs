//! Finds a CUDA toolkit to build with, or makes one out of NVIDIA's Python wheels.
//!
//! A build needs `nvcc`, its headers and the static CUDA runtime: no GPU, no driver, no root. cuDNN's headers are not needed, because
//! cudarc carries its bindings. The order is `$CUDA_HOME`, then `nvcc` on the `PATH`, then the wheels, which are unpacked once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, wheels};

/// CUDA 13.0 rather than the newest: the PTX of a newer `nvcc` is refused by the 580 drivers that 13.0 works with.
const WHEELS: &str = "\
nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
";

/// Where the wheels put their files.
const INSIDE: &str = "nvidia/cu13";

/// A CUDA toolkit that can compile.
#[derive(Debug)]
pub(crate) struct Toolkit {
    /// The compiler.
    pub(crate) nvcc: PathBuf,
    /// Its version, e.g. `(13, 0)`.
    pub(crate) version: (u32, u32),
    /// The CUDA runtime as a static library.
    pub(crate) cudart: PathBuf,
}

/// The toolkit of this machine, made under `target/cuda` if there is none.
pub(crate) fn find() -> Result<Toolkit> {
    if let Some(home) = std::env::var_os("CUDA_HOME").filter(|home| !home.is_empty()) {
        return open(Path::new(&home)).context("$CUDA_HOME is set\n  hint: name a CUDA toolkit, or unset it");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file());
    if let Some(nvcc) = on_path {
        let nvcc = nvcc.canonicalize()?;
        let home = nvcc.ancestors().nth(2).with_context(|| format!("{} lies in no toolkit", nvcc.display()))?;
        let hint = "nvcc was found on the PATH\n  hint: set CUDA_HOME to a complete CUDA toolkit";
        return open(home).context(hint);
    }
    open(&from_wheels()?)
}

fn open(home: &Path) -> Result<Toolkit> {
    let nvcc = home.join("bin/nvcc");
    let output = Command::new(&nvcc).arg("--version").output();
    let output = output.with_context(|| format!("{} could not be started", nvcc.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = version(&text).with_context(|| format!("{} does not say its version: {text}", nvcc.display()))?;
    let folders = ["lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu"];
    let mut places = folders.iter().map(|folder| home.join(folder).join("libcudart_static.a"));
    let cudart = places.find(|file| file.is_file());
    let cudart = cudart.with_context(|| {
        format!("no libcudart_static.a under {}\n  hint: install CUDA's runtime development files", home.display())
    })?;
    Ok(Toolkit { nvcc, version, cudart })
}

/// Reads `Cuda compilation tools, release 13.0, V13.0.88`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, after) = text.split_once("release ")?;
    let (major, minor) = after.split(',').next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn from_wheels() -> Result<PathBuf> {
    let folder = cargo::target_folder()?.join("cuda");
    let done = folder.join("toolkit-13.0");
    if done.is_dir() {
        return Ok(done.join(INSIDE));
    }
    eprintln!("no CUDA toolkit here: making one of NVIDIA's wheels (100 MiB) in {}", done.display());
    let scratch = wheels::install(WHEELS, &folder).context("no CUDA toolkit\n  hint: set CUDA_HOME to one")?;
    let home = scratch.path().join(INSIDE);
    for programs in ["bin", "nvvm/bin"] {
        make_executable(&home.join(programs))?;
    }
    ensure!(home.join("bin/nvcc").is_file(), "NVIDIA's wheels hold no {INSIDE}/bin/nvcc");
    std::fs::rename(scratch.keep(), &done)?;
    Ok(done.join(INSIDE))
}

/// Not every wheel says which of its files are programs.
fn make_executable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let entries = std::fs::read_dir(folder).with_context(|| format!("no folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvcc_says_its_version() {
        let text = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88\n";
        assert_eq!(version(text), Some((13, 0)));
        assert_eq!(version("release of something else"), None);
    }
}
