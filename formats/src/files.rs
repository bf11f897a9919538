//! Files from the world, read with a bound: a device, a pipe without an end or a Git LFS pointer is told and not believed.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Longest text (a recipe, a card, class names), in bytes.
pub const MOST_TEXT: u64 = 16 << 20;
/// Longest encoded image, in bytes.
pub const MOST_IMAGE: u64 = 256 << 20;
/// Longest file of weights, model or answers, in bytes: more than a protobuf can be.
pub const MOST_BINARY: u64 = 4 << 30;

/// How a Git LFS pointer begins (git-lfs, docs/spec.md).
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The bytes of the file at `path`, at most `most` of them.
///
/// # Errors
/// What the system says; [`ErrorKind::InvalidData`] in words for people: a directory or device, more than `most` bytes, a
/// Git LFS pointer in the place of the file.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !(kind.is_file() || is_pipe(kind)) {
        let what = if kind.is_dir() { "a directory" } else { "a device" };
        return Err(refused(format!("{what}, expected a file")));
    }
    read_from(File::open(path)?, most)
}

/// [`read`] of a stream, e.g. standard input.
///
/// # Errors
/// As [`read`].
pub fn read_from(stream: impl Read, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(refused(format!("more than {most} bytes, which is the most that is read of such a file")));
    }
    if bytes.starts_with(LFS) {
        let problem = "a Git LFS pointer in the place of the file\n  hint: `git lfs pull` brings the file itself";
        return Err(refused(problem.to_owned()));
    }
    Ok(bytes)
}

/// [`read`] as UTF-8 text. A byte order mark in front of it, as Windows' editors write it, is taken off.
///
/// # Errors
/// As [`read`], and [`ErrorKind::InvalidData`] where the bytes are not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let text = String::from_utf8(read(path, most)?).map_err(|_| refused("not UTF-8 text".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn refused(problem: String) -> Error {
    Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(unix)]
fn is_pipe(kind: std::fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: std::fs::FileType) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert!(read(&path, 9).unwrap_err().to_string().contains("more than 9 bytes"));
        assert!(read(folder.path(), 9).unwrap_err().to_string().contains("a directory"));
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").unwrap();
        assert!(read(&path, 1000).unwrap_err().to_string().contains("Git LFS pointer"));
        assert_eq!(read(&folder.path().join("y"), 9).unwrap_err().kind(), ErrorKind::NotFound);
        if cfg!(target_os = "linux") {
            assert!(read(Path::new("/dev/zero"), 1000).unwrap_err().to_string().contains("a device"));
        }
        assert!(read_from(std::io::repeat(0), 1000).unwrap_err().to_string().contains("more than 1000"));
    }

    #[test]
    fn text_is_utf8_without_a_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "\u{feff}name = 1").unwrap();
        assert_eq!(read_text(&path, 100).unwrap(), "name = 1");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read_text(&path, 100).unwrap_err().to_string().contains("not UTF-8"));
    }
}
