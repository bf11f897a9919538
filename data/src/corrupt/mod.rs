//! Common corruptions: images as noise, blur, light and compression leave them, to ask whether a network still knows them.
//!
//! Seven of the fifteen of D. Hendrycks, T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
//! Perturbations, ICLR 2019 (arXiv 1903.12261), with the parameters of the authors' code: those of CIFAR-10-C for images whose
//! shorter edge has at most 64 pixels, those of ImageNet-C for larger ones. Pixels are cut to whole numbers, as theirs.
//!
//! Our reading, where theirs does not say or cannot be had:
//!
//! * it is the decoded image that is corrupted, before the network's own preprocessing. Theirs are of 32 or 224 pixels; one
//!   whose shorter edge has more than 256 is first resized to that, bilinear, as theirs are before they are cropped;
//! * the border between the two sets of parameters, of 64 pixels;
//! * noise is keyed by corruption, severity and the image's place, not drawn from a generator with a history;
//! * the encoder of JPEGs keeps the resolution of colours (4:4:4), where PIL's halves it;
//! * pixelated images keep their shape, which theirs need not: they are squares;
//! * grey images stay grey.

mod blur;
mod light;
mod noise;
mod view;

use std::path::Path;

use attar_measures::random::{Stream, purpose};
use attar_pixels::{Image, Interpolation, resize, resize_by_boxes};

use crate::error::{Error, Result};
pub use view::Corrupted;

/// The key of all noise; it never changes.
const SEED: u64 = 2019;

/// Images whose shorter edge has at most so many pixels get the parameters of CIFAR-10-C.
const SMALL: u32 = 64;

/// The shorter edge to which larger images are resized.
const LARGEST: u32 = 256;

/// The severities, of the five of the paper, that a table shows.
pub const SEVERITIES: [u8; 3] = [1, 3, 5];

/// What happens to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// Normal noise on every value, as of little light.
    GaussianNoise,
    /// Poisson noise: each value counts few photons.
    ShotNoise,
    /// A lens out of focus: the mean over a disk.
    DefocusBlur,
    /// More light: the value of HSV is raised.
    Brightness,
    /// Less contrast: values move to the mean of their channel.
    Contrast,
    /// Larger pixels: down and up again by boxes.
    Pixelate,
    /// Compressed as a JPEG.
    Jpeg,
}

impl Corruption {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::DefocusBlur,
        Self::Brightness,
        Self::Contrast,
        Self::Pixelate,
        Self::Jpeg,
    ];

    /// As the paper's code calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Pixelate => "pixelate",
            Self::Jpeg => "jpeg_compression",
        }
    }

    /// The image corrupted; `place` is its index in the data set, by which noise is keyed. Same image, severity and place:
    /// same pixels.
    ///
    /// # Errors
    /// [`Error::Setting`] for a severity that is not from 1 to 5; an image that cannot be encoded.
    pub fn apply(self, image: &Image, severity: u8, place: usize) -> Result<Image> {
        let Some(at) = usize::from(severity).checked_sub(1).filter(|at| *at < 5) else {
            return Err(Error::setting("severity", format!("{severity}, expected 1 to 5")));
        };
        let image = reduced(image)?;
        let small = image.height().min(image.width()) <= SMALL;
        let of = |cifar: [f64; 5], imagenet: [f64; 5]| if small { cifar[at] } else { imagenet[at] };
        let mut draws = Stream::at(purpose(self.name()), SEED, severity.into(), place as u64);
        Ok(match self {
            Self::GaussianNoise => {
                let sd = of([0.04, 0.06, 0.08, 0.09, 0.10], [0.08, 0.12, 0.18, 0.26, 0.38]);
                noise::gaussian(image, sd, &mut draws)
            }
            Self::ShotNoise => {
                let photons = of([500.0, 250.0, 100.0, 75.0, 50.0], [60.0, 25.0, 12.0, 5.0, 3.0]);
                noise::shot(image, photons, &mut draws)
            }
            Self::DefocusBlur => {
                let radius = of([0.3, 0.4, 0.5, 1.0, 1.5], [3.0, 4.0, 6.0, 8.0, 10.0]);
                let edge = of([0.4, 0.5, 0.6, 0.2, 0.1], [0.1, 0.5, 0.5, 0.5, 0.5]);
                blur::defocus(image, radius, edge)
            }
            Self::Brightness => light::brightness(image, of([0.05, 0.1, 0.15, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5])),
            Self::Contrast => light::contrast(image, of([0.75, 0.5, 0.4, 0.3, 0.15], [0.4, 0.3, 0.2, 0.1, 0.05])),
            Self::Pixelate => pixelate(&image, of([0.95, 0.9, 0.85, 0.75, 0.65], [0.6, 0.5, 0.4, 0.3, 0.25]))?,
            Self::Jpeg => {
                let quality = of([80.0, 65.0, 58.0, 50.0, 40.0], [25.0, 18.0, 15.0, 10.0, 7.0]) as u8;
                attar_pixels::decode(&image.to_jpeg(quality)?, Path::new("a JPEG made of an image"))?
            }
        })
    }
}

