//! Augmentation on the card, of images that live there.

use candle_core::Tensor;

use super::launch::{File, Gpu, Shape};
use super::memory::{Buffer, Dense};
use super::pool::small;
use crate::error::Result;
use crate::ops::augment::{Batch, Draw};

/// `batch` is checked: every index and every place it reads lies inside the images.
pub(in crate::ops) fn augment(images: &Tensor, batch: &Batch<'_>) -> Result<Tensor> {
    let gpu = Gpu::of(images)?;
    let (_, h, w, c) = images.dims4()?;
    let n = batch.indices.len();
    let images = Dense::typed::<u8>(images)?;
    let index = Buffer::from_host(&gpu, batch.indices)?;
    let draws: Vec<i32> =
        batch.draws.iter().flat_map(|&Draw { top, left, flip }| [top, left, i32::from(flip)]).collect();
    let (draws, table) = (Buffer::from_host(&gpu, &draws)?, Buffer::from_host(&gpu, batch.table)?);
    let y = Buffer::<f32>::new(&gpu, n * h * w * c)?;
    let numbers = small([n, h, w, c])?.map(Into::into);
    let operands = [(&images).into(), (&index).into(), (&draws).into(), (&table).into(), (&y).into()];
    let args = [&operands[..], &numbers, &[batch.reflect.into()]].concat();
    // SAFETY: `augment` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { gpu.launch(File::Augment, "augment", Shape::items(n * h * w * c), &args) }?;
    y.image(&gpu, &[n, c, h, w])
}
