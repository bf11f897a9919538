//! How quick each level's layers are, in operations a second (two a product), best of several. Not a check, a tool:
//! `cargo test -p attar-edge --release -- --ignored --nocapture speed`; `SPEED=dense_u8` (or another field's name) and
//! `ATTAR_SIMD=avx2` narrow it down.

use std::time::Instant;
use std::vec;
use std::vec::Vec;
use std::{env, println};

use super::{Kernels, Level};
use crate::layer::{
    ByteConstants, ByteKernel, ByteLayer, ByteTail, FloatConstants, FloatFunction, FloatKernel, FloatLayer, FloatTail,
    MixedKernel, MixedLayer, Shape, Source, Target,
};

/// `(what it is, edge of the output, inputs, outputs, kernel, stride)`; depthwise where there are no outputs.
const LAYERS: [(&str, usize, usize, usize, usize, usize); 20] = [
    ("ResNet-8 stem", 32, 3, 16, 3, 1),
    ("ResNet-8 body", 32, 16, 16, 3, 1),
    ("ResNet-8 32", 16, 32, 32, 3, 1),
    ("ResNet-8 64", 8, 64, 64, 3, 1),
    ("MobileNetV2 stem", 112, 3, 32, 3, 2),
    ("MobileNetV2 expand", 112, 16, 96, 1, 1),
    ("MobileNetV2 project", 56, 96, 24, 1, 1),
    ("MobileNetV2 14 expand", 14, 64, 384, 1, 1),
    ("MobileNetV2 14 project", 14, 384, 64, 1, 1),
    ("MobileNetV2 head", 7, 320, 1280, 1, 1),
    ("ResNet-18 stem", 112, 3, 64, 7, 2),
    ("ResNet-18 64", 56, 64, 64, 3, 1),
    ("ResNet-18 128", 28, 128, 128, 3, 1),
    ("ResNet-18 256", 14, 256, 256, 3, 1),
    ("ResNet-18 512", 7, 512, 512, 3, 1),
    ("ResNet-50 1x1 stride 2", 28, 256, 512, 1, 2),
    ("depthwise 112 stride 1", 112, 32, 0, 3, 1),
    ("depthwise 56 stride 2", 56, 96, 0, 3, 2),
    ("depthwise 14 stride 1", 14, 384, 0, 3, 1),
    ("depthwise 5x5", 14, 240, 0, 5, 1),
];

/// Inputs and outputs of last layers.
const LINEAR: [(usize, usize); 3] = [(64, 10), (1280, 1000), (2048, 1000)];

fn aligned(bytes: usize) -> Vec<[u64; 8]> {
    // A vector of 64-byte groups lies at multiples of 16 at least; pages of large ones at 64.
    vec![[0; 8]; bytes / 64 + 2]
}

fn start(memory: &mut [[u64; 8]]) -> *mut u8 {
    let at = memory.as_mut_ptr().cast::<u8>();
    at.wrapping_add(at.align_offset(64))
}

/// Operations a nanosecond, best of several rounds of at least a few milliseconds.
fn rate(operations: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        let times = 1 + 20_000_000 / operations;
        let began = Instant::now();
        (0..times).for_each(|_| run());
        best = best.min(began.elapsed().as_nanos() as f64 / times as f64);
    }
    operations as f64 / best
}

fn bytes(kernel: &ByteKernel, shape: &Shape) -> f64 {
    let [height, width] = shape.size;
    let inputs = shape.groups * shape.inputs;
    let row = (width * shape.stride[1] + 8) * inputs;
    let image = vec![37u8; (height * shape.stride[0] + 8) * row + 64];
    let weights = vec![3u8; shape.channels() * shape.depth()];
    let (bias, multipliers) = (vec![0u8; 4 * shape.channels()], 0.001f32.to_le_bytes().repeat(shape.channels()));
    let mut packed = aligned((kernel.packed)(shape));
    let at = start(&mut packed);
    // SAFETY: `aligned` has room for it.
    let room = unsafe { core::slice::from_raw_parts_mut(at, (kernel.packed)(shape)) };
    let constants = ByteConstants { weights: &weights, bias: &bias, multipliers: &multipliers, zero: 0 };
    (kernel.pack)(shape, constants, room);
    let mut scratch = aligned((kernel.scratch)(shape));
    let mut out = vec![0u8; height * width * shape.channels()];
    let layer = ByteLayer {
        shape,
        source: Source { at: image.as_ptr(), row, pixel: inputs },
        target: Target { at: out.as_mut_ptr(), row: width * shape.channels(), pixel: shape.channels() },
        packed: at,
        weights: &weights,
        tail: ByteTail { zero: 0, low: 0, high: 255, table: None, residual: None },
        scratch: start(&mut scratch),
    };
    // SAFETY: the images are as large as the shape needs.
    rate(2 * height * width * shape.channels() * shape.depth(), || unsafe { (kernel.run)(&layer, 0..height) })
}