/// The image as the corruptions take it.
fn reduced(image: &Image) -> Result<Image> {
    let (height, width) = (image.height(), image.width());
    let shorter = height.min(width);
    if shorter <= LARGEST {
        return Ok(image.clone());
    }
    let scaled = |edge: u32| (u64::from(edge) * u64::from(LARGEST) / u64::from(shorter)) as u32;
    Ok(resize(image, scaled(height), scaled(width), Interpolation::Bilinear)?)
}

fn pixelate(image: &Image, share: f64) -> Result<Image> {
    let fewer = |edge: u32| ((f64::from(edge) * share) as u32).max(1);
    let small = resize_by_boxes(image, fewer(image.height()), fewer(image.width()))?;
    Ok(resize_by_boxes(&small, image.height(), image.width())?)
}

/// A value of 0 to 1 as a byte: clipped, and cut to a whole number.
fn byte(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth image with an edge in it.
    pub(super) fn image(height: u32, width: u32, channels: u8) -> Image {
        let value = |at: u32| {
            let (pixel, channel) = (at / u32::from(channels), at % u32::from(channels));
            let (y, x) = (pixel / width, pixel % width);
            (40 + 120 * x / width + 30 * y / height + 20 * channel + if 2 * x > width { 25 } else { 0 }) as u8
        };
        let pixels = (0..height * width * u32::from(channels)).map(value).collect();
        Image::new(width, height, channels, pixels).unwrap()
    }

    fn distance(a: &Image, b: &Image) -> f64 {
        let squares = a.pixels().iter().zip(b.pixels()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        (squares.sum::<f64>() / a.pixels().len() as f64).sqrt()
    }

    #[test]
    fn each_is_the_same_every_time_and_worse_with_severity() {
        for (height, width, channels) in [(32, 32, 3), (28, 28, 1), (96, 80, 3)] {
            let plain = image(height, width, channels);
            for kind in Corruption::ALL {
                let far: Vec<f64> = (1..=5)
                    .map(|severity| {
                        let found = kind.apply(&plain, severity, 7).unwrap();
                        assert_eq!(found, kind.apply(&plain, severity, 7).unwrap(), "{kind:?}");
                        assert_eq!((found.height(), found.width(), found.channels()), (height, width, channels));
                        let other = kind.apply(&plain, severity, 8).unwrap();
                        let noisy = matches!(kind, Corruption::GaussianNoise | Corruption::ShotNoise);
                        assert_eq!(found != other, noisy, "{kind:?} {severity}");
                        distance(&plain, &found)
                    })
                    .collect();
                assert!(far[0] > 0.2 && far[0] < far[2] && far[2] < far[4], "{kind:?} of {height}x{width}: {far:?}");
            }
        }
    }

    #[test]
    fn large_images_are_reduced_and_odd_severities_refused() {
        let found = Corruption::Contrast.apply(&image(300, 400, 3), 1, 0).unwrap();
        assert_eq!((found.height(), found.width()), (256, 341));
        let error = Corruption::Jpeg.apply(&image(8, 8, 3), 6, 0).unwrap_err().to_string();
        assert!(error.contains("severity") && error.contains("6, expected 1 to 5"), "{error}");
        assert!(Corruption::Jpeg.apply(&image(8, 8, 3), 0, 0).is_err());
        // The smallest image there is bears all of them.
        for kind in Corruption::ALL {
            assert_eq!(kind.apply(&Image::new(1, 1, 1, vec![9]).unwrap(), 5, 0).unwrap().pixels().len(), 1);
        }
    }
}
