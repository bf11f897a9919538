//! Where two products, added in 16 bits, are clipped: `vpmaddubsw` of x86, which runtimes use on CPUs without VNNI. Attar's own
//! levels never do ([`crate::level`]).

use alloc::vec::Vec;
use core::ops::AddAssign;

use super::{Image, taps};
use crate::layer::Shape;
use crate::plan::{Convolution, Model, Step};

/// Pairs of neighbouring products of a byte and a weight, in the order rows, columns, channels of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pairs {
    /// How many there are.
    pub all: u64,
    /// How many have a sum beyond 16 bits.
    pub beyond: u64,
}

impl AddAssign for Pairs {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.beyond += other.beyond;
    }
}

/// How many layers have weights with which two products can leave 16 bits: none with weights of 7 bits. Layers whose groups
/// read one channel (depthwise ones) do not count: ONNX Runtime has kernels of their own for them, which widen each product.
pub fn layers_beyond_16_bits(model: &Model<'_>) -> usize {
    let layers = model.steps().filter_map(|step| match step {
        Step::Convolution(layer) if model.tensor(layer.input).quantisation().is_some() => Some(layer),
        _ => None,
    });
    layers.filter(|layer| can_leave(model, layer)).count()
}

fn can_leave(model: &Model<'_>, layer: &Convolution) -> bool {
    let shape = layer.shape(model);
    let weights = model.constants(layer.weights, shape.channels() * shape.depth());
    shape.inputs > 1
        && weights.chunks_exact(shape.depth()).any(|row| {
            let [mut low, mut high] = [[0i32; 2]; 2];
            for weight in row.iter().map(|weight| i32::from(*weight as i8)) {
                low = [low[0].min(weight), low[1].min(low[0].max(weight))];
                high = [high[0].max(weight), high[1].max(high[0].min(weight))];
            }
            leaves(255 * (low[0] + low[1])) || leaves(255 * (high[0] + high[1]))
        })
}

fn leaves(sum: i32) -> bool {
    i16::try_from(sum).is_err()
}

/// The pairs of a layer; the border of `image` holds its zero point.
pub(super) fn count(shape: &Shape, image: &Image<u8>, padding: [usize; 2], weights: &[u8]) -> Pairs {
    let mut pairs = Pairs::default();
    if shape.inputs == 1 {
        return pairs;
    }
    for [y, x] in (0..shape.size[0]).flat_map(|y| (0..shape.size[1]).map(move |x| [y, x])) {
        for group in 0..shape.groups {
            let channels = group * shape.outputs..(group + 1) * shape.outputs;
            let read = taps(shape, image, padding, [y, x, channels.start]);
            let bytes: Vec<i32> = read.flat_map(|(_, bytes)| bytes.iter().map(|byte| i32::from(*byte))).collect();
            for channel in channels {
                let row = &weights[channel * shape.depth()..][..shape.depth()];
                pairs += of_row(&bytes, row);
            }
        }
    }
    pairs
}

fn of_row(bytes: &[i32], weights: &[u8]) -> Pairs {
    let sum = |bytes: &[i32], weights: &[u8]| -> i32 {
        bytes.iter().zip(weights).map(|(byte, weight)| byte * i32::from(*weight as i8)).sum()
    };
    let pairs = bytes.chunks(2).zip(weights.chunks(2));
    let beyond = pairs.filter(|(bytes, weights)| leaves(sum(bytes, weights))).count();
    Pairs { all: bytes.len().div_ceil(2) as u64, beyond: beyond as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_leave_sixteen_bits_where_weights_of_eight_pull_one_way() {
        // One pixel of three channels: a pair, and one product alone.
        let shape = |groups, inputs| Shape {
            groups,
            inputs,
            outputs: 1,
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            size: [1; 2],
        };
        let beyond = |bytes: [u8; 3], weights: [i8; 3]| {
            let image = Image::of([1, 1, 3], 0, 0, |_, _, channel| bytes[channel]);
            let weights: Vec<u8> = weights.iter().map(|weight| *weight as u8).collect();
            let pairs = count(&shape(1, 3), &image, [0; 2], &weights);
            assert_eq!(pairs.all, 2);
            pairs.beyond
        };
        assert_eq!(beyond([255; 3], [64, 64, 127]), 0);
        assert_eq!(beyond([255; 3], [-64, -64, -127]), 0);
        assert_eq!(beyond([255; 3], [65, 64, 127]), 1);
        assert_eq!(beyond([255; 3], [-127, -2, 0]), 1);
        assert_eq!(beyond([255; 3], [127, -127, 127]), 0);
        // 32,639 and 32,766 fit, 32,893 does not.
        assert_eq!((beyond([129, 128, 0], [127, 127, 0]), beyond([131, 127, 0], [127, 127, 0])), (0, 0));
        assert_eq!(beyond([131, 128, 0], [127, 127, 0]), 1);
        let image = Image::new([1, 1, 3], 0, 255);
        assert_eq!(count(&shape(3, 1), &image, [0; 2], &[127; 3]), Pairs::default());
    }
}
