//! Batch norms with everything that may follow them, activations and additions, linear layers.

use attar_models::Activation;
use candle_core::Tensor;

use super::{BF16, Checks, Named, ROUNDING, TF32, missing, random, stored};
use crate::context::Context;
use crate::error::Result;
use crate::ops::{self, Affine, Levels, Tail};

/// With images in `bf16`.
pub(super) fn bf16(checks: &mut Checks) -> Result<()> {
    norms_of(checks, "batch norm bf16", BF16, true)?;
    linears(checks, "linear bf16", BF16, true)
}

pub(super) fn norms(checks: &mut Checks) -> Result<()> {
    norms_of(checks, "batch norm", ROUNDING, false)
}

fn norms_of(checks: &mut Checks, op: &str, tolerance: f64, narrow: bool) -> Result<()> {
    let shapes: [&[usize]; 6] =
        [&[4, 5, 3, 7], &[2, 64, 9, 11], &[8, 16, 32, 32], &[3, 132, 5, 5], &[6, 3, 1, 1], &[40, 300]];
    for shape in shapes {
        for activation in [None, Some(Activation::Relu), Some(Activation::Relu6)] {
            for residual in [false, true] {
                let tail = (activation, residual);
                let added = if residual { " + residual" } else { "" };
                let ended = activation.map(|activation| format!(", {activation:?}")).unwrap_or_default();
                let case = format!("{}{added}{ended}", told(shape));
                checks.compare(op, &case, tolerance, |at| norm(shape, tail, at, narrow))?;
            }
        }
    }
    Ok(())
}

fn norm(
    shape: &[usize],
    (activation, residual): (Option<Activation>, bool),
    at: &Context,
    narrow: bool,
) -> Result<Named> {
    let image = |x: candle_core::Result<candle_core::Tensor>| stored(&x?, narrow);
    // Far from zero, where a variance from plain sums of squares would be lost.
    let centre = if narrow { 1.0 } else { 8.0 };
    let x = image(random(shape, 1, at)?.affine(2.0, centre))?;
    let added = image(random(shape, 2, at)? * 3.0)?;
    let channels = &shape[1..2];
    let (weight, bias) = ((random(channels, 3, at)? + 2.0)?, random(channels, 4, at)?);
    let affine = Affine { weight: &weight, bias: &bias };
    let tail = Tail { residual: residual.then_some(&added), activation };
    let (y, stats) = ops::batch_norm_train(at.backend(), &x, affine, 1e-5, tail)?;
    let dy = image(Ok(random(shape, 5, at)?))?;
    // Not `y`, of which a value near an edge may fall on either side: eighths, the edges among
    // them.
    let shown = image((random(shape, 7, at)? * 64.0)?.round()?.affine(0.125, 0.0))?;
    let shown = activation.map(|activation| ops::activate(at.backend(), activation, &shown)).transpose()?;
    let activated = shown.as_ref().zip(activation);
    let grads = ops::batch_norm_backward(at.backend(), &x, &weight, &stats, activated, &dy, residual)?;
    let variance = (random(channels, 6, at)? + 1.5)?;
    let eval = ops::batch_norm_eval(at.backend(), &x, affine, (&stats.mean, &variance), 1e-3, tail)?;
    let mut all = vec![
        ("mean", stats.mean),
        ("1/std", stats.inv_std),
        ("variance", stats.unbiased_variance),
        ("y", y),
        ("dx", grads.dx),
        ("dweight", grads.dweight),
        ("dbias", grads.dbias),
        ("eval y", eval),
    ];
    if residual {
        all.push(("dresidual", grads.dresidual.ok_or_else(|| missing("the residual's gradient"))?));
    }
    Ok(all)
}

