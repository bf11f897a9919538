//! Noise on every value of an image.

use attar_measures::random::Stream;
use attar_pixels::Image;

use super::byte;

/// Normal noise of a deviation, of the range 0 to 1.
pub(super) fn gaussian(image: Image, sd: f64, draws: &mut Stream) -> Image {
    let noise = draws.normals(image.pixels().len(), sd);
    image.map_pixels(|pixels| {
        for (value, noise) in pixels.iter_mut().zip(noise) {
            *value = byte(f64::from(*value) / 255.0 + f64::from(noise));
        }
    })
}

/// Poisson noise: white is so many photons.
pub(super) fn shot(image: Image, photons: f64, draws: &mut Stream) -> Image {
    image.map_pixels(|pixels| {
        for value in pixels {
            *value = byte(draws.poisson(f64::from(*value) / 255.0 * photons) as f64 / photons);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_deviation() {
        let grey = || Image::new(100, 100, 1, vec![128; 10_000]).unwrap();
        let moments = |image: &Image| {
            let values = || image.pixels().iter().map(|value| (f64::from(*value) + 0.5) / 255.0);
            let mean = values().sum::<f64>() / 1e4;
            (mean, (values().map(|value| (value - mean).powi(2)).sum::<f64>() / 1e4).sqrt())
        };
        let (mean, sd) = moments(&gaussian(grey(), 0.1, &mut Stream::of_number(1)));
        assert!((mean - 0.502).abs() < 0.005 && (sd - 0.1).abs() < 0.003, "{mean} {sd}");
        // The variance of a count is its mean.
        let (mean, sd) = moments(&shot(grey(), 60.0, &mut Stream::of_number(1)));
        assert!((mean - 0.502).abs() < 0.005 && (sd - (0.502_f64 / 60.0).sqrt()).abs() < 0.003, "{mean} {sd}");
        let black = shot(Image::new(2, 1, 1, vec![0, 0]).unwrap(), 3.0, &mut Stream::of_number(1));
        assert_eq!(black.pixels(), [0, 0]);
    }
}
