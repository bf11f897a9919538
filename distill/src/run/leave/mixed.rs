//! A safetensors file of bytes, integers and floats; equal contents give equal bytes, metadata included.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::files::replace;

/// Tensors of several types on their way to a file.
#[derive(Default)]
pub(in crate::run) struct MixedFile {
    tensors: Vec<(String, &'static str, Vec<usize>, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
}

/// What the header says of one tensor.
#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl MixedFile {
    /// Adds a `U8` tensor.
    pub(in crate::run) fn bytes(&mut self, name: &str, shape: &[usize], data: &[u8]) {
        self.add(name, "U8", shape, data.to_vec());
    }

    /// Adds a `U32` tensor.
    pub(in crate::run) fn integers(&mut self, name: &str, shape: &[usize], data: &[u32]) {
        self.add(name, "U32", shape, data.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    /// Adds an `F32` tensor.
    pub(in crate::run) fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) {
        self.add(name, "F32", shape, data.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    /// Adds an entry to the metadata.
    pub(in crate::run) fn note(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    fn add(&mut self, name: &str, dtype: &'static str, shape: &[usize], bytes: Vec<u8>) {
        self.tensors.push((name.to_owned(), dtype, shape.to_vec(), bytes));
    }

    /// Writes the file under a temporary name, syncs, and renames it.
    pub(in crate::run) fn write(&self, path: &Path) -> Result<()> {
        replace(path, &self.encode(path)?)
    }

    /// Eight bytes of header length, the header, then the tensors: those of four bytes an element first, so that all
    /// stay aligned.
    fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let mut ordered: Vec<_> = self.tensors.iter().collect();
        ordered.sort_by_key(|(_, dtype, ..)| *dtype == "U8");
        let mut header = BTreeMap::new();
        let fail = |error: serde_json::Error| Error::Format { path: path.to_owned(), problem: error.to_string() };
        header.insert("__metadata__", serde_json::to_value(&self.metadata).map_err(fail)?);
        let mut at = 0;
        for (name, dtype, shape, bytes) in &ordered {
            let entry = Entry { dtype, shape, data_offsets: [at, at + bytes.len()] };
            at += bytes.len();
            header.insert(name, serde_json::to_value(entry).map_err(fail)?);
        }
        let mut header = serde_json::to_vec(&header).map_err(fail)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        ordered.iter().for_each(|(.., bytes)| file.extend(bytes));
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safetensors_crate_reads_it() {
        let mut file = MixedFile::default();
        file.bytes("a", &[3], &[1, 2, 3]);
        file.floats("b", &[1, 2], &[0.5, -1.0]);
        file.note("kind", "real");
        let bytes = file.encode(Path::new("x")).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["kind"], "real");
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.tensor("a").unwrap().data(), [1, 2, 3]);
        assert_eq!(read.tensor("b").unwrap().shape(), [1, 2]);
        assert_eq!(read.tensor("b").unwrap().data()[..4], 0.5f32.to_le_bytes());
    }
}
