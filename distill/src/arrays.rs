//! Tensors as arrays of a file and back, each in its own element type.

use std::collections::BTreeMap;

use attar_models::{Array, Element, Elements, Weights};
use candle_core::{DType, Device, Tensor, WithDType};

use crate::error::Result;

/// Named tensors as arrays.
///
/// # Errors
/// A tensor of a type that no file of ours holds, or a device that fails.
pub(crate) fn to_weights(tensors: BTreeMap<String, Tensor>) -> Result<Weights> {
    let arrays = tensors.into_iter().map(|(name, tensor)| Ok((name, to_array(&tensor)?)));
    arrays.collect::<Result<_>>().map(Weights)
}

/// Named arrays as tensors.
///
/// # Errors
/// An array of a type that no tensor has (`I8`), or a device that fails.
pub(crate) fn to_tensors(weights: Weights, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    weights.0.into_iter().map(|(name, array)| Ok((name, to_tensor(array, device)?))).collect()
}

fn to_array(tensor: &Tensor) -> Result<Array> {
    match tensor.dtype() {
        DType::F32 => read::<f32>(tensor),
        DType::F16 => read::<half::f16>(tensor),
        DType::BF16 => read::<half::bf16>(tensor),
        DType::U8 => read::<u8>(tensor),
        DType::I32 => read::<i32>(tensor),
        DType::U32 => read::<u32>(tensor),
        DType::I64 => read::<i64>(tensor),
        other => Err(unknown(&format!("{other:?}"))),
    }
}

fn read<T: WithDType + Element>(tensor: &Tensor) -> Result<Array> {
    Ok(Array::new(tensor.dims().to_vec(), tensor.flatten_all()?.to_vec1::<T>()?)?)
}

fn to_tensor(array: Array, device: &Device) -> Result<Tensor> {
    let shape = array.shape;
    Ok(match array.elements {
        Elements::F32(values) => Tensor::from_vec(values, shape, device)?,
        Elements::F16(values) => Tensor::from_vec(values, shape, device)?,
        Elements::Bf16(values) => Tensor::from_vec(values, shape, device)?,
        Elements::U8(values) => Tensor::from_vec(values, shape, device)?,
        Elements::I32(values) => Tensor::from_vec(values, shape, device)?,
        Elements::U32(values) => Tensor::from_vec(values, shape, device)?,
        Elements::I64(values) => Tensor::from_vec(values, shape, device)?,
        Elements::I8(_) => return Err(unknown("I8")),
    })
}

fn unknown(name: &str) -> crate::Error {
    candle_core::Error::Msg(format!("elements of type {name} are in no tensor and file both")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_come_back_as_they_were() {
        let tensors = BTreeMap::from([
            ("counts".to_owned(), Tensor::new(&[u32::MAX, (1 << 24) + 1], &Device::Cpu).unwrap()),
            ("labels".to_owned(), Tensor::new(&[[-1i64], [7]], &Device::Cpu).unwrap()),
            ("scalar".to_owned(), Tensor::new(0.5f32, &Device::Cpu).unwrap()),
        ]);
        let back = to_tensors(to_weights(tensors).unwrap(), &Device::Cpu).unwrap();
        assert_eq!(back["counts"].to_vec1::<u32>().unwrap(), [u32::MAX, (1 << 24) + 1]);
        assert_eq!(back["labels"].to_vec2::<i64>().unwrap(), [[-1], [7]]);
        assert_eq!((back["scalar"].dims(), back["scalar"].to_scalar::<f32>().unwrap()), (&[][..], 0.5));
        let double = Tensor::new(0.5f64, &Device::Cpu).unwrap();
        assert!(to_weights(BTreeMap::from([("x".to_owned(), double)])).unwrap_err().to_string().contains("F64"));
    }
}