fn floats(kernel: &FloatKernel, shape: &Shape) -> f64 {
    let [height, width] = shape.size;
    let inputs = shape.groups * shape.inputs;
    let row = (width * shape.stride[1] + 8) * inputs;
    let image = vec![0.37f32; (height * shape.stride[0] + 8) * row + 64];
    let weights = 0.01f32.to_le_bytes().repeat(shape.channels() * shape.depth());
    let bias = vec![0u8; 4 * shape.channels()];
    let mut packed = aligned((kernel.packed)(shape));
    let at = start(&mut packed);
    // SAFETY: `aligned` has room for it.
    let room = unsafe { core::slice::from_raw_parts_mut(at, (kernel.packed)(shape)) };
    (kernel.pack)(shape, FloatConstants { weights: &weights, bias: &bias }, room);
    let mut scratch = aligned((kernel.scratch)(shape));
    let mut out = vec![0f32; height * width * shape.channels()];
    let layer = FloatLayer {
        shape,
        source: Source { at: image.as_ptr(), row, pixel: inputs },
        target: Target { at: out.as_mut_ptr(), row: width * shape.channels(), pixel: shape.channels() },
        packed: at,
        weights: &weights,
        tail: FloatTail { residual: None, function: FloatFunction::Clamp { low: 0.0, high: f32::INFINITY } },
        scratch: start(&mut scratch),
    };
    // SAFETY: the images are as large as the shape needs.
    rate(2 * height * width * shape.channels() * shape.depth(), || unsafe { (kernel.run)(&layer, 0..height) })
}

fn mixed(kernel: &MixedKernel, shape: &Shape) -> f64 {
    let image = vec![37u8; shape.inputs + 64];
    let weights = vec![3u8; shape.outputs * shape.inputs];
    let (bias, multipliers) = (vec![0u8; 4 * shape.outputs], 0.001f32.to_le_bytes().repeat(shape.outputs));
    let mut packed = aligned((kernel.packed)(shape));
    let at = start(&mut packed);
    // SAFETY: `aligned` has room for it.
    let room = unsafe { core::slice::from_raw_parts_mut(at, (kernel.packed)(shape)) };
    let constants = ByteConstants { weights: &weights, bias: &bias, multipliers: &multipliers, zero: 0 };
    (kernel.pack)(shape, constants, room);
    let mut out = vec![0f32; shape.outputs];
    let source = Source { at: image.as_ptr(), row: shape.inputs, pixel: shape.inputs };
    let target = Target { at: out.as_mut_ptr(), row: shape.outputs, pixel: shape.outputs };
    let layer = MixedLayer { shape, source, target, packed: at, weights: &weights };
    // SAFETY: the images are as large as the shape needs.
    rate(2 * shape.outputs * shape.inputs, || unsafe { (kernel.run)(&layer, 0..1) })
}

#[test]
#[ignore = "a tool, not a check"]
fn speed() {
    let only = env::var("SPEED").ok();
    let level = env::var("ATTAR_SIMD").ok().and_then(|name| Level::from_name(&name));
    let wanted = |kind: &str| only.as_deref().is_none_or(|only| only == kind);
    let levels = Level::ALL.into_iter().filter(|l| level.map_or(*l != Level::Scalar, |level| level == *l));
    let levels = levels.filter_map(Level::kernels);
    for Kernels { level, dense_u8, depthwise_u8, dense_f32, depthwise_f32, mixed: of_bytes, .. } in levels {
        for (inputs, outputs) in LINEAR {
            let one = [1; 2];
            let shape = Shape { groups: 1, inputs, outputs, kernel: one, stride: one, dilation: one, size: one };
            let what = std::format!("linear {inputs} to {outputs}");
            if wanted("mixed") {
                println!("{level:12} {:14} {what:26} {:7.1} GOP/s", "mixed", mixed(of_bytes, &shape));
                println!("{level:12} {:14} {what:26} {:7.1} GOP/s", "dense_u8", bytes(dense_u8, &shape));
            }
        }
        for (what, edge, inputs, outputs, kernel, stride) in LAYERS {
            let depthwise = outputs == 0;
            let (groups, inputs, outputs) = if depthwise { (inputs, 1, 1) } else { (1, inputs, outputs) };
            let (kernel, stride) = ([kernel; 2], [stride; 2]);
            let shape = Shape { groups, inputs, outputs, kernel, stride, dilation: [1; 2], size: [edge; 2] };
            let [u8s, f32s] = if depthwise { ["depthwise_u8", "depthwise_f32"] } else { ["dense_u8", "dense_f32"] };
            if wanted(u8s) {
                println!(
                    "{level:12} {u8s:14} {what:26} {:7.1} GOP/s",
                    bytes(if depthwise { depthwise_u8 } else { dense_u8 }, &shape)
                );
            }
            if wanted(f32s) {
                println!(
                    "{level:12} {f32s:14} {what:26} {:7.1} GFLOP/s",
                    floats(if depthwise { depthwise_f32 } else { dense_f32 }, &shape)
                );
            }
        }
    }
}
