//! On the CPU: one pass over memory that turns several equally long tensors into several new ones.

use candle_core::{CpuStorage, Error, Layout, Storage, Tensor};

use crate::error::Result;

/// Elements of one task; below it a tensor is done by one thread. Elements never meet, so the split
/// changes no bit.
const CHUNK: usize = 1 << 15;

/// Calls `f` for each element: `IN` values in, `OUT` values out. All tensors are `f32`, on the CPU
/// and of one shape.
pub(crate) fn map<const IN: usize, const OUT: usize>(
    inputs: [&Tensor; IN],
    f: impl Fn([f32; IN]) -> [f32; OUT] + Sync,
) -> Result<[Tensor; OUT]> {
    let (shape, device) = (inputs[0].shape().clone(), inputs[0].device().clone());
    let dense = inputs.into_iter().map(Tensor::contiguous).collect::<candle_core::Result<Vec<_>>>()?;
    let held: Vec<_> = dense.iter().map(Tensor::storage_and_layout).collect();
    let mut columns: [&[f32]; IN] = [&[]; IN];
    for (column, (storage, layout)) in columns.iter_mut().zip(&held) {
        *column = slice(storage, layout)?;
        if column.len() != shape.elem_count() {
            return Err(Error::Msg(format!("{} elements for a shape {shape:?}", column.len())).into());
        }
    }
    let mut outputs: [Vec<f32>; OUT] = std::array::from_fn(|_| vec![0.0; shape.elem_count()]);
    fill(columns, outputs.each_mut().map(Vec::as_mut_slice), &f);
    let mut tensors = Vec::with_capacity(OUT);
    for output in outputs {
        tensors.push(Tensor::from_vec(output, shape.clone(), &device)?);
    }
    <[Tensor; OUT]>::try_from(tensors).map_err(|_| Error::Msg("one tensor an output".to_owned()).into())
}

/// The elements of a dense tensor.
pub(crate) fn slice<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let (Storage::Cpu(CpuStorage::F32(data)), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        return Err(Error::Msg("expected dense f32 in main memory".to_owned()).into());
    };
    Ok(&data[start..end])
}

fn fill<const IN: usize, const OUT: usize>(
    inputs: [&[f32]; IN],
    mut outputs: [&mut [f32]; OUT],
    f: &(impl Fn([f32; IN]) -> [f32; OUT] + Sync),
) {
    let len = outputs.first().map_or(0, |output| output.len());
    if len <= CHUNK {
        for i in 0..len {
            for (output, value) in outputs.iter_mut().zip(f(inputs.map(|input| input[i]))) {
                output[i] = value;
            }
        }
        return;
    }
    // Halves at a multiple of the chunk, until they are chunks.
    let middle = (len / 2).next_multiple_of(CHUNK);
    let mut left: [&mut [f32]; OUT] = std::array::from_fn(|_| Default::default());
    let mut right: [&mut [f32]; OUT] = std::array::from_fn(|_| Default::default());
    for ((output, left), right) in outputs.into_iter().zip(&mut left).zip(&mut right) {
        (*left, *right) = output.split_at_mut(middle);
    }
    let halves = inputs.map(|input| input.split_at(middle));
    rayon::join(|| fill(halves.map(|half| half.0), left, f), || fill(halves.map(|half| half.1), right, f));
}
