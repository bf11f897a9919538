//! What is painted where an augmentation leaves nothing of the image.

use attar_measures::random::Stream;
use attar_pixels::luma;
use serde::{Deserialize, Serialize};

use super::Frame;
use crate::error::{Error, Result};

/// A colour, or what stands for one: `"black"`, `"mean"`, `"noise"` or `{ colour = [124, 116, 104] }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Paint {
    /// Pixel value 0 before normalisation.
    Black,
    /// The preprocessing's mean, rounded to a pixel: nearly 0 for the network.
    Mean,
    /// Every value drawn anew from the normal distribution with the preprocessing's mean and standard deviation, rounded and
    /// clipped to a pixel.
    Noise,
    /// These pixel values, one a channel or one for all.
    Colour(Vec<u8>),
}

impl Paint {
    /// Checks that a colour fits images of so many channels.
    pub(super) fn check(&self, setting: &'static str, channels: usize) -> Result<()> {
        match self {
            Self::Colour(values) if values.len() != 1 && values.len() != channels => {
                let problem = format!("a colour of {} values, expected 1 or {channels}, one a channel", values.len());
                Err(Error::setting(setting, problem))
            }
            _ => Ok(()),
        }
    }

    /// One pixel for an image of so many channels. Mean and spread are those of the frame's network, whose colour a network
    /// that follows it is shown too.
    pub(super) fn pixel(&self, frame: &Frame<'_>, channels: u8, stream: &mut Stream) -> Vec<u8> {
        let how = frame.how;
        let to_pixel = |value: f64| (255.0 * value).round() as u8;
        let pixel: Vec<u8> = match self {
            Self::Black => vec![0; how.channels],
            Self::Mean => how.mean.iter().map(|mean| to_pixel(f64::from(*mean))).collect(),
            Self::Noise => {
                let mut drawn = |(mean, std): (&f32, &f32)| f64::from(*mean) + f64::from(*std) * stream.normal();
                how.mean.iter().zip(&how.std).map(|of| to_pixel(drawn(of))).collect()
            }
            Self::Colour(values) => {
                (0..how.channels).filter_map(|c| values.get(c).or(values.first()).copied()).collect()
            }
        };
        match (pixel.as_slice(), channels) {
            ([grey], 3) => vec![*grey; 3],
            ([_, _, _], 1) => vec![luma(&pixel)],
            _ => pixel,
        }
    }
}
