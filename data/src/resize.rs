//! Resizing as PIL does: antialiased bilinear and bicubic, the support of the filter growing with the scale.

use attar_models::card::Interpolation;
use fast_image_resize::images::{Image as View, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::decode::MAX_PIXELS;
use crate::error::{Error, Result};
use crate::image::Image;

/// The image at `height` x `width` pixels. The same size gives the same pixels.
pub(crate) fn resize(image: Image, height: u32, width: u32, interpolation: Interpolation) -> Result<Image> {
    if (image.height(), image.width()) == (height, width) {
        return Ok(image);
    }
    let failed = |problem: String| {
        let (from_width, from_height) = (image.width(), image.height());
        Error::setting("resize", format!("{from_width}x{from_height} to {width}x{height} pixels: {problem}"))
    };
    if height == 0 || width == 0 || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(failed(format!("expected 1 to {MAX_PIXELS} pixels")));
    }
    let kind = if image.channels() == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let filter = match interpolation {
        Interpolation::Bilinear => FilterType::Bilinear,
        // a = -0.5, PIL's BICUBIC.
        Interpolation::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let source =
        ImageRef::new(image.width(), image.height(), image.pixels(), kind).map_err(|e| failed(e.to_string()))?;
    let mut target = View::new(width, height, kind);
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| failed(e.to_string()))?;
    Image::new(width, height, image.channels(), target.into_vec())
}
