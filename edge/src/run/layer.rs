//! Convolutions and linear layers: which kernel computes them, with what.

use super::memory::Work;
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteResidual, ByteTail, FloatConstants, FloatFunction, FloatKernel,
    FloatLayer, FloatTail, Shape,
};
use crate::level::Kernels;
use crate::plan::{Convolution, Function, Model, Step, Tail};

/// A convolution with its shape.
pub(super) struct Layer {
    convolution: Convolution,
    shape: Shape,
    /// Scale and zero point of the input; none of floats.
    input: Option<(f32, u8)>,
}

/// The kernel of a layer.
enum Kernel {
    Bytes(&'static ByteKernel),
    Floats(&'static FloatKernel),
}

impl Layer {
    pub(super) fn of(model: &Model<'_>, convolution: Convolution) -> Self {
        let input = model.tensor(convolution.input).quantisation();
        Self { convolution, shape: convolution.shape(model), input }
    }

    fn kernel(&self, kernels: &'static Kernels) -> Kernel {
        match (self.input, self.shape.is_depthwise()) {
            (Some(_), false) => Kernel::Bytes(&kernels.dense_u8),
            (Some(_), true) => Kernel::Bytes(&kernels.depthwise_u8),
            (None, false) => Kernel::Floats(&kernels.dense_f32),
            (None, true) => Kernel::Floats(&kernels.depthwise_f32),
        }
    }

    /// Bytes of packed constants, a multiple of 64.
    pub(super) fn packed(&self, kernels: &'static Kernels) -> usize {
        match self.kernel(kernels) {
            Kernel::Bytes(kernel) => (kernel.packed)(&self.shape),
            Kernel::Floats(kernel) => (kernel.packed)(&self.shape),
        }
    }

    /// Bytes of scratch a thread, a multiple of 64.
    pub(super) fn scratch(&self, kernels: &'static Kernels) -> usize {
        match self.kernel(kernels) {
            Kernel::Bytes(kernel) => (kernel.scratch)(&self.shape),
            Kernel::Floats(kernel) => (kernel.scratch)(&self.shape),
        }
    }

    fn weights<'a>(&self, model: &Model<'a>) -> &'a [u8] {
        let width = if self.input.is_some() { 1 } else { 4 };
        model.constants(self.convolution.weights, self.shape.channels() * self.shape.depth() * width)
    }

    /// Lays the constants out as the level wants them.
    pub(super) fn pack(&self, model: &Model<'_>, kernels: &'static Kernels, out: &mut [u8]) {
        let (convolution, channels, weights) = (&self.convolution, self.shape.channels(), self.weights(model));
        let bias = model.constants(convolution.bias, 4 * channels);
        match (self.kernel(kernels), self.input) {
            (Kernel::Bytes(kernel), input) => {
                let multipliers = model.constants(convolution.multipliers, 4 * channels);
                let zero = input.map_or(0, |(_, zero)| zero);
                (kernel.pack)(&self.shape, ByteConstants { weights, bias, multipliers, zero }, out);
            }
            (Kernel::Floats(kernel), _) => (kernel.pack)(&self.shape, FloatConstants { weights, bias }, out),
        }
    }

    pub(super) fn run(&self, work: &Work<'_>, packed: &[u8]) {
        let Convolution { input, output, padding, tail, .. } = self.convolution;
        let shape = &self.shape;
        let weights = self.weights(work.model);
        let rows = shape.size[0];
        let macs = Step::Convolution(self.convolution).macs(work.model);
        match self.kernel(work.kernels) {
            Kernel::Bytes(kernel) => work.rows(rows, 1, macs, |rows, worker| {
                let (source, target) = (work.source(input, padding), work.target(output));
                let (packed, tail, scratch) = (packed.as_ptr(), byte_tail(work, &tail), work.scratch(worker));
                let layer = ByteLayer { shape, source, target, packed, weights, tail, scratch };
                // SAFETY: `check` has seen that the images are as large as the shape; `prepare` has packed for this kernel.
                unsafe { (kernel.run)(&layer, rows) };
            }),
            Kernel::Floats(kernel) => work.rows(rows, (kernel.rows_together)(shape), macs, |rows, worker| {
                let (source, target) = (work.source(input, padding), work.target(output));
                let (packed, tail, scratch) = (packed.as_ptr(), float_tail(work, &tail), work.scratch(worker));
                let layer = FloatLayer { shape, source, target, packed, weights, tail, scratch };
                // SAFETY: as above.
                unsafe { (kernel.run)(&layer, rows) };
            }),
        }
    }
}

fn byte_tail<'m>(work: &Work<'m>, tail: &Tail) -> ByteTail<'m> {
    let (low, high) = match tail.function {
        Function::Bytes { low, high } => (low, high),
        Function::Floats(_) => (0, 255),
    };
    let table = tail.table.and_then(|at| work.model.constants(at, 256).first_chunk());
    let residual = tail.residual.map(|residual| ByteResidual {
        other: work.source(residual, [0, 0]),
        sum: tail.sum,
        swapped: tail.swapped,
        low: tail.range[0],
        high: tail.range[1],
    });
    ByteTail { zero: tail.zero, low, high, table, residual }
}

fn float_tail(work: &Work<'_>, tail: &Tail) -> FloatTail {
    let function = match tail.function {
        Function::Floats(function) => function,
        Function::Bytes { .. } => FloatFunction::IDENTITY,
    };
    FloatTail { residual: tail.residual.map(|residual| work.source(residual, [0, 0])), function }
}
