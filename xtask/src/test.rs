//! Runs every test and says plainly which ones could not run.
//!
//! A test has one of three outcomes: it ran; a tool is missing, which CI must not accept; or hardware is missing, which
//! is counted and is nobody's fault.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, neon, onnxruntime};

/// SIMD levels below the best one, as `ATTAR_SIMD` names them.
pub(crate) const LOWER_LEVELS: [&str; 2] = ["avx2", "scalar"];

/// The emulator's test of its translator.
const TRANSLATOR_TEST: &str = "tools/gpu-emulator/test_ptx.py";

/// What could not run, and what it lacked: `test: what`.
#[derive(Debug, Default, PartialEq)]
struct Missed {
    tools: BTreeSet<String>,
    hardware: BTreeSet<String>,
}

impl Missed {
    /// Adds what tests wrote to the file named by `ATTAR_MISSED_TESTS`, a line each: `tool: test: what is missing` or
    /// `hardware: test: what is missing`. A line of another kind counts as a tool, which is the stricter.
    fn add(&mut self, lines: &str) {
        for line in lines.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("hardware: ") {
                Some(test) => self.hardware.insert(test.to_owned()),
                None => self.tools.insert(line.strip_prefix("tool: ").unwrap_or(line).to_owned()),
            };
        }
    }

    fn report(&self) -> String {
        let list = |what: &str, tests: &BTreeSet<String>| {
            let lines: String = tests.iter().map(|test| format!("  {test}\n")).collect();
            if tests.is_empty() {
                String::new()
            } else {
                format!("{} did not run, {what} is missing:\n{lines}", tests.len())
            }
        };
        let lists = list("a tool", &self.tools) + &list("hardware", &self.hardware);
        if lists.is_empty() { "every test ran\n".to_owned() } else { lists }
    }
}

/// Fetches ONNX Runtime, runs all tests, then reports what did not run.
pub(crate) fn run(full: bool, rest: &[String]) -> Result<()> {
    let in_ci = cargo::in_ci();
    let missed_file = tempfile::NamedTempFile::new()?;
    let mut cargo = cargo::command();
    cargo.args(["test", "--release", "--workspace", "--no-fail-fast"]).arg("--").args(rest);
    cargo.env("ATTAR_MISSED_TESTS", missed_file.path());
    if full {
        cargo.env("ATTAR_FULL_TESTS", "1");
    }
    match onnxruntime::fetch() {
        Ok(library) => {
            eprintln!("ONNX Runtime: {}", library.display());
            cargo.env("ORT_DYLIB_PATH", library);
        }
        Err(error) if in_ci => return Err(error.context("CI needs ONNX Runtime")),
        Err(error) => eprintln!("ONNX Runtime could not be fetched, its tests will not run: {error:#}"),
    }
    let status = cargo.status().context("cargo could not be started")?;
    let mut missed = Missed::default();
    missed.add(&std::fs::read_to_string(missed_file.path())?);
    if !status.success() {
        eprint!("{}", missed.report());
        bail!("tests failed ({status})");
    }
    if rest.is_empty() {
        lower_simd_levels(&mut missed)?;
        translator(&mut missed)?;
        levels_of_arm(&mut missed)?;
    }
    eprint!("{}", missed.report());
    if !missed.tools.is_empty() && in_ci {
        bail!("{} tests did not run, and CI must have their tools", missed.tools.len());
    }
    Ok(())
}

/// Every network of `tests/fixtures/onnx`, not only the small ones that the suite runs; their table goes to stdout.
pub(crate) fn onnx_zoo(files: Option<&Path>) -> Result<()> {
    let mut cargo = cargo::command();
    cargo.args(["test", "--release", "--workspace", "--test", "suite", "networks_of_others", "--", "--nocapture"]);
    let files = files.map(std::path::absolute).transpose()?;
    cargo.env("ATTAR_ONNX_ZOO", files.unwrap_or_else(|| "all".into())).env("ORT_DYLIB_PATH", onnxruntime::fetch()?);
    if !cargo.status().context("cargo could not be started")?.success() {
        bail!("a network failed");
    }
    Ok(())
}

