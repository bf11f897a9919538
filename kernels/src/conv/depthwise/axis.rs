//! Where the taps of an output lie along one axis.

use crate::shape::ConvShape;

/// Output `t` sums over tap `taps[i]` times the input at `origin + t * stride + i * dilation`, where there is one.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) taps: Vec<usize>,
    pub(super) origin: isize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
}

impl Axis {
    /// The outputs of a convolution along axis 0 (height) or 1 (width).
    pub(super) fn of_outputs(shape: &ConvShape, axis: usize) -> Self {
        let (inputs, outputs) = extents(shape, axis);
        Self {
            outputs,
            inputs,
            taps: (0..shape.kernel[axis]).collect(),
            origin: -(shape.padding[axis] as isize),
            stride: shape.stride[axis],
            dilation: shape.dilation[axis],
        }
    }

    /// The gradients of a convolution's inputs, one axis for each residue modulo the stride.
    ///
    /// Input `h` met tap `i` in output `(h + padding - i * dilation) / stride`, if that is whole. For `h = phase + t *
    /// stride` this is `t` plus a number that depends on the tap alone.
    pub(super) fn of_inputs(shape: &ConvShape, axis: usize) -> Vec<Self> {
        let (size, outputs) = extents(shape, axis);
        let (stride, dilation) = (shape.stride[axis], shape.dilation[axis] as isize);
        let phases = 0..stride.min(size);
        phases
            .map(|phase| {
                let position = |tap: usize| (phase + shape.padding[axis]) as isize - tap as isize * dilation;
                let meets = |&tap: &usize| position(tap).rem_euclid(stride as isize) == 0;
                let taps: Vec<usize> = (0..shape.kernel[axis]).rev().filter(meets).collect();
                let from: Vec<isize> = taps.iter().map(|&tap| position(tap).div_euclid(stride as isize)).collect();
                Self {
                    outputs: (size - phase).div_ceil(stride),
                    inputs: outputs,
                    taps,
                    origin: from.first().copied().unwrap_or(0),
                    stride: 1,
                    dilation: from.get(1).map_or(1, |second| (second - from[0]) as usize),
                }
            })
            .collect()
    }

    /// Where the taps of output `t` begin.
    #[inline(always)]
    pub(super) fn start(&self, t: usize) -> isize {
        self.origin + (t * self.stride) as isize
    }

    /// The input at a position, if it is not padding.
    #[inline(always)]
    pub(super) fn input(&self, position: isize) -> Option<usize> {
        // Negative positions become huge ones.
        Some(position as usize).filter(|&position| position < self.inputs)
    }

    /// The tap and the input of every product of output `t`.
    #[inline(always)]
    pub(super) fn products(&self, t: usize) -> impl Iterator<Item = (usize, usize)> {
        let start = self.start(t);
        let taps = self.taps.iter().enumerate();
        taps.filter_map(move |(i, &tap)| Some((tap, self.input(start + (i * self.dilation) as isize)?)))
    }
}

/// Inputs and outputs of an axis.
fn extents(shape: &ConvShape, axis: usize) -> (usize, usize) {
    if axis == 0 { (shape.in_h, shape.out_h()) } else { (shape.in_w, shape.out_w()) }
}
