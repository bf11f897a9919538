//! Values of the definition: numbers in `f64`, which holds every number of ONNX's types of up to 32 bits.

use attar_onnx::proto::{FLOAT, FLOAT16, INT8, INT32, INT64, TensorProto, UINT8};

/// `INT4` and `UINT4` of `TensorProto.DataType`: two numbers a byte, the lower half first.
pub(crate) const INT4: i32 = 22;
/// See [`INT4`].
pub(crate) const UINT4: i32 = 21;

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    /// Its type, of `TensorProto.DataType`.
    pub(crate) kind: i32,
    /// Row-major.
    pub(crate) values: Vec<f64>,
    /// Of what was dequantised: the whole numbers behind it, which simulated faults ask for.
    pub(crate) whole: Option<Whole>,
}

/// Whole numbers, with zero point and scale of each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Whole {
    pub(crate) kind: i32,
    pub(crate) numbers: Vec<f64>,
    pub(crate) zeros: Vec<f64>,
    pub(crate) scales: Vec<f64>,
}

impl Tensor {
    pub(crate) fn floats(shape: Vec<usize>, values: Vec<f64>) -> Self {
        Self { shape, kind: FLOAT, values, whole: None }
    }

    pub(crate) fn of_kind(shape: Vec<usize>, kind: i32, values: Vec<f64>) -> Self {
        Self { shape, kind, values, whole: None }
    }

    /// A constant of a file.
    pub(crate) fn read(proto: &TensorProto) -> Result<Self, String> {
        let shape: Vec<usize> = proto.dims.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).collect();
        let (kind, raw) = (proto.data_type(), proto.raw_data.as_deref().unwrap_or_default());
        let count: usize = shape.iter().product();
        let nibble = |at: usize| raw.get(at / 2).map_or(0, |byte| (byte >> (4 * (at % 2))) & 15);
        let values: Vec<f64> = match kind {
            FLOAT => raw.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            FLOAT16 => raw.as_chunks().0.iter().map(|b| half(u16::from_le_bytes(*b))).collect(),
            UINT8 => raw.iter().map(|b| f64::from(*b)).collect(),
            INT8 => raw.iter().map(|b| f64::from(*b as i8)).collect(),
            INT32 => raw.as_chunks().0.iter().map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
            INT64 => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
            UINT4 => (0..count).map(|at| f64::from(nibble(at))).collect(),
            INT4 => (0..count).map(|at| f64::from((nibble(at) << 4) as i8 >> 4)).collect(),
            other => return Err(format!("a constant of type {other}")),
        };
        if values.len() != count {
            return Err(format!("`{}` holds {} numbers for shape {shape:?}", proto.name(), values.len()));
        }
        Ok(Self::of_kind(shape, kind, values))
    }

    /// The same numbers in another shape.
    pub(crate) fn shaped(&self, shape: Vec<usize>) -> Result<Self, String> {
        if shape.iter().product::<usize>() != self.values.len() {
            return Err(format!("{shape:?} of {:?}", self.shape));
        }
        Ok(Self { shape, ..self.clone() })
    }

    /// The numbers at these places, as a tensor of this shape; the whole numbers behind them go along.
    pub(crate) fn taken(&self, shape: Vec<usize>, places: &[usize]) -> Self {
        let pick = |values: &[f64]| places.iter().map(|at| values[*at]).collect();
        let whole = self.whole.as_ref().map(|whole| Whole {
            kind: whole.kind,
            numbers: pick(&whole.numbers),
            zeros: pick(&whole.zeros),
            scales: pick(&whole.scales),
        });
        Self { shape, kind: self.kind, values: pick(&self.values), whole }
    }

    /// Its numbers as indices.
    pub(crate) fn indices(&self) -> Vec<i64> {
        self.values.iter().map(|value| *value as i64).collect()
    }

    /// An axis counted from the front.
    pub(crate) fn axis(&self, axis: i64) -> Result<usize, String> {
        from_front(axis, self.shape.len())
    }

    /// How far apart neighbours along each axis lie.
    pub(crate) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        strides
    }

    /// `[N, C, H, W]`.
    pub(crate) fn image(&self) -> Result<[usize; 4], String> {
        <[usize; 4]>::try_from(&self.shape[..]).map_err(|_| format!("{:?}, expected [N, C, H, W]", self.shape))
    }
}

/// An axis of `rank` axes, counted from the front.
pub(crate) fn from_front(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|axis| *axis <= rank).ok_or_else(|| format!("axis {axis} of {rank}"))
}

/// Every index of a shape, row-major.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for size in shape {
        all = all.iter().flat_map(|index| (0..*size).map(move |at| [&index[..], &[at]].concat())).collect();
    }
    all
}

/// The shape of two values together (numpy's broadcasting).
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    let joined = |axis: usize| match (size(a, axis), size(b, axis)) {
        (1, size) | (size, 1) => Ok(size),
        (a, b) if a == b => Ok(a),
        _ => Err(format!("{a:?} and {b:?} do not go together")),
    };
    (0..rank).map(joined).collect()
}

/// For each index of `shape` the place of the number of a tensor that is broadcast to it.
pub(crate) fn places(of: &Tensor, shape: &[usize]) -> Vec<usize> {
    let (strides, lead) = (of.strides(), shape.len() - of.shape.len());
    let place = |index: &Vec<usize>| {
        of.shape.iter().enumerate().map(|(axis, size)| (index[lead + axis] % size) * strides[axis]).sum()
    };
    indices(shape).iter().map(place).collect()
}

/// A number of half precision (IEEE 754-2008).
fn half(bits: u16) -> f64 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from((bits >> 10) & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => f64::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}
