//! What a convolution's forward pass and input gradient have in common: target pixels that each sum over some taps of a
//! padded source image.
//!
//! A forward pass is one sweep: source pixels `stride` apart, target pixels side by side. The input gradient is one sweep
//! for each remainder of the input pixels modulo the stride: input pixels `stride` apart, each summing over the kernel's
//! taps of that remainder, from gradients side by side.

use crate::shape::ConvShape;

/// A position of the kernel, and the source pixel it reads for the first target pixel, in the padded source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tap {
    pub(super) kernel: [usize; 2],
    pub(super) source: [usize; 2],
}

/// One sweep. Pairs are `[height, width]`.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Source pixels from one target pixel to the next.
    pub(super) source_stride: [usize; 2],
    /// The first target pixel.
    pub(super) first: [usize; 2],
    /// Pixels of the target from one pixel of the sweep to the next.
    pub(super) target_stride: [usize; 2],
    /// Target pixels of the sweep.
    pub(super) count: [usize; 2],
    /// Row by row of the source, from left to right.
    pub(super) taps: Vec<Tap>,
}

/// The sweeps of one direction and the images they go over.
#[derive(Debug)]
pub(super) struct Sweeps {
    pub(super) source: Image,
    pub(super) target: Image,
    /// Zeros around the source: before and after, rows and columns.
    pub(super) before: [usize; 2],
    pub(super) after: [usize; 2],
    pub(super) groups: usize,
    pub(super) sweeps: Vec<Sweep>,
}

/// Extents of an image, channels last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
}

impl Image {
    pub(super) fn len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }
}

/// The images that a convolution reads and writes.
pub(super) fn images(shape: &ConvShape) -> [Image; 2] {
    [
        Image { size: [shape.in_h, shape.in_w], channels: shape.in_channels },
        Image { size: [shape.out_h(), shape.out_w()], channels: shape.out_channels },
    ]
}

impl Sweeps {
    /// From the input to the output.
    pub(super) fn forward(shape: &ConvShape) -> Self {
        let [source, target] = images(shape);
        let reach = |axis: usize| shape.dilation[axis] * (shape.kernel[axis] - 1);
        let needed = |axis: usize| (target.size[axis] - 1) * shape.stride[axis] + reach(axis) + 1;
        let after = |axis: usize| needed(axis).saturating_sub(source.size[axis] + shape.padding[axis]);
        let offsets = |axis: usize| -> Vec<(usize, usize)> {
            (0..shape.kernel[axis]).map(|k| (k, k * shape.dilation[axis])).collect()
        };
        let sweep = Sweep {
            source_stride: shape.stride,
            first: [0, 0],
            target_stride: [1, 1],
            count: target.size,
            taps: crossed(&offsets(0), &offsets(1)),
        };
        let (before, after) = (shape.padding, [after(0), after(1)]);
        Self { source, target, before, after, groups: shape.groups, sweeps: vec![sweep] }
    }

    /// From the gradient of the output to that of the input.
    pub(super) fn input_grad(shape: &ConvShape) -> Self {
        let [target, source] = images(shape);
        let axes = [0, 1].map(|axis| Remainders::new(shape, axis, target.size[axis], source.size[axis]));
        let mut sweeps = Vec::new();
        for (row, rows) in axes[0].taps.iter().enumerate() {
            for (column, columns) in axes[1].taps.iter().enumerate() {
                let first = [row, column];
                let count = [0, 1].map(|axis| (target.size[axis] - first[axis]).div_ceil(shape.stride[axis]));
                let taps = crossed(rows, columns);
                sweeps.push(Sweep { source_stride: [1, 1], first, target_stride: shape.stride, count, taps });
            }
        }
        let (before, after) = (axes.each_ref().map(|axis| axis.before), axes.each_ref().map(|axis| axis.after));
        Self { source, target, before, after, groups: shape.groups, sweeps }
    }

    /// Extents of the padded source.
    pub(super) fn padded(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.before[axis] + self.source.size[axis] + self.after[axis])
    }

    /// Channels of one group, of the source and of the target.
    pub(super) fn group_channels(&self) -> [usize; 2] {
        [self.source.channels / self.groups, self.target.channels / self.groups]
    }
}

fn crossed(rows: &[(usize, usize)], columns: &[(usize, usize)]) -> Vec<Tap> {
    let row = |&(i, y): &(usize, usize)| columns.iter().map(move |&(j, x)| Tap { kernel: [i, j], source: [y, x] });
    rows.iter().flat_map(row).collect()
}

/// Along one axis: for each remainder of input positions modulo the stride, the kernel positions that reach them and the
/// gradient that each reads for the first of these inputs, counted in the padded gradient.
struct Remainders {
    taps: Vec<Vec<(usize, usize)>>,
    before: usize,
    after: usize,
}

impl Remainders {
    /// Input `i` takes part in output `o` through kernel position `k` where `i + padding = o * stride + k * dilation`.
    fn new(shape: &ConvShape, axis: usize, inputs: usize, outputs: usize) -> Self {
        let (stride, padding, dilation) = (shape.stride[axis], shape.padding[axis], shape.dilation[axis]);
        let remainders = stride.min(inputs);
        let mut signed = vec![Vec::new(); remainders];
        for (first, taps) in signed.iter_mut().enumerate() {
            // From the last kernel position, which reads the first gradient.
            for k in (0..shape.kernel[axis]).rev() {
                let at = (first + padding) as isize - (k * dilation) as isize;
                if at.rem_euclid(stride as isize) == 0 {
                    taps.push((k, at.div_euclid(stride as isize)));
                }
            }
        }
        let all = || signed.iter().flatten().map(|(_, at)| *at);
        let before = all().min().unwrap_or_default().min(0).unsigned_abs();
        let furthest = signed.iter().enumerate().flat_map(|(first, taps)| {
            let last = (inputs - first).div_ceil(stride) - 1;
            taps.iter().map(move |(_, at)| at + last as isize)
        });
        let after = (furthest.max().unwrap_or_default() + 1 - outputs as isize).max(0).unsigned_abs();
        let padded = |taps: Vec<(usize, isize)>| {
            taps.into_iter().map(|(k, at)| (k, (at + before as isize).unsigned_abs())).collect()
        };
        Self { taps: signed.into_iter().map(padded).collect(), before, after }
    }
}
