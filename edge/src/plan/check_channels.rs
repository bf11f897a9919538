//! What is checked of steps over the channels of pixels, and of elements that are counted anew.

use super::check::{Found, alike, constant, same};
use super::{Kind, Model, Tensor};

/// One value of the size of another, both of floats.
pub(super) fn floats(input: &Tensor, output: &Tensor) -> Found {
    same(input.size, output.size, "its output is not of its input's size")?;
    let floats = [input, output].iter().all(|tensor| tensor.kind == Kind::Floats);
    if floats { Ok(()) } else { Err("it is of bytes, expected floats") }
}

/// A layer norm's constants: a factor and a shift a channel, and what is added to variances.
pub(super) fn norm(model: &Model<'_>, input: &Tensor, constants: [u32; 2], eps: f32) -> Found {
    if !(eps.is_finite() && eps >= 0.0) {
        return Err("what it adds to variances is no number, or below 0");
    }
    constants.into_iter().try_for_each(|at| constant(model, at, 4 * u64::from(input.size[2])))
}

/// A table or a slope for each channel.
pub(super) fn each(model: &Model<'_>, input: &Tensor, output: &Tensor, at: u32) -> Found {
    same(input.size, output.size, "its output is not of its input's size")?;
    alike(&[*input, *output])?;
    let bytes = if input.kind == Kind::Floats { 4 } else { 256 };
    constant(model, at, bytes * u64::from(input.size[2]))
}

/// As many elements, which mean the same.
pub(super) fn reshaped(input: &Tensor, output: &Tensor) -> Found {
    let elements = |tensor: &Tensor| tensor.size.into_iter().map(u64::from).product::<u64>();
    if input.kind == output.kind && elements(input) == elements(output) {
        return Ok(());
    }
    Err("its output has other elements than its input, or they mean something else")
}
