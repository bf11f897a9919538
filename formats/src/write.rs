//! Writing files so that a crash, a kill or a full disk never leaves half of one: temporary name, sync, rename, sync.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use attar_models::Weights;
use serde::Serialize;

use crate::error::{Error, Result};

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

/// Writes weights as a safetensors file, atomically. The bytes depend on nothing but the arguments: names in order,
/// metadata in order, header padded with spaces to 8 bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Format`] when a name is the format's own `__metadata__`.
pub fn safetensors(path: &Path, weights: &Weights, metadata: &BTreeMap<String, String>) -> Result<()> {
    if weights.get("__metadata__").is_some() {
        let problem = "an array is called `__metadata__`, which the format keeps for itself".to_owned();
        return Err(Error::Format { path: path.to_owned(), problem });
    }
    let header = header(weights, metadata).map_err(|error| failed(path, error.into()))?;
    atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for array in weights.0.values() {
            write_floats(file, &array.data)?;
        }
        Ok(())
    })
}

/// Little-endian `f32`s, a block at a time.
fn write_floats(file: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let mut block = Vec::with_capacity(4 * values.len().min(1 << 14));
    for chunk in values.chunks(1 << 14) {
        block.clear();
        block.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&block)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__", skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<&'a str, TensorEntry<'a>>,
}

#[derive(Serialize)]
struct TensorEntry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// The crate's own writer keeps metadata in a hash map, whose order changes from run to run; hence this one.
fn header(weights: &Weights, metadata: &BTreeMap<String, String>) -> serde_json::Result<Vec<u8>> {
    let mut offset = 0;
    let tensors = weights.0.iter().map(|(name, array)| {
        let start = offset;
        offset += 4 * array.data.len();
        (name.as_str(), TensorEntry { dtype: "F32", shape: &array.shape, data_offsets: [start, offset] })
    });
    let mut bytes = serde_json::to_vec(&Header { metadata, tensors: tensors.collect() })?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
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
    use attar_models::Array;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_same_weights_give_the_same_sorted_aligned_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights(BTreeMap::from([
            ("b".to_owned(), Array::new(vec![], vec![3.0]).unwrap()),
            ("a".to_owned(), Array::new(vec![2], vec![1.0, 2.0]).unwrap()),
        ]));
        let metadata: BTreeMap<_, _> = ["z", "y", "x"].map(|k| (k.to_owned(), k.to_owned())).into();
        let path = folder.path().join("w.safetensors");
        safetensors(&path, &weights, &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(length % 8, 0);
        assert_eq!(
            std::str::from_utf8(&bytes[8..8 + length]).unwrap().trim_end(),
            r#"{"__metadata__":{"x":"x","y":"y","z":"z"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}"#
        );
        assert_eq!(bytes[8 + length..], [1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
        assert_eq!(names(folder.path()), ["w.safetensors"]);
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
        atomically(&path, |file| file.write_all(b"whole")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }
}
