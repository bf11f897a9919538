//! Fetches the pinned ONNX Runtime library out of its Python wheel.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::cargo;

const VERSION: &str = "1.31.1";

/// A platform's wheel tag and the sha256 of the library inside.
struct Pin {
    platform: &'static str,
    sha256: &'static str,
}

fn pin() -> Result<Pin> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok(Pin {
            platform: "manylinux_2_28_x86_64",
            sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        }),
        ("linux", "aarch64") => Ok(Pin {
            platform: "manylinux_2_28_aarch64",
            sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        }),
        (os, arch) => bail!("no ONNX Runtime is pinned for {os} {arch}; set ORT_DYLIB_PATH to a library of your own"),
    }
}

/// The library in `target/onnxruntime`, fetched if it is not there or not the pinned one.
pub(crate) fn fetch() -> Result<PathBuf> {
    let pin = pin()?;
    let folder = cargo::target_folder()?.join("onnxruntime");
    let library = folder.join(format!("libonnxruntime.so.{VERSION}"));
    if library.is_file() && sha256(&std::fs::read(&library)?) == pin.sha256 {
        return Ok(library);
    }
    std::fs::create_dir_all(&folder)?;
    let bytes = library_from_wheel(&download_wheel(&pin, &folder)?)?;
    let found = sha256(&bytes);
    ensure!(found == pin.sha256, "the wheel's library has sha256 {found}, pinned is {}", pin.sha256);
    let partial = library.with_extension("partial");
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, &library)?;
    Ok(library)
}

fn download_wheel(pin: &Pin, folder: &Path) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir_in(folder)?;
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--platform", pin.platform, "--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"])
        .arg("--dest")
        .arg(scratch.path())
        .arg(format!("onnxruntime=={VERSION}"))
        .status()
        .context("python3 could not be started")?;
    ensure!(status.success(), "pip could not download onnxruntime {VERSION} ({status})");
    let wheel = std::fs::read_dir(scratch.path())?.next().context("pip left no wheel")??;
    Ok(std::fs::read(wheel.path())?)
}

fn library_from_wheel(wheel: &[u8]) -> Result<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(wheel)).context("the wheel is not a zip file")?;
    let mut entry = archive.by_name(&format!("onnxruntime/capi/libonnxruntime.so.{VERSION}"))?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
