//! The two ends of a plan: an image comes in, logits go out.

use super::memory::Work;
use crate::arithmetic::{dequantize, quantize};
use crate::error::{Error, Result};
use crate::layer::{Target, f32_at};
use crate::plan::{Model, Preprocessing, Step};

/// An image.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Preprocessed floats, `[C, H, W]`.
    Floats(&'a [f32]),
    /// Pixels as they are, `[H, W, 3]`: normalised, and quantised where the plan does, by tables.
    Rgb8(&'a [u8]),
}

/// Bytes of the tables that turn bytes of an image into input: three of 256 floats, or of 256 bytes.
pub(super) const TABLES: usize = 3 * 256 * 4;

/// Pixels of a row that are quantised at a time.
const CHUNK: usize = 64;

/// Whether the slices have the lengths that the plan says.
pub(crate) fn check(model: &Model<'_>, input: Input<'_>, logits: &[f32]) -> Result<()> {
    let header = model.header();
    let needed = header.input.iter().map(|size| *size as usize).product();
    let found = match input {
        Input::Floats(floats) => floats.len(),
        Input::Rgb8(_) if header.preprocessing.is_none() || header.input[0] != 3 => return Err(Error::NoPreprocessing),
        Input::Rgb8(bytes) => bytes.len(),
    };
    if found != needed {
        return Err(Error::Room { what: "the image", needed, found });
    }
    let needed = header.classes as usize;
    if logits.len() != needed {
        return Err(Error::Room { what: "logits", needed, found: logits.len() });
    }
    Ok(())
}

/// The input that each byte of each channel becomes, with preprocessing's own steps.
pub(super) fn tables(model: &Model<'_>, preprocessing: Preprocessing, out: &mut [u8]) {
    let Step::Load { output } = model.step(0) else { return };
    let input = model.tensor(output);
    for channel in 0..3 {
        for byte in 0..=255 {
            let (value, at) = (preprocessing.value(channel, byte), channel * 256 + usize::from(byte));
            match input.quantisation() {
                Some((scale, zero)) => out[at] = quantize(value, scale, zero),
                None => out[4 * at..][..4].copy_from_slice(&value.to_le_bytes()),
            }
        }
    }
}

/// The image becomes the first tensor.
pub(super) fn load(work: &Work<'_>, input: Input<'_>, output: u32, tables: &[u8]) {
    let tensor = work.model.tensor(output);
    match (input, tensor.quantisation()) {
        (Input::Floats(floats), Some((scale, zero))) => load_quantised(work, floats, output, scale, zero),
        (Input::Floats(floats), None) => woven(work.target::<f32>(output), tensor.size, floats),
        (Input::Rgb8(bytes), Some(_)) => {
            fill(&work.target::<u8>(output), tensor.size, |at, c| tables[256 * c + usize::from(bytes[3 * at + c])]);
        }
        (Input::Rgb8(bytes), None) => {
            fill(&work.target::<f32>(output), tensor.size, |at, c| {
                f32_at(tables, 256 * c + usize::from(bytes[3 * at + c]))
            });
        }
    }
}

/// Every element of an image from its pixel's number and its channel.
fn fill<T>(target: &Target<T>, size: [u32; 3], element: impl Fn(usize, usize) -> T) {
    let [height, width, channels] = size.map(|size| size as usize);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                // SAFETY: within the image.
                unsafe { *target.pixel(y, x).add(channel) = element(y * width + x, channel) };
            }
        }
    }
}

/// Planes of floats become channels of pixels, row by row.
fn woven(target: Target<f32>, size: [u32; 3], floats: &[f32]) {
    let [height, width, channels] = size.map(|size| size as usize);
    let row = |channel: usize, y: usize| &floats[(channel * height + y) * width..][..width];
    for y in 0..height {
        if channels == 3 && target.pixel == 3 {
            let others = row(1, y).iter().zip(row(2, y));
            // SAFETY: a row of the image, whose pixels are next to each other.
            let out = unsafe { core::slice::from_raw_parts_mut(target.pixel(y, 0).cast::<[f32; 3]>(), width) };
            for (pixel, (a, (b, c))) in out.iter_mut().zip(row(0, y).iter().zip(others)) {
                *pixel = [*a, *b, *c];
            }
            continue;
        }
        for channel in 0..channels {
            for (x, value) in row(channel, y).iter().enumerate() {
                // SAFETY: within the image.
                unsafe { *target.pixel(y, x).add(channel) = *value };
            }
        }
    }
}

/// Planes of floats are quantised piece by piece, then woven.
fn load_quantised(work: &Work<'_>, floats: &[f32], output: u32, scale: f32, zero: u8) {
    let tensor = work.model.tensor(output);
    let [height, width, channels] = tensor.size.map(|size| size as usize);
    let (target, plane) = (work.target::<u8>(output), height * width);
    let mut bytes = [0u8; CHUNK];
    for y in 0..height {
        for x in (0..width).step_by(CHUNK) {
            let length = CHUNK.min(width - x);
            for channel in 0..channels {
                let from = &floats[channel * plane + y * width + x..][..length];
                // SAFETY: both have this length; the pixels are within the image.
                unsafe {
                    (work.kernels.simple.quantize)(from.as_ptr(), bytes.as_mut_ptr(), length, scale, zero);
                    let out = target.pixel(y, x).add(channel);
                    for (i, byte) in bytes[..length].iter().enumerate() {
                        *out.add(i * channels) = *byte;
                    }
                }
            }
        }
    }
}

/// The last tensor becomes logits.
pub(super) fn store(work: &Work<'_>, input: u32, logits: &mut [f32]) {
    match work.model.tensor(input).quantisation() {
        Some((scale, zero)) => {
            let source = work.source::<u8>(input, [0, 0]);
            // SAFETY: the tensor has a byte for each logit.
            logits
                .iter_mut()
                .enumerate()
                .for_each(|(at, logit)| *logit = dequantize(unsafe { *source.at.add(at) }, scale, zero));
        }
        None => {
            let source = work.source::<f32>(input, [0, 0]);
            // SAFETY: the tensor has a float for each logit.
            logits.iter_mut().enumerate().for_each(|(at, logit)| *logit = unsafe { *source.at.add(at) });
        }
    }
}
