//! Mirror left to right.

use attar_measures::random::Stream;
use attar_pixels::Image;

/// Whether a sample is mirrored.
pub(super) fn happens(p: f64, stream: &mut Stream) -> bool {
    stream.unit() < p
}

/// The image as in a mirror.
pub(super) fn flip(image: Image) -> Image {
    let channels = usize::from(image.channels());
    let row = image.width() as usize * channels;
    image.map_pixels(|pixels| {
        for row in pixels.chunks_exact_mut(row) {
            row.reverse();
            row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Augment;
    use super::super::tests::{apply, stream};
    use super::*;

    #[test]
    fn mirrors_pixels_not_channels_as_often_as_asked() {
        let image = Image::new(2, 2, 3, (1..=12).collect()).unwrap();
        assert_eq!(flip(image.clone()).pixels(), [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        assert_eq!(flip(flip(image.clone())), image);
        let with = |p, sample| apply(&Augment::Flip { p }, &image, &mut stream(sample)).unwrap();
        assert_eq!(with(0.0, 0), image);
        assert_eq!(with(1.0, 0), flip(image.clone()));
        let flipped = (0..1000).filter(|&sample| with(0.3, sample) != image);
        assert!((250..350).contains(&flipped.count()));
    }
}
