//! RandAugment: a few operations drawn from fourteen, all of one strength (Cubuk et al. 2020, arXiv 1909.13719).
//!
//! Operations, strengths and the distribution of the draws are those of torchvision's `RandAugment` on PIL images (the classic
//! one; `v2` solarises at thresholds that are rounded otherwise). Equal to it bit for bit on the fixtures: every operation at
//! every strength of both signs, both samplings.

use attar_measures::random::Stream;
use attar_pixels::Image;
use serde::{Deserialize, Serialize};

use super::{Frame, Paint, Sampling, affine, enhance, tables};
use crate::error::{Error, Result};

/// Settings of RandAugment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RandAugment {
    /// Operations applied to an image, one after the other; the same one may come again.
    pub ops: u32,
    /// Strength, 0 to 30.
    pub magnitude: u32,
    /// How sheared, moved and turned pixels are found.
    pub sampling: Sampling,
    /// What lies beyond the edge of a sheared, moved or turned image; not noise.
    pub fill: Paint,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { ops: 2, magnitude: 9, sampling: Sampling::default(), fill: Paint::Black }
    }
}

/// Strengths there are.
const BINS: u32 = 31;

/// More operations than this leave nothing of an image.
const MOST_OPS: u32 = 16;

/// What may happen to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Colour,
    Contrast,
    Sharpness,
    Posterise,
    Solarise,
    Autocontrast,
    Equalise,
}

impl Operation {
    pub(super) const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Colour,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterise,
        Self::Solarise,
        Self::Autocontrast,
        Self::Equalise,
    ];

    /// Whether its strength may be negative too.
    pub(super) fn signed(self) -> bool {
        match self {
            Self::ShearX | Self::ShearY | Self::TranslateX | Self::TranslateY | Self::Rotate => true,
            Self::Brightness | Self::Colour | Self::Contrast | Self::Sharpness => true,
            Self::Identity | Self::Posterise | Self::Solarise | Self::Autocontrast | Self::Equalise => false,
        }
    }

    /// Its strength in bin `bin` of [`BINS`] for an image of this size, in f64 (torchvision's is rounded to f32). Posterise
    /// counts bits, solarise pixel values; translations are in pixels, rotation in degrees, the rest are shares.
    pub(super) fn strength(self, bin: u32, height: u32, width: u32) -> f64 {
        let (bin, last) = (f64::from(bin), f64::from(BINS - 1));
        let up_to = |end: f64| end * bin / last;
        match self {
            Self::ShearX | Self::ShearY => up_to(0.3),
            Self::TranslateX => up_to(150.0 / 331.0 * f64::from(width)),
            Self::TranslateY => up_to(150.0 / 331.0 * f64::from(height)),
            Self::Rotate => up_to(30.0),
            Self::Brightness | Self::Colour | Self::Contrast | Self::Sharpness => up_to(0.9),
            Self::Posterise => 8.0 - up_to(4.0).round_ties_even(),
            Self::Solarise => 255.0 - up_to(255.0),
            Self::Identity | Self::Autocontrast | Self::Equalise => 0.0,
        }
    }

    /// A strength in pixels of the frame in those of the image; any other is what it is.
    fn scaled(self, strength: f64, frame: &Frame<'_>, image: &Image) -> f64 {
        let moved = [strength as i64; 2]; // whole pixels of the frame, as a translation is
        match self {
            Self::TranslateX => frame.place(moved, image)[1] as f64,
            Self::TranslateY => frame.place(moved, image)[0] as f64,
            _ => strength,
        }
    }

    /// The image after it, `strength` signed.
    pub(super) fn apply(self, image: Image, strength: f64, sampling: Sampling, fill: &[u8]) -> Image {
        match self {
            Self::Identity => image,
            Self::ShearX => affine::shear_x(&image, strength, sampling, fill),
            Self::ShearY => affine::shear_y(&image, strength, sampling, fill),
            Self::TranslateX => affine::translate(&image, strength, 0.0, sampling, fill),
            Self::TranslateY => affine::translate(&image, 0.0, strength, sampling, fill),
            Self::Rotate => affine::rotate(image, strength, sampling, fill),
            Self::Brightness => enhance::brightness(image, 1.0 + strength),
            Self::Colour => enhance::saturation(image, 1.0 + strength),
            Self::Contrast => enhance::contrast(image, 1.0 + strength),
            Self::Sharpness => enhance::sharpness(&image, 1.0 + strength),
            Self::Posterise => tables::posterise(image, strength as u32),
            Self::Solarise => tables::solarise(image, strength),
            Self::Autocontrast => tables::autocontrast(image),
            Self::Equalise => tables::equalise(image),
        }
    }

    /// One of the fourteen and its signed strength.
    pub(super) fn draw(bin: u32, height: u32, width: u32, stream: &mut Stream) -> (Self, f64) {
        let one = Self::ALL[stream.below(Self::ALL.len() as u64) as usize];
        let strength = one.strength(bin, height, width);
        (one, if one.signed() && stream.below(2) == 1 { -strength } else { strength })
    }
}

impl RandAugment {
    pub(super) fn check(&self, channels: usize) -> Result<()> {
        if self.ops == 0 || self.ops > MOST_OPS {
            return Err(Error::setting("augment.ops", format!("{}, expected 1 to {MOST_OPS}", self.ops)));
        }
        if self.magnitude >= BINS {
            let problem = format!("{}, expected 0 to {}", self.magnitude, BINS - 1);
            return Err(Error::setting("augment.magnitude", problem));
        }
        if self.fill == Paint::Noise {
            return Err(Error::setting("augment.fill", "noise, expected `black`, `mean` or a colour"));
        }
        self.fill.check("augment.fill", channels)
    }

    pub(super) fn apply(&self, image: Image, frame: &Frame<'_>, stream: &mut Stream) -> Image {
        let fill = self.fill.pixel(frame, image.channels(), stream);
        (0..self.ops).fold(image, |image, _| {
            let (operation, strength) = Operation::draw(self.magnitude, frame.height, frame.width, stream);
            let strength = operation.scaled(strength, frame, &image);
            operation.apply(image, strength, self.sampling, &fill)
        })
    }
}
