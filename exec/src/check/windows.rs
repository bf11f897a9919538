//! Convolutions and pools: shapes that are awkward on purpose, and shapes of real layers.

use attar_models::Activation;
use attar_models::op::{Conv2d, Pool2d};

use super::{BF16, Checks, Named, ROUNDING, TF32, random, stored};
use crate::context::Context;
use crate::error::Result;
use crate::ops;

/// A convolution with every number free.
fn conv(
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> Conv2d {
    let [in_channels, out_channels] = channels;
    Conv2d { in_channels, out_channels, kernel, stride, padding, dilation, groups: 1, bias: true, quantized: false }
}

/// `conv` of an input `[N, C, H, W]`.
fn cases() -> Vec<(Conv2d, [usize; 4])> {
    let square = Conv2d::square;
    vec![
        (square(3, 16, 3, 1, 1), [2, 3, 32, 32]),
        (square(16, 32, 3, 2, 1), [4, 16, 32, 32]),
        (square(3, 8, 3, 2, 1), [2, 3, 8, 7]),
        (square(3, 64, 7, 2, 3), [1, 3, 39, 42]),
        (square(64, 24, 1, 1, 0), [2, 64, 9, 14]),
        (square(6, 4, 1, 2, 0), [3, 6, 5, 8]),
        (square(5, 7, 3, 3, 1), [1, 5, 11, 8]),
        (square(70, 130, 3, 1, 1), [2, 70, 13, 17]),
        (square(64, 64, 3, 1, 1), [1, 64, 1, 1]),
        (conv([4, 6], [3, 1], [3, 2], [1, 0], [1, 1]).with_groups(2), [2, 4, 11, 7]),
        (conv([4, 6], [3, 3], [2, 1], [2, 2], [2, 2]).with_groups(2), [2, 4, 9, 10]),
        (conv([3, 5], [3, 2], [1, 2], [1, 0], [1, 3]), [2, 3, 8, 11]),
        (conv([2, 3], [5, 4], [1, 1], [0, 0], [1, 1]), [1, 2, 5, 4]),
        (conv([16, 16], [3, 3], [1, 1], [2, 2], [2, 2]), [2, 16, 15, 10]),
        (square(32, 64, 3, 1, 1).with_groups(4), [2, 32, 8, 9]),
        (square(6, 6, 3, 2, 1).with_groups(6), [2, 6, 9, 8]),
        (square(4, 8, 3, 1, 1).with_groups(4), [2, 4, 6, 5]),
        (square(96, 96, 3, 2, 1).with_groups(96), [3, 96, 28, 27]),
        (conv([32, 32], [5, 3], [1, 1], [4, 1], [2, 1]).with_groups(32), [1, 32, 14, 9]),
    ]
}

pub(super) fn convolutions(checks: &mut Checks) -> Result<()> {
    all(checks, "conv2d", ROUNDING, false)
}

/// With operands rounded to TF32.
pub(super) fn tf32(checks: &mut Checks) -> Result<()> {
    all(checks, "conv2d tf32", TF32, false)
}

/// With images in `bf16`.
pub(super) fn bf16(checks: &mut Checks) -> Result<()> {
    all(checks, "conv2d bf16", BF16, true)?;
    pools_of(checks, " bf16", BF16, true)
}

fn all(checks: &mut Checks, op: &str, tolerance: f64, narrow: bool) -> Result<()> {
    for (conv, x) in cases() {
        checks.compare(op, &told(&conv, x), tolerance, |at| directions(&conv, &x, at, narrow))?;
    }
    Ok(())
}

fn directions(conv: &Conv2d, shape: &[usize], at: &Context, narrow: bool) -> Result<Named> {
    let (x, weight) = (stored(&random(shape, 1, at)?, narrow)?, random(&conv.weight_shape(), 2, at)?);
    let bias = random(&[conv.out_channels], 3, at)?;
    let y = ops::conv2d(at.backend(), conv, &x, &weight, Some(&bias), ops::Tail::default())?;
    let added = stored(&random(y.dims(), 5, at)?, narrow)?;
    let tail = ops::Tail { residual: Some(&added), activation: Some(Activation::Relu) };
    let ended = ops::conv2d(at.backend(), conv, &x, &weight, Some(&bias), tail)?;
    let dy = stored(&random(y.dims(), 4, at)?, narrow)?;
    let dx = ops::conv2d_input_grad(at.backend(), conv, &dy, &weight, shape)?;
    let dweight = ops::conv2d_weight_grad(at.backend(), conv, &x, &dy)?;
    // Once more from a weight in the order of memory in which its own gradient came, as after a
    // step.
    let again = ops::conv2d(at.backend(), conv, &x, &dweight, None, ops::Tail::default())?;
    let dbias = ops::channel_sums(at.backend(), &dy)?;
    Ok(vec![("y", y), ("ended", ended), ("dx", dx), ("dweight", dweight), ("of dweight", again), ("dbias", dbias)])
}

fn told(conv: &Conv2d, [n, c, h, w]: [usize; 4]) -> String {
    let Conv2d {
        out_channels, kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw], dilation: [dh, dw], groups, ..
    } = conv;
    format!(
        "{n}x{c}x{h}x{w} to {out_channels}, {kh}x{kw} stride {sh}x{sw} pad {ph}x{pw} dilation {dh}x{dw} groups {groups}"
    )
}

