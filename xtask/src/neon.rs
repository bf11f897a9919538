//! The engine's levels of AArch64 on a machine of another kind: its tests are cross-compiled and run by qemu, on a CPU without
//! `sdot` and on one with it. Says nothing of speed.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// CPUs that qemu can be, the level that each should have as its best, and flags for the compiler and cargo. The last has no
/// operating system to ask, so what the compiler is told counts.
const CPUS: [(&str, &str, &str, &[&str]); 3] = [
    ("cortex-a53", "neon", "", &["--lib", "--test", "goldens", "--test", "refusals", "--test", "stack"]),
    ("max", "neon-dotprod", "", &["--lib", "--test", "goldens", "--test", "refusals"]),
    (
        "max",
        "neon-dotprod",
        " -C target-feature=+dotprod",
        &["--no-default-features", "--features", "alloc", "--test", "goldens"],
    ),
];

/// What it takes.
struct Tools {
    rustc: PathBuf,
    linker: PathBuf,
    qemu: PathBuf,
    objdump: PathBuf,
}

/// Finds them: unpacked by `tools/cross-aarch64.sh`, or installed.
fn tools() -> Result<Tools> {
    let unpacked = cargo::target_folder()?.join("cross/bin");
    let tool = |name: &str| {
        let here = unpacked.join(name);
        if here.is_file() { here } else { name.into() }
    };
    let rustc = match std::env::var_os("RUSTC") {
        Some(rustc) => rustc.into(),
        None => tool("rustc"),
    };
    let tools = Tools {
        rustc,
        linker: tool("aarch64-linux-gnu-gcc"),
        qemu: tool("qemu-aarch64"),
        objdump: tool("aarch64-linux-gnu-objdump"),
    };
    let mut missing = Vec::new();
    if !has_std(&tools) {
        missing.push(format!("Rust's standard library for {TARGET}"));
    }
    for program in [&tools.linker, &tools.qemu, &tools.objdump] {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            missing.push(program.display().to_string());
        }
    }
    if !missing.is_empty() {
        bail!(
            "missing: {}\n  hint: rustup target add {TARGET}; apt-get install gcc-aarch64-linux-gnu qemu-user\n  \
             hint: on a Debian without rustup or root: bash tools/cross-aarch64.sh",
            missing.join(", ")
        );
    }
    Ok(tools)
}

/// Whether the compiler has the target's standard library.
fn has_std(tools: &Tools) -> bool {
    let folder = Command::new(&tools.rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Some(folder) = folder.ok().filter(|folder| folder.status.success()) else { return false };
    let files = std::fs::read_dir(String::from_utf8_lossy(&folder.stdout).trim());
    files.is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

/// What is missing, if anything is.
pub(crate) fn missing() -> Option<String> {
    tools().err().map(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Builds the engine's tests and runs them on each of the CPUs.
pub(crate) fn run() -> Result<()> {
    let tools = tools()?;
    for (cpu, level, flags, tests) in CPUS {
        eprintln!("the engine on qemu's {cpu}, whose level is {level}{flags}");
        let mut cargo = cargo::command();
        cargo.args(["test", "--release", "--locked", "--package", "attar-edge", "--target", TARGET]).args(tests);
        cargo.arg("--target-dir").arg(cargo::target_folder()?.join("neon"));
        // A program without shared libraries needs no folder of them under qemu.
        let flags = format!("-C target-feature=+crt-static{flags}");
        let prefix = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
        cargo.env("RUSTC", &tools.rustc).env(format!("{prefix}_LINKER"), &tools.linker);
        cargo.env(format!("{prefix}_RUSTFLAGS"), flags).env_remove("RUSTFLAGS");
        cargo.env(format!("{prefix}_RUNNER"), format!("{} -cpu {cpu}", tools.qemu.display()));
        cargo.env("ATTAR_BEST_LEVEL", level).env("ATTAR_OBJDUMP", &tools.objdump);
        let status = cargo.status().context("cargo could not be started")?;
        if !status.success() {
            bail!("the engine failed on qemu's {cpu} ({status})");
        }
    }
    Ok(())
}
