//! PyTorch checkpoints: which of the two formats, and tensors out of storages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use attar_models::{Array, Elements, Weights};
use half::{bf16, f16};
use zip::{CompressionMethod, ZipArchive};

use super::choose::{Chosen, state_dict};
use super::legacy;
use super::pickle::{Arena, Element, Id, Tensor, load};
use crate::error::Error;

/// Bytes of storages by key.
pub(super) type Storages<'a> = BTreeMap<String, Cow<'a, [u8]>>;

/// Reads the bytes of a `.pth` or `.pt` file, zip or legacy pickle; `origin` is only named in errors. Nothing in the
/// file is executed.
///
/// # Errors
/// [`Error::Format`] when the bytes are truncated or garbage, hold no state dictionary or several, or want to run code.
pub fn parse(bytes: &[u8], origin: &Path) -> crate::Result<Weights> {
    parse_key(bytes, None, origin).map(|(weights, _)| weights)
}

/// The same for the dictionary that `key` names, and a word on which one was taken where there was a choice.
pub(super) fn parse_key(bytes: &[u8], key: Option<&str>, origin: &Path) -> crate::Result<(Weights, Option<String>)> {
    parse_problem(bytes, key).map_err(|problem| Error::Format { path: origin.to_owned(), problem })
}

fn parse_problem(bytes: &[u8], key: Option<&str>) -> Result<(Weights, Option<String>), String> {
    let mut arena = Arena::default();
    let (root, storages) = match bytes {
        [b'P', b'K', 3, 4, ..] => open_zip(&mut arena, bytes, key)?,
        [0x80, ..] => legacy::open(&mut arena, bytes)?,
        _ => return Err("neither a zip archive nor a pickle, as PyTorch checkpoints are".to_owned()),
    };
    let Chosen { tensors, note } = state_dict(&arena, root, key)?;
    // Views may share and repeat elements; more than this is not a checkpoint but an attack on the memory.
    let mut budget = bytes.len().saturating_mul(4);
    let mut weights = Weights::default();
    for (name, tensor) in tensors {
        let array = array(&arena, tensor, &storages, &mut budget).map_err(|problem| format!("`{name}`: {problem}"))?;
        weights.0.insert(name.to_owned(), array);
    }
    Ok((weights, note))
}

/// The zip format: `NAME/data.pkl` is the object, `NAME/data/KEY` the storages, all uncompressed.
fn open_zip<'a>(arena: &mut Arena, bytes: &'a [u8], key: Option<&str>) -> Result<(Id, Storages<'a>), String> {
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("a truncated or damaged zip archive: {error}"))?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let pickle = names.iter().filter(|name| name.ends_with("/data.pkl")).min_by_key(|name| name.len());
    let pickle = pickle.ok_or("a zip archive without `data.pkl`: not a PyTorch checkpoint")?;
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default();
    let mut left = bytes.len();
    if names.contains(&format!("{folder}byteorder"))
        && entry(&mut archive, &format!("{folder}byteorder"), &mut left)? != b"little"
    {
        return Err("written on a big-endian machine, which is not supported".to_owned());
    }
    let (root, _) = load(arena, &entry(&mut archive, pickle, &mut left)?)?;
    let mut storages = Storages::new();
    for (_, tensor) in state_dict(arena, root, key)?.tensors {
        if let Some(key) = arena.name(tensor.storage.key).filter(|key| !storages.contains_key(*key)) {
            let data = entry(&mut archive, &format!("{folder}data/{key}"), &mut left)?;
            storages.insert(key.to_owned(), Cow::Owned(data));
        }
    }
    Ok((root, storages))
}

/// One file of the archive, its checksum checked; all of them together are no longer than the archive.
fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, left: &mut usize) -> Result<Vec<u8>, String> {
    let fail = |problem: &dyn std::fmt::Display| format!("`{name}` in the archive: {problem}");
    let mut file = archive.by_name(name).map_err(|error| fail(&error))?;
    if file.compression() != CompressionMethod::Stored {
        return Err(fail(&"compressed, which PyTorch never does"));
    }
    let size = usize::try_from(file.size()).ok().filter(|size| size <= left);
    let size = size.ok_or_else(|| fail(&"claims to be longer than the archive"))?;
    *left -= size;
    let mut data = Vec::with_capacity(size);
    file.by_ref().take(size as u64 + 1).read_to_end(&mut data).map_err(|error| fail(&error))?;
    if data.len() != size {
        return Err(fail(&"truncated"));
    }
    Ok(data)
}

/// Copies a tensor out of its storage, following offset and strides.
fn array(arena: &Arena, tensor: &Tensor, storages: &Storages<'_>, budget: &mut usize) -> Result<Array, String> {
    let storage = &tensor.storage;
    let product = tensor.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let count = product.filter(|count| count <= budget).ok_or("it has more elements than the file could hold")?;
    *budget -= count;
    let element = storage.element.ok_or("its element type is not supported")?;
    let data = arena.name(storage.key).and_then(|key| storages.get(key)).ok_or("its storage is missing")?;
    let end = storage.start.checked_add(storage.count).and_then(|end| end.checked_mul(element.size()));
    // No overflow: the start is not behind the end.
    let data = end.and_then(|end| data.get(storage.start * element.size()..end)).ok_or("its storage is truncated")?;
    let last =
        tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
    if count > 0 && last.is_none_or(|last| last >= storage.count) {
        return Err(format!("it reaches outside of its storage of {} elements", storage.count));
    }
    let positions = positions(&tensor.shape, &tensor.strides, tensor.offset, count);
    Ok(Array { shape: tensor.shape.clone(), elements: Elements::F32(floats(element, data, positions)) })
}

/// Where the elements of a strided view are, in row-major order.
fn positions(shape: &[usize], strides: &[usize], offset: usize, count: usize) -> impl Iterator<Item = usize> {
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    (0..count).map(move |_| {
        let here = at;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                at += strides[axis];
                break;
            }
            index[axis] = 0;
            at -= strides[axis] * (shape[axis] - 1);
        }
        here
    })
}

fn floats(element: Element, bytes: &[u8], at: impl Iterator<Item = usize>) -> Vec<f32> {
    match element {
        Element::U8 => gather(bytes, at, |[byte]| f32::from(byte)),
        Element::I8 => gather(bytes, at, |b| f32::from(i8::from_le_bytes(b))),
        Element::I16 => gather(bytes, at, |b| f32::from(i16::from_le_bytes(b))),
        Element::I32 => gather(bytes, at, |b| i32::from_le_bytes(b) as f32),
        Element::I64 => gather(bytes, at, |b| i64::from_le_bytes(b) as f32),
        Element::F16 => gather(bytes, at, |b| f16::from_le_bytes(b).to_f32()),
        Element::Bf16 => gather(bytes, at, |b| bf16::from_le_bytes(b).to_f32()),
        Element::F32 => gather(bytes, at, f32::from_le_bytes),
        Element::F64 => gather(bytes, at, |b| f64::from_le_bytes(b) as f32),
    }
}

/// The elements at these positions, all of which are inside.
fn gather<const N: usize>(bytes: &[u8], at: impl Iterator<Item = usize>, element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    at.map(|position| element(elements[position])).collect()
}
