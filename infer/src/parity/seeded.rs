//! Images that nobody took, the same on every machine: where there are no others, two files are held against each other by
//! their answers to these.

use attar_measures::random::{Stream, purpose};
use attar_pixels::{Image, Interpolation, ResizeTo, resize};

use crate::error::Result;
use crate::subject::Subject;

/// How many.
const IMAGES: u64 = 16;

/// Seed of them; it never changes.
const SEED: u64 = 16;

/// Edge of the coarse noise under the fine one, in pixels.
const COARSE: u32 = 5;

/// Images for both sides: soft patches under fine noise, so that something is left of them when they are resized. Their size
/// is the one to which the reference resizes, or that of a network whose preprocessing resizes nothing.
pub(crate) fn images(own: &Subject, reference: &Subject) -> Result<Vec<Image>> {
    let [height, width] = size(own, reference).map(attar_pixels::clamp);
    let channels = if own.input()[0] == 1 && reference.input()[0] == 1 { 1 } else { 3 };
    (0..IMAGES).map(|place| image(place, height, width, channels)).collect()
}

fn size(own: &Subject, reference: &Subject) -> [usize; 2] {
    let resized = |of: &Subject| match of.preprocessing().resize.map(|resize| resize.to) {
        Some(ResizeTo::ShorterEdge(edge)) => Some([edge; 2]),
        Some(ResizeTo::Exact(size)) => Some(size),
        None => None,
    };
    let taken = |of: &Subject| [of.input()[1], of.input()[2]];
    match (resized(own), resized(reference)) {
        (None, _) => taken(own),
        (Some(_), None) => taken(reference),
        (Some(_), Some(size)) => size,
    }
}

/// One of them, of a height and width.
pub(crate) fn image(place: u64, height: u32, width: u32, channels: u8) -> Result<Image> {
    let noise = |layer: u64, height: u32, width: u32| {
        let mut pixels = vec![0; height as usize * width as usize * usize::from(channels)];
        Stream::at(purpose("parity"), SEED, layer, place).fill(&mut pixels);
        pixels
    };
    let coarse = Image::new(COARSE, COARSE, channels, noise(0, COARSE, COARSE))?;
    let soft = resize(&coarse, height, width, Interpolation::Bicubic)?;
    let fine = noise(1, height, width);
    let mixed = |pixels: &mut [u8]| {
        for (pixel, fine) in pixels.iter_mut().zip(&fine) {
            *pixel = ((3 * u16::from(*pixel) + u16::from(*fine)) / 4) as u8;
        }
    };
    Ok(soft.map_pixels(mixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_always_the_same_and_all_different() {
        let images: Vec<Image> = (0..IMAGES).map(|place| image(place, 20, 30, 3).unwrap()).collect();
        for (at, one) in images.iter().enumerate() {
            assert_eq!(*one, image(at as u64, 20, 30, 3).unwrap());
            assert!(images[..at].iter().all(|other| other != one));
        }
        let pixels = images[0].pixels();
        let mean = pixels.iter().map(|v| f64::from(*v)).sum::<f64>() / pixels.len() as f64;
        assert!((60.0..200.0).contains(&mean), "{mean}");
    }
}
