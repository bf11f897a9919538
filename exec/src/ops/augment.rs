//! Augmentation of images that are already on the device: crop with padding, mirror, normalise.
//!
//! What happens to each image is drawn on the host, so that every device makes the same pixels, bit
//! for bit.

use candle_core::{Device, Tensor};

use super::cpu::Contiguous;
use crate::error::Result;

/// What happens to one image: where the crop begins in it (rows and columns; a padding lies at
/// negative ones), and whether it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// First row of the crop.
    pub top: i32,
    /// First column of the crop.
    pub left: i32,
    /// Left and right change places.
    pub flip: bool,
}

/// What becomes of the values of an image: `(value / 255 - mean) / std` of each channel.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation<'a> {
    /// One a channel.
    pub mean: &'a [f32],
    /// One a channel.
    pub std: &'a [f32],
}

/// A checked request, as devices take it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) indices: &'a [u32],
    pub(crate) draws: &'a [Draw],
    /// `[C, 256]`: what each pixel value becomes.
    pub(crate) table: &'a [f32],
    pub(crate) reflect: bool,
}

/// The images at `indices` of `images` (`u8`, `[.., H, W, C]`), each cropped and mirrored as drawn,
/// then normalised as `how` says: `f32`, `[N, C, H, W]`, channels last in memory. What lies outside
/// of an image is its reflection, or black. The same values as those of the loaders' `pad-crop`,
/// `flip` and normalisation.
///
/// # Errors
/// Images of another type or shape, an index or a crop outside of the (reflected) images, as many
/// draws as indices missing, or a device that failed.
pub fn augment_batch(
    images: &Tensor,
    indices: &[u32],
    draws: &[Draw],
    how: Normalisation<'_>,
    reflect: bool,
) -> Result<Tensor> {
    let (count, h, w, c) = images.dims4()?;
    let Normalisation { mean, std } = how;
    if indices.is_empty() || indices.len() != draws.len() || mean.len() != c || std.len() != c {
        let lengths = (indices.len(), draws.len(), mean.len(), std.len());
        return Err(wrong(&format!("indices, draws, means and deviations of {c} channels number {lengths:?}")));
    }
    if let Some(index) = indices.iter().find(|&&index| index as usize >= count) {
        return Err(wrong(&format!("image {index} of {count}")));
    }
    let far = |at: i32, size: usize| reflect && at.unsigned_abs() as usize >= size;
    if let Some(draw) = draws.iter().find(|draw| far(draw.top, h) || far(draw.left, w)) {
        return Err(wrong(&format!("a crop at {draw:?} does not lie in the reflection of {h}x{w}")));
    }
    let value = |at: usize| ((at % 256) as f32 / 255.0 - mean[at / 256]) / std[at / 256];
    let table: Vec<f32> = (0..c * 256).map(value).collect();
    let batch = Batch { indices, draws, table: &table, reflect };
    #[cfg(feature = "cuda")]
    if images.device().is_cuda() {
        return super::cuda::augment(images, &batch);
    }
    on_host(images, &batch)
}

fn on_host(images: &Tensor, batch: &Batch<'_>) -> Result<Tensor> {
    let (_, h, w, c) = images.dims4()?;
    let images = Contiguous::of(images)?;
    let read = images.read();
    let pixels = read.slice::<u8>()?;
    let place = |at: usize, start: i32, size: usize| {
        let (at, last) = (at as i64 + i64::from(start), size as i64 - 1);
        let at = if batch.reflect { last - (last - at.abs()).abs() } else { at };
        usize::try_from(at).ok().filter(|&at| at < size)
    };
    let mut values = Vec::with_capacity(batch.indices.len() * h * w * c);
    for (&index, draw) in batch.indices.iter().zip(batch.draws) {
        let image = &pixels[index as usize * h * w * c..][..h * w * c];
        for row in 0..h {
            let row = place(row, draw.top, h);
            for column in 0..w {
                let column = if draw.flip { w - 1 - column } else { column };
                let start = row.zip(place(column, draw.left, w)).map(|(row, column)| (row * w + column) * c);
                let value = |channel| start.map_or(0, |start| image[start + channel]);
                values.extend((0..c).map(|channel| batch.table[channel * 256 + usize::from(value(channel))]));
            }
        }
    }
    Ok(Tensor::from_vec(values, (batch.indices.len(), h, w, c), &Device::Cpu)?.permute((0, 3, 1, 2))?)
}

fn wrong(problem: &str) -> crate::Error {
    candle_core::Error::Msg(format!("augmentation: {problem}")).into()
}
