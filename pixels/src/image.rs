//! An image: 8-bit grey or RGB pixels, with the hash by which runs and certificates recognise it.

use crate::error::Result;
use crate::view::{ImageView, Pixels};

/// No image may have more pixels than this.
pub const MAX_PIXELS: u64 = 100_000_000;

/// Decoded pixels: `height` rows of `width` pixels of `channels` bytes (1 grey, 3 RGB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    channels: u8,
    pixels: Vec<u8>,
}

impl Image {
    /// An image of `pixels` in `[height, width, channels]` order.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when the image is empty, has other than 1 or 3
    /// channels, or the number of bytes does not fit.
    pub fn new(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Result<Self> {
        ImageView::new(&pixels, width, height, channels)?;
        Ok(Self { width, height, channels, pixels })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// 1 (grey) or 3 (RGB).
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// The pixels, `[height, width, channels]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// What a view of checked or made pixels becomes.
    pub(crate) fn of_parts(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Self {
        Self { width, height, channels, pixels }
    }

    /// [`ImageView::sha256`]: the hash by which runs and certificates recognise the image.
    pub fn sha256(&self) -> [u8; 32] {
        ImageView::from(self).sha256()
    }

    /// With 1 or 3 channels: grey is repeated, colour is weighted as ITU-R 601 with PIL's integer
    /// arithmetic. Any other number changes nothing.
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        match ImageView::from(&self).with_channels(channels) {
            Pixels::Owned(image) => image,
            Pixels::Borrowed(_) => self,
        }
    }

    /// With its pixels changed in place.
    #[must_use]
    pub fn map_pixels(mut self, change: impl FnOnce(&mut [u8])) -> Self {
        change(&mut self.pixels);
        self
    }

    /// [`ImageView::window`]: `height` rows of `width` pixels from (`top`, `left`), zero outside.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when the window has no pixel or more than
    /// [`MAX_PIXELS`].
    pub fn window(&self, top: i64, left: i64, width: u32, height: u32) -> Result<Self> {
        ImageView::from(self).window(top, left, width, height)
    }
}

/// PIL's RGB to L. A pixel of three bytes; of fewer it is 0.
pub fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b, ..] = *rgb else { return 0 };
    let [r, g, b] = [r, g, b].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_image() {
        assert!(Image::new(2, 2, 1, vec![0; 4]).is_ok());
        for (width, height, channels, bytes) in [(0, 2, 1, 0), (2, 2, 2, 8), (2, 2, 3, 4), (u32::MAX, u32::MAX, 3, 1)] {
            assert!(Image::new(width, height, channels, vec![0; bytes]).is_err());
        }
    }

    #[test]
    fn hash_tells_shapes_apart() {
        let wide = Image::new(6, 1, 1, vec![7; 6]).unwrap();
        let tall = Image::new(1, 6, 1, vec![7; 6]).unwrap();
        let rgb = Image::new(2, 1, 3, vec![7; 6]).unwrap();
        assert_ne!(wide.sha256(), tall.sha256());
        assert_ne!(wide.sha256(), rgb.sha256());
        assert_eq!(wide.sha256(), wide.clone().sha256());
    }

    #[test]
    fn window_pads_with_zero_on_every_side() {
        let image = Image::new(2, 2, 1, vec![1, 2, 3, 4]).unwrap();
        assert_eq!(image.window(-1, -1, 4, 4).unwrap().pixels, [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
        assert_eq!(image.window(1, 1, 2, 1).unwrap().pixels, [4, 0]);
        assert_eq!(image.window(-5, 9, 2, 1).unwrap().pixels, [0, 0]);
        assert_eq!(image.window(0, 1, 1, 2).unwrap().pixels, [2, 4]);
        assert_eq!(image.window(i64::MAX, i64::MAX, 1, 1).unwrap().pixels, [0]);
        assert!(image.window(0, 0, 0, 2).is_err() && image.window(0, 0, u32::MAX, 2).is_err());
    }

    #[test]
    fn grey_and_colour_convert_as_pil() {
        let rgb = Image::new(3, 1, 3, vec![255, 0, 0, 0, 255, 0, 10, 20, 30]).unwrap();
        assert_eq!(rgb.with_channels(1).pixels, [76, 150, 18]);
        let grey = Image::new(2, 1, 1, vec![5, 6]).unwrap();
        assert_eq!(grey.clone().with_channels(3).pixels, [5, 5, 5, 6, 6, 6]);
        assert_eq!(grey.clone().with_channels(1), grey);
    }
}
