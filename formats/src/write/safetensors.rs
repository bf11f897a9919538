//! Writing arrays as a safetensors file whose bytes depend on nothing but its contents.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use attar_models::{Array, Weights};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{atomically, failed};
use crate::error::{Error, Result};
use crate::hash::hex;

/// Writes arrays of any element types as a safetensors file, atomically. The bytes depend on nothing
/// but the arguments: names and metadata in order in the header, which is padded with spaces to 8
/// bytes; then the arrays with the widest elements first, so that all are aligned, and by name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Format`] when a name is the format's own `__metadata__`.
pub fn safetensors(path: &Path, weights: &Weights, metadata: &BTreeMap<String, String>) -> Result<()> {
    if weights.get("__metadata__").is_some() {
        let problem = "an array is called `__metadata__`, which the format keeps for itself".to_owned();
        return Err(Error::Format { path: path.to_owned(), problem });
    }
    let arrays = in_order(weights);
    let header = header(&arrays, metadata).map_err(|error| failed(path, error.into()))?;
    atomically(path, |file| fill(file, &header, &arrays))
}

fn fill(file: &mut impl Write, header: &[u8], arrays: &[(&str, &Array)]) -> std::io::Result<()> {
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header)?;
    arrays.iter().try_for_each(|(_, array)| array.elements.le_bytes(|block| file.write_all(block)))
}

/// sha256 of the file that [`safetensors()`] would write of these arrays without metadata, in hex: what weights are called by that
/// lie in no file.
pub fn safetensors_sha256(weights: &Weights) -> String {
    let arrays = in_order(weights);
    let mut hasher = Hasher(Sha256::new());
    // Names, types and numbers always make a header, and a hasher takes everything.
    let header = header(&arrays, &BTreeMap::new()).unwrap_or_default();
    let _ = fill(&mut hasher, &header, &arrays);
    hex(&hasher.0.finalize())
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The arrays in the order of their bytes in the file.
fn in_order(weights: &Weights) -> Vec<(&str, &Array)> {
    let mut arrays: Vec<_> = weights.0.iter().map(|(name, array)| (name.as_str(), array)).collect();
    arrays.sort_by_key(|(_, array)| std::cmp::Reverse(array.elements.width())); // keeps the order of names
    arrays
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

/// The `safetensors` crate's own writer keeps metadata in a hash map, whose order changes from run to run; hence this one.
fn header(arrays: &[(&str, &Array)], metadata: &BTreeMap<String, String>) -> serde_json::Result<Vec<u8>> {
    let mut offset = 0;
    let tensors = arrays.iter().map(|(name, array)| {
        let start = offset;
        offset += array.elements.len() * array.elements.width();
        let dtype = array.elements.type_name();
        (*name, TensorEntry { dtype, shape: &array.shape, data_offsets: [start, offset] })
    });
    let mut bytes = serde_json::to_vec(&Header { metadata, tensors: tensors.collect() })?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_weights_give_the_same_sorted_aligned_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let weights = Weights(BTreeMap::from([
            ("b".to_owned(), Array::new(vec![], vec![3.0f32]).unwrap()),
            ("a".to_owned(), Array::new(vec![2], vec![1.0f32, 2.0]).unwrap()),
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
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Every element type, read by the `safetensors` crate, each at a multiple of its width.
    #[test]
    fn arrays_of_all_types_are_aligned_and_read_by_the_crate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let weights = Weights(BTreeMap::from([
            ("a.bytes".to_owned(), Array::new(vec![3], vec![1u8, 2, 3]).unwrap()),
            ("b.halves".to_owned(), Array::new(vec![1], vec![half::f16::from_f32(0.5)]).unwrap()),
            ("c.counts".to_owned(), Array::new(vec![2], vec![u32::MAX, 1 << 24 | 1]).unwrap()),
            ("d.labels".to_owned(), Array::new(vec![2], vec![-1i64, 7]).unwrap()),
            ("e.floats".to_owned(), Array::new(vec![1, 2], vec![0.5f32, -1.0]).unwrap()),
            ("f.signed".to_owned(), Array::new(vec![2], vec![-128i8, 127]).unwrap()),
        ]));
        safetensors(&path, &weights, &BTreeMap::new()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, array) in &weights.0 {
            let view = file.tensor(name).unwrap();
            assert_eq!(
                (view.shape(), view.dtype().to_string().as_str()),
                (&array.shape[..], array.elements.type_name())
            );
            assert_eq!(
                view.data().as_ptr().addr() % array.elements.width(),
                bytes.as_ptr().addr() % array.elements.width()
            );
            let elements = attar_models::Elements::from_le_bytes(array.elements.type_name(), view.data());
            assert_eq!(elements.as_ref(), Some(&array.elements), "{name}");
        }
    }
}
