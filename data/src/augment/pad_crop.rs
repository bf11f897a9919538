//! Pad all sides, then crop the original size somewhere.

use attar_measures::random::Stream;
use attar_pixels::Image;

use super::{Fill, Frame};
use crate::error::{Error, Result};

/// The image's own size out of the padded image, at a random place. Padding and place are in pixels of the frame.
pub(super) fn pad_crop(
    image: &Image,
    frame: &Frame<'_>,
    padding: u32,
    fill: Fill,
    stream: &mut Stream,
) -> Result<Image> {
    // By the padding and not by the place drawn, or a recipe would fail in some epochs only.
    if fill == Fill::Reflect && padding >= frame.width.min(frame.height) {
        let (width, height) = (frame.width, frame.height);
        let problem = format!("{padding}, expected less than both edges of the {width}x{height} image to reflect it");
        return Err(Error::setting("augment.padding", problem));
    }
    let [top, left] = frame.place(place(padding, stream), image);
    window(image, top, left, fill)
}

/// First row and column of the crop in the unpadded image.
pub(super) fn place(padding: u32, stream: &mut Stream) -> [i64; 2] {
    [(); 2].map(|()| stream.below(2 * u64::from(padding) + 1) as i64 - i64::from(padding))
}

/// The window of the image's own size at (`top`, `left`) of the padded image; to reflect, both are smaller than the image.
fn window(image: &Image, top: i64, left: i64, fill: Fill) -> Result<Image> {
    let (width, height) = (image.width(), image.height());
    if fill == Fill::Zero {
        return Ok(image.window(top, left, width, height)?);
    }
    let reflect = |at: i64, size: u32| {
        let last = i64::from(size) - 1;
        // Rounding from a larger frame may name the pixel behind the last one.
        (last - (last - at.abs()).abs()).abs().min(last) as usize
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
    Ok(Image::new(width, height, image.channels(), pixels)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apply, grey, stream};
    use super::super::{Augment, Fill};
    use super::window;

    #[test]
    fn fills_with_zero_or_the_reflection() {
        let image = grey(2, 3, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(window(&image, -1, -2, Fill::Zero).unwrap().pixels(), [0, 0, 0, 0, 0, 1]);
        // numpy.pad(mode="reflect") by 2 and 1, then the top left window.
        assert_eq!(window(&image, -1, -2, Fill::Reflect).unwrap().pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(window(&image, 1, 2, Fill::Reflect).unwrap().pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(window(&image, 0, 0, Fill::Reflect).unwrap(), image);
    }

    #[test]
    fn padding_too_wide_to_reflect_fails_whatever_is_drawn() {
        let image = grey(2, 3, &[1, 2, 3, 4, 5, 6]);
        for sample in 0..20 {
            let padded = |padding, fill| apply(&Augment::PadCrop { padding, fill }, &image, &mut stream(sample));
            let error = padded(2, Fill::Reflect).unwrap_err().to_string();
            assert!(error.contains("augment.padding: 2") && error.contains("3x2"), "{error}");
            assert!(padded(1, Fill::Reflect).is_ok() && padded(2, Fill::Zero).is_ok());
        }
    }

    #[test]
    fn every_place_is_visited_equally() {
        // One lit pixel in the middle of 9x9: where it ends up is where the window was.
        let mut pixels = [0; 81];
        pixels[40] = 1;
        let image = grey(9, 9, &pixels);
        let augment = Augment::PadCrop { padding: 4, fill: Fill::Zero };
        let mut seen = [0; 81];
        for sample in 0..81 * 100 {
            let moved = apply(&augment, &image, &mut stream(sample)).unwrap();
            seen[moved.pixels().iter().position(|&v| v == 1).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (55..150).contains(&count)), "{seen:?}");
    }
}
