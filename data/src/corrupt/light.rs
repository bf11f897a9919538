//! More light and less contrast.

use attar_pixels::Image;

use super::byte;

/// The value of HSV raised by `more`, hue and saturation as they were: all channels are scaled alike, and black becomes grey.
pub(super) fn brightness(image: Image, more: f64) -> Image {
    let channels = usize::from(image.channels());
    image.map_pixels(|pixels| {
        for pixel in pixels.chunks_exact_mut(channels) {
            let largest = pixel.iter().copied().max().unwrap_or(0);
            let value = f64::from(largest) / 255.0;
            let raised = (value + more).min(1.0);
            for own in pixel {
                *own = if largest == 0 { byte(raised) } else { byte(f64::from(*own) / 255.0 * raised / value) };
            }
        }
    })
}

/// Every value moved to the mean of its channel, until `share` of the distance is left.
pub(super) fn contrast(image: Image, share: f64) -> Image {
    let channels = usize::from(image.channels());
    let count = image.pixels().len() / channels;
    image.map_pixels(|pixels| {
        for channel in 0..channels {
            let sum: u64 = pixels.iter().skip(channel).step_by(channels).map(|value| u64::from(*value)).sum();
            let mean = sum as f64 / count as f64 / 255.0;
            for value in pixels.iter_mut().skip(channel).step_by(channels) {
                *value = byte((f64::from(*value) / 255.0 - mean) * share + mean);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_by_hand() {
        let image = Image::new(2, 1, 3, vec![0, 0, 0, 100, 50, 200]).unwrap();
        // 0.2 more: black is 51, and of 200 comes 251, by which the others are scaled.
        assert_eq!(brightness(image, 0.2).pixels(), [51, 51, 51, 125, 62, 251]);
        let white = brightness(Image::new(1, 1, 1, vec![250]).unwrap(), 0.5);
        assert_eq!(white.pixels(), [255]);
    }

    #[test]
    fn contrast_by_hand() {
        let image = Image::new(2, 1, 3, vec![0, 10, 250, 100, 10, 50]).unwrap();
        // Means 50, 10 and 150; a tenth of the distance to them is left.
        let found = contrast(image, 0.1);
        for (got, expected) in found.pixels().iter().zip([45_u8, 10, 160, 55, 10, 140]) {
            assert!(got.abs_diff(expected) <= 1, "{:?}", found.pixels());
        }
    }
}
