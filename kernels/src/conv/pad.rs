//! Rows of an image, channels last, with zeros around them.

use super::sweep::Image;

/// Copies padded rows `from..from + rows` of `image` to `to`, whose rows hold `width` pixels; the image begins at
/// `before` rows and columns.
pub(super) fn pad(image: &Image, x: &[f32], before: [usize; 2], from: usize, width: usize, to: &mut [f32]) {
    let (row_len, channels) = (image.size[1] * image.channels, image.channels);
    let left = before[1] * channels;
    for (i, to) in to.chunks_exact_mut(width * channels).enumerate() {
        match (from + i).checked_sub(before[0]).filter(|row| *row < image.size[0]) {
            None => to.fill(0.0),
            Some(row) => {
                to[..left].fill(0.0);
                to[left..left + row_len].copy_from_slice(&x[row * row_len..][..row_len]);
                to[left + row_len..].fill(0.0);
            }
        }
    }
}
