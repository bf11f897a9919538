//! What losses of logits are made of, a launch each: a block a row. What comes in is `[.., K]` of
//! `f32`.

use candle_core::{D, Tensor};

use super::launch::{Arg, File, Gpu, Shape};
use super::memory::{Buffer, Dense};
use super::pool::small;
use crate::error::Result;

pub(in crate::ops) fn log_softmax(x: &Tensor, scale: f32) -> Result<Tensor> {
    let rows = LogitRows::of(x)?;
    let dense = Dense::of(x)?;
    let y = Buffer::<f32>::new(&rows.gpu, x.elem_count())?;
    // SAFETY: `log_softmax` declares these arguments, and the buffers are as large as it reads and
    // writes.
    unsafe { rows.launch("log_softmax", &[(&dense).into(), scale.into(), (&y).into()]) }?;
    Ok(y.tensor(&rows.gpu, x.dims()))
}

pub(in crate::ops) fn log_softmax_backward(y: &Tensor, dy: &Tensor, scale: f32) -> Result<Tensor> {
    let rows = LogitRows::of(y)?;
    let (value, slope) = (Dense::of(y)?, Dense::of(dy)?);
    let dx = Buffer::<f32>::new(&rows.gpu, y.elem_count())?;
    // SAFETY: `log_softmax_backward` declares these arguments, and the buffers are as large as it
    // reads and writes.
    unsafe { rows.launch("log_softmax_backward", &[(&value).into(), (&slope).into(), scale.into(), (&dx).into()]) }?;
    Ok(dx.tensor(&rows.gpu, y.dims()))
}

pub(in crate::ops) fn divergence(log_targets: &Tensor, logits: &Tensor, scale: f32) -> Result<[Tensor; 2]> {
    loss("divergence", log_targets, logits, &[scale.into()])
}

pub(in crate::ops) fn cross_entropy(labels: &Tensor, logits: &Tensor, keep: f32, share: f32) -> Result<[Tensor; 2]> {
    loss("cross_entropy", labels, logits, &[keep.into(), share.into()])
}

/// A value a row, and the gradient by `logits`.
fn loss(kernel: &str, targets: &Tensor, logits: &Tensor, numbers: &[Arg]) -> Result<[Tensor; 2]> {
    let rows = LogitRows::of(logits)?;
    let (targets, dense) = (Dense::of(targets)?, Dense::of(logits)?);
    let values = Buffer::<f32>::new(&rows.gpu, rows.count)?;
    let gradient = Buffer::<f32>::new(&rows.gpu, logits.elem_count())?;
    let operands: [Arg; 2] = [(&targets).into(), (&dense).into()];
    // SAFETY: the callers name kernels that take these operands and numbers.
    unsafe { rows.launch(kernel, &[&operands[..], numbers, &[(&values).into(), (&gradient).into()]].concat()) }?;
    Ok([values.tensor(&rows.gpu, &[rows.count]), gradient.tensor(&rows.gpu, logits.dims())])
}

/// The rows of a tensor along its last axis.
struct LogitRows {
    gpu: Gpu,
    count: usize,
    classes: usize,
}

impl LogitRows {
    fn of(x: &Tensor) -> Result<Self> {
        let classes = x.dim(D::Minus1)?;
        Ok(Self { gpu: Gpu::of(x)?, count: x.elem_count() / classes.max(1), classes })
    }

    /// `operands`, then the number of classes.
    ///
    /// # Safety
    /// `kernel` takes these, and the buffers among them hold what it reads and writes of this many
    /// rows.
    unsafe fn launch(&self, kernel: &str, operands: &[Arg]) -> Result<()> {
        let [rows, classes] = small([self.count, self.classes])?;
        let shape = Shape { grid: [rows.cast_unsigned(), 1, 1], block: [128, 1], shared: 0 };
        // SAFETY: as the caller says; a row is a block.
        unsafe { self.gpu.launch(File::Softmax, kernel, shape, &[operands, &[classes.into()]].concat()) }
    }
}
