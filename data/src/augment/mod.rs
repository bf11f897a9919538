//! Augmentation: random changes to training images that keep their class.
//!
//! Everything here changes 8-bit pixels, before they are normalised, with the arithmetic of PIL, so that what torchvision does
//! to a PIL image comes out bit for bit; but for random erasing, which torchvision does to the normalised input. The random draws have torchvision's distributions, not its numbers.

mod affine;
mod colour_jitter;
mod enhance;
mod flip;
mod frame;
mod moves;
mod pad_crop;
mod paint;
mod rand_augment;
mod random_crop;
mod random_erasing;
mod size;
mod tables;
#[cfg(test)]
mod tests;

use attar_measures::random::Stream;
use attar_pixels::{Image, Interpolation, resize};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use affine::Sampling;
pub use colour_jitter::ColourJitter;
pub(crate) use frame::Frame;
pub use moves::{Draw, Moves};
pub use paint::Paint;
pub use rand_augment::RandAugment;
pub use random_erasing::RandomErasing;

/// One random change, as a recipe says it. Each draws from the sample's own stream, in the order of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Augment {
    /// Pad all sides, then crop the original size at a random place.
    PadCrop {
        /// Pixels on each side.
        #[cfg_attr(feature = "schema", schemars(extend("x-unit" = "pixels")))]
        padding: u32,
        /// What the padding shows.
        #[serde(default)]
        fill: Fill,
    },
    /// Mirror left to right.
    Flip {
        /// How often, 0 to 1.
        #[serde(default = "half")]
        p: f64,
    },
    /// Crop a random part of random shape and resize it; torchvision's `RandomResizedCrop`.
    RandomResizedCrop {
        /// Height and width of the result; one number may stand for both.
        #[serde(deserialize_with = "size::read", serialize_with = "size::write")]
        #[cfg_attr(feature = "schema", schemars(with = "attar_pixels::Pair"))]
        size: [u32; 2],
        /// Share of the image's area, least and most.
        #[serde(default = "usual_scale")]
        scale: [f64; 2],
        /// Width over height, least and most.
        #[serde(default = "usual_ratio")]
        ratio: [f64; 2],
        /// Filter of the resize.
        #[serde(default = "bilinear")]
        interpolation: Interpolation,
    },
    /// A few operations drawn from fourteen, all of one strength; torchvision's `RandAugment`.
    RandAugment(RandAugment),
    /// Paint over a random rectangle; torchvision's `RandomErasing`, on pixels.
    RandomErasing(RandomErasing),
    /// Change brightness, contrast, saturation and hue in random order; torchvision's `ColorJitter`.
    ColourJitter(ColourJitter),
}

/// What lies around an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Black, i.e. pixel value 0 before normalisation.
    #[default]
    Zero,
    /// The image mirrored at its edge, the edge itself not repeated.
    Reflect,
}

fn half() -> f64 {
    0.5
}

fn usual_scale() -> [f64; 2] {
    [0.08, 1.0]
}

fn usual_ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}

fn bilinear() -> Interpolation {
    Interpolation::Bilinear
}

/// A probability.
fn check_p(p: f64) -> Result<()> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::setting("augment.p", format!("{p}, expected 0 to 1"))),
    }
}

/// Two bounds above 0, in order.
fn check_range(name: &'static str, [low, high]: [f64; 2], most: f64) -> Result<()> {
    if low > 0.0 && low <= high && high <= most {
        return Ok(());
    }
    Err(Error::setting(name, format!("[{low}, {high}], expected 0 < least <= most <= {most}")))
}

/// The draws of the augmentation of one sample in one epoch.
pub(crate) fn draws(seed: u64, epoch: u64, sample: u32) -> Stream {
    Stream::at(*b"augment ", seed, epoch, u64::from(sample))
}

impl Augment {
    /// Checks that the settings make sense for images of so many channels.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self, channels: usize) -> Result<()> {
        match self {
            Self::PadCrop { padding, .. } if *padding == 0 || *padding > 10_000 => {
                Err(Error::setting("augment.padding", format!("{padding}, expected 1 to 10000 pixels")))
            }
            Self::PadCrop { .. } => Ok(()),
            Self::Flip { p } => check_p(*p),
            Self::RandomResizedCrop { size, .. } if size.contains(&0) => {
                Err(Error::setting("augment.size", "0, expected at least 1 pixel"))
            }
            Self::RandomResizedCrop { scale, ratio, .. } => {
                check_range("augment.scale", *scale, 1.0)?;
                check_range("augment.ratio", *ratio, 1e6)
            }
            Self::RandAugment(settings) => settings.check(channels),
            Self::RandomErasing(settings) => settings.check(channels),
            Self::ColourJitter(settings) => settings.check(),
        }
    }

    /// The changed image. Draws are made in `frame`, which becomes that of the image that is returned.
    pub(crate) fn apply(&self, image: Image, frame: &mut Frame<'_>, stream: &mut Stream) -> Result<Image> {
        Ok(match self {
            Self::PadCrop { padding, fill } => pad_crop::pad_crop(&image, frame, *padding, *fill, stream)?,
            Self::Flip { p } => match flip::happens(*p, stream) {
                true => flip::flip(image),
                false => image,
            },
            Self::RandomResizedCrop { size, scale, ratio, interpolation } => {
                let part = random_crop::random_part(frame.height, frame.width, *scale, *ratio, stream);
                let [top, left, height, width] = frame.part(part, &image);
                let part = image.window(i64::from(top), i64::from(left), width, height)?;
                let ([height, width], own) = frame.resized.unwrap_or((*size, None));
                [frame.height, frame.width] = *size;
                resize(&part, height, width, own.unwrap_or(*interpolation))?
            }
            Self::RandAugment(settings) => settings.apply(image, frame, stream),
            Self::RandomErasing(settings) => settings.apply(image, frame, stream),
            Self::ColourJitter(settings) => settings.apply(image, stream),
        })
    }
}
