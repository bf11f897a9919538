//! Augmentation on the device, against what the data's own pipeline makes of the same images: equal pixels, bit for bit.

use attar_data::{Augment, Draw, Fill, InMemory, Pipeline, train_batch};
use attar_formats::Preprocessing;
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Checks, Named};
use crate::error::Result;
use crate::ops::augment::augment_batch;

const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];

pub(super) fn augmentation(checks: &mut Checks<'_>) -> Result<()> {
    for (fill, channels) in [(Fill::Zero, 3), (Fill::Reflect, 3), (Fill::Reflect, 1)] {
        let case = format!("40 images of 9x11x{channels}, {fill:?}");
        checks.compare("augment", &case, 0.0, |device| many(fill, channels, device))?;
    }
    let flip = Pipeline::new(vec![Augment::Flip { p: 1.0 }], normalise(3));
    checks.compare("augment", "mirrored by the data's pipeline", 0.0, |device| {
        let made = if device.is_cpu() { by_pipeline(&flip)? } else { mirrored(device)? };
        // On the CPU, its own augmentation beside the pipeline's: their difference is nothing.
        let apart = (&made.to_device(&Device::Cpu)? - mirrored(&Device::Cpu)?)?;
        Ok(vec![("", made), ("less the CPU's own", apart)])
    })
}

fn normalise(channels: usize) -> Preprocessing {
    Preprocessing::normalise(MEAN[..channels].to_vec(), STD[..channels].to_vec())
}

fn pixels(channels: usize) -> Vec<u8> {
    (0..40 * 9 * 11 * channels as u32).map(|v| (v * 37 % 251) as u8).collect()
}

fn many(fill: Fill, channels: usize, device: &Device) -> Result<Named> {
    let images = Tensor::from_vec(pixels(channels), (40, 9, 11, channels), device)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut place = || rng.random_range(-4..=4);
    let draws: Vec<Draw> = (0..40).map(|i| Draw { top: place(), left: place(), flip: i % 3 == 0 }).collect();
    let indices: Vec<u32> = (0..40).map(|i| i * 7 % 40).collect();
    Ok(vec![("", augment_batch(&images, &indices, &draws, &normalise(channels), fill)?)])
}

fn mirrored(device: &Device) -> Result<Tensor> {
    let images = Tensor::from_vec(pixels(3), (40, 9, 11, 3), device)?;
    let draws = [Draw { top: 0, left: 0, flip: true }; 4];
    augment_batch(&images, &[3, 0, 39, 3], &draws, &normalise(3), Fill::Zero)
}

fn by_pipeline(how: &Pipeline) -> Result<Tensor> {
    let data = InMemory::new([9, 11], 3, pixels(3), vec![0; 40], vec!["one".to_owned()], "images")?;
    let batch = train_batch(&data, &[3, 0, 39, 3], how, 1, 1)?;
    Ok(Tensor::from_vec(batch.pixels, batch.shape.as_slice(), &Device::Cpu)?)
}
