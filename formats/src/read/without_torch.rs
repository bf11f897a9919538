//! In the place of the readers of pickled files, where the program is built without them: such a file is refused in words.

use std::path::Path;

use attar_models::Weights;

use super::PythonBatch;
use crate::error::{Error, Result};

const PROBLEM: &str = "pickled by Python, which this program was built without reading\n  \
                       hint: build it with the feature `torch-files`, or convert the file to safetensors";

/// Refuses a PyTorch checkpoint.
///
/// # Errors
/// [`Error::Format`], always.
pub fn parse(bytes: &[u8], origin: &Path) -> Result<Weights> {
    parse_key(bytes, None, origin).map(|(weights, _)| weights)
}

pub(super) fn parse_key(_: &[u8], _: Option<&str>, origin: &Path) -> Result<(Weights, Option<String>)> {
    Err(Error::Format { path: origin.to_owned(), problem: PROBLEM.to_owned() })
}

/// Refuses a file of CIFAR's version for Python.
///
/// # Errors
/// In words for people, always.
pub fn python_batch(_: &[u8]) -> Result<PythonBatch, String> {
    Err("pickled by Python, which this program was built without reading\n  hint: build it with the feature \
         `torch-files`, or take CIFAR's binary version"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_said() {
        let message = parse(b"PK\x03\x04", Path::new("x.pth")).unwrap_err().to_string();
        assert!(message.starts_with("x.pth: ") && message.contains("torch-files"), "{message}");
        assert!(python_batch(&[0x80]).unwrap_err().contains("binary version"));
    }
}