pub(super) fn pointwise(checks: &mut Checks) -> Result<()> {
    let shapes: [&[usize]; 4] = [&[2, 8, 6, 5], &[3, 5, 7, 3], &[7, 11], &[5, 64, 33, 31]];
    for shape in shapes {
        for activation in [Activation::Relu, Activation::Relu6] {
            checks.compare(&format!("{activation:?}"), &told(shape), 0.0, |at| {
                // Eighths: the edges themselves, 0 and 6, are met.
                let x = (random(shape, 1, at)? * 64.0)?.round()?.affine(0.125, 0.0)?;
                let y = ops::activate(at.backend(), activation, &x)?;
                let dx = ops::activate_backward(at.backend(), activation, &y, &random(shape, 2, at)?)?;
                Ok(vec![("y", y), ("dx", dx)])
            })?;
        }
        for activation in Activation::ALL.into_iter().filter(|activation| Activation::clamp(*activation).is_none()) {
            checks.compare(activation.name(), &told(shape), ROUNDING, |at| {
                // Eighths: the kinks themselves, -3, 0 and 3, are met.
                let x = (random(shape, 1, at)? * 32.0)?.round()?.affine(0.125, 0.0)?;
                let y = ops::activate(at.backend(), activation, &x)?;
                let kept = if activation.keeps_output() { &y } else { &x };
                let dx = ops::activate_backward(at.backend(), activation, kept, &random(shape, 2, at)?)?;
                Ok(vec![("y", y), ("dx", dx)])
            })?;
        }
        checks.compare("add", &told(shape), 0.0, |at| {
            let (a, b) = (random(shape, 1, at)?, random(shape, 2, at)?);
            let part = shape[0] - 1;
            let late = ops::add(at.backend(), &a.narrow(0, 1, part)?, &b.narrow(0, 0, part)?)?;
            let channels = ops::add(at.backend(), &a.narrow(1, 1, shape[1] - 1)?, &b.narrow(1, 0, shape[1] - 1)?)?;
            Ok(vec![("", ops::add(at.backend(), &a, &b)?), ("of later samples", late), ("of some channels", channels)])
        })?;
    }
    for shape in [[2, 8, 6, 5], [3, 5, 1, 1], [2, 70, 33, 31]] {
        checks.compare("mul", &told(&shape), ROUNDING, |at| {
            let (x, factor) = (random(&shape, 1, at)?, random(&[shape[0], shape[1], 1, 1], 2, at)?);
            let y = ops::mul(at.backend(), &x, &factor)?;
            let (dx, dfactor) = ops::mul_backward(at.backend(), &x, &factor, &random(&shape, 3, at)?)?;
            Ok(vec![("y", y), ("dx", dx), ("dfactor", dfactor)])
        })?;
    }
    along_channels(checks)?;
    for shape in [[2, 8, 6, 5], [3, 5, 1, 1], [1, 300, 3, 7]] {
        checks.compare("quantize", &told(&shape), 0.0, |at| {
            // Eighths of which every second lies between two numbers, and some beyond the last.
            let x = (random(&shape, 1, at)? * 400.0)?.round()?.affine(0.125, 0.0)?;
            let of = |value: f32| Tensor::new(&[value], at.device());
            let levels = Levels { scale: &of(0.25)?, zero_point: &of(3.0)? };
            let [signed, unsigned] =
                [[-128.0, 127.0], [0.0, 255.0]].map(|r| ops::quantize(at.backend(), &x, levels, r));
            let (signed, unsigned) = (signed?, unsigned?);
            let back = ops::dequantize(at.backend(), &signed, levels)?;
            Ok(vec![("signed", signed), ("unsigned", unsigned), ("back", back)])
        })?;
        checks.compare("quantize", &format!("{}, backward", told(&shape)), ROUNDING, |at| {
            let (x, dy) = ((random(&shape, 1, at)? * 40.0)?, random(&shape, 2, at)?);
            let of = |value: f32| Tensor::new(&[value], at.device());
            let levels = Levels { scale: &of(0.25)?, zero_point: &of(3.0)? };
            let (dx, dscale) = ops::quantize_backward(at.backend(), &x, levels, [0.0, 100.0], &dy)?;
            let (dn, dback) = ops::dequantize_backward(at.backend(), &x, levels, &dy)?;
            Ok(vec![("dx", dx), ("dscale", dscale), ("dn", dn), ("dback", dback)])
        })?;
        checks.compare("softmax", &told(&shape), ROUNDING, |at| {
            let y = ops::softmax_channels(at.backend(), &(random(&shape, 1, at)? * 3.0)?)?;
            let dx = ops::softmax_channels_backward(at.backend(), &y, &random(&shape, 2, at)?)?;
            Ok(vec![("y", y), ("dx", dx)])
        })?;
    }
    let shape = [2, 6, 7, 9];
    for stride in [1, 2, 3] {
        checks.compare("subsample", &format!("{}, stride {stride}", told(&shape)), 0.0, |at| {
            let y = ops::subsample(at.backend(), &random(&shape, 1, at)?, stride)?;
            let dx = ops::subsample_backward(at.backend(), &random(y.dims(), 2, at)?, stride, &shape)?;
            Ok(vec![("y", ops::pad_channels(at.backend(), &y, 3, 2)?), ("dx", dx)])
        })?;
    }
    Ok(())
}

