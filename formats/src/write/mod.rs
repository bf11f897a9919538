//! Writing files so that a crash, a kill or a full disk never leaves half of one: temporary name, sync, rename, sync.

mod safetensors;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

pub use self::safetensors::{safetensors, safetensors_sha256};

/// Creates or replaces `path` with what `fill` writes, all or nothing: the bytes go to a temporary file in the same
/// folder, are synced, and take the name in one step. When anything before that step fails, an older file at `path` is untouched
/// and the temporary one is gone; after it, only making the new name durable can fail.
///
/// # Errors
/// [`Error::Io`] with `path`, whatever the step that failed.
pub fn atomically(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (temporary, file) = create_beside(folder, path).map_err(|error| failed(path, error))?;
    let written = fill_and_sync(file, fill).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to report; a leftover temporary file is only untidy.
        let _ = std::fs::remove_file(&temporary);
        return Err(failed(path, error));
    }
    sync_folder(folder).map_err(|error| failed(path, error))
}

/// [`atomically`] with bytes that are all there.
///
/// # Errors
/// As [`atomically`].
pub fn bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    atomically(path, |file| file.write_all(bytes))
}

/// The file that a temporary one of [`atomically`], which a kill has left, was to become; `None` for other names.
pub fn meant(name: &str) -> Option<&str> {
    let (name, number) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    (!name.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(name)
}

/// A new file `.NAME.N.tmp` in `folder`; `N` is the first number that is free, so that writers never share one.
fn create_beside(folder: &Path, path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    for n in 0..10_000 {
        let temporary = folder.join(format!(".{}.{n}.tmp", name.to_string_lossy()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "10000 temporary files are left beside it; delete them"))
}

fn fill_and_sync(file: File, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    let filled = fill(&mut writer).and_then(|()| writer.flush());
    // Taken apart by hand: dropping a `BufWriter` would try to write the rest again.
    let (file, _) = writer.into_parts();
    filled.and_then(|()| file.sync_all())
}

/// A rename is only durable once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let source = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::new(
            error.kind(),
            format!("{error}; nothing was written, an older file is unchanged\n  hint: free some space and try again"),
        ),
        _ => error,
    };
    Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_half_way_keeps_the_old_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        std::fs::write(&path, "old").unwrap();
        let error = atomically(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("kept") && message.contains("hint: free some space"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["kept"]);
    }

    /// The kernel's own answer to a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let error = atomically(&path, |_| OpenOptions::new().write(true).open("/dev/full")?.write_all(b"x"));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("No space left") && message.contains("hint"), "{message}");
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_missing_folder_is_an_error_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/such/file");
        assert!(atomically(&path, |_| Ok(())).unwrap_err().to_string().contains("no/such/file"));
    }

    #[test]
    fn a_temporary_file_left_by_a_kill_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".w.0.tmp"), "half").unwrap();
        let path = folder.path().join("w");
        bytes(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(meant(".w.0.tmp"), Some("w"));
        assert_eq!(meant(".recipe.toml.12.tmp"), Some("recipe.toml"));
        assert!([".w.x.tmp", "w.0.tmp", ".w.tmp", "w", "..0.tmp"].iter().all(|name| meant(name).is_none()));
    }
}
