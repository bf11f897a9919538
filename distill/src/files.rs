//! Files that survive a power cut: written, synced, renamed; errors that say when the disk is full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Turns an I/O error into ours; a full disk gets a hint.
pub(crate) fn io(path: &Path, source: std::io::Error) -> Error {
    let source = match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => std::io::Error::new(
            source.kind(),
            format!("{source}\n  hint: the checkpoint before is intact; make room and go on with --resume"),
        ),
        _ => source,
    };
    Error::Io { path: path.to_owned(), source }
}

/// Writes `bytes` to `path` and syncs the file.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io(path, source))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    // Windows cannot open a directory as a file; its renames are durable without.
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| io(path, source))?;
    }
    Ok(())
}

/// Renames `from` to `to`.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|source| io(from, source))
}

/// Removes a file, if it exists.
pub(crate) fn remove_file(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(source),
        _ => Ok(()),
    }
}

/// Removes a directory with all in it, if it exists.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(io(path, source)),
        _ => Ok(()),
    }
}
