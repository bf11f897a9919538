//! Augmentation on the device: equal pixels, bit for bit.

use attar_measures::random::Stream;
use candle_core::{Device, Tensor};

use super::{Checks, Named};
use crate::context::Context;
use crate::error::Result;
use crate::ops::augment::{Draw, Normalisation, augment_batch};

const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];

/// Which images are mirrored; one of them twice.
const MIRRORED: [u32; 4] = [3, 0, 39, 3];

pub(super) fn augmentation(checks: &mut Checks) -> Result<()> {
    for (fill, reflect, channels) in [("Zero", false, 3), ("Reflect", true, 3), ("Reflect", true, 1)] {
        let case = format!("40 images of 9x11x{channels}, {fill}");
        checks.compare("augment", &case, 0.0, |at| many(reflect, channels, at))?;
    }
    checks.compare("augment", "mirrored by hand", 0.0, |at| {
        let made = if at.device().is_cpu() { by_hand()? } else { mirrored(at)? };
        // On the CPU, its own augmentation beside what was made by hand: their difference is
        // nothing.
        let apart = (&made.to_device(&Device::Cpu)? - mirrored(&Context::new(&Device::Cpu))?)?;
        Ok(vec![("", made), ("less the CPU's own", apart)])
    })
}

fn normalise(channels: usize) -> Normalisation<'static> {
    Normalisation { mean: &MEAN[..channels], std: &STD[..channels] }
}

fn pixels(channels: usize) -> Vec<u8> {
    (0..40 * 9 * 11 * channels as u32).map(|v| (v * 37 % 251) as u8).collect()
}

fn many(reflect: bool, channels: usize, at: &Context) -> Result<Named> {
    let images = Tensor::from_vec(pixels(channels), (40, 9, 11, channels), at.device())?;
    let mut rng = Stream::of_number(7);
    let mut place = || rng.below_u32(9) as i32 - 4;
    let draws: Vec<Draw> = (0..40).map(|i| Draw { top: place(), left: place(), flip: i % 3 == 0 }).collect();
    let indices: Vec<u32> = (0..40).map(|i| i * 7 % 40).collect();
    Ok(vec![("", augment_batch(&images, &indices, &draws, normalise(channels), reflect)?)])
}

fn mirrored(at: &Context) -> Result<Tensor> {
    let images = Tensor::from_vec(pixels(3), (40, 9, 11, 3), at.device())?;
    let draws = [Draw { top: 0, left: 0, flip: true }; 4];
    augment_batch(&images, &MIRRORED, &draws, normalise(3), false)
}

/// The images of [`mirrored`], value by value as the definition has it.
fn by_hand() -> Result<Tensor> {
    let pixels = pixels(3);
    let mut values = Vec::new();
    for image in MIRRORED {
        for (channel, (mean, std)) in MEAN.iter().zip(STD).enumerate() {
            for row in 0..9 {
                let pixel = |column: usize| pixels[((image as usize * 9 + row) * 11 + column) * 3 + channel];
                values.extend((0..11).rev().map(|column| (f32::from(pixel(column)) / 255.0 - mean) / std));
            }
        }
    }
    Ok(Tensor::from_vec(values, (MIRRORED.len(), 3, 9, 11), &Device::Cpu)?)
}
