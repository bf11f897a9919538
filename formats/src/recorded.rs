//! Values that another program recorded, by name: a safetensors file, or an archive of numpy's (`.npz`). One is read at a
//! time, so that a recording may be longer than the memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use attar_models::{Array, Elements};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::npy;

/// Longest header of a safetensors file.
const MOST_HEADER: u64 = 100 << 20;

/// A file of recorded values.
#[derive(Debug)]
pub struct Recorded {
    path: PathBuf,
    source: Source,
    shapes: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug)]
enum Source {
    /// Where the bytes of each tensor lie.
    Safetensors(RefCell<File>, BTreeMap<String, (String, u64, u64)>),
    #[cfg(feature = "torch-files")]
    Npz(RefCell<zip::ZipArchive<File>>),
}

/// What a safetensors header says of a tensor.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl Recorded {
    /// Opens a file, told apart by what it holds.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is neither.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let fail = |problem: String| Error::Format { path: path.to_owned(), problem };
        let mut file = File::open(path).map_err(io)?;
        let mut start = Vec::new();
        file.by_ref().take(9).read_to_end(&mut start).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let (source, shapes) = match start[..] {
            [b'P', b'K', ..] => archive(file).map_err(fail)?,
            [.., b'{'] if start.len() == 9 => tensors(file).map_err(fail)?,
            _ => {
                let problem = "neither safetensors nor an archive of numpy's\n  hint: `numpy.savez(path, **values)`, each \
                               value under its name in the ONNX file";
                return Err(fail(problem.to_owned()));
            }
        };
        Ok(Self { path: path.to_owned(), source, shapes })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all values and their shapes.
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// A value, in its own element type; 64-bit floats become `f32`, 16-bit whole numbers `i32`, booleans bytes.
    ///
    /// # Errors
    /// [`Error::Format`] when there is none of this name, or it is truncated or of another type.
    pub fn read(&self, name: &str) -> Result<Array> {
        self.array(name)
            .map_err(|problem| Error::Format { path: self.path.clone(), problem: format!("`{name}`: {problem}") })
    }

    fn array(&self, name: &str) -> std::result::Result<Array, String> {
        let shape = self.shapes.get(name).ok_or("no value is called so")?;
        match &self.source {
            Source::Safetensors(file, entries) => {
                let (kind, start, length) = entries.get(name).ok_or("no value is called so")?;
                let mut file = file.borrow_mut();
                file.seek(SeekFrom::Start(*start)).map_err(|error| error.to_string())?;
                let mut bytes = Vec::new();
                file.by_ref().take(*length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                let elements = match kind.as_str() {
                    "F64" => Some(npy::halved(&bytes)),
                    "BOOL" => Some(Elements::U8(bytes)),
                    kind => Elements::from_le_bytes(kind, &bytes),
                };
                let elements = elements.ok_or_else(|| format!("numbers of type {kind}, which are not read here"))?;
                Array::of_elements(shape.clone(), elements).map_err(|error| error.to_string())
            }
            #[cfg(feature = "torch-files")]
            Source::Npz(archive) => {
                let mut archive = archive.borrow_mut();
                let mut entry = archive.by_name(&format!("{name}.npy")).map_err(|error| error.to_string())?;
                npy::read(&mut entry)
            }
        }
    }
}

fn tensors(mut file: File) -> std::result::Result<(Source, BTreeMap<String, Vec<usize>>), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(said)?;
    let length = u64::from_le_bytes(length);
    let whole = file.metadata().map_err(said)?.len();
    if length > MOST_HEADER || length + 8 > whole {
        return Err(format!("a header of {length} bytes in a file of {whole}: truncated or garbage"));
    }
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header).map_err(said)?;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| format!("its header: {error}"))?;
    let (mut entries, mut shapes) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let entry: Entry = serde_json::from_value(value).map_err(|error| format!("`{name}` in its header: {error}"))?;
        let [start, end] = entry.data_offsets;
        let place = start.checked_add(8 + length).zip(end.checked_sub(start));
        let place = place.filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= whole));
        let (start, bytes) = place.ok_or_else(|| format!("`{name}` lies beyond the end of the file"))?;
        shapes.insert(name.clone(), entry.shape);
        entries.insert(name, (entry.dtype, start, bytes));
    }
    Ok((Source::Safetensors(RefCell::new(file), entries), shapes))
}

#[cfg(feature = "torch-files")]
fn archive(file: File) -> std::result::Result<(Source, BTreeMap<String, Vec<usize>>), String> {
    let mut archive =
        zip::ZipArchive::new(file).map_err(|error| format!("a truncated or damaged zip archive: {error}"))?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let mut shapes = BTreeMap::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(".npy")) {
        let mut entry = archive.by_name(&format!("{name}.npy")).map_err(|error| format!("`{name}`: {error}"))?;
        let header = npy::Header::read(&mut entry).map_err(|problem| format!("`{name}`: {problem}"))?;
        shapes.insert(name.to_owned(), header.shape);
    }
    if shapes.is_empty() {
        return Err("a zip archive without a value `NAME.npy`: not one of numpy's".to_owned());
    }
    Ok((Source::Npz(RefCell::new(archive)), shapes))
}

#[cfg(not(feature = "torch-files"))]
fn archive(_: File) -> std::result::Result<(Source, BTreeMap<String, Vec<usize>>), String> {
    Err("an archive, which this build does not read\n  hint: a safetensors file, or build with `--features torch-files`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use attar_models::Weights;

    #[test]
    fn a_safetensors_file_is_read_value_by_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.safetensors");
        let floats = Array::new(vec![2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.5]).unwrap();
        let bytes = Array::new(vec![4], vec![-1i8, 0, 1, 2]).unwrap();
        let all = Weights(
            [("a/b", floats.clone()), ("c", bytes.clone())].map(|(name, array)| (name.to_owned(), array)).into(),
        );
        crate::write::safetensors(&path, &all, &BTreeMap::new()).unwrap();
        let file = Recorded::open(&path).unwrap();
        assert_eq!(file.shapes().keys().collect::<Vec<_>>(), ["a/b", "c"]);
        assert_eq!((file.read("a/b").unwrap(), file.read("c").unwrap()), (floats, bytes));
        assert!(file.read("absent").unwrap_err().to_string().contains("`absent`: no value is called so"));
        // Any cut of it is an error, when it is opened or when it is read, and never a panic.
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Recorded::open(&path).and_then(|file| file.read("a/b").and(file.read("c"))).is_err(), "{length}");
        }
    }

    #[cfg(feature = "torch-files")]
    #[test]
    fn an_archive_of_numpys_is_read_value_by_value() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.npz");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let array = Array::new(vec![1, 2, 2], vec![1u8, 2, 3, 250]).unwrap();
        let how = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file("layer/q.npy", how).unwrap();
        archive.write_all(&npy::bytes(&array)).unwrap();
        archive.finish().unwrap();
        let file = Recorded::open(&path).unwrap();
        assert_eq!(file.shapes()["layer/q"], [1, 2, 2]);
        assert_eq!(file.read("layer/q").unwrap(), array);
        std::fs::write(&path, b"PK\x03\x04nothing").unwrap();
        assert!(Recorded::open(&path).unwrap_err().to_string().contains("zip archive"));
        std::fs::write(&path, b"neither").unwrap();
        assert!(Recorded::open(&path).unwrap_err().to_string().contains("hint: `numpy.savez"));
    }
}
