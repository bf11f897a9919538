//! sha256 of bytes and files, in hex.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// sha256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// sha256 of a file, read in pieces.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn file_sha256(path: &Path) -> Result<String> {
    let hash = || stream_sha256(File::open(path)?);
    hash().map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// sha256 of all that a stream has, read in pieces.
///
/// # Errors
/// The stream's.
pub fn stream_sha256(mut stream: impl Read) -> std::io::Result<String> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1, and a million times `a` (B.3), which takes many pieces.
    #[test]
    fn the_standards_examples() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let long = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(stream_sha256(std::io::repeat(b'a').take(1_000_000)).unwrap(), long);
        assert!(file_sha256(Path::new("/no/such/file")).unwrap_err().to_string().starts_with("/no/such/file: "));
    }
}
