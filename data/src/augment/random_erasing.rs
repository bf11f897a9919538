//! Random erasing: a random rectangle is painted over (Zhong et al. 2020, arXiv 1708.04896).
//!
//! Size, shape and place are drawn as by torchvision's `RandomErasing`. Deviation: torchvision erases the normalised input, this
//! the pixels before normalisation, so what is painted is rounded to 1/255, and noise is clipped to what a pixel can show.

use attar_measures::random::Stream;
use attar_pixels::Image;
use serde::{Deserialize, Serialize};

use super::{Frame, Paint, check_p, check_range};
use crate::error::Result;

/// Settings of random erasing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RandomErasing {
    /// How often, 0 to 1.
    pub p: f64,
    /// Share of the image's area, least and most.
    pub scale: [f64; 2],
    /// Height over width, least and most.
    pub ratio: [f64; 2],
    /// What is painted; the mean is torchvision's default, the 0 of a normalised input.
    pub value: Paint,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { p: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: Paint::Mean }
    }
}

impl RandomErasing {
    pub(super) fn check(&self, channels: usize) -> Result<()> {
        check_p(self.p)?;
        check_range("augment.scale", self.scale, 1.0)?;
        check_range("augment.ratio", self.ratio, 1e6)?;
        self.value.check("augment.value", channels)
    }

    pub(super) fn apply(&self, image: Image, frame: &Frame<'_>, stream: &mut Stream) -> Image {
        if stream.unit() >= self.p {
            return image;
        }
        let Some(part) = erased(frame.height, frame.width, self.scale, self.ratio, stream) else { return image };
        let (row, channels) = (image.width() as usize, image.channels());
        let [top, left, height, width] = frame.part(part, &image).map(|size| size as usize);
        // Noise has the grain of the frame: one value for each of its pixels, shown wherever that pixel is.
        let [drawn_height, drawn_width] = match self.value {
            Paint::Noise => [part[2] as usize, part[3] as usize],
            _ => [1, 1],
        };
        let patch: Vec<_> =
            (0..drawn_height * drawn_width).map(|_| self.value.pixel(frame, channels, stream)).collect();
        image.map_pixels(|pixels| {
            for y in 0..height {
                let start = ((top + y) * row + left) * usize::from(channels);
                let line = &patch[y * drawn_height / height * drawn_width..][..drawn_width];
                let line_pixels =
                    pixels[start..start + width * usize::from(channels)].chunks_exact_mut(channels.into());
                line_pixels.enumerate().for_each(|(x, pixel)| pixel.copy_from_slice(&line[x * drawn_width / width]));
            }
        })
    }
}

/// `[top, left, height, width]` of a rectangle that is smaller than the image both ways; `None` when ten tries found none.
pub(super) fn erased(
    height: u32,
    width: u32,
    scale: [f64; 2],
    ratio: [f64; 2],
    stream: &mut Stream,
) -> Option<[u32; 4]> {
    let area = f64::from(height) * f64::from(width);
    for _ in 0..10 {
        let target = area * stream.between(scale[0], scale[1]);
        let shape = stream.between(ratio[0].ln(), ratio[1].ln()).exp();
        let h = (target * shape).sqrt().round_ties_even() as u32;
        let w = (target / shape).sqrt().round_ties_even() as u32;
        if h < height && w < width {
            let top = stream.below(u64::from(height - h) + 1) as u32;
            let left = stream.below(u64::from(width - w) + 1) as u32;
            return Some([top, left, h, w]);
        }
    }
    None
}
