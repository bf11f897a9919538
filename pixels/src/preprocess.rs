//! Evaluation preprocessing: from decoded pixels to the network's input. Training, export's goldens
//! and devices all call this.

use crate::error::{Error, Result};
use crate::image::Image;
use crate::preprocessing::{Preprocessing, ResizeTo};
use crate::resize::{check_resize, resized};
use crate::view::{ImageView, Pixels};

/// The network's input `[channels, height, width]` for one image or [view](ImageView) of one:
/// [`preprocess_image`], then scaling to 0..1 and normalisation `(v / 255 - mean) / std` in f32,
/// with the same bits as torchvision's `ToTensor` and `Normalize`.
///
/// # Errors
/// When the preprocessing makes no sense or asks for too large an image.
pub fn preprocess<'a>(image: impl Into<ImageView<'a>>, how: &Preprocessing) -> Result<Vec<f32>> {
    let seen = seen(image.into(), how)?;
    let mut input = vec![0.0; seen.view().pixels().len()];
    normalise(seen.view(), how, &mut input)?;
    Ok(input)
}

/// What the network sees, still as pixels: channels, resize and centre crop, in this order.
///
/// The resize has the pixels of Pillow 13's `Image.resize`, antialiased, and the same on every
/// machine. Pillow up to 12 runs the passes in another order where the height loses more than twice
/// as many pixels as the width, and differs a little there. The sizes and the crop's corner are
/// torchvision's.
///
/// # Errors
/// As [`preprocess`].
pub fn preprocess_image<'a>(image: impl Into<ImageView<'a>>, how: &Preprocessing) -> Result<Image> {
    Ok(seen(image.into(), how)?.into_image())
}

/// [`preprocess_image`], borrowed where nothing changes.
fn seen<'a>(image: ImageView<'a>, how: &Preprocessing) -> Result<Pixels<'a>> {
    how.check()?;
    let mut image = image.with_channels(how.channels);
    if let Some(to) = how.resize {
        let [height, width] = resized_size(to.to, image.view().height(), image.view().width());
        image = resized(image, height, width, to.interpolation)?;
    }
    match how.crop {
        Some([height, width]) => centre_crop(image.view(), clamp(height), clamp(width)).map(Pixels::Owned),
        None => Ok(image),
    }
}

/// `[height, width]` of the network's input for an image of this height and width.
pub fn preprocessed_size(how: &Preprocessing, height: u32, width: u32) -> [usize; 2] {
    let resized = how.resize.map_or([height, width], |to| resized_size(to.to, height, width));
    how.crop.unwrap_or(resized.map(|size| size as usize))
}

/// [`preprocessed_size`], and whether an image of this height and width can be made so at all.
///
/// # Errors
/// [`Error::Setting`] when the resize would be too large, as for a strip of one pixel by thousands.
pub fn comes_out(how: &Preprocessing, height: u32, width: u32) -> Result<[usize; 2]> {
    if let Some(to) = how.resize {
        let [to_height, to_width] = resized_size(to.to, height, width);
        check_resize([height, width], [to_height, to_width])?;
    }
    Ok(preprocessed_size(how, height, width))
}

/// The part of the source that the network sees, `[top, left]` and `[height, width]`, to the
/// nearest pixel of the source. It reaches beyond the image where a crop is larger than what it
/// crops.
pub fn shown_part(how: &Preprocessing, height: u32, width: u32) -> ([i64; 2], [usize; 2]) {
    let source = [height, width];
    let resized = how.resize.map_or(source, |to| resized_size(to.to, height, width));
    let edge = |axis: usize| {
        let crop = how.crop.map_or(resized[axis], |crop| clamp(crop[axis]));
        let start = corner(resized[axis], crop);
        let back = |at: i64| (at as f64 * f64::from(source[axis]) / f64::from(resized[axis].max(1))).round() as i64;
        let (start, end) = (back(start), back(start + i64::from(crop)));
        (start, usize::try_from(end - start).unwrap_or(0).max(1))
    };
    let ((top, height), (left, width)) = (edge(0), edge(1));
    ([top, left], [height, width])
}

/// torchvision's rule: the shorter edge becomes `edge`, the longer one `edge * longer / shorter`,
/// rounded down.
fn resized_size(to: ResizeTo, height: u32, width: u32) -> [u32; 2] {
    match to {
        ResizeTo::Exact(size) => size.map(clamp),
        ResizeTo::ShorterEdge(edge) => {
            let (shorter, longer) = (height.min(width), height.max(width));
            let long =
                (edge as u128 * u128::from(longer) / u128::from(shorter.max(1))).min(u128::from(u32::MAX)) as u32;
            if height <= width { [clamp(edge), long] } else { [long, clamp(edge)] }
        }
    }
}

/// Where a centre crop begins: (size - crop) / 2 rounded half to even; below 0, the odd pixel at
/// the end, where the crop is the larger one.
fn corner(size: u32, crop: u32) -> i64 {
    match i64::from(size) - i64::from(crop) {
        missing if missing < 0 => -(-missing / 2),
        spare => (spare as f64 / 2.0).round_ties_even() as i64,
    }
}

