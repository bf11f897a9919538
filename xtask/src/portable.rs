//! What a Linux program asks of the machine it runs on: shared libraries and the age of the C library.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Makes sure that a program needs no library of NVIDIA's and starts.
pub(crate) fn check(program: &Path) -> Result<()> {
    let section = dynamic_section(program)?;
    let needed = needed(&section);
    let nvidia = needed.iter().find(|name| name.starts_with("libcu") || name.starts_with("libnv"));
    if let Some(name) = nvidia {
        bail!("{} needs {name} to start: something was linked past the stand-ins", program.display());
    }
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{} could not be started", program.display()))?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} does not start ({}): {message}", program.display(), output.status);
    Ok(())
}

/// Prints the libraries a program needs and the oldest C library that has all its functions.
pub(crate) fn report(program: &Path) -> Result<()> {
    let text = dynamic_section(program)?;
    println!("needs: {}", needed(&text).into_iter().collect::<Vec<_>>().join(" "));
    if let Some((major, minor)) = newest_glibc(&text) {
        println!("glibc: {major}.{minor} or newer");
    }
    Ok(())
}

fn dynamic_section(program: &Path) -> Result<String> {
    let output = Command::new("readelf").args(["--wide", "--dynamic", "--version-info"]).arg(program).output();
    let output = output.context("readelf could not be started\n  hint: install binutils")?;
    ensure!(output.status.success(), "readelf failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads ` 0x0000000000000001 (NEEDED)  Shared library: [libc.so.6]`.
fn needed<'text>(text: &'text str) -> BTreeSet<&'text str> {
    let name = |line: &'text str| line.contains("(NEEDED)").then(|| line.split_once('[')?.1.split_once(']'))?;
    text.lines().filter_map(name).map(|(name, _)| name).collect()
}

/// The highest of all `Name: GLIBC_2.34`.
fn newest_glibc(text: &str) -> Option<(u32, u32)> {
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READELF: &str = "
 0x0000000000000001 (NEEDED)             Shared library: [libm.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000c (INIT)               0x5a000
  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 12
  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 4
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 5
  0x0040:   Name: GCC_4.2.0  Flags: none  Version: 3
";

    #[test]
    fn libraries_and_the_newest_glibc_are_read() {
        assert_eq!(needed(READELF), ["libc.so.6", "libm.so.6"].into());
        assert_eq!(newest_glibc(READELF), Some((2, 34)));
        assert_eq!(newest_glibc("nothing"), None);
    }
}