/// Sums with one term a channel, products of equal shapes, scales, parametric ReLUs, layer norms.
fn along_channels(checks: &mut Checks) -> Result<()> {
    let shapes: [&[usize]; 5] = [&[2, 8, 6, 5], &[3, 5, 1, 1], &[2, 70, 33, 31], &[2, 1025, 3, 2], &[7, 33]];
    for shape in shapes {
        let parts: Vec<usize> = shape.iter().enumerate().map(|(axis, size)| if axis < 2 { *size } else { 1 }).collect();
        checks.compare("sums and products", &told(shape), ROUNDING, |at| {
            let on = at.backend();
            let (x, y, dy) = (random(shape, 1, at)?, random(shape, 2, at)?, random(shape, 3, at)?);
            let part = random(&parts, 4, at)?;
            let (dx, dfactor) = ops::mul_backward(on, &x, &y, &dy)?;
            let all = [("product", ops::mul(on, &x, &y)?), ("product dx", dx), ("product dfactor", dfactor)];
            let sum = [("sum", ops::add(on, &x, &part)?), ("sum dterm", ops::add_backward(on, &dy, &parts)?.1)];
            Ok(all.into_iter().chain(sum).collect())
        })?;
        checks.compare("parameters along channels", &told(shape), ROUNDING, |at| {
            let (on, channels) = (at.backend(), &shape[1..2]);
            let (x, dy) = (random(shape, 1, at)?.affine(2.0, 0.5)?, random(shape, 2, at)?);
            let (weight, bias, one) = (random(channels, 3, at)?, random(channels, 4, at)?, random(&[1], 5, at)?);
            let scaled = ops::scale_backward(on, &x, &weight, &dy)?;
            let (sloped, slopes) = ops::prelu_backward(on, &x, &weight, &dy)?;
            let (shared, slope) = ops::prelu_backward(on, &x, &one, &dy)?;
            let affine = Affine { weight: &weight, bias: &bias };
            let norm = ops::layer_norm_backward(on, &x, &weight, 1e-3, &dy)?;
            Ok(vec![
                ("scale y", ops::scale(on, &x, &weight, Some(&bias))?),
                ("scale dx", scaled.dx),
                ("scale dweight", scaled.dweight),
                ("scale dbias", scaled.dbias),
                ("prelu y", ops::prelu(on, &x, &weight)?),
                ("prelu dx", sloped),
                ("prelu dweight", slopes),
                ("prelu of one slope y", ops::prelu(on, &x, &one)?),
                ("prelu of one slope dx", shared),
                ("prelu of one slope dweight", slope),
                ("layer norm y", ops::layer_norm(on, &x, affine, 1e-3)?),
                ("layer norm dx", norm.dx),
                ("layer norm dweight", norm.dweight),
                ("layer norm dbias", norm.dbias),
            ])
        })?;
    }
    Ok(())
}

pub(super) fn linear(checks: &mut Checks) -> Result<()> {
    linears(checks, "linear", ROUNDING, false)
}

/// With operands rounded to TF32.
pub(super) fn tf32(checks: &mut Checks) -> Result<()> {
    linears(checks, "linear tf32", TF32, false)
}

fn linears(checks: &mut Checks, op: &str, tolerance: f64, narrow: bool) -> Result<()> {
    for [batch, inputs, outputs] in [[5, 7, 3], [1, 64, 100], [64, 512, 1000]] {
        checks.compare(op, &format!("{batch}x{inputs} to {outputs}"), tolerance, |at| {
            let (x, weight) = (random(&[batch, inputs], 1, at)?, random(&[outputs, inputs], 2, at)?);
            let x = stored(&x, narrow)?;
            let (bias, dy) = (random(&[outputs], 3, at)?, stored(&random(&[batch, outputs], 4, at)?, narrow)?);
            let y = ops::linear(at.backend(), &x, &weight, Some(&bias))?;
            let (dx, dweight) =
                (ops::linear_input_grad(at.backend(), &dy, &weight)?, ops::linear_weight_grad(at.backend(), &x, &dy)?);
            Ok(vec![("y", y), ("dx", dx), ("dweight", dweight), ("dbias", ops::channel_sums(at.backend(), &dy)?)])
        })?;
    }
    Ok(())
}

/// `2x64x9x11`.
pub(super) fn told(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
