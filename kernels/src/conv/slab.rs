//! What a weight gradient multiplies: padded inputs and output gradients of some rows, as words of values that are
//! neighbours in the sum over output pixels.
//!
//! A word of one value needs nothing but the padding. A pair holds two output pixels side by side of one channel: of `x`
//! the pixels that one tap reads for both, of `dy` both gradients. Where the kernel is wider than one pixel, taps begin
//! at every input pixel, so every pixel begins a pair. A row's last pair may hold one output only; zero is the other.

use half::bf16;

use super::direct_weight::Unit;
use super::pad::pad;
use super::sweep::images;
use crate::pairs;
use crate::shape::ConvShape;
use crate::simd::Scratch;
use crate::tile::Multiply;
use crate::value::{Stored, Value, convert_all};

/// Extents of the padded input.
pub(super) fn padded(shape: &ConvShape) -> [usize; 2] {
    [shape.in_h + 2 * shape.padding[0], shape.in_w + 2 * shape.padding[1]]
}

/// How the words of the padded inputs of a unit lie.
pub(super) struct Slab {
    /// Words from one image to the next.
    pub(super) image: usize,
    /// Words from one row to the next.
    pub(super) pitch: usize,
    /// Pixels of words from one word of a sum to the next.
    pub(super) step: usize,
    /// Input rows, counted in the padded image: the first, and how many.
    from: usize,
    rows: usize,
    /// Whether this is how the inputs lie already.
    borrowed: bool,
}

impl Slab {
    pub(super) fn new<M: Multiply, T: Value>(shape: &ConvShape, unit: &Unit) -> Self {
        let [image, _] = images(shape);
        let [_, width] = padded(shape);
        let reach = shape.dilation[0] * (shape.kernel[0] - 1);
        let (from, rows) = (unit.rows.start * shape.stride[0], (unit.rows.len() - 1) * shape.stride[0] + reach + 1);
        let (pixels, step) = match (M::VALUES, shape.kernel[1]) {
            (1, _) => (width, shape.stride[1]),
            (_, 1) => (shape.out_w().div_ceil(2), 1),
            _ => (width, 2 * shape.stride[1]),
        };
        let pitch = pixels * shape.in_channels;
        let borrowed = matches!(T::stored(&[]), Stored::Floats(_)) && shape.padding == [0, 0];
        let image = if borrowed { image.len() } else { rows * pitch };
        Self { image, pitch, step, from, rows, borrowed }
    }

    /// The inputs of a unit, in `memory` unless they are borrowed.
    #[inline(always)]
    pub(super) fn inputs<'a, M: Multiply, T: Value>(
        &self,
        shape: &ConvShape,
        unit: &Unit,
        x: &'a [T],
        memory: &'a mut Option<Scratch>,
    ) -> &'a [f32] {
        let [image, _] = images(shape);
        let x = &x[unit.images.start * image.len()..unit.images.end * image.len()];
        if let (true, Stored::Floats(x)) = (self.borrowed, T::stored(x)) {
            return &x[self.from * self.pitch..];
        }
        let memory = memory.insert(Scratch::lend(unit.images.len() * self.image));
        for (x, to) in x.chunks_exact(image.len()).zip(memory.chunks_exact_mut(self.image)) {
            let [_, width] = padded(shape);
            match T::stored(x) {
                Stored::Narrow(x) if M::VALUES == 2 => self.pairs(shape, x, to),
                Stored::Narrow(x) => pad(&image, x, shape.padding, self.from, width, to, convert_all),
                Stored::Floats(x) => {
                    pad(&image, x, shape.padding, self.from, width, to, |x, to| to.copy_from_slice(x));
                }
            }
        }
        memory
    }

    /// The pairs of one image, row by row.
    #[inline(always)]
    fn pairs(&self, shape: &ConvShape, x: &[bf16], to: &mut [f32]) {
        let [image, _] = images(shape);
        let (channels, second) = (shape.in_channels, shape.stride[1] * shape.in_channels);
        // A padded row, and zeros behind it for what its last pairs lack.
        let width = padded(shape)[1] + 2 * shape.stride[1];
        let mut row = Scratch::lend((width * channels).div_ceil(2));
        let row = &mut pairs::values_mut(&mut row)[..width * channels];
        for (i, to) in to.chunks_exact_mut(self.pitch).enumerate().take(self.rows) {
            pad(&image, x, shape.padding, self.from + i, width, row, |x, to| to.copy_from_slice(x));
            if shape.kernel[1] == 1 {
                for (to, row) in to.chunks_exact_mut(channels).zip(row.chunks_exact(2 * second)) {
                    zip_words(&row[..channels], &row[second..][..channels], to);
                }
            } else {
                zip_words(&row[..to.len()], &row[second..][..to.len()], to);
            }
        }
    }
}

/// The gradients of a unit's outputs, in `memory` unless they lie as they are needed.
#[inline(always)]
pub(super) fn grads<'a, M: Multiply, T: Value>(
    shape: &ConvShape,
    unit: &Unit,
    dy: &'a [T],
    memory: &'a mut Option<Scratch>,
) -> &'a [f32] {
    let [_, image] = images(shape);
    let (channels, row) = (image.channels, image.size[1] * image.channels);
    let dy = &dy[unit.images.start * image.len() + unit.rows.start * row..];
    let dy = &dy[..unit.images.len() * unit.rows.len() * row];
    let dy = match T::stored(dy) {
        Stored::Floats(dy) => return dy,
        Stored::Narrow(dy) => dy,
    };
    if M::VALUES == 1 {
        let memory = memory.insert(Scratch::lend(dy.len()));
        convert_all(dy, memory);
        return memory;
    }
    let words = image.size[1].div_ceil(2) * channels;
    let memory = memory.insert(Scratch::lend(dy.len() / row * words));
    for (dy, to) in dy.chunks_exact(row).zip(memory.chunks_exact_mut(words)) {
        for (pixels, to) in dy.chunks(2 * channels).zip(to.chunks_exact_mut(channels)) {
            match pixels.split_at(channels) {
                (first, []) => to.iter_mut().zip(first).for_each(|(to, first)| *to = pairs::word(*first, bf16::ZERO)),
                (first, second) => zip_words(first, second, to),
            }
        }
    }
    memory
}

/// Words of the values of two slices.
#[inline(always)]
fn zip_words(first: &[bf16], second: &[bf16], to: &mut [f32]) {
    for (to, (first, second)) in to.iter_mut().zip(first.iter().zip(second)) {
        *to = pairs::word(*first, *second);
    }
}
