//! Augmentation: random changes to training images that keep their class.

use attar_models::card::Interpolation;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::random::Stream;
use crate::resize::resize;

/// One random change, as a recipe says it. Each draws from the sample's own stream, in the order of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Augment {
    /// Pad all sides, then crop the original size at a random place.
    PadCrop {
        /// Pixels on each side.
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
        /// Height and width of the result.
        size: u32,
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
}

/// What lies around an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl Augment {
    /// Checks that the settings make sense.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let range = |name, [low, high]: [f64; 2], most: f64| {
            if low > 0.0 && low <= high && high <= most {
                return Ok(());
            }
            Err(Error::setting(name, format!("[{low}, {high}], expected 0 < least <= most <= {most}")))
        };
        match self {
            Self::PadCrop { padding, .. } if *padding == 0 || *padding > 10_000 => {
                Err(Error::setting("augment.padding", format!("{padding}, expected 1 to 10000 pixels")))
            }
            Self::Flip { p } if !(0.0..=1.0).contains(p) => {
                Err(Error::setting("augment.p", format!("{p}, expected 0 to 1")))
            }
            Self::RandomResizedCrop { size: 0, .. } => {
                Err(Error::setting("augment.size", "0, expected at least 1 pixel"))
            }
            Self::RandomResizedCrop { scale, ratio, .. } => {
                range("augment.scale", *scale, 1.0)?;
                range("augment.ratio", *ratio, 1e6)
            }
            Self::PadCrop { .. } | Self::Flip { .. } => Ok(()),
        }
    }

    /// The changed image.
    pub(crate) fn apply(&self, image: Image, stream: &mut Stream) -> Result<Image> {
        match *self {
            Self::PadCrop { padding, fill } => {
                // By the padding and not by the place drawn, or a recipe would fail in some epochs only.
                if fill == Fill::Reflect && padding >= image.width().min(image.height()) {
                    let (width, height) = (image.width(), image.height());
                    let problem =
                        format!("{padding}, expected less than both edges of the {width}x{height} image to reflect it");
                    return Err(Error::setting("augment.padding", problem));
                }
                let mut place = || stream.below(2 * u64::from(padding) + 1) as i64 - i64::from(padding);
                let (top, left) = (place(), place());
                pad_crop(&image, top, left, fill)
            }
            Self::Flip { p } => Ok(if stream.unit() < p { flip(image) } else { image }),
            Self::RandomResizedCrop { size, scale, ratio, interpolation } => {
                let [top, left, height, width] = random_part(image.height(), image.width(), scale, ratio, stream);
                resize(image.window(i64::from(top), i64::from(left), width, height), size, size, interpolation)
            }
        }
    }
}

/// The window of the image's own size at (`top`, `left`) of the padded image; to reflect, both are smaller than the image.
fn pad_crop(image: &Image, top: i64, left: i64, fill: Fill) -> Result<Image> {
    let (width, height) = (image.width(), image.height());
    if fill == Fill::Zero {
        return Ok(image.window(top, left, width, height));
    }
    let reflect = |at: i64, size: u32| {
        let last = i64::from(size) - 1;
        (last - (last - at.abs()).abs()) as usize
    };
    let channels = usize::from(image.channels());
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..i64::from(height) {
        let row = reflect(top + y, height) * width as usize;
        for x in 0..i64::from(width) {
            let start = (row + reflect(left + x, width)) * channels;
            pixels.extend_from_slice(&image.pixels()[start..start + channels]);
        }
    }
    Image::new(width, height, image.channels(), pixels)
}

