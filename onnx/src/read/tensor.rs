//! Constants of a file: initialisers and attributes as numbers, of whatever type they are stored.

use attar_models::Array;
use half::{bf16, f16};

use super::size::Size;
use crate::proto::TensorProto;

/// Types of `TensorProto.DataType`.
pub(super) mod kind {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const UINT16: i32 = 4;
    pub(crate) const INT16: i32 = 5;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const BOOL: i32 = 9;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
    pub(crate) const UINT32: i32 = 12;
    pub(crate) const UINT64: i32 = 13;
    pub(crate) const BFLOAT16: i32 = 16;
}

/// Numbers that do not depend on the images, but for whole ones that may count them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) dims: Vec<usize>,
    pub(super) numbers: Numbers,
    /// The type it is stored as, of `TensorProto.DataType`.
    pub(super) kind: i32,
    /// Whether it is one of the file's arrays as they are, so what somebody trained, and not what was computed.
    pub(super) stored: bool,
    /// Of what was dequantised: the step between its numbers.
    pub(super) steps: Option<Steps>,
}

/// A quantised array's steps: its numbers are whole ones from -128 to 127 times these.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Steps {
    /// The axis that they lie along.
    pub(super) axis: usize,
    /// A step for each index of the axis, or one for all.
    pub(super) scales: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Whole(Vec<Size>),
}

impl Tensor {
    pub(super) fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, numbers: Numbers::Floats(values), kind: kind::FLOAT, stored: false, steps: None }
    }

    pub(super) fn whole(dims: Vec<usize>, values: Vec<Size>) -> Self {
        Self { dims, numbers: Numbers::Whole(values), kind: kind::INT64, stored: false, steps: None }
    }

    pub(super) fn scalar_of(value: f32) -> Self {
        Self::floats(Vec::new(), vec![value])
    }

    pub(super) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(values) => values.len(),
            Numbers::Whole(values) => values.len(),
        }
    }

    /// The numbers as floats; `None` where one of them counts images.
    pub(super) fn to_floats(&self) -> Option<Vec<f32>> {
        match &self.numbers {
            Numbers::Floats(values) => Some(values.clone()),
            Numbers::Whole(values) => values.iter().map(|size| size.known().map(|n| n as f32)).collect(),
        }
    }

    /// The numbers as whole ones; `None` for floats.
    pub(super) fn sizes(&self) -> Option<&[Size]> {
        match &self.numbers {
            Numbers::Whole(values) => Some(values),
            Numbers::Floats(_) => None,
        }
    }

    /// Whole numbers that do not depend on the batch.
    pub(super) fn indices(&self) -> Option<Vec<i64>> {
        self.sizes()?.iter().map(|size| size.known()).collect()
    }

    /// The one number it is.
    pub(super) fn scalar(&self) -> Option<f32> {
        let floats = (self.len() == 1).then(|| self.to_floats()).flatten()?;
        floats.first().copied()
    }

    /// The step of each of `count` rows, where it was dequantised along its first axis.
    pub(super) fn row_steps(&self, count: usize) -> Option<Array> {
        let Steps { axis, scales } = self.steps.as_ref()?;
        match scales[..] {
            [one] => Array::new(vec![count], vec![one; count]).ok(),
            _ if *axis == 0 && scales.len() == count => Array::new(vec![count], scales.clone()).ok(),
            _ => None,
        }
    }

    /// As an array for a network, in its shape or another of as many numbers.
    pub(super) fn array(&self, shape: Vec<usize>) -> Result<Array, String> {
        let floats = self.to_floats().ok_or("numbers that depend on the batch cannot be weights")?;
        Array::new(shape, floats).map_err(|error| error.to_string())
    }

    /// Reads what a file holds.
    ///
    /// # Errors
    /// Types that are no numbers, and arrays that are shorter or longer than their shape.
    pub(super) fn read(proto: &TensorProto) -> Result<Self, String> {
        let name = proto.name();
        let dims: Option<Vec<usize>> = proto.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let dims = dims.ok_or_else(|| format!("the array `{name}` has a negative size, {:?}", proto.dims))?;
        let count = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
        let kind = proto.data_type();
        let numbers = numbers(proto, kind).ok_or_else(|| {
            format!("the array `{name}` is of type {kind} (TensorProto.DataType), whose numbers are not read here")
        })?;
        let tensor = Self { dims, numbers, kind, stored: true, steps: None };
        if count != Some(tensor.len()) {
            let (dims, len) = (&tensor.dims, tensor.len());
            return Err(format!("the array `{name}` is said to be {dims:?}, but has {len} numbers"));
        }
        Ok(tensor)
    }
}

fn numbers(proto: &TensorProto, kind: i32) -> Option<Numbers> {
    let raw = proto.raw_data.as_deref().filter(|raw| !raw.is_empty());
    fn each<const N: usize, T>(raw: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks::<N>().0.iter().map(|bytes| f(*bytes)).collect()
    }
    let small = || proto.int32_data.iter();
    let floats = |values| Some(Numbers::Floats(values));
    let whole = |values: Vec<i64>| Some(Numbers::Whole(values.into_iter().map(Size::of).collect()));
    let wide = || small().map(|v| i64::from(*v)).collect();
    match (kind, raw) {
        (kind::FLOAT, Some(raw)) => floats(each(raw, f32::from_le_bytes)),
        (kind::FLOAT, None) => floats(proto.float_data.clone()),
        (kind::DOUBLE, Some(raw)) => floats(each(raw, |bytes| f64::from_le_bytes(bytes) as f32)),
        (kind::DOUBLE, None) => floats(proto.double_data.iter().map(|v| *v as f32).collect()),
        (kind::FLOAT16, Some(raw)) => floats(each(raw, |bytes| f16::from_le_bytes(bytes).to_f32())),
        (kind::FLOAT16, None) => floats(small().map(|v| f16::from_bits(*v as u16).to_f32()).collect()),
        (kind::BFLOAT16, Some(raw)) => floats(each(raw, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        (kind::BFLOAT16, None) => floats(small().map(|v| bf16::from_bits(*v as u16).to_f32()).collect()),
        (kind::INT64, Some(raw)) => whole(each(raw, i64::from_le_bytes)),
        (kind::INT64, None) => whole(proto.int64_data.clone()),
        (kind::UINT64, Some(raw)) => whole(each(raw, |bytes| u64::from_le_bytes(bytes) as i64)),
        (kind::UINT32, Some(raw)) => whole(each(raw, |bytes| i64::from(u32::from_le_bytes(bytes)))),
        (kind::INT32, Some(raw)) => whole(each(raw, |bytes| i64::from(i32::from_le_bytes(bytes)))),
        (kind::INT16, Some(raw)) => whole(each(raw, |bytes| i64::from(i16::from_le_bytes(bytes)))),
        (kind::UINT16, Some(raw)) => whole(each(raw, |bytes| i64::from(u16::from_le_bytes(bytes)))),
        (kind::INT8, Some(raw)) => whole(each(raw, |[byte]| i64::from(byte as i8))),
        (kind::UINT8 | kind::BOOL, Some(raw)) => whole(each(raw, |[byte]| i64::from(byte))),
        (kind::INT32 | kind::INT16 | kind::UINT16 | kind::INT8 | kind::UINT8 | kind::BOOL, None) => whole(wide()),
        _ => None,
    }
}
