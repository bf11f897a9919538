//! From the bytes of a PNG, JPEG or WebP file to pixels, with a stated policy for everything that
//! is not 8-bit RGB.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{PngDecoder, PngEncoder};
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, Limits};

use crate::error::{Error, Result};
use crate::image::{Image, MAX_PIXELS};

/// What a decoder may allocate beside the file, in bytes.
const MAX_ALLOCATION: u64 = 1 << 30;

/// The pixels of an encoded image; `origin` is what messages call it.
///
/// | what | policy | why |
/// |---|---|---|
/// | EXIF orientation | applied | the photo as a person sees it; torchvision's loader ignores it |
/// | grey | stays 1 channel; [`preprocess`](crate::preprocess()) fits it to the network | no information is invented |
/// | alpha | dropped, the colour below it stays | what PIL's `convert("RGB")` does, so what reference networks were trained on |
/// | palette, 1, 2 and 4 bits | expanded | exact |
/// | 16 bits | the high byte | what PIL does for RGB; no rounding that a device would have to copy |
/// | CMYK (JPEG) | to RGB as (255 - c)(255 - k) / 255, no colour profile | within 1 of PIL's `convert("RGB")` |
/// | colour profiles | ignored | as PIL and torchvision |
/// | animation | the first frame | as PIL |
/// | other formats | an error | never a guess |
/// | more than [`MAX_PIXELS`] | an error, before memory is taken | decompression bombs |
/// | truncated | an error, also where a decoder would fill up with grey | half an image is no image |
/// | a JPEG cut short with an end marker put behind it | an error of [`check_whole`], which looks twice; not of this function | the decoder makes up what is missing and says nothing |
///
/// JPEG decoders may differ in their inverse transform and in how they enlarge colour. This one
/// (zune-jpeg 0.5) against PIL 13 (libjpeg-turbo 3.2), in units of 1/255:
///
/// | files | largest difference | mean difference |
/// |---|---|---|
/// | grey, CMYK and RGB-coded fixtures | 1 | 0.01 |
/// | 4:4:4 fixture | 2 | 0.02 |
/// | 4:2:2 fixture | 3 | 0.18 |
/// | 4:2:0 fixtures: baseline, progressive, odd sizes | 3 | 0.38 |
/// | 301 photographs of Imagenette's validation split | 12 | 0.21 (0.04 % of the values differ by more than 2) |
///
/// PNG, lossless and lossy WebP have PIL's pixels exactly.
///
/// # Errors
/// [`Error::Format`] when the bytes are no PNG, JPEG or WebP, are truncated or broken, or hold too
/// large an image.
pub fn decode(bytes: &[u8], origin: &Path) -> Result<Image> {
    let broken = |error: &ImageError| Error::format(origin, format!("cannot decode the image: {error}"));
    let (orientation, decoded) = match format(bytes, origin)? {
        ImageFormat::Png => read(PngDecoder::new(Cursor::new(bytes)).map_err(|e| broken(&e))?, origin)?,
        ImageFormat::WebP => {
            if !riff_ends(bytes) {
                return Err(Error::format(origin, "truncated WebP: shorter than its header says"));
            }
            read(WebPDecoder::new(Cursor::new(bytes)).map_err(|e| broken(&e))?, origin)?
        }
        _ => {
            if jpeg_end(bytes).is_none() {
                return Err(Error::format(origin, "truncated JPEG: no end-of-image marker after the last scan"));
            }
            read(JpegDecoder::new(Cursor::new(bytes)).map_err(|e| broken(&e))?, origin)?
        }
    };
    finished(orientation, decoded)
}

impl Image {
    /// The image as a PNG file, lossless.
    ///
    /// # Errors
    /// [`Error::Format`] when the encoder refuses the size.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut png = Vec::new();
        self.encode(PngEncoder::new(&mut png), "PNG")?;
        Ok(png)
    }

    /// The image as a baseline JPEG file of a quality from 1 to 100, the tables of which libjpeg
    /// scales alike; colours keep their resolution (4:4:4).
    ///
    /// # Errors
    /// [`Error::Format`] when the encoder refuses the size: an edge has at most 65,535 pixels.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        let mut jpeg = Vec::new();
        self.encode(JpegEncoder::new_with_quality(&mut jpeg, quality), "JPEG")?;
        Ok(jpeg)
    }

    fn encode(&self, encoder: impl ImageEncoder, format: &str) -> Result<()> {
        let colour = if self.channels() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        encoder
            .write_image(self.pixels(), self.width(), self.height(), colour)
            .map_err(|error| Error::format(Path::new(format), error.to_string()))
    }
}