/// A size as images have it; one beyond that is as large as can be, which every check refuses.
pub fn clamp(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// torchvision's centre crop: a smaller image is first padded with zeros, the odd pixel at the
/// bottom and right.
fn centre_crop(image: ImageView<'_>, height: u32, width: u32) -> Result<Image> {
    image.window(corner(image.height(), height), corner(image.width(), width), width, height)
}

/// Writes `(v / 255 - mean) / std` of each pixel to `input`, `[channels, height, width]`.
///
/// # Errors
/// [`Error::Setting`] when image, means and `input` differ in channels or in size.
pub fn normalise<'a>(image: impl Into<ImageView<'a>>, how: &Preprocessing, input: &mut [f32]) -> Result<()> {
    let image = image.into();
    let channels = usize::from(image.channels());
    if how.mean.len() != channels || how.std.len() != channels || input.len() != image.pixels().len() {
        let problem = format!(
            "an image of {channels} channels and {} values, for {} means, {} standard deviations and {} values",
            image.pixels().len(),
            how.mean.len(),
            how.std.len(),
            input.len()
        );
        return Err(Error::setting("preprocessing", problem));
    }
    let plane = input.len() / channels;
    for (channel, values) in input.chunks_exact_mut(plane).enumerate() {
        let (mean, std) = (how.mean[channel], how.std[channel]);
        let table: [f32; 256] = std::array::from_fn(|v| (v as f32 / 255.0 - mean) / std);
        for (value, pixel) in values.iter_mut().zip(image.pixels().iter().skip(channel).step_by(channels)) {
            *value = table[usize::from(*pixel)];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::preprocessing::{Interpolation, Resize};

    use super::*;

    fn grey(height: u32, width: u32) -> Image {
        let pixels = (0..height * width).map(|v| v as u8 + 1).collect();
        Image::new(width, height, 1, pixels).unwrap()
    }

    fn cropped(image: &Image, height: usize, width: usize) -> Vec<u8> {
        let how = Preprocessing { crop: Some([height, width]), ..Preprocessing::normalise(vec![0.0], vec![1.0]) };
        preprocess_image(image, &how).unwrap().pixels().to_vec()
    }

    #[test]
    fn shorter_edge_is_torchvisions() {
        let size = |edge, height, width| resized_size(ResizeTo::ShorterEdge(edge), height, width);
        assert_eq!(size(256, 375, 500), [256, 341]);
        assert_eq!(size(256, 500, 375), [341, 256]);
        assert_eq!(size(7, 3, 3), [7, 7]);
        assert_eq!(size(1, 1, 100), [1, 100]);
        assert_eq!(size(usize::MAX, 1, u32::MAX), [u32::MAX, u32::MAX]);
    }

    #[test]
    fn centre_crop_rounds_half_to_even_and_pads_bottom_right() {
        assert_eq!(cropped(&grey(1, 3), 1, 2), [1, 2]); // round(0.5) = 0
        assert_eq!(cropped(&grey(1, 5), 1, 2), [3, 4]); // round(1.5) = 2
        assert_eq!(cropped(&grey(1, 2), 1, 3), [1, 2, 0]);
        assert_eq!(cropped(&grey(2, 1), 5, 1), [0, 1, 2, 0, 0]);
        assert_eq!(cropped(&grey(1, 4), 2, 2), [2, 3, 0, 0]);
    }

    #[test]
    fn normalises_into_planes() {
        let image = Image::new(2, 1, 3, vec![0, 255, 51, 102, 153, 204]).unwrap();
        let how = Preprocessing::normalise(vec![0.5, 0.25, 0.0], vec![0.5, 0.25, 1.0]);
        let input = preprocess(&image, &how).unwrap();
        let expected = [-1.0, (102.0 / 255.0 - 0.5) / 0.5, 3.0, (153.0 / 255.0 - 0.25) / 0.25, 0.2, 0.8];
        for (value, expected) in input.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{input:?}");
        }
    }

    #[test]
    fn a_buffer_of_another_size_is_refused() {
        let how = Preprocessing::normalise(vec![0.0], vec![1.0]);
        assert!(normalise(&grey(2, 2), &how, &mut [0.0; 4]).is_ok());
        assert!(normalise(&grey(2, 2), &how, &mut [0.0; 5]).is_err());
        let rgb = Image::new(1, 1, 3, vec![0; 3]).unwrap();
        assert!(normalise(&rgb, &how, &mut [0.0; 3]).is_err());
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let interpolation = Interpolation::Bilinear;
        let how = |to| Preprocessing {
            resize: Some(Resize { to, interpolation }),
            ..Preprocessing::normalise(vec![0.0], vec![1.0])
        };
        let thin = grey(1, 200);
        for to in [ResizeTo::ShorterEdge(1_000_000), ResizeTo::Exact([usize::MAX; 2]), ResizeTo::Exact([0, 1])] {
            assert!(preprocess(&thin, &how(to)).is_err());
        }
        assert_eq!(preprocessed_size(&how(ResizeTo::ShorterEdge(2)), 1, 200), [2, 400]);
        for crop in [[usize::MAX; 2], [1 << 20, 1 << 20]] {
            let how = Preprocessing { crop: Some(crop), ..Preprocessing::normalise(vec![0.0], vec![1.0]) };
            assert!(preprocess(&thin, &how).unwrap_err().to_string().starts_with("crop: "));
        }
    }
}