pub(super) fn pools(checks: &mut Checks) -> Result<()> {
    pools_of(checks, "", ROUNDING, false)
}

fn pools_of(checks: &mut Checks, kind: &str, tolerance: f64, narrow: bool) -> Result<()> {
    let cases = [
        (Pool2d::square(3, 2, 1), [2, 64, 17, 16]),
        (Pool2d::square(2, 2, 0), [2, 3, 5, 7]),
        (Pool2d::square(3, 1, 1), [1, 2, 4, 4]),
        (Pool2d::new([3, 2], [1, 2], [1, 0]), [2, 2, 6, 7]),
        (Pool2d::new([2, 2], [3, 3], [0, 1]), [1, 5, 9, 7]),
        (Pool2d { ceil_mode: true, ..Pool2d::square(3, 2, 0) }, [2, 9, 8, 7]),
        (Pool2d { ceil_mode: true, ..Pool2d::new([3, 2], [2, 3], [1, 1]) }, [2, 4, 8, 6]),
        (Pool2d { count_include_pad: false, ..Pool2d::square(3, 2, 1) }, [2, 3, 8, 7]),
        (Pool2d { padding_end: Some([1, 2]), ..Pool2d::square(3, 2, 0) }, [1, 6, 8, 9]),
        (
            Pool2d {
                padding_end: Some([0, 1]),
                ceil_mode: true,
                count_include_pad: false,
                ..Pool2d::new([3, 4], [2, 3], [2, 1])
            },
            [2, 5, 9, 10],
        ),
    ];
    for (pool, shape) in cases {
        let [n, c, h, w] = shape;
        let Pool2d { kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw], .. } = pool;
        let [eh, ew] = pool.padding_end();
        let behind = if pool.padding_end.is_some() { format!(" and {eh}x{ew}") } else { String::new() };
        let up = if pool.ceil_mode { ", rounded up" } else { "" };
        let alone = if pool.count_include_pad { "" } else { ", padding not counted" };
        let case = format!("{n}x{c}x{h}x{w}, {kh}x{kw} stride {sh}x{sw} pad {ph}x{pw}{behind}{up}{alone}");
        checks.compare(&format!("max pool{kind}"), &case, tolerance, |at| {
            // All below zero, so that padding which counted as zero would win; and with ties.
            let x = stored(&((random(&shape, 1, at)? * 3.0)?.round()? - 4.0)?, narrow)?;
            let (y, argmax) = ops::max_pool2d(at.backend(), &pool, &x)?;
            let dy = stored(&random(y.dims(), 2, at)?, narrow)?;
            let dx = ops::max_pool2d_backward(at.backend(), &pool, &dy, &argmax, &shape)?;
            Ok(vec![("y", y), ("dx", dx)])
        })?;
        checks.compare(&format!("avg pool{kind}"), &case, tolerance, |at| {
            let y = ops::avg_pool2d(at.backend(), &pool, &stored(&random(&shape, 1, at)?, narrow)?)?;
            let dy = stored(&random(y.dims(), 2, at)?, narrow)?;
            let dx = ops::avg_pool2d_backward(at.backend(), &pool, &dy, &shape)?;
            Ok(vec![("y", y), ("dx", dx)])
        })?;
    }
    for shape in [[3, 5, 7, 4], [2, 64, 8, 8], [1, 33, 1, 1]] {
        checks.compare(&format!("global avg pool{kind}"), &super::norms::told(&shape), tolerance, |at| {
            let y = ops::global_avg_pool(at.backend(), &stored(&random(&shape, 1, at)?, narrow)?)?;
            let dy = stored(&random(y.dims(), 2, at)?, narrow)?;
            let dx = ops::global_avg_pool_backward(at.backend(), &dy, &shape)?;
            Ok(vec![("y", y), ("dx", dx)])
        })?;
    }
    Ok(())
}
