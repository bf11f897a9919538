//! Convolutions and linear layers: which kernel computes them, with what.

use super::memory::Work;
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteResidual, ByteTail, FloatConstants, FloatFunction, FloatKernel,
    FloatLayer, FloatTail, MixedKernel, MixedLayer, Shape,
};
use crate::level::Kernels;
use crate::plan::{Convolution, Function, Kind, Model, Step, Tail};

/// A convolution with its shape.
pub(super) struct Layer {
    convolution: Convolution,
    shape: Shape,
    /// Scale and zero point of the input; none of floats.
    input: Option<(f32, u8)>,
    /// Whether it makes floats of bytes.
    mixed: bool,
}

/// The kernel of a layer.
enum Kernel {
    Bytes(&'static ByteKernel),
    Mixed(&'static MixedKernel),
    Floats(&'static FloatKernel),
}

impl Layer {
    pub(super) fn of(model: &Model<'_>, convolution: Convolution) -> Self {
        let input = model.tensor(convolution.input).quantisation();
        let mixed = input.is_some() && model.tensor(convolution.output).kind == Kind::Floats;
        Self { convolution, shape: convolution.shape(model), input, mixed }
    }

    fn kernel(&self, kernels: &'static Kernels) -> Kernel {
        match (self.input, self.shape.is_depthwise()) {
            _ if self.mixed => Kernel::Mixed(&kernels.mixed),
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
            Kernel::Mixed(kernel) => (kernel.packed)(&self.shape),
            Kernel::Floats(kernel) => (kernel.packed)(&self.shape),
        }
    }

    /// Bytes of scratch a thread, a multiple of 64.
    pub(super) fn scratch(&self, kernels: &'static Kernels) -> usize {
        match self.kernel(kernels) {
            Kernel::Bytes(kernel) => (kernel.scratch)(&self.shape),
            Kernel::Mixed(_) => 0,
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
        let bytes = || {
            let multipliers = model.constants(convolution.multipliers, 4 * channels);
            ByteConstants { weights, bias, multipliers, zero: self.input.map_or(0, |(_, zero)| zero) }
        };
        match self.kernel(kernels) {
            Kernel::Bytes(kernel) => (kernel.pack)(&self.shape, bytes(), out),
            Kernel::Mixed(kernel) => (kernel.pack)(&self.shape, bytes(), out),
            Kernel::Floats(kernel) => (kernel.pack)(&self.shape, FloatConstants { weights, bias }, out),
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
            Kernel::Mixed(kernel) => work.rows(rows, 1, macs, |rows, _| {
                let (source, target) = (work.source(input, padding), work.target(output));
                let layer = MixedLayer { shape, source, target, packed: packed.as_ptr(), weights };
                let function = float_tail(work, &tail).function;
                // SAFETY: as above; a row has pixels without gaps.
                unsafe {
                    (kernel.run)(&layer, rows.clone());
                    if function != FloatFunction::IDENTITY {
                        for y in rows {
                            let row = target.pixel(y, 0);
                            (work.kernels.simple.function_f32)(row, row, shape.size[1] * shape.channels(), function);
                        }
                    }
                }
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
