//! Plans that are refused when they are loaded, each for its reason: what the engine does not look at again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use attar_edge::Model;
use attar_edge::arithmetic::{Sum, ratios_allowed};
use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Convolution, Copy, Function, Kind, Said, Step, Tail, Tensor, Windowed, Writer};

const BYTES: Kind = Kind::Bytes { scale: 0.5, zero: 3 };
const KEEP: Function = Function::Bytes { low: 0, high: 255 };

/// A plan of tensors of one pixel and four channels, each with memory of its own; the last step stores the last tensor.
fn plan(kinds: &[Kind], steps: &[Step]) -> Vec<u8> {
    plan_of(4, kinds, steps)
}

/// The same of up to 64 channels, with as many constants as a layer has weights, or 256.
fn plan_of(channels: u32, kinds: &[Kind], steps: &[Step]) -> Vec<u8> {
    let last = kinds.len() as u32 - 1;
    let steps: Vec<Step> = [&[Step::Load { output: 0 }], steps, &[Step::Store { input: last }]].concat();
    let mut writer = Writer::default();
    writer.constant(&vec![1; 256.max((channels * channels) as usize)]);
    for (number, kind) in (0u32..).zip(kinds) {
        let touched = |step: &Step| step.output() == Some(number) || step.inputs().any(|input| input == number);
        let first = steps.iter().position(|step| step.output() == Some(number)).unwrap_or(0) as u32;
        let last = steps.iter().rposition(touched).unwrap_or(0) as u32;
        let offset = 128 * u64::from(number);
        writer.tensor(Tensor { kind: *kind, size: [1, 1, channels], border: 0, offset, life: [first, last] });
    }
    steps.iter().for_each(|step| writer.step(*step, "node"));
    let arena = 128 * kinds.len() as u64;
    writer.finish(Said { input: [channels, 1, 1], classes: channels, preprocessing: None, source: [0; 32], arena })
}

#[track_caller]
fn refused(kinds: &[Kind], steps: &[Step], reason: &str) {
    let plan = plan(kinds, steps);
    let error = Model::load(&plan).expect_err(reason).to_string();
    assert!(error.contains(reason), "{error}");
}

#[track_caller]
fn taken(kinds: &[Kind], steps: &[Step]) {
    let plan = plan(kinds, steps);
    Model::load(&plan).unwrap();
}

/// Channels `from` onwards become channels `to` onwards.
fn copy(from: u32, to: u32, channels: u32) -> Copy {
    Copy {
        input: 0,
        output: 1,
        channels,
        from: [from, 1],
        to: [to, 1],
        stride: [1, 1],
        at: [0, 0],
        fill: false,
        table: None,
    }
}

#[test]
fn copies_write_all_of_what_they_make_and_each_channel_once() {
    let two = [BYTES; 2];
    taken(&two, &[Step::Copy(copy(0, 0, 4))]);
    taken(&two, &[Step::Copy(copy(2, 0, 2)), Step::Copy(copy(0, 2, 2))]);
    let shuffled = |group: u32| Step::Copy(Copy { to: [group, 2], ..copy(2 * group, 0, 2) });
    taken(&two, &[shuffled(0), shuffled(1)]);
    taken(&two, &[Step::Copy(Copy { fill: true, ..copy(0, 1, 2) })]);
    refused(&two, &[Step::Copy(copy(0, 0, 3))], "leaves channels");
    refused(&two, &[Step::Copy(copy(0, 0, 2)), Step::Copy(copy(0, 1, 2))], "writes channels that another");
    refused(&two, &[shuffled(0), shuffled(0)], "writes channels that another");
    refused(&two, &[Step::Copy(Copy { stride: [1, 0], ..copy(0, 0, 4) })], "a step is 0");
    refused(&two, &[Step::Copy(copy(1, 0, 4))], "channels are not there");
    let late = Step::Copy(Copy { fill: true, ..copy(0, 2, 2) });
    refused(&two, &[Step::Copy(copy(0, 0, 2)), late], "fills a tensor that another");
    let read = Step::Apply { input: 1, output: 2, function: KEEP, table: 0 };
    refused(
        &[BYTES; 3],
        &[Step::Copy(copy(0, 0, 2)), read, Step::Copy(copy(0, 2, 2))],
        "that a step before it has read",
    );
}

#[test]
fn bounds_are_in_order_and_numbers() {
    let apply = |function| Step::Apply { input: 0, output: 1, function, table: 0 };
    taken(&[BYTES; 2], &[apply(KEEP)]);
    refused(&[BYTES; 2], &[apply(Function::Bytes { low: 9, high: 8 })], "out of order");
    let clamp = |low, high| apply(Function::Floats(FloatFunction::Clamp { low, high }));
    taken(&[Kind::Floats; 2], &[clamp(0.0, f32::INFINITY)]);
    refused(&[Kind::Floats; 2], &[clamp(1.0, 0.0)], "out of order");
    refused(&[Kind::Floats; 2], &[clamp(f32::NAN, 0.0)], "no numbers");
    let leaky = apply(Function::Floats(FloatFunction::LeakyRelu { slope: f32::NAN }));
    refused(&[Kind::Floats; 2], &[leaky], "no numbers");
    refused(&[BYTES; 2], &[clamp(0.0, 1.0)], "not of its output's kind");
}

