//! Moving pixels about: PIL's affine transform into an image of the same size, and the matrices that torchvision gives it.

use attar_pixels::Image;
use serde::{Deserialize, Serialize};

/// How a pixel is taken from between others. torchvision's augmentations take the nearest unless told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// The nearest one.
    #[default]
    Nearest,
    /// Four of them, weighted by their distance.
    Bilinear,
}

/// From a place in the result to one in the source: `x = m[0] x' + m[1] y' + m[2]`, `y = m[3] x' + m[4] y' + m[5]`.
type Matrix = [f64; 6];

/// Every row moved by `amount` of its distance from the top, rows further down to the left where it is positive.
pub(super) fn shear_x(image: &Image, amount: f64, sampling: Sampling, fill: &[u8]) -> Image {
    affine(image, [1.0, tangent(amount).tan(), 0.0, 0.0, 1.0, 0.0], sampling, fill)
}

/// Every column moved by `amount` of its distance from the left.
pub(super) fn shear_y(image: &Image, amount: f64, sampling: Sampling, fill: &[u8]) -> Image {
    let angle = tangent(amount);
    affine(image, [1.0, 0.0, 0.0, angle.sin() / angle.cos(), 1.0, 0.0], sampling, fill)
}

/// Moved by whole pixels, towards the right and the bottom.
pub(super) fn translate(image: &Image, right: f64, down: f64, sampling: Sampling, fill: &[u8]) -> Image {
    affine(image, [1.0, 0.0, -right.trunc(), 0.0, 1.0, -down.trunc()], sampling, fill)
}

/// Turned about the centre by so many degrees, counterclockwise. PIL rounds sine and cosine to 15 digits.
pub(super) fn rotate(image: Image, degrees: f64, sampling: Sampling, fill: &[u8]) -> Image {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return image;
    }
    let angle = -degrees.to_radians();
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let (cos, sin) = (round(angle.cos()), round(angle.sin()));
    let (x, y) = (f64::from(image.width()) / 2.0, f64::from(image.height()) / 2.0);
    let matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
    affine(&image, matrix, sampling, fill)
}

/// The angle whose tangent is `amount`, by way of degrees as torchvision goes.
fn tangent(amount: f64) -> f64 {
    amount.atan().to_degrees().to_radians()
}

/// What the matrix does not find in the image is `fill`, one value a channel.
fn affine(image: &Image, matrix: Matrix, sampling: Sampling, fill: &[u8]) -> Image {
    image.clone().map_pixels(|pixels| match (sampling, image.channels()) {
        (Sampling::Nearest, 1) => nearest::<1>(image, matrix, fill, pixels),
        (Sampling::Nearest, _) => nearest::<3>(image, matrix, fill, pixels),
        (Sampling::Bilinear, _) => bilinear(image, matrix, fill, pixels),
    })
}

/// PIL's fixed point arithmetic of 16 fractional bits, which it uses for images of up to 32,768 pixels a side.
fn nearest<const C: usize>(image: &Image, m: Matrix, fill: &[u8], out: &mut [u8]) {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let [right, down] = [[m[0], m[3]], [m[1], m[4]]].map(|step| step.map(fixed));
    let start = [m[2] + m[0] * 0.5 + m[1] * 0.5, m[5] + m[3] * 0.5 + m[4] * 0.5].map(fixed);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let source = image.pixels();
    for (y, row) in (0..).zip(out.chunks_exact_mut(width * C)) {
        let [mut at_x, mut at_y] = [0, 1].map(|axis| start[axis] + y * down[axis]);
        for pixel in row.chunks_exact_mut(C) {
            // Negative places are not below the size once they are unsigned.
            let (from_x, from_y) = ((at_x >> 16) as usize, (at_y >> 16) as usize);
            if from_x < width && from_y < height {
                let from = (from_y * width + from_x) * C;
                pixel.copy_from_slice(&source[from..from + C]);
            } else {
                pixel.copy_from_slice(&fill[..C]);
            }
            at_x += right[0];
            at_y += right[1];
        }
    }
}

/// PIL's bilinear transform in f64, rounded towards zero; beyond the edge the edge is repeated for half a pixel.
fn bilinear(image: &Image, m: Matrix, fill: &[u8], out: &mut [u8]) {
    let channels = usize::from(image.channels());
    let (width, height) = (image.width() as usize, image.height() as usize);
    let source = image.pixels();
    for (at, pixel) in out.chunks_exact_mut(channels).enumerate() {
        let (x, y) = ((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
        let (x, y) = (m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]);
        if !((0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y)) {
            pixel.copy_from_slice(&fill[..channels]);
            continue;
        }
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (dx, dy) = (x - left, y - top);
        let columns = [left, left + 1.0].map(|x| (x.max(0.0) as usize).min(width - 1));
        let above = (top.max(0.0) as usize).min(height - 1);
        let below = if top + 1.0 < height as f64 { (top + 1.0) as usize } else { above };
        for (channel, value) in pixel.iter_mut().enumerate() {
            let along = |row: usize| {
                let [a, b] = columns.map(|column| f64::from(source[(row * width + column) * channels + channel]));
                a + (b - a) * dx
            };
            let (a, b) = (along(above), along(below));
            *value = (a + (b - a) * dy) as u8;
        }
    }
}
