//! Brightness, contrast, saturation, sharpness and hue of an image, with PIL's arithmetic.
//!
//! The first four blend the image with a dull version of itself: factor 0 is that version, 1 the image, and above 1 the image
//! moves away from it.

use attar_pixels::{Image, luma};

/// PIL's `Image.blend` of one value, in f32, clipped and rounded towards zero.
fn blend(dull: u8, own: u8, factor: f32) -> u8 {
    (f32::from(dull) + factor * (f32::from(own) - f32::from(dull))) as u8
}

/// Against black.
pub(super) fn brightness(image: Image, factor: f64) -> Image {
    let table: [u8; 256] = std::array::from_fn(|v| blend(0, v as u8, factor as f32));
    look_up(image, &table)
}

/// Against its mean grey.
pub(super) fn contrast(image: Image, factor: f64) -> Image {
    let pixels = image.pixels();
    let sum: u64 = match image.channels() {
        1 => pixels.iter().map(|&v| u64::from(v)).sum(),
        _ => pixels.chunks_exact(3).map(|rgb| u64::from(luma(rgb))).sum(),
    };
    let count = pixels.len() / usize::from(image.channels());
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    let table: [u8; 256] = std::array::from_fn(|v| blend(mean, v as u8, factor as f32));
    look_up(image, &table)
}

/// Against its grey self; grey images are what they are.
pub(super) fn saturation(image: Image, factor: f64) -> Image {
    if image.channels() == 1 {
        return image;
    }
    image.map_pixels(|pixels| {
        for rgb in pixels.chunks_exact_mut(3) {
            let grey = luma(rgb);
            rgb.iter_mut().for_each(|value| *value = blend(grey, *value, factor as f32));
        }
    })
}

/// Against its smoothed self; the pixels at the edge, and images of fewer than three pixels a side, stay.
pub(super) fn sharpness(image: &Image, factor: f64) -> Image {
    let channels = usize::from(image.channels());
    let (width, height) = (image.width() as usize, image.height() as usize);
    let source = image.pixels();
    image.clone().map_pixels(|pixels| {
        for y in 1..height.saturating_sub(1) {
            for at in (y * width + 1) * channels..((y + 1) * width).saturating_sub(1) * channels {
                let smooth = smoothed(source, at, width * channels, channels);
                pixels[at] = blend(smooth, source[at], factor as f32);
            }
        }
    })
}

/// PIL's `SMOOTH`: the 3x3 neighbourhood with weight 1, the middle with 5, in f32 and from the lowest row up.
fn smoothed(source: &[u8], at: usize, row: usize, step: usize) -> u8 {
    const ONE: f32 = 1.0 / 13.0;
    const FIVE: f32 = 5.0 / 13.0;
    let three = |middle: usize, weight: f32| {
        let [left, own, right] = [middle - step, middle, middle + step].map(|i| f32::from(source[i]));
        left * ONE + own * weight + right * ONE
    };
    (0.5 + three(at + row, ONE) + three(at, FIVE) + three(at - row, ONE)) as u8
}

/// Turned by `factor` of the colour circle, -0.5 to 0.5, by way of PIL's 8-bit HSV.
pub(super) fn hue(image: Image, factor: f64) -> Image {
    if image.channels() == 1 {
        return image;
    }
    let turn = (factor * 255.0) as i32 as u8;
    image.map_pixels(|pixels| {
        for rgb in pixels.chunks_exact_mut(3) {
            let [h, s, v] = to_hsv([rgb[0], rgb[1], rgb[2]]);
            rgb.copy_from_slice(&to_rgb([h.wrapping_add(turn), s, v]));
        }
    })
}

/// PIL's RGB to HSV, in its mixture of f32 and f64.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let span = f32::from(most - least);
    let saturation = span / f32::from(most);
    let [red, green, blue] = [r, g, b].map(|value| f32::from(most - value) / span);
    let sixth = if r == most {
        blue - green
    } else if g == most {
        (2.0 + f64::from(red) - f64::from(blue)) as f32
    } else {
        (4.0 + f64::from(green) - f64::from(red)) as f32
    };
    let hue = ((f64::from(sixth) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

/// PIL's HSV to RGB.
fn to_rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let sixth = f64::from(h) * 6.0 / 255.0;
    let part = (sixth - sixth.floor()) as f32;
    let saturation = (f64::from(s) / 255.0) as f32;
    let value = f64::from(v);
    let round = |share: f64| (value * (1.0 - share)).round() as u8;
    let p = round(f64::from(saturation));
    let q = round(f64::from(saturation * part));
    let t = round(f64::from(saturation) * (1.0 - f64::from(part)));
    match sixth as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

fn look_up(image: Image, table: &[u8; 256]) -> Image {
    image.map_pixels(|pixels| pixels.iter_mut().for_each(|value| *value = table[usize::from(*value)]))
}
