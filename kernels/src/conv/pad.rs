//! Rows of an image, channels last, with zeros around them.

use super::sweep::Image;

/// Copies padded rows `from..from + rows` of `image` to `to`, whose rows hold `width` pixels; the image begins at
/// `before` rows and columns. `copy` moves values side by side.
#[inline(always)]
pub(super) fn pad<T, U: Copy + Default>(
    image: &Image,
    x: &[T],
    before: [usize; 2],
    from: usize,
    width: usize,
    to: &mut [U],
    copy: impl Fn(&[T], &mut [U]),
) {
    let (row_len, channels) = (image.size[1] * image.channels, image.channels);
    let left = before[1] * channels;
    for (i, to) in to.chunks_exact_mut(width * channels).enumerate() {
        match (from + i).checked_sub(before[0]).filter(|row| *row < image.size[0]) {
            None => to.fill(U::default()),
            Some(row) => {
                to[..left].fill(U::default());
                copy(&x[row * row_len..][..row_len], &mut to[left..left + row_len]);
                to[left + row_len..].fill(U::default());
            }
        }
    }
}
