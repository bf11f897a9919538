//! How quick what is computed element by element is, in bytes written or elements a nanosecond, best of several. Not a check,
//! a tool: `cargo test -p attar-edge --release -- --ignored --nocapture simple_speed`; `SPEED=table` and `ATTAR_SIMD=avx2`
//! narrow it down.

use std::time::Instant;
use std::vec;
use std::{env, println};

use super::Level;
use crate::arithmetic::Sum;
use crate::layer::{FloatFunction, Source, Target};
use crate::simple::{Addition, Mean, Multiplication, Normalisation, Simple, Window};

/// Nanoseconds a call, best of several.
fn time(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..100 {
        let began = Instant::now();
        (0..20).for_each(|_| run());
        best = best.min(began.elapsed().as_nanos() as f64 / 20.0);
    }
    best
}

#[test]
#[ignore = "a tool, not a check"]
fn simple_speed() {
    let only = env::var("SPEED").ok();
    let level = env::var("ATTAR_SIMD").ok().and_then(|name| Level::from_name(&name));
    for level in Level::ALL.into_iter().filter(|l| level.is_none_or(|level| level == *l)) {
        let Some(kernels) = level.kernels() else { continue };
        let report = |what: &str, elements: usize, run: &mut dyn FnMut()| {
            if only.as_deref().is_none_or(|only| what.starts_with(only)) {
                println!("{level:12} {what:28} {:7.2} elements/ns", elements as f64 / time(run));
            }
        };
        measure(&kernels.simple, report);
    }
}

fn measure(simple: &Simple, report: impl Fn(&str, usize, &mut dyn FnMut())) {
    const N: usize = 28 * 28 * 64;
    let a: std::vec::Vec<u8> = (0..N + 64).map(|i| (i * 37 % 251) as u8).collect();
    let b: std::vec::Vec<u8> = (0..N + 64).map(|i| (i * 101 % 253) as u8).collect();
    let mut out = vec![0u8; N];
    let x: std::vec::Vec<f32> = (0..N + 64).map(|i| (i * 37 % 2001) as f32 * 0.01 - 10.0).collect();
    let y: std::vec::Vec<f32> = (0..N + 64).map(|i| (i * 91 % 2001) as f32 * 0.001 - 1.0).collect();
    let constants: std::vec::Vec<u8> = y[..96].iter().flat_map(|y| y.to_le_bytes()).collect();
    let mut z = vec![0f32; N];
    let (a, b, out) = (a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
    let (x, y, z) = (x.as_ptr(), y.as_ptr(), z.as_mut_ptr());
    let add = Addition { sum: Sum::new((0.031, 3), (0.02, 128), (0.04, 7)), low: 7, high: 255 };
    let multiply = Multiplication { first: 3, second: 128, multiplier: 0.01, zero: 7, low: 0, high: 255 };
    let mut table = [0u8; 256];
    table.iter_mut().enumerate().for_each(|(i, entry)| *entry = (i * 7) as u8);
    let mean = Mean { scale: 0.03, zero: 5, output_scale: 0.02, output_zero: 3, low: 0, high: 255 };
    let global = Window {
        kernel: [7; 2],
        stride: [1; 2],
        padding: [0; 2],
        padding_end: [0; 2],
        input: [7; 2],
        count_padding: false,
    };
    let three = Window { kernel: [3; 2], stride: [2; 2], padding: [1; 2], input: [28; 2], ..global };
    // SAFETY: the memory is as large as what is asked for.
    unsafe {
        report("add_u8", N, &mut || (simple.add_u8)(a, b, out, N, &add));
        report("multiply_u8", N, &mut || (simple.multiply_u8)(a, b, out, N, &multiply));
        report("multiply_channels_u8 64", N, &mut || {
            (simple.multiply_channels_u8)(a, b, out, N / 64, 64, &multiply);
        });
        report("multiply_channels_u8 16", N, &mut || {
            (simple.multiply_channels_u8)(a, b, out, N / 16, 16, &multiply);
        });
        report("multiply_channels_u8 72", 600 * 72, &mut || {
            (simple.multiply_channels_u8)(a, b, out, 600, 72, &multiply);
        });
        report("table", N, &mut || (simple.table)(a, out, N, &table));
        for channels in [64, 1000] {
            let source = Source { at: a, row: 7 * channels, pixel: channels };
            let target = Target { at: out, row: channels, pixel: channels };
            let name = std::format!("mean_u8 7x7 {channels}, read");
            report(&name, 49 * channels, &mut || {
                (simple.mean_u8)(&global, &mean, source, target, 0, 1, channels);
            });
            let source = Source { at: x, row: 7 * channels, pixel: channels };
            let target = Target { at: z, row: channels, pixel: channels };
            let name = std::format!("mean_f32 7x7 {channels}, read");
            report(&name, 49 * channels, &mut || (simple.mean_f32)(&global, source, target, 0, 1, channels));
        }
        let source = Source { at: a, row: 28 * 64, pixel: 64 };
        let target = Target { at: out, row: 14 * 64, pixel: 64 };
        report("max_u8 3x3 stride 2", 14 * 64, &mut || (simple.max_u8)(&three, source, target, 3, 14, 64));
        report("mean_u8 3x3 stride 2", 14 * 64, &mut || (simple.mean_u8)(&three, &mean, source, target, 3, 14, 64));
        let source = Source { at: x, row: 28 * 64, pixel: 64 };
        let target = Target { at: z, row: 14 * 64, pixel: 64 };
        report("max_f32 3x3 stride 2", 14 * 64, &mut || (simple.max_f32)(&three, source, target, 3, 14, 64));
        report("mean_f32 3x3 stride 2", 14 * 64, &mut || (simple.mean_f32)(&three, source, target, 3, 14, 64));
        report("quantize", N, &mut || (simple.quantize)(x, out, N, 0.05, 120));
        report("dequantize", N, &mut || (simple.dequantize)(a, z, N, 0.05, 120));
        let relu = FloatFunction::Clamp { low: 0.0, high: f32::INFINITY };
        report("add_f32", N, &mut || (simple.add_f32)(x, y, z, N, relu));
        report("multiply_f32", N, &mut || (simple.multiply_f32)(x, y, z, N, relu));
        report("multiply_channels_f32", N, &mut || (simple.multiply_channels_f32)(x, y, z, N / 64, 64));
        report("hard-swish f32", N, &mut || (simple.function_f32)(x, z, N, FloatFunction::HardSwish));
        report("sigmoid f32", N, &mut || (simple.function_f32)(x, z, N, FloatFunction::Sigmoid));
        report("silu f32", N, &mut || (simple.function_f32)(x, z, N, FloatFunction::Silu));
        report("gelu f32", N, &mut || (simple.function_f32)(x, z, N, FloatFunction::Gelu));
        report("gelu-tanh f32", N, &mut || (simple.function_f32)(x, z, N, FloatFunction::GeluTanh));
        let norm = Normalisation { weights: &constants, bias: &constants, eps: 1e-6 };
        report("layer norm 96", N / 96 * 96, &mut || (simple.normalise)(x, z, N / 96, 96, &norm));
        report("softmax 1000", N / 1000 * 1000, &mut || (simple.softmax)(x, z, N / 1000, 1000));
        report("slopes 64", N, &mut || (simple.slopes)(x, z, N / 64, 64, &constants));
        report("clamp f32", N, &mut || (simple.function_f32)(x, z, N, relu));
        let leaky = FloatFunction::LeakyRelu { slope: 0.1 };
        report("leaky f32", N, &mut || (simple.function_f32)(x, z, N, leaky));
    }
}
