//! An image: 8-bit grey or RGB pixels, with the hash by which runs and certificates recognise it.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

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
    /// [`Error::Setting`] when the image is empty, has other than 1 or 3 channels, or the number of bytes does not fit.
    pub fn new(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Result<Self> {
        let expected = u64::from(width) * u64::from(height) * u64::from(channels);
        if width == 0 || height == 0 || !matches!(channels, 1 | 3) || pixels.len() as u64 != expected {
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

    /// The hash of what is seen: sha256 of width and height (u32, little endian), channels (u8), then the pixels.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.width.to_le_bytes());
        hash.update(self.height.to_le_bytes());
        hash.update([self.channels]);
        hash.update(&self.pixels);
        hash.finalize().into()
    }

    /// With 1 or 3 channels: grey is repeated, colour is weighted as ITU-R 601 with PIL's integer arithmetic.
    pub fn with_channels(self, channels: usize) -> Self {
        match (self.channels, channels) {
            (1, 3) => {
                let pixels = self.pixels.iter().flat_map(|&v| [v, v, v]).collect();
                Self { channels: 3, pixels, ..self }
            }
            (3, 1) => {
                let pixels = self.pixels.chunks_exact(3).map(luma).collect();
                Self { channels: 1, pixels, ..self }
            }
            _ => self,
        }
    }

    /// With its pixels changed in place.
    pub fn map_pixels(mut self, change: impl FnOnce(&mut [u8])) -> Self {
        change(&mut self.pixels);
        self
    }

    /// `height` rows of `width` pixels from (`top`, `left`); what lies outside the image is zero.
    pub fn window(&self, top: i64, left: i64, width: u32, height: u32) -> Self {
        let channels = usize::from(self.channels);
        let row = width as usize * channels;
        let mut pixels = vec![0; row * height as usize];
        let from = left.clamp(0, i64::from(self.width));
        let to = (left + i64::from(width)).clamp(from, i64::from(self.width));
        let bytes = (to - from) as usize * channels;
        for (y, out) in pixels.chunks_exact_mut(row).enumerate() {
            let source = top + y as i64;
            if bytes > 0 && (0..i64::from(self.height)).contains(&source) {
                let start = (source as usize * self.width as usize + from as usize) * channels;
                let at = (from - left) as usize * channels;
                out[at..at + bytes].copy_from_slice(&self.pixels[start..start + bytes]);
            }
        }
        Self { width, height, channels: self.channels, pixels }
    }
}

/// PIL's RGB to L.
pub fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
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
        assert_eq!(image.window(-1, -1, 4, 4).pixels, [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
        assert_eq!(image.window(1, 1, 2, 1).pixels, [4, 0]);
        assert_eq!(image.window(-5, 9, 2, 1).pixels, [0, 0]);
        assert_eq!(image.window(0, 1, 1, 2).pixels, [2, 4]);
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
