//! numpy's `.npy` format: a magic word, a header in Python's words, then the numbers row by row.

use std::io::Read;

use attar_models::{Array, Elements};
use half::f16;

/// Longest header.
const MOST_HEADER: usize = 1 << 16;

/// Most numbers of an array.
const MOST_NUMBERS: usize = 1 << 31;

/// What a file says before its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    descr: String,
    pub(crate) shape: Vec<usize>,
}

impl Header {
    /// Reads it, up to the first number.
    pub(crate) fn read(stream: &mut impl Read) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut start = [0; 8];
        stream.read_exact(&mut start).map_err(said)?;
        if start[..6] != *b"\x93NUMPY" {
            return Err("no array of numpy's".to_owned());
        }
        let mut length = [0; 4];
        let wide = if start[6] == 1 { 2 } else { 4 };
        stream.read_exact(&mut length[..wide]).map_err(said)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MOST_HEADER {
            return Err(format!("a header of {length} bytes"));
        }
        let mut text = vec![0; length];
        stream.read_exact(&mut text).map_err(said)?;
        let text = String::from_utf8_lossy(&text);
        let after = |key: &str| text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        let descr = after("descr").and_then(|rest| rest.strip_prefix('\'')).and_then(|rest| rest.split('\'').next());
        let descr = descr.ok_or("a header without a simple type of numbers")?.to_owned();
        if after("fortran_order").is_none_or(|rest| !rest.starts_with("False")) {
            return Err("columns first\n  hint: `numpy.ascontiguousarray`".to_owned());
        }
        let shape = after("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split(')').next());
        let sizes = shape.ok_or("a header without a shape")?.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
        Ok(Self { descr, shape: shape.map_err(|_| "a shape that is no list of numbers")? })
    }

    /// Bytes of a number, and how they are read; `None` of types that are not.
    fn reader(&self) -> Option<(usize, Reader)> {
        Some(match self.descr.as_str() {
            "<f4" => (4, named("F32")),
            "<f2" => (2, named("F16")),
            "|i1" => (1, named("I8")),
            "|u1" | "|b1" => (1, named("U8")),
            "<i4" => (4, named("I32")),
            "<u4" => (4, named("U32")),
            "<i8" => (8, named("I64")),
            "<f8" => (8, Box::new(|bytes| Some(halved(bytes)))),
            "<i2" => (2, Box::new(|bytes| Some(widened(bytes, |pair| i32::from(i16::from_le_bytes(pair)))))),
            "<u2" => (2, Box::new(|bytes| Some(widened(bytes, |pair| i32::from(u16::from_le_bytes(pair)))))),
            _ => return None,
        })
    }
}

type Reader = Box<dyn Fn(&[u8]) -> Option<Elements>>;

fn named(name: &'static str) -> Reader {
    Box::new(move |bytes| Elements::from_le_bytes(name, bytes))
}

/// 64-bit floats as 32-bit ones.
pub(crate) fn halved(bytes: &[u8]) -> Elements {
    Elements::F32(bytes.as_chunks().0.iter().map(|chunk| f64::from_le_bytes(*chunk) as f32).collect())
}

fn widened(bytes: &[u8], number: impl Fn([u8; 2]) -> i32) -> Elements {
    Elements::I32(bytes.as_chunks().0.iter().map(|pair| number(*pair)).collect())
}

