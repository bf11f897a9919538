//! NVIDIA's run-time compiler: fetched, and asked whether our kernels compile; and whether the emulator knows what they become.
//! None of it needs a GPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cargo, wheels};

const WHEEL: &str = "\
nvidia-cuda-nvrtc==13.0.88 --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
";

/// Where the wheel puts its libraries.
const INSIDE: &str = "nvidia/cu13/lib";

const LIBRARY: &str = "libnvrtc.so.13";

/// Our kernels; the prelude is part of each.
const KERNELS: &str = "exec/src/ops/cuda/kernels";

/// The emulator's translator.
const TRANSLATOR: &str = "tools/gpu-emulator/ptx.py";

/// The folder with `libnvrtc` and what it opens, under `target/cuda`; fetched if it is not there. x86-64 Linux only.
pub(crate) fn fetch() -> Result<PathBuf> {
    let folder = cargo::target_folder()?.join("cuda");
    let done = folder.join("nvrtc-13.0");
    if !done.is_dir() {
        let scratch = wheels::install(WHEEL, &folder)?;
        ensure!(scratch.path().join(INSIDE).join(LIBRARY).is_file(), "NVIDIA's wheel holds no {INSIDE}/{LIBRARY}");
        std::fs::rename(scratch.keep(), &done)?;
    }
    Ok(done.join(INSIDE))
}

/// Compiles every file of kernels, for each type that images are stored in, with the library in this folder, and translates
/// the outcome to C.
pub(crate) fn compile_kernels(nvrtc: &Path) -> Result<()> {
    let library = nvrtc.join(LIBRARY);
    let folder = cargo::root()?.join(KERNELS);
    let mut files = list(&folder)?;
    let prelude = folder.join("prelude.cu");
    files.retain(|file| *file != prelude);
    ensure!(!files.is_empty(), "no kernels in {}", folder.display());
    eprintln!("compiling {} files of kernels with NVRTC", files.len());
    let made = tempfile::tempdir()?;
    let compiler = ["-c", include_str!("compile.py")];
    python(Command::new("python3").args(compiler).args([&library, made.path(), &prelude]).args(&files))
        .context("the CUDA kernels do not compile")?;
    let modules = list(made.path())?;
    python(Command::new("python3").arg(cargo::root()?.join(TRANSLATOR)).args(modules))
        .context("the emulator does not know an instruction of the CUDA kernels")
}

fn python(command: &mut Command) -> Result<()> {
    let status = command.status().context("python3 could not be started")?;
    ensure!(status.success(), "python3 ended with {status}");
    Ok(())
}

/// The files of a folder, in order.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("no folder {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}
