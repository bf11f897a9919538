//! Activations, their gradients, sums and products, on whatever order of memory an image has.

use attar_models::Activation;
use candle_core::Tensor;

use super::launch::{Arg, File, Gpu, Shape, Stored};
use super::memory::{Dense, ImageBuffer};
use crate::error::Result;

/// The number by which kernels know an activation; 0 is none.
pub(super) fn code(activation: Option<Activation>) -> i32 {
    match activation {
        None => 0,
        Some(Activation::Relu) => 1,
        Some(Activation::Relu6) => 2,
        Some(Activation::HardSwish) => 3,
        Some(Activation::HardSigmoid) => 4,
        Some(Activation::Sigmoid) => 5,
        Some(Activation::Silu) => 6,
        Some(Activation::Gelu) => 7,
        Some(Activation::GeluTanh) => 8,
        Some(Activation::LeakyRelu(_)) => 9,
    }
}

/// The number that goes with it; only a leaky ReLU reads it.
fn slope(activation: Activation) -> f32 {
    if let Activation::LeakyRelu(slope) = activation { slope.value() } else { 0.0 }
}

/// Whether four elements can travel at once.
pub(super) fn by_four(count: usize, addresses: &[u64]) -> bool {
    count.is_multiple_of(4) && addresses.iter().all(|address| address.is_multiple_of(16))
}

pub(in crate::ops) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    run("activate", Some(activation), [x])
}

pub(in crate::ops) fn activate_backward(activation: Activation, kept: &Tensor, dy: &Tensor) -> Result<Tensor> {
    run("activate_backward", Some(activation), [kept, dy])
}

pub(in crate::ops) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    run("add", None, [a, b])
}

pub(in crate::ops) fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    run("mul", None, [a, b])
}

fn run<const N: usize>(kernel: &str, activation: Option<Activation>, inputs: [&Tensor; N]) -> Result<Tensor> {
    let gpu = Gpu::of(inputs[0])?;
    let (shape, count) = (inputs[0].dims(), inputs[0].elem_count());
    let stored = Stored::of(inputs[0])?;
    let dense = inputs.iter().map(|x| Dense::image(x, stored)).collect::<Result<Vec<_>>>()?;
    let y = ImageBuffer::new(&gpu, stored, count)?;
    let addresses: Vec<u64> = dense.iter().map(|x| x.address).chain([y.address()]).collect();
    let four = by_four(count, &addresses);
    let mut args: Vec<Arg> = vec![four.into()];
    if let Some(activation) = activation {
        args.extend([Arg::from(code(Some(activation))), slope(activation).into()]);
    }
    args.extend(addresses.into_iter().map(Arg::from));
    args.push((count as u64).into());
    let items = Shape::items(if four { count / 4 } else { count });
    // SAFETY: the four callers name kernels that take these arguments; every buffer holds `count`
    // elements.
    unsafe { gpu.launch_for(stored, File::Elementwise, kernel, items, &args) }?;
    y.image(&gpu, shape)
}