fn finished(orientation: Orientation, decoded: DynamicImage) -> Result<Image> {
    let mut decoded = to_8_bits(decoded);
    decoded.apply_orientation(orientation);
    let (width, height) = (decoded.width(), decoded.height());
    match decoded {
        DynamicImage::ImageLuma8(grey) => Image::new(width, height, 1, grey.into_raw()),
        other => Image::new(width, height, 3, other.into_rgb8().into_raw()),
    }
}

/// Whether the scan of a JPEG, whose pixels are `image`, ends where its end marker stands. Before
/// the marker the decoder makes up missing bits one way, at the end of the data in another: pixels
/// that depend on the marker are not in the file.
///
/// # Errors
/// [`Error::Format`] when they do.
pub fn check_whole(bytes: &[u8], origin: &Path, image: &Image) -> Result<()> {
    let (Ok(ImageFormat::Jpeg), Some(end)) = (image::guess_format(bytes), jpeg_end(bytes)) else { return Ok(()) };
    let Ok(decoder) = JpegDecoder::new(Cursor::new(&bytes[..end])) else { return Ok(()) };
    match read(decoder, origin).and_then(|(orientation, decoded)| finished(orientation, decoded)) {
        Ok(without) if without != *image => Err(Error::format(
            origin,
            "truncated JPEG: its data ends before its last pixel, though it has an end marker",
        )),
        _ => Ok(()),
    }
}

fn format(bytes: &[u8], origin: &Path) -> Result<ImageFormat> {
    const HINT: &str = "PNG, JPEG and WebP are read\n  hint: convert the file, e.g. `magick FILE FILE.png`";
    match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => Ok(format),
        Ok(other) => Err(Error::format(origin, format!("a {other:?} image; {HINT}"))),
        Err(_) if bytes.is_empty() => Err(Error::format(origin, "an empty file")),
        Err(_) => Err(Error::format(origin, format!("not an image of a known format; {HINT}"))),
    }
}

fn read(mut decoder: impl ImageDecoder, origin: &Path) -> Result<(Orientation, DynamicImage)> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::format(origin, format!("{width}x{height} pixels; at most {MAX_PIXELS} are read")));
    }
    let broken = |error: ImageError| Error::format(origin, format!("cannot decode the image: {error}"));
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_ALLOCATION);
    decoder.set_limits(limits).map_err(broken)?;
    // Broken metadata does not make the pixels unreadable.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((orientation, DynamicImage::from_decoder(decoder).map_err(broken)?))
}

/// To 8 bits a channel, without alpha, grey as `ImageLuma8`.
fn to_8_bits(decoded: DynamicImage) -> DynamicImage {
    let high = |v: &u16| (v >> 8) as u8;
    let (width, height) = (decoded.width(), decoded.height());
    let grey = |pixels| image::GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8);
    let rgb = |pixels| image::RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8);
    let converted = match &decoded {
        DynamicImage::ImageLumaA8(image) => grey(image.as_raw().chunks_exact(2).map(|p| p[0]).collect()),
        DynamicImage::ImageLuma16(image) => grey(image.as_raw().iter().map(high).collect()),
        DynamicImage::ImageLumaA16(image) => grey(image.as_raw().chunks_exact(2).map(|p| high(&p[0])).collect()),
        DynamicImage::ImageRgb16(image) => rgb(image.as_raw().iter().map(high).collect()),
        DynamicImage::ImageRgba16(image) => {
            rgb(image.as_raw().chunks_exact(4).flat_map(|p| [high(&p[0]), high(&p[1]), high(&p[2])]).collect())
        }
        _ => None,
    };
    converted.unwrap_or(decoded)
}

/// Whether a RIFF container is as long as it says after its first four bytes.
fn riff_ends(bytes: &[u8]) -> bool {
    let size = bytes.get(4..8).map(|size| u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]])));
    size.is_some_and(|size| bytes.len() as u64 >= size + 8)
}

/// Where the marker structure of a JPEG reaches its end-of-image marker. The decoder fills what is
/// missing with grey, as if it were there; PIL and libjpeg call such a file truncated.
fn jpeg_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        at += found;
        match *bytes.get(at + 1)? {
            0xd9 => return Some(at),
            0xff => at += 1,
            // A stuffed 0xff of a scan, or a marker without a length: TEM, RST0 to RST7, SOI.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            // A segment: its length includes the two bytes of the length. A scan's data is searched
            // like the rest.
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
    None
}
