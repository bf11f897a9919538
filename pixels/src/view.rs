//! A borrowed image: a frame of a camera or a decoder's buffer is resized and preprocessed without
//! a copy.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::image::{Image, MAX_PIXELS, luma};

/// Somebody's pixels: `height` rows of `width` pixels of `channels` bytes (1 grey, 3 RGB), without
/// gaps between the rows.
///
/// ```
/// use attar_pixels::{ImageView, Preprocessing, preprocess};
///
/// let frame = [0, 128, 255, 255, 128, 0]; // two pixels of a camera
/// let image = ImageView::rgb8(&frame, 2, 1)?;
/// let input = preprocess(image, &Preprocessing::normalise(vec![0.5; 3], vec![0.25; 3]))?;
/// assert_eq!(input.len(), 3 * 2);
/// # Ok::<(), attar_pixels::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageView<'a> {
    width: u32,
    height: u32,
    channels: u8,
    pixels: &'a [u8],
}

impl<'a> ImageView<'a> {
    /// RGB pixels, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::Setting`] when the image is empty or the number of bytes does not fit.
    pub fn rgb8(pixels: &'a [u8], width: u32, height: u32) -> Result<Self> {
        Self::new(pixels, width, height, 3)
    }

    /// Grey pixels, `[height, width]`.
    ///
    /// # Errors
    /// As [`ImageView::rgb8`].
    pub fn grey8(pixels: &'a [u8], width: u32, height: u32) -> Result<Self> {
        Self::new(pixels, width, height, 1)
    }

    /// Pixels `[height, width, channels]`.
    ///
    /// # Errors
    /// As [`ImageView::rgb8`], and when there are other than 1 or 3 channels.
    pub fn new(pixels: &'a [u8], width: u32, height: u32, channels: u8) -> Result<Self> {
        let expected = u128::from(width) * u128::from(height) * u128::from(channels);
        if width == 0 || height == 0 || !matches!(channels, 1 | 3) || pixels.len() as u128 != expected {
            let bytes = pixels.len();
            return Err(Error::setting(
                "image",
                format!(
                    "{width}x{height} with {channels} channels and {bytes} bytes: expected a size of at least 1x1, 1 or 3 channels, and width * height * channels bytes"
                ),
            ));
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.height
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(self) -> u8 {
        self.channels
    }

    /// The pixels, `[height, width, channels]`.
    pub fn pixels(self) -> &'a [u8] {
        self.pixels
    }

    /// The hash of what is seen: sha256 of width and height (u32, little endian), channels (u8),
    /// then the pixels.
    pub fn sha256(self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.width.to_le_bytes());
        hash.update(self.height.to_le_bytes());
        hash.update([self.channels]);
        hash.update(self.pixels);
        hash.finalize().into()
    }

    /// A copy that owns its pixels.
    pub fn to_image(self) -> Image {
        Image::of_parts(self.width, self.height, self.channels, self.pixels.to_vec())
    }

    /// `height` rows of `width` pixels from (`top`, `left`); what lies outside the image is zero.
    ///
    /// # Errors
    /// [`Error::Setting`] when the window has no pixel or more than [`MAX_PIXELS`].
    pub fn window(self, top: i64, left: i64, width: u32, height: u32) -> Result<Image> {
        let size = u64::from(width) * u64::from(height);
        if size == 0 || size > MAX_PIXELS {
            let least = if size == 0 { "1x1 to" } else { "at most" };
            return Err(Error::setting("crop", format!("{width}x{height}, expected {least} {MAX_PIXELS} pixels")));
        }
        let channels = usize::from(self.channels);
        let row = width as usize * channels;
        let mut pixels = vec![0; row * height as usize];
        let from = left.clamp(0, i64::from(self.width));
        let to = left.saturating_add(i64::from(width)).clamp(from, i64::from(self.width));
        let bytes = (to - from) as usize * channels;
        for (y, out) in pixels.chunks_exact_mut(row).enumerate() {
            let source = top.saturating_add(y as i64);
            if bytes > 0 && (0..i64::from(self.height)).contains(&source) {
                let start = (source as usize * self.width as usize + from as usize) * channels;
                let at = (from - left) as usize * channels;
                out[at..at + bytes].copy_from_slice(&self.pixels[start..start + bytes]);
            }
        }
        Ok(Image::of_parts(width, height, self.channels, pixels))
    }