/// Reads an array. 64-bit floats become `f32`, 16-bit whole numbers `i32`, booleans bytes.
///
/// # Errors
/// In words for people, when it is truncated or of another type.
pub fn read(stream: &mut impl Read) -> Result<Array, String> {
    let header = Header::read(stream)?;
    let unknown = || format!("numbers of type `{}`, which are not read here", header.descr);
    let (width, reader) = header.reader().ok_or_else(unknown)?;
    let count = header.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let count = count.filter(|count| *count <= MOST_NUMBERS).ok_or("more numbers than are read at once")?;
    let mut bytes = Vec::new();
    stream.take((count * width) as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() != count * width {
        return Err(format!("{} bytes for {count} numbers of {width}: truncated", bytes.len()));
    }
    let elements = reader(&bytes).ok_or_else(unknown)?;
    Array::of_elements(header.shape, elements).map_err(|error| error.to_string())
}

/// The bytes of a `.npy` file. What numpy has no type for (`bf16`) becomes 32-bit floats.
pub fn bytes(array: &Array) -> Vec<u8> {
    let (descr, elements) = match &array.elements {
        Elements::F32(_) => ("<f4", None),
        Elements::F16(_) => ("<f2", None),
        Elements::I8(_) => ("|i1", None),
        Elements::U8(_) => ("|u1", None),
        Elements::I32(_) => ("<i4", None),
        Elements::U32(_) => ("<u4", None),
        Elements::I64(_) => ("<i8", None),
        Elements::Bf16(values) => ("<f4", Some(Elements::F32(values.iter().map(|value| value.to_f32()).collect()))),
    };
    let sizes: String = array.shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // Numbers begin at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    let Ok(()) = elements.as_ref().unwrap_or(&array.elements).le_bytes(|block| {
        bytes.extend_from_slice(block);
        Ok::<(), std::convert::Infallible>(())
    });
    bytes
}

/// Numbers of any element type as 32-bit floats.
pub fn floats(elements: &Elements) -> Vec<f32> {
    match elements {
        Elements::F32(values) => values.clone(),
        Elements::F16(values) => values.iter().map(|value: &f16| value.to_f32()).collect(),
        Elements::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        Elements::I8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        Elements::U8(values) => values.iter().map(|value| f32::from(*value)).collect(),
        Elements::I32(values) => values.iter().map(|value| *value as f32).collect(),
        Elements::U32(values) => values.iter().map(|value| *value as f32).collect(),
        Elements::I64(values) => values.iter().map(|value| *value as f32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_and_numbers_begin_at_a_multiple_of_64() {
        let arrays = [
            Array::new(vec![2, 2], vec![1.5f32, -0.0, f32::INFINITY, 3.0]).unwrap(),
            Array::new(vec![3], vec![-128i8, 0, 127]).unwrap(),
            Array::new(vec![1, 1], vec![i64::MIN]).unwrap(),
            Array::new(Vec::new(), vec![7u8]).unwrap(),
            Array::new(vec![0, 4], Vec::<i32>::new()).unwrap(),
        ];
        for array in arrays {
            let bytes = bytes(&array);
            let width = array.elements.width() * array.elements.len();
            assert_eq!((bytes.len() - width) % 64, 0);
            assert_eq!(read(&mut &bytes[..]).unwrap(), array);
            (0..bytes.len()).for_each(|length| assert!(read(&mut &bytes[..length]).is_err(), "{length}"));
        }
    }

    #[test]
    fn other_types_are_converted_or_refused() {
        let file = |descr: &str, order: &str, numbers: &[u8]| {
            let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (2,), }}");
            let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
            bytes.extend((header.len() as u32).to_le_bytes());
            [bytes, header.into_bytes(), numbers.to_vec()].concat()
        };
        let doubles: Vec<u8> = [0.5f64, -3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let of = |bytes: Vec<u8>| read(&mut &bytes[..]);
        assert_eq!(of(file("<f8", "False", &doubles)).unwrap().elements, Elements::F32(vec![0.5, -3.0]));
        assert_eq!(of(file("<u2", "False", &[255, 255, 1, 0])).unwrap().elements, Elements::I32(vec![65_535, 1]));
        assert_eq!(of(file("<i2", "False", &[255, 255, 1, 0])).unwrap().elements, Elements::I32(vec![-1, 1]));
        assert!(of(file(">f4", "False", &[0; 8])).unwrap_err().contains("`>f4`"));
        assert!(of(file("<f4", "True", &[0; 8])).unwrap_err().contains("hint"));
        assert!(of(b"\x93NUMPX\x01\x00\x00\x00".to_vec()).is_err());
    }
}
