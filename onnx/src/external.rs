//! External data: arrays of an ONNX file that lie in files beside it, as `torch.onnx.export` writes them. They are put into
//! the model before a runtime sees it, so that both runtimes read the same bytes, inside of one folder and bounded.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use attar_formats::files;
use attar_formats::hash::sha256;

use crate::wire::{Field, dims, fields, put_bytes, text};

/// Deepest graph within a graph (a branch of an `If`).
const DEEPEST: usize = 8;

/// Most bytes of a model with everything in it: a protocol buffer cannot be longer.
const MOST: usize = (1 << 31) - 1;

/// Bytes of a number of each type of `TensorProto.DataType`; 0: not a fixed number.
const BYTES: [u64; 17] = [0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2];

/// A model with everything in it, and the sha256 of each file that was read for it by its name.
#[derive(Debug)]
pub struct Whole {
    /// The model.
    pub model: Vec<u8>,
    /// sha256 in hex of each file.
    pub files: BTreeMap<String, String>,
}

/// Whether some array of the model lies elsewhere.
pub fn any(model: &[u8]) -> bool {
    let mut found = false;
    let mut look = |tensor: &[u8]| {
        found |= is_external(tensor);
        Ok(None)
    };
    // Nothing is written and nothing fails.
    let _ = walk(model, Message::Model, DEEPEST, &mut look);
    found
}

/// Puts what lies beside the model at `origin` into it.
///
/// # Errors
/// In words for people: a file that is missing, outside of the model's folder, or too short.
pub fn inline(model: &[u8], origin: &Path) -> Result<Whole, String> {
    let folder = origin.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut read: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut total = model.len();
    let mut replace = |tensor: &[u8]| {
        if !is_external(tensor) {
            return Ok(None);
        }
        let whole = whole_tensor(tensor, folder, &mut read)?;
        total = total.saturating_add(whole.len());
        if total > MOST {
            return Err(format!("more than {MOST} bytes with its external data, which no runtime takes as one model"));
        }
        Ok(Some(whole))
    };
    let model = walk(model, Message::Model, DEEPEST, &mut replace)?.unwrap_or_else(|| model.to_vec());
    let files = read.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
    Ok(Whole { model, files })
}

/// What an array that lies elsewhere is asked by: its name, its sizes, and the entries that say where it lies.
pub type Numbers<'n> = dyn FnMut(&str, &[u64], &BTreeMap<&str, &str>) -> Result<Vec<u8>, String> + 'n;

/// Puts bytes that somebody makes into the place of every array that lies elsewhere.
///
/// # Errors
/// Those of `numbers`.
pub fn fill(model: &[u8], numbers: &mut Numbers<'_>) -> Result<Vec<u8>, String> {
    let mut replace = |tensor: &[u8]| {
        if !is_external(tensor) {
            return Ok(None);
        }
        let data = numbers(text(tensor, 8), &dims(tensor), &entries(tensor))?;
        Ok(Some(with_data(tensor, &data)))
    };
    Ok(walk(model, Message::Model, DEEPEST, &mut replace)?.unwrap_or_else(|| model.to_vec()))
}

/// Where an array lies, by key.
fn entries(tensor: &[u8]) -> BTreeMap<&str, &str> {
    let all = fields(tensor).filter(|field| field.number == 13).filter_map(|field| field.bytes());
    all.map(|entry| (text(entry, 1), text(entry, 2))).collect()
}

/// The tensor with these bytes as its numbers.
fn with_data(tensor: &[u8], data: &[u8]) -> Vec<u8> {
    let kept = |field: &Field<'_>| !matches!(field.number, 9 | 13 | 14);
    let mut whole = Vec::with_capacity(data.len() + 64);
    fields(tensor).filter(kept).for_each(|field| whole.extend_from_slice(field.whole));
    put_bytes(&mut whole, 9, data);
    whole
}

/// Kinds of messages on the way to an array.
#[derive(Debug, Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
}

impl Message {
    /// What a field of it holds, if arrays can be in it.
    fn within(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Some(Self::Tensor),
            _ => None,
        }
    }
}

/// What to write in the place of an array; `None` leaves it.
type Replace<'r> = dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>, String> + 'r;

/// The message with its arrays replaced; `None` where none was.
fn walk(bytes: &[u8], message: Message, deepest: usize, replace: &mut Replace<'_>) -> Result<Option<Vec<u8>>, String> {
    if matches!(message, Message::Tensor) {
        return replace(bytes);
    }
    let deepest = match message {
        Message::Graph => match deepest.checked_sub(1) {
            Some(deepest) => deepest,
            None => return Ok(None),
        },
        _ => deepest,
    };
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    for field in fields(bytes) {
        let inner = message.within(field.number).zip(field.bytes());
        let changed = match inner {
            Some((message, bytes)) => walk(bytes, message, deepest, replace)?,
            None => None,
        };
        match (changed, &mut out) {
            (Some(changed), out) => {
                let out = out.get_or_insert_with(|| bytes[..copied].to_vec());
                put_bytes(out, field.number, &changed);
            }
            (None, Some(out)) => out.extend_from_slice(field.whole),
            (None, None) => {}
        }
        copied += field.whole.len();
    }
    Ok(out)
}

fn is_external(tensor: &[u8]) -> bool {
    fields(tensor).any(|field| field.number == 14 && field.varint() == Some(1))
}