/// The translator of the GPU's emulator, instruction by instruction.
fn translator(missed: &mut Missed) -> Result<()> {
    let starts = |tool: &str| {
        let version = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    if let Some(tool) = ["python3", "cc"].into_iter().find(|tool| !starts(tool)) {
        missed.add(&format!("tool: {TRANSLATOR_TEST}: {tool}"));
        return Ok(());
    }
    let status = Command::new("python3").arg(cargo::root()?.join(TRANSLATOR_TEST)).status()?;
    if !status.success() {
        bail!("{TRANSLATOR_TEST} failed ({status})");
    }
    Ok(())
}

/// The engine's levels of AArch64, which the tests above have reached on such a CPU; else where qemu can play one.
fn levels_of_arm(missed: &mut Missed) -> Result<()> {
    if cfg!(target_arch = "aarch64") {
        return Ok(());
    }
    if let Some(what) = neon::missing() {
        missed.add(&format!(
            "hardware: the engine's levels of AArch64: such a CPU, or what `cargo xtask neon` asks for ({what})"
        ));
        return Ok(());
    }
    neon::run()
}

/// Tests the kernels again at the lower SIMD levels, all of their tests: the programs that were made for the best level, since
/// cargo would make others of this package alone.
fn lower_simd_levels(missed: &mut Missed) -> Result<()> {
    let folder = cargo::root()?.join("kernels");
    let programs = test_programs(&folder)?;
    for level in LOWER_LEVELS {
        if !has(level) {
            missed.add(&format!("hardware: the kernels at ATTAR_SIMD={level}: a CPU with {level}"));
            continue;
        }
        eprintln!("the kernels with ATTAR_SIMD={level}");
        for program in &programs {
            let status = Command::new(program).current_dir(&folder).env("ATTAR_SIMD", level).status();
            let status = status.with_context(|| program.display().to_string())?;
            if !status.success() {
                bail!("the kernels failed at the level {level} ({status})");
            }
        }
    }
    Ok(())
}

/// The test programs of the package in a folder, as [`run`] has cargo make them.
fn test_programs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = cargo::command();
    cargo.args(["test", "--release", "--workspace", "--no-run", "--quiet", "--message-format=json"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo could not be started")?;
    if !output.status.success() {
        bail!("cargo did not name the test programs ({})", output.status);
    }
    let programs = programs_of(&String::from_utf8_lossy(&output.stdout), &folder.join("Cargo.toml"));
    if programs.is_empty() {
        bail!("{} has no test programs", folder.display());
    }
    Ok(programs)
}

/// What cargo's messages say of the programs that test a package.
fn programs_of(messages: &str, manifest: &Path) -> Vec<PathBuf> {
    let of = |line: &str| -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_its_own = message["manifest_path"].as_str().map(Path::new) == Some(manifest);
        let is_test = message["profile"]["test"].as_bool() == Some(true);
        message["executable"].as_str().filter(|_| is_its_own && is_test).map(PathBuf::from)
    };
    messages.lines().filter_map(of).collect()
}

/// Whether this machine has a SIMD level: what the kernels ask for by that name.
fn has(level: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    if level == "avx2" {
        return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    }
    level == "scalar"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_are_told_apart() {
        let mut missed = Missed::default();
        assert_eq!(missed.report(), "every test ran\n");
        missed.add("tool: b: ONNX Runtime\n\nhardware: c: a GPU\ntool: b: ONNX Runtime\nno kind");
        assert_eq!(missed.tools.iter().collect::<Vec<_>>(), ["b: ONNX Runtime", "no kind"]);
        assert_eq!(missed.hardware.iter().collect::<Vec<_>>(), ["c: a GPU"]);
        let report = missed.report();
        assert!(report.starts_with("2 did not run, a tool is missing:\n  b: ONNX Runtime\n"), "{report}");
        assert!(report.ends_with("1 did not run, hardware is missing:\n  c: a GPU\n"), "{report}");
    }

    #[test]
    fn programs_are_those_of_the_package_s_tests() {
        let message = |manifest: &str, test: bool, executable: &str| {
            format!(r#"{{"manifest_path":"{manifest}","profile":{{"test":{test}}},"executable":{executable}}}"#)
        };
        let messages = [
            message("/a/kernels/Cargo.toml", true, r#""/t/kernels-1""#),
            message("/a/kernels/Cargo.toml", false, r#""/t/example""#),
            message("/a/kernels/Cargo.toml", false, "null"),
            message("/a/edge/Cargo.toml", true, r#""/t/edge-1""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            message("/a/kernels/Cargo.toml", true, r#""/t/kernels-2""#),
        ];
        let found = programs_of(&messages.join("\n"), Path::new("/a/kernels/Cargo.toml"));
        assert_eq!(found, ["/t/kernels-1", "/t/kernels-2"].map(PathBuf::from));
    }
}