    /// With 1 or 3 channels: grey is repeated, colour is weighted as ITU-R 601 with PIL's integer
    /// arithmetic. Any other number changes nothing.
    pub(crate) fn with_channels(self, channels: usize) -> Pixels<'a> {
        let pixels = match (self.channels, channels) {
            (1, 3) => self.pixels.iter().flat_map(|&v| [v, v, v]).collect(),
            (3, 1) => self.pixels.chunks_exact(3).map(luma).collect(),
            _ => return Pixels::Borrowed(self),
        };
        Pixels::Owned(Image::of_parts(self.width, self.height, channels as u8, pixels))
    }
}

impl<'a> From<&'a Image> for ImageView<'a> {
    fn from(image: &'a Image) -> Self {
        let (width, height, channels) = (image.width(), image.height(), image.channels());
        Self { width, height, channels, pixels: image.pixels() }
    }
}

/// Borrowed as long as nothing had to change.
#[derive(Debug)]
pub(crate) enum Pixels<'a> {
    Borrowed(ImageView<'a>),
    Owned(Image),
}

impl Pixels<'_> {
    pub(crate) fn view(&self) -> ImageView<'_> {
        match self {
            Self::Borrowed(view) => *view,
            Self::Owned(image) => image.into(),
        }
    }

    pub(crate) fn into_image(self) -> Image {
        match self {
            Self::Borrowed(view) => view.to_image(),
            Self::Owned(image) => image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interpolation, Preprocessing, Resize, ResizeTo, preprocess, preprocess_image};

    #[test]
    fn a_view_and_an_image_give_equal_bits() {
        for (own, channels) in [(3, 3), (3, 1), (1, 3), (1, 1)] {
            let pixels: Vec<u8> = (0..31 * 17 * u32::from(own)).map(|v| (v * 37 % 251) as u8).collect();
            let image = Image::new(31, 17, own, pixels.clone()).unwrap();
            let view = ImageView::new(&pixels, 31, 17, own).unwrap();
            assert_eq!((view.sha256(), view.to_image()), (image.sha256(), image.clone()));
            let plain = Preprocessing::normalise(vec![0.4; channels], vec![0.3; channels]);
            let resize = |to| Some(Resize { to, interpolation: Interpolation::Bicubic });
            for how in [
                plain.clone(),
                Preprocessing { crop: Some([40, 9]), ..plain.clone() },
                Preprocessing { resize: resize(ResizeTo::ShorterEdge(23)), crop: Some([20, 20]), ..plain.clone() },
                Preprocessing { resize: resize(ResizeTo::Exact([17, 31])), ..plain.clone() },
                Preprocessing { resize: resize(ResizeTo::Exact([17, 8])), ..plain.clone() },
            ] {
                let bits = |input: Vec<f32>| input.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                let (one, other) = (preprocess(view, &how).unwrap(), preprocess(&image, &how).unwrap());
                assert_eq!(bits(one), bits(other), "{how:?}");
                assert_eq!(preprocess_image(view, &how).unwrap(), preprocess_image(&image, &how).unwrap());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_image_are_refused() {
        assert!(ImageView::grey8(&[0; 4], 2, 2).is_ok() && ImageView::rgb8(&[0; 12], 2, 2).is_ok());
        for (bytes, width, height, channels) in [(0, 0, 2, 1), (8, 2, 2, 2), (4, 2, 2, 3), (1, u32::MAX, u32::MAX, 3)] {
            let error = ImageView::new(&vec![0; bytes], width, height, channels).unwrap_err().to_string();
            assert!(error.starts_with("image: ") && error.contains("width * height * channels bytes"), "{error}");
        }
    }
}
