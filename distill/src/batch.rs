//! A batch of the loaders as a tensor.

use attar_data::Batch;
use candle_core::{Device, Tensor};

use crate::error::Result;

/// The pixels of a batch as a tensor `[N, C, H, W]`.
pub(crate) fn input(batch: &Batch, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_slice(&batch.pixels, batch.shape.as_slice(), device)?)
}
