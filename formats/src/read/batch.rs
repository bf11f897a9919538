//! CIFAR's batches for Python: a pickled dictionary of bytes in numpy arrays, lists of numbers and lists of names. Read by
//! the whitelist of opcodes; nothing is ever called.

use super::PythonBatch;
use super::pickle::{Arena, ByteArray, Id, Object, load};

/// Reads a pickle as `cifar-10-batches-py` and `cifar-100-python` hold it.
///
/// # Errors
/// In words for people: truncated or garbage, no dictionary, an array of anything but unsigned bytes, or names that run code.
pub fn python_batch(bytes: &[u8]) -> Result<PythonBatch, String> {
    if bytes.first() != Some(&0x80) {
        return Err("not a pickle, as CIFAR's files for Python are".to_owned());
    }
    let mut arena = Arena::default();
    let (root, _) = load(&mut arena, bytes)?;
    let Object::Dict(entries) = arena.get(root) else {
        return Err(format!("holds a `{}`, expected a dictionary", arena.describe(root)));
    };
    let mut batch = PythonBatch::default();
    // A dictionary may name one array many times; together they are no longer than the file.
    let mut left = bytes.len();
    for (key, value) in entries {
        let Some(key) = arena.name(*key).map(str::to_owned) else { continue };
        match arena.get(*value) {
            Object::Bytes(array) => {
                let elements =
                    elements(&arena, array, bytes, &mut left).map_err(|problem| format!("`{key}`: {problem}"))?;
                batch.arrays.insert(key, (array.shape.clone(), elements));
            }
            Object::List(items) | Object::Tuple(items) => {
                left = left.checked_sub(items.len()).ok_or("the same list under many names")?;
                match items.first().map(|first| arena.get(*first)) {
                    Some(Object::Int(_)) => drop(batch.numbers.insert(key, numbers(&arena, items)?)),
                    Some(Object::Str(_)) => drop(batch.texts.insert(key, texts(&arena, items)?)),
                    _ => {}
                }
            }
            Object::Other(what) if what.starts_with("array") => return Err(format!("`{key}` is an {what}")),
            _ => {}
        }
    }
    Ok(batch)
}

fn elements(arena: &Arena, array: &ByteArray, bytes: &[u8], left: &mut usize) -> Result<Vec<u8>, String> {
    let count = array.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let count = count.filter(|count| count <= left).ok_or("more elements than the file holds")?;
    *left -= count;
    let elements = match arena.get(array.elements) {
        Object::Raw { start, end } => bytes.get(*start..*end).map(<[u8]>::to_vec),
        Object::Str(text) => Some(text.clone().into_bytes()),
        // Python 3 writes bytes for old protocols as a text of Latin letters.
        Object::Latin(text) => match arena.get(*text) {
            Object::Str(text) => text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect(),
            _ => None,
        },
        _ => None,
    };
    let elements = elements.ok_or("an array without its bytes")?;
    if elements.len() != count {
        return Err(format!("{} bytes for an array of shape {:?}", elements.len(), array.shape));
    }
    Ok(elements)
}

fn numbers(arena: &Arena, items: &[Id]) -> Result<Vec<i64>, String> {
    let number = |item: &Id| match arena.get(*item) {
        Object::Int(value) => Ok(*value),
        _ => Err(format!("a `{}` among numbers", arena.describe(*item))),
    };
    items.iter().map(number).collect()
}

fn texts(arena: &Arena, items: &[Id]) -> Result<Vec<String>, String> {
    let text = |item: &Id| match arena.name(*item) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("a `{}` among names", arena.describe(*item))),
    };
    items.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dictionary as Python 2 wrote it: text as byte strings, an array as numpy's three steps.
    fn pickle(elements: &[u8], shape: [u8; 2]) -> Vec<u8> {
        let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
        let mut bytes = b"\x80\x02}(".to_vec();
        bytes.extend(text("labels"));
        bytes.extend(b"](K\x06K\x09e");
        bytes.extend(text("names"));
        bytes.extend([&b"]("[..], &text("cat"), &text("dog"), b"e"].concat());
        bytes.extend(text("data"));
        bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01");
        bytes.extend([b'K', shape[0], b'K', shape[1], 0x86]);
        bytes.extend(
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        );
        bytes.extend([&b"T"[..], &(elements.len() as u32).to_le_bytes(), elements, b"tbu."].concat());
        bytes
    }

    #[test]
    fn arrays_numbers_and_names_are_read() {
        let whole = pickle(&[1, 200, 255, 0, 128, 9], [2, 3]);
        let batch = python_batch(&whole).unwrap();
        assert_eq!(batch.arrays["data"], (vec![2, 3], vec![1, 200, 255, 0, 128, 9]));
        assert_eq!(
            (&batch.numbers["labels"], &batch.texts["names"]),
            (&vec![6, 9], &vec!["cat".to_owned(), "dog".into()])
        );
        assert_eq!(python_batch(&pickle(b"plain!", [2, 3])).unwrap().arrays["data"].1, b"plain!");
        for length in 0..whole.len() {
            assert!(python_batch(&whole[..length]).is_err());
        }
        assert!(python_batch(&pickle(&[1; 6], [2, 4])).unwrap_err().contains("6 bytes for an array of shape [2, 4]"));
    }

    #[test]
    fn bytes_of_python_3_are_a_text_of_latin_letters() {
        let mut bytes =
            b"\x80\x02}X\x04\x00\x00\x00datacnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85".to_vec();
        bytes.extend(b"c_codecs\nencode\nX\x01\x00\x00\x00bX\x06\x00\x00\x00latin1\x86R\x87R(K\x01K\x02\x85");
        bytes.extend(b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x89\x88\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89");
        bytes.extend(b"c_codecs\nencode\nX\x03\x00\x00\x00\xc3\xbfaX\x06\x00\x00\x00latin1\x86Rtbs.");
        assert_eq!(python_batch(&bytes).unwrap().arrays["data"], (vec![2], vec![0xff, b'a']));
    }

    #[test]
    fn what_would_run_code_or_is_no_array_of_bytes_is_refused() {
        assert!(python_batch(b"\x80\x02cos\nsystem\nU\x02ls\x85R.").unwrap_err().contains("runs code"));
        assert!(python_batch(b"\x80\x02K\x01.").unwrap_err().contains("expected a dictionary"));
        let mut other = pickle(&[1; 6], [2, 3]);
        let at = other.windows(2).position(|two| two == b"u1").unwrap();
        other[at] = b'f';
        assert!(python_batch(&other).unwrap_err().contains("unsigned bytes"));
    }
}