fn flip(image: Image) -> Image {
    let channels = usize::from(image.channels());
    let row = image.width() as usize * channels;
    image.map_pixels(|pixels| {
        for row in pixels.chunks_exact_mut(row) {
            row.reverse();
            row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
    })
}

/// `[top, left, height, width]` by torchvision's algorithm: ten tries at an area and a shape, then the largest allowed part
/// in the centre.
fn random_part(height: u32, width: u32, scale: [f64; 2], ratio: [f64; 2], stream: &mut Stream) -> [u32; 4] {
    let area = f64::from(height) * f64::from(width);
    for _ in 0..10 {
        let target = area * stream.between(scale[0], scale[1]);
        let shape = stream.between(ratio[0].ln(), ratio[1].ln()).exp();
        let w = (target * shape).sqrt().round_ties_even() as u32;
        let h = (target / shape).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = stream.below(u64::from(height - h) + 1) as u32;
            let left = stream.below(u64::from(width - w) + 1) as u32;
            return [top, left, h, w];
        }
    }
    let own = f64::from(width) / f64::from(height);
    let (h, w) = if own < ratio[0] {
        ((f64::from(width) / ratio[0]).round_ties_even() as u32, width)
    } else if own > ratio[1] {
        (height, (f64::from(height) * ratio[1]).round_ties_even() as u32)
    } else {
        (height, width)
    };
    let (h, w) = (h.clamp(1, height), w.clamp(1, width));
    [(height - h) / 2, (width - w) / 2, h, w]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(sample: u64) -> Stream {
        Stream::new(*b"augment ", 1, 1, sample)
    }

    fn grey(height: u32, width: u32, pixels: &[u8]) -> Image {
        Image::new(width, height, 1, pixels.to_vec()).unwrap()
    }

    #[test]
    fn flip_mirrors_pixels_not_channels() {
        let image = Image::new(2, 2, 3, (1..=12).collect()).unwrap();
        assert_eq!(flip(image.clone()).pixels(), [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        assert_eq!(flip(flip(image.clone())), image);
        assert_eq!(Augment::Flip { p: 0.0 }.apply(image.clone(), &mut stream(0)).unwrap(), image);
        assert_eq!(Augment::Flip { p: 1.0 }.apply(image.clone(), &mut stream(0)).unwrap(), flip(image.clone()));
        let flipped =
            (0..1000).filter(|&i| Augment::Flip { p: 0.3 }.apply(image.clone(), &mut stream(i)).unwrap() != image);
        assert!((250..350).contains(&flipped.count()));
    }

    #[test]
    fn pad_crop_fills_with_zero_or_the_reflection() {
        let image = grey(2, 3, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(pad_crop(&image, -1, -2, Fill::Zero).unwrap().pixels(), [0, 0, 0, 0, 0, 1]);
        // numpy.pad(mode="reflect") by 2 and 1, then the top left window.
        assert_eq!(pad_crop(&image, -1, -2, Fill::Reflect).unwrap().pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(pad_crop(&image, 1, 2, Fill::Reflect).unwrap().pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(pad_crop(&image, 0, 0, Fill::Reflect).unwrap(), image);
    }

    #[test]
    fn padding_too_wide_to_reflect_fails_whatever_is_drawn() {
        let image = grey(2, 3, &[1, 2, 3, 4, 5, 6]);
        for sample in 0..20 {
            let apply = |padding, fill| Augment::PadCrop { padding, fill }.apply(image.clone(), &mut stream(sample));
            let error = apply(2, Fill::Reflect).unwrap_err().to_string();
            assert!(error.contains("augment.padding: 2") && error.contains("3x2"), "{error}");
            assert!(apply(1, Fill::Reflect).is_ok() && apply(2, Fill::Zero).is_ok());
        }
    }

    #[test]
    fn pad_crop_visits_every_place_equally() {
        // One lit pixel in the middle of 9x9: where it ends up is where the window was.
        let mut pixels = [0; 81];
        pixels[40] = 1;
        let image = grey(9, 9, &pixels);
        let augment = Augment::PadCrop { padding: 4, fill: Fill::Zero };
        let mut seen = [0; 81];
        for sample in 0..81 * 100 {
            let moved = augment.apply(image.clone(), &mut stream(sample)).unwrap();
            seen[moved.pixels().iter().position(|&v| v == 1).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (55..150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn random_part_keeps_to_scale_and_ratio() {
        let (scale, ratio) = ([0.2, 0.6], [0.5, 2.0]);
        let mut areas = 0.0;
        for sample in 0..2000 {
            let [top, left, h, w] = random_part(60, 80, scale, ratio, &mut stream(sample));
            assert!(top + h <= 60 && left + w <= 80);
            let (area, shape) = (f64::from(h * w) / 4800.0, f64::from(w) / f64::from(h));
            assert!((0.18..0.63).contains(&area) && (0.45..2.1).contains(&shape), "{h}x{w}");
            areas += area;
        }
        // Uniform in area, a little less where wide shapes do not fit.
        assert!((0.36..0.42).contains(&(areas / 2000.0)), "{areas}");
    }

    #[test]
    fn random_part_falls_back_to_the_centre() {
        // No shape between 3/4 and 4/3 with the whole area fits into a strip.
        let part = |height, width| random_part(height, width, [1.0, 1.0], usual_ratio(), &mut stream(0));
        assert_eq!(part(10, 100), [0, 43, 10, 13]);
        assert_eq!(part(100, 10), [43, 0, 13, 10]);
        assert_eq!(part(1, 1), [0, 0, 1, 1]);
        assert_eq!(random_part(1, 1000, [0.5, 0.5], [1e-3, 1e-3], &mut stream(0)), [0, 499, 1, 1]);
    }

    #[test]
    fn random_resized_crop_has_its_size_and_defaults() {
        let augment: Augment = toml::from_str("kind = 'random-resized-crop'\nsize = 7").unwrap();
        assert_eq!(
            augment,
            Augment::RandomResizedCrop {
                size: 7,
                scale: [0.08, 1.0],
                ratio: [0.75, 4.0 / 3.0],
                interpolation: Interpolation::Bilinear
            }
        );
        let image = grey(5, 9, &[7; 45]);
        let out = augment.apply(image, &mut stream(3)).unwrap();
        assert_eq!(out.pixels(), [7; 49]);
    }

    #[test]
    fn settings_are_checked() {
        for (text, expected) in [
            ("kind = 'pad-crop'\npadding = 0", "augment.padding: 0"),
            ("kind = 'flip'\np = nan", "augment.p: NaN"),
            ("kind = 'random-resized-crop'\nsize = 0", "augment.size"),
            ("kind = 'random-resized-crop'\nsize = 1\nscale = [0.0, 1.0]", "augment.scale: [0, 1]"),
            ("kind = 'random-resized-crop'\nsize = 1\nscale = [0.5, 1.5]", "augment.scale"),
            ("kind = 'random-resized-crop'\nsize = 1\nratio = [2.0, 1.0]", "augment.ratio"),
        ] {
            let error = toml::from_str::<Augment>(text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = toml::from_str::<Augment>("kind = 'pad-crop'\npadding = 4\nfill = 'edge'").unwrap_err().to_string();
        assert!(error.contains("zero") && error.contains("reflect"), "{error}");
        assert!(toml::from_str::<Augment>("kind = 'pad-crop'\npadding = 4\nfill = 'reflect'").unwrap().check().is_ok());
    }
}