/// The tensor with its numbers in it.
fn whole_tensor(tensor: &[u8], folder: &Path, read: &mut BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
    let name = text(tensor, 8);
    let entries = entries(tensor);
    let location =
        *entries.get("location").ok_or_else(|| format!("`{name}` lies elsewhere, but it is not said where"))?;
    if !read.contains_key(location) {
        let path = inside(folder, location).map_err(|problem| format!("`{name}` lies in `{location}`: {problem}"))?;
        let bytes = files::read(&path, files::MOST_BINARY).map_err(|error| {
            format!("its external data, {}: {error}\n  hint: keep it beside the model, under this name", path.display())
        })?;
        read.insert(location.to_owned(), bytes);
    }
    let file = read.get(location).map(Vec::as_slice).unwrap_or_default();
    let number = |key: &str| {
        let text = entries.get(key).map(|text| text.trim());
        text.map(|text| text.parse::<usize>().map_err(|_| format!("`{name}`: {key} `{text}` is no number"))).transpose()
    };
    let offset = number("offset")?.unwrap_or(0);
    let needed = needed_bytes(tensor);
    let length = number("length")?.or(needed).unwrap_or(file.len().saturating_sub(offset));
    if let Some(needed) = needed.filter(|needed| *needed != length) {
        return Err(format!("`{name}` is {needed} bytes, but {length} of `{location}` are said to be it"));
    }
    let end = offset.checked_add(length).filter(|end| *end <= file.len());
    let data = end.map(|end| &file[offset..end]).ok_or_else(|| {
        format!("`{name}` is {length} bytes from {offset} on in `{location}`, which has {}", file.len())
    })?;
    Ok(with_data(tensor, data))
}

/// How many bytes a tensor's type and shape ask for, where its type has a fixed width.
fn needed_bytes(tensor: &[u8]) -> Option<usize> {
    let kind = fields(tensor).find(|field| field.number == 2)?.varint()?;
    let width = BYTES.get(usize::try_from(kind).ok()?).copied().filter(|width| *width > 0)?;
    let count = dims(tensor).into_iter().try_fold(width, u64::checked_mul)?;
    usize::try_from(count).ok()
}

/// The file that `location` names, which must not lead out of the model's folder.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    let outside = || "it leads out of the model's folder".to_owned();
    if location.is_empty() || location.contains('\\') || !Path::new(location).components().all(plain) {
        return Err(outside());
    }
    let path = folder.join(location);
    let Ok(real) = path.canonicalize() else { return Ok(path) }; // reading it says what is wrong
    let real_folder = folder.canonicalize().map_err(|error| error.to_string())?;
    if real.starts_with(real_folder) { Ok(path) } else { Err(outside() + "\n  hint: copy it beside the model") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of one array of three floats that lies elsewhere.
    fn model(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tensor = vec![0x08, 3, 0x10, 1, 0x70, 1];
        put_bytes(&mut tensor, 8, b"w");
        for (key, value) in entries {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut tensor, 13, &entry);
        }
        let (mut attribute, mut node, mut graph, mut model) = (Vec::new(), Vec::new(), Vec::new(), vec![0x08, 9]);
        put_bytes(&mut attribute, 5, &tensor);
        put_bytes(&mut node, 5, &attribute);
        put_bytes(&mut graph, 1, &node);
        put_bytes(&mut graph, 5, &tensor);
        put_bytes(&mut model, 7, &graph);
        put_bytes(&mut model, 2, b"maker");
        model
    }

    #[test]
    fn arrays_beside_the_model_come_into_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.data"), (0..20u8).collect::<Vec<_>>()).unwrap();
        let origin = folder.path().join("model.onnx");
        let split = model(&[("location", "w.data"), ("offset", "4"), ("length", "12")]);
        assert!(any(&split));
        let whole = inline(&split, &origin).unwrap();
        assert!(!any(&whole.model) && whole.files.contains_key("w.data"));
        let data: Vec<u8> = (4..16).collect();
        assert_eq!(whole.model.windows(12).filter(|window| *window == data).count(), 2, "in the graph and in its node");
        assert!(whole.model.windows(5).any(|window| window == b"maker") && whole.model.starts_with(&[8, 9]));
        let again = inline(&whole.model, &origin).unwrap();
        assert!(again.model == whole.model && again.files.is_empty());
        // Any cut of it is an error or a smaller model, and never a panic.
        (0..split.len()).for_each(|length| drop(inline(&split[..length], &origin)));
    }

    #[test]
    fn nothing_outside_of_the_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, [7; 12]).unwrap();
        std::fs::write(inner.join("short"), [7; 5]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&secret, inner.join("link")).unwrap();
        #[cfg(not(unix))]
        std::fs::write(inner.join("link"), "").unwrap();
        let refused = |entries: &[(&str, &str)]| inline(&model(entries), &inner.join("model.onnx")).unwrap_err();
        for location in ["../secret", secret.to_str().unwrap(), "a/../../secret", "..\\secret", ""] {
            let problem = refused(&[("location", location)]);
            assert!(problem.contains("leads out"), "{location}: {problem}");
        }
        if cfg!(unix) {
            assert!(refused(&[("location", "link")]).contains("copy it beside"));
        }
        assert!(refused(&[("location", "absent")]).contains("keep it beside the model"));
        assert!(refused(&[("location", "short")]).contains("which has 5"));
        assert!(refused(&[("location", "short"), ("length", "5")]).contains("is 12 bytes"));
        assert!(refused(&[("location", "short"), ("offset", "-1")]).contains("is no number"));
        assert!(refused(&[("location", "short"), ("offset", "18446744073709551615")]).contains("which has 5"));
        assert!(refused(&[]).contains("not said where"));
    }
}
