//! The program that runs: to run it again, and to know its work from that of another build.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use attar_formats::hash;

/// This very program, even where another one has been built in its place since.
///
/// # Errors
/// When the system does not tell.
pub fn path() -> Result<PathBuf> {
    Ok(if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? })
}

/// The SHA-256 of its file: two builds of one version are two programs.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn sha256() -> Result<&'static str> {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return Ok(hash);
    }
    let hash = hash::file_sha256(&path()?).context("the program's own file")?;
    Ok(HASH.get_or_init(|| hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_known_by_its_own_file() {
        let own = hash::file_sha256(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!((sha256().unwrap(), sha256().unwrap()), (own.as_str(), own.as_str()));
    }
}