#[test]
fn multipliers_are_numbers() {
    let [huge, tiny] = [1e38, 1e-38].map(|scale| Kind::Bytes { scale, zero: 3 });
    let multiply = Step::Multiply { inputs: [0, 0], output: 1, end: KEEP };
    taken(&[BYTES; 2], &[multiply]);
    refused(&[huge, BYTES], &[multiply], "no finite number");
    let mean = Step::Mean(Windowed {
        input: 0,
        output: 1,
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        padding_end: [0, 0],
        count_padding: false,
        end: KEEP,
    });
    taken(&[BYTES; 2], &[mean]);
    refused(&[huge, tiny], &[mean], "no finite number");
}

/// A layer with all weights 1, biases of 2^24 and a bit, and the same bytes as multipliers.
fn layer(tail: Tail) -> Step {
    Step::Convolution(Convolution {
        input: 0,
        output: 1,
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        weights: 0,
        bias: 0,
        multipliers: 0,
        tail,
    })
}

const TAIL: Tail = Tail {
    residual: Some(0),
    function: KEEP,
    zero: 0,
    table: None,
    sum: Sum { first: 1.0, second: 1.0, offset: -3.0 },
    swapped: false,
    range: [0, 255],
};

#[test]
fn sums_are_those_that_every_engine_computes_alike() {
    let two = [BYTES; 2];
    taken(&two, &[layer(TAIL)]);
    for (first, second, offset) in [
        (1.0, 1.0, 1e-20),  // no multiple of 2^-43
        (1.0, 1.0, 1000.0), // more than zero points make
        (1.0, 1.0, -1e26),  // beyond 32 bits
        (1e-7, 1.0, 0.0),   // ratios beyond 2^20
        (1e6, 0.078, 0.0),  // of the operands, too
        (f32::NAN, 1.0, 0.0),
        (1.0, 1.0, f32::NAN),
    ] {
        refused(&two, &[layer(Tail { sum: Sum { first, second, offset }, ..TAIL })], "2^20");
    }
    refused(&two, &[layer(Tail { range: [5, 4], ..TAIL })], "out of order");
}

/// A layer of bytes may make floats, but these are neither looked up nor added to; floats make no bytes.
#[test]
fn floats_of_bytes_end_as_floats() {
    let mixed = [BYTES, Kind::Floats];
    let function = Function::Floats(FloatFunction::IDENTITY);
    let tail = Tail { residual: None, function, ..TAIL };
    taken(&mixed, &[layer(tail)]);
    taken(&mixed, &[layer(Tail { function: Function::Floats(FloatFunction::Silu), ..tail })]);
    refused(&mixed, &[layer(Tail { function: KEEP, ..tail })], "not of its output's kind");
    refused(&mixed, &[layer(Tail { table: Some(0), ..tail })], "neither added to others nor looked up");
    refused(&mixed, &[layer(Tail { residual: Some(0), ..tail })], "neither added to others nor looked up");
    refused(&[Kind::Floats, BYTES], &[layer(Tail { function: KEEP, ..tail })], "mixes bytes and floats");
    let Step::Convolution(one) = layer(tail) else { panic!("a layer") };
    let far = Step::Convolution(Convolution { multipliers: 1 << 20, ..one });
    refused(&mixed, &[far], "constants reach beyond");
}

#[test]
fn sums_of_allowed_scales_are_allowed() {
    for a in [1e-3f32, 0.02, 1.0, 77.7, 9e3] {
        for (b, c) in [(1e-2f32, 0.5f32), (0.3, 1e-2), (9.0, 13.37), (9.1e2, 9.2e2)] {
            for zeros in [[0, 0, 0], [255, 255, 0], [0, 0, 255], [7, 99, 201]] {
                assert!(
                    ratios_allowed(&Sum::new((a, zeros[0]), (b, zeros[1]), (c, zeros[2]))),
                    "{a} {b} {c} {zeros:?}"
                );
            }
        }
    }
}

#[test]
fn weights_belong_to_one_layer() {
    // 4096 layers of one megabyte of weights would be packed into four gigabytes.
    let tail = Tail { residual: None, ..TAIL };
    let Step::Convolution(one) = layer(tail) else { panic!("a layer") };
    let next = |input: u32| Step::Convolution(Convolution { input, output: input + 1, ..one });
    Model::load(&plan_of(32, &[BYTES; 2], &[next(0)])).unwrap();
    let error = Model::load(&plan_of(32, &[BYTES; 4], &[next(0), next(1), next(2)])).unwrap_err().to_string();
    assert!(error.contains("more weights than it has constants"), "{error}");
}
