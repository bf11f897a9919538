//! The safetensors format: a length, a JSON header, then the bytes of every array.

use std::collections::BTreeMap;
use std::path::Path;

use attar_models::{Array, Elements, Weights};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::{Arrays, Loaded};
use crate::error::{Error, Result};

/// Reads the bytes of a safetensors file as weights, converted to `f32`; `origin` is only named in errors.
///
/// # Errors
/// [`Error::Format`] when the bytes are truncated, garbage or hold another element type.
pub fn parse(bytes: &[u8], origin: &Path) -> Result<Loaded> {
    let expected = "F32, F16, BF16, F64 or I64";
    let (weights, metadata) = walk(bytes, origin, expected, |view| floats(view).map(Elements::F32))?;
    Ok(Loaded { weights, metadata, note: None })
}

/// Reads the bytes of a safetensors file, every array in its own element type; `origin` is only named in errors.
///
/// # Errors
/// [`Error::Format`] when the bytes are truncated, garbage or hold an element type that [`Elements`] has not.
pub fn parse_arrays(bytes: &[u8], origin: &Path) -> Result<Arrays> {
    let elements = |view: &TensorView<'_>| Elements::from_le_bytes(&view.dtype().to_string(), view.data());
    let (arrays, metadata) = walk(bytes, origin, &Elements::TYPES.join(", "), elements)?;
    Ok(Arrays::new(origin, arrays, metadata))
}

/// Checks the header against the bytes, and takes what `elements` makes of every tensor.
fn walk(
    bytes: &[u8],
    origin: &Path,
    expected: &str,
    elements: impl Fn(&TensorView<'_>) -> Option<Elements>,
) -> Result<(Weights, BTreeMap<String, String>)> {
    let fail = |problem: String| Error::Format { path: origin.to_owned(), problem };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| fail(explain(&error, bytes)))?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| fail(explain(&error, bytes)))?;
    let mut weights = Weights::default();
    for (name, view) in file.iter() {
        let elements = elements(&view)
            .ok_or_else(|| fail(format!("`{name}` has elements of type {:?}, expected {expected}", view.dtype())))?;
        let array = Array::of_elements(view.shape().to_vec(), elements);
        weights.0.insert(name.to_owned(), array.map_err(|error| fail(format!("`{name}`: {error}")))?);
    }
    Ok((weights, header.metadata().clone().unwrap_or_default().into_iter().collect()))
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Some(elements(bytes, f32::from_le_bytes)),
        Dtype::F16 => Some(elements(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Some(elements(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F64 => Some(elements(bytes, |b| f64::from_le_bytes(b) as f32)),
        Dtype::I64 => Some(elements(bytes, |b| i64::from_le_bytes(b) as f32)),
        _ => None,
    }
}

/// Elements of `N` bytes each.
fn elements<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|chunk| element(*chunk)).collect()
}

fn explain(error: &SafeTensorError, bytes: &[u8]) -> String {
    let short = "truncated, or not a safetensors file";
    match error {
        SafeTensorError::HeaderTooSmall => format!("{short}: {} bytes, expected at least 8", bytes.len()),
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => {
            format!("{short}: its header claims more bytes than the file has ({})", bytes.len())
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            format!("{short}: its header describes another number of bytes than the {} of the file", bytes.len())
        }
        other => format!("not a safetensors file: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn problem(bytes: &[u8]) -> String {
        parse(bytes, Path::new("x.safetensors")).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let weights = Weights(BTreeMap::from([
            (
                "a.weight".to_owned(),
                Array::new(vec![2, 3], vec![1.0f32, -2.0, 0.5, f32::MIN_POSITIVE, 4.0, -0.0]).unwrap(),
            ),
            ("empty".to_owned(), Array::new(vec![0, 4], Vec::<f32>::new()).unwrap()),
            ("scalar".to_owned(), Array::new(vec![], vec![7.0f32]).unwrap()),
        ]));
        let metadata = BTreeMap::from([("format".to_owned(), "pt \"quoted\"".to_owned())]);
        crate::write::safetensors(&path, &weights, &metadata).unwrap();
        assert_eq!(crate::read::safetensors(&path).unwrap(), Loaded { weights, metadata, note: None });
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let header = r#"{"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},"d":{"dtype":"F64","shape":[1],"data_offsets":[4,12]},"i":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}"#;
        let data = [
            f16::from_f32(1.5).to_le_bytes().as_slice(),
            &bf16::from_f32(-3.0).to_le_bytes(),
            &0.1f64.to_le_bytes(),
            &42i64.to_le_bytes(),
        ]
        .concat();
        let loaded = parse(&file(header, &data), Path::new("x")).unwrap();
        let value = |name: &str| loaded.weights.get(name).unwrap().f32().unwrap()[0];
        assert_eq!([value("h"), value("b"), value("d"), value("i")], [1.5, -3.0, 0.1, 42.0]);
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let whole = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]);
        for length in 0..whole.len() {
            assert!(problem(&whole[..length]).contains("truncated"), "{length}: {}", problem(&whole[..length]));
        }
        assert!(problem(&[0xff; 64]).contains("claims more bytes"));
        assert!(problem(&file("not json", &[])).contains("JSON"));
        let bool = r#"{"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(problem(&file(bool, &[1])).contains("`mask` has elements of type BOOL"));
        let huge = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#;
        assert!(problem(&file(huge, &[0; 8])).contains("not a safetensors file"));
        let missing = crate::read::safetensors(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("/no/such/file: "), "{missing}");
    }
}
