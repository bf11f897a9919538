//! Weights in fewer bits than are computed with.

use attar_models::Array;
use half::f16;

use super::{CONSTANT_MARK, Writer, floats, int, proto};
use crate::error::{Error, Result};
use crate::proto::{FLOAT, FLOAT16, INT8, TensorProto};

/// A weight as halves, and a `Cast` that makes floats of them.
pub(super) fn half(writer: &mut Writer<'_>, name: &str, array: &Array) -> Result<String> {
    let halves: Vec<f16> = array.f32()?.iter().map(|weight| f16::from_f32(*weight)).collect();
    if let Some(at) = halves.iter().position(|half| !half.is_finite()) {
        let problem = format!("element {at} is {}, and half precision ends at 65504", array.f32()?[at]);
        return Err(Error::Node { node: name.to_owned(), problem });
    }
    let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    writer.constants.push(tensor(name.to_owned(), FLOAT16, &array.shape, bytes));
    Ok(cast(writer, name))
}

/// A weight as bytes times a scale for each output channel.
pub(super) fn bytes(writer: &mut Writer<'_>, name: &str, array: &Array) -> Result<String> {
    let (weights, outputs) = (array.f32()?, array.shape.first().copied().unwrap_or(1).max(1));
    let depth = (weights.len() / outputs).max(1);
    let largest = |row: &[f32]| row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
    let scales: Vec<f32> = weights.chunks(depth).map(|row| (largest(row) / 127.0).max(f32::MIN_POSITIVE)).collect();
    let step = |(at, weight): (usize, &f32)| (weight / scales[at / depth]).round_ties_even().clamp(-127.0, 127.0);
    let bytes = weights.iter().enumerate().map(|weight| step(weight) as i8 as u8).collect();
    writer.constants.push(tensor(name.to_owned(), INT8, &array.shape, bytes));
    let shape = std::iter::once(outputs).chain(array.shape.iter().skip(1).map(|_| 1)).collect();
    let scale = format!("{name}{CONSTANT_MARK}scale");
    writer.constants.push(floats(scale.clone(), &Array::new(shape, scales)?)?);
    let whole = cast(writer, name);
    let made = format!("{name}{CONSTANT_MARK}scaled");
    writer.nodes.push(proto(&made, "Mul", vec![whole, scale], &made, Vec::new()));
    Ok(made)
}

fn cast(writer: &mut Writer<'_>, name: &str) -> String {
    let made = format!("{name}{CONSTANT_MARK}floats");
    let to = vec![int("to", FLOAT as usize)];
    writer.nodes.push(proto(&made, "Cast", vec![name.to_owned()], &made, to));
    made
}

fn tensor(name: String, kind: i32, shape: &[usize], bytes: Vec<u8>) -> TensorProto {
    let dims = shape.iter().map(|size| *size as i64).collect();
    TensorProto { dims, data_type: Some(kind), name: Some(name), raw_data: Some(bytes), ..TensorProto::default() }
}
