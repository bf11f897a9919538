//! A whole plan in plain, slow Rust: each tensor an image of its own, each step a loop over elements. What every level's bytes
//! are held against, and floats to rounding.

use alloc::vec;
use alloc::vec::Vec;

use super::{Image, Pairs, Tail, channels, convolution_f32, convolution_mixed, convolution_u8, pairs};
use crate::arithmetic::{Sum, dequantize, mean_multiplier, multiplier, product, quantize, requantize};
use crate::error::Result;
use crate::layer::{ByteConstants, FloatConstants, FloatFunction, f32_at};
use crate::plan::{Convolution, Copy, Function, Kind, Model, Step, Tensor, Windowed};
use crate::run::{Input, check_input};
use crate::simple::{Window, function};

/// A tensor's elements.
#[derive(Debug, Clone)]
enum Value {
    Bytes(Image<u8>),
    Floats(Image<f32>),
}

/// Logits of one image.
///
/// # Errors
/// As [`crate::Engine::run`].
pub fn run(model: &Model<'_>, input: Input<'_>) -> Result<Vec<f32>> {
    walk(model, input, &mut |_, _| ())
}

/// The same, and the pairs of products of all its layers of bytes.
///
/// # Errors
/// As [`crate::Engine::run`].
pub fn run_counting_pairs(model: &Model<'_>, input: Input<'_>) -> Result<(Vec<f32>, Pairs)> {
    let mut pairs = Pairs::default();
    let logits = walk(model, input, &mut |step, values| {
        let Step::Convolution(layer) = step else { return };
        let Value::Bytes(image) = &values[layer.input as usize] else { return };
        let shape = layer.shape(model);
        let weights = model.constants(layer.weights, shape.channels() * shape.depth());
        pairs += pairs::count(&shape, image, layer.padding.map(|size| size as usize), weights);
    })?;
    Ok((logits, pairs))
}

/// Step after step; `seen` gets each with all values before it.
fn walk(model: &Model<'_>, input: Input<'_>, seen: &mut dyn FnMut(&Step, &[Value])) -> Result<Vec<f32>> {
    let mut logits = vec![0.0; model.header().classes as usize];
    check_input(model, input, &logits)?;
    let mut values: Vec<Value> = model.tensors().map(|tensor| empty(&tensor)).collect();
    for step in model.steps() {
        seen(&step, &values);
        if let Some(output) = step.output() {
            let made = made(model, &values, &step, input);
            values[output as usize] = made;
        } else if let Step::Store { input } = step {
            let tensor = model.tensor(input);
            for (channel, logit) in logits.iter_mut().enumerate() {
                *logit = float(&values[input as usize], &tensor, 0, 0, channel);
            }
        }
    }
    Ok(logits)
}

fn empty(tensor: &Tensor) -> Value {
    let (size, border) = (tensor.size.map(|size| size as usize), tensor.border as usize);
    match tensor.kind {
        Kind::Bytes { zero, .. } => Value::Bytes(Image::new(size, border, zero)),
        Kind::Floats => Value::Floats(Image::new(size, border, 0.0)),
    }
}

/// An element as a byte; 0 of floats, which no checked step asks for.
fn byte(value: &Value, y: usize, x: usize, channel: usize) -> u8 {
    match value {
        Value::Bytes(image) => image.at(y, x, channel),
        Value::Floats(_) => 0,
    }
}

/// An element as a float, dequantised where it is a byte.
fn float(value: &Value, tensor: &Tensor, y: usize, x: usize, channel: usize) -> f32 {
    match (value, tensor.quantisation()) {
        (Value::Floats(image), _) => image.at(y, x, channel),
        (Value::Bytes(image), Some((scale, zero))) => dequantize(image.at(y, x, channel), scale, zero),
        (Value::Bytes(image), None) => f32::from(image.at(y, x, channel)),
    }
}

/// A tensor whose elements `each` makes, one of bytes and one of floats.
fn each(
    tensor: &Tensor,
    bytes: impl FnMut(usize, usize, usize) -> u8,
    floats: impl FnMut(usize, usize, usize) -> f32,
) -> Value {
    let (size, border) = (tensor.size.map(|size| size as usize), tensor.border as usize);
    match tensor.kind {
        Kind::Bytes { zero, .. } => Value::Bytes(Image::of(size, border, zero, bytes)),
        Kind::Floats => Value::Floats(Image::of(size, border, 0.0, floats)),
    }
}

fn clamped(value: u8, end: Function) -> u8 {
    match end {
        Function::Bytes { low, high } => value.max(low).min(high),
        Function::Floats(_) => value,
    }
}

fn applied(value: f32, end: Function) -> f32 {
    match end {
        Function::Floats(f) => function(f, value),
        Function::Bytes { .. } => value,
    }
}

fn made(model: &Model<'_>, values: &[Value], step: &Step, image: Input<'_>) -> Value {
    let tensor = |number: u32| model.tensor(number);
    let at = |number: u32| &values[number as usize];
    let levels = |number: u32| tensor(number).quantisation().unwrap_or((1.0, 0));
    match *step {
        Step::Load { output } => {
            let value = |y: usize, x: usize, c: usize| pixel(model, image, [y, x, c]);
            let (scale, zero) = levels(output);
            each(&tensor(output), |y, x, c| quantize(value(y, x, c), scale, zero), value)
        }
        Step::Store { input } => at(input).clone(),
        Step::Convolution(convolution) => convolved(model, values, &convolution),
        Step::Add { inputs: [a, b], output, end } => {
            let sum = Sum::new(levels(a), levels(b), levels(output));
            each(
                &tensor(output),
                |y, x, c| {
                    let [v, u, d] = place(tensor(b).size, [y, x, c]);
                    clamped(sum.of(byte(at(a), y, x, c), byte(at(b), v, u, d)), end)
                },
                |y, x, c| {
                    let [v, u, d] = place(tensor(b).size, [y, x, c]);
                    applied(float(at(a), &tensor(a), y, x, c) + float(at(b), &tensor(b), v, u, d), end)
                },
            )
        }
        Step::Multiply { inputs: [a, b], output, end } => {
            let (first, second, out) = (levels(a), levels(b), levels(output));
            let multiplier = multiplier(first.0, second.0, out.0);
            each(
                &tensor(output),
                |y, x, c| {
                    let [v, u, d] = place(tensor(b).size, [y, x, c]);
                    let (a, b) = (byte(at(a), y, x, c), byte(at(b), v, u, d));
                    clamped(product((a, first.1), (b, second.1), multiplier, out.1), end)
                },
                |y, x, c| {
                    let [v, u, d] = place(tensor(b).size, [y, x, c]);
                    applied(float(at(a), &tensor(a), y, x, c) * float(at(b), &tensor(b), v, u, d), end)
                },
            )
        }
        Step::Apply { input, output, function, table } => each(
            &tensor(output),
            |y, x, c| model.constants(table, 256)[usize::from(byte(at(input), y, x, c))],
            |y, x, c| applied(float(at(input), &tensor(input), y, x, c), function),
        ),
        Step::Max(windowed) => maxima(model, values, &windowed),
        Step::Mean(windowed) => means(model, values, &windowed),
        Step::Quantize { input, output } => {
            let (scale, zero) = levels(output);
            let value = |y: usize, x: usize, c: usize| float(at(input), &tensor(input), y, x, c);
            each(&tensor(output), |y, x, c| quantize(value(y, x, c), scale, zero), value)
        }
        Step::Dequantize { input, output } => {
            each(&tensor(output), |_, _, _| 0, |y, x, c| float(at(input), &tensor(input), y, x, c))
        }
        Step::Copy(copy) => copied(model, values, &copy),
        Step::Normalise { input, output, weights, bias, eps } => {
            let length = 4 * tensor(input).size[2] as usize;
            let constants = [weights, bias].map(|from| model.constants(from, length));
            pixels(&tensor(output), at(input), |pixel| channels::normalised(pixel, constants, eps))
        }
        Step::Softmax { input, output } => pixels(&tensor(output), at(input), channels::shares),
        Step::ApplyEach { input, output, constants } => {
            let constants = |width: usize| model.constants(constants, width * tensor(input).size[2] as usize);
            each(
                &tensor(output),
                |y, x, c| constants(256)[256 * c + usize::from(byte(at(input), y, x, c))],
                |y, x, c| {
                    let slope = f32_at(constants(4), c);
                    function(FloatFunction::LeakyRelu { slope }, float(at(input), &tensor(input), y, x, c))
                },
            )
        }
        Step::Reshape { input, output } => {
            let [from, to] = [input, output].map(|number| tensor(number).size.map(|size| size as usize));
            let place = |at: [usize; 3]| channels::counted(from, to, at);
            each(
                &tensor(output),
                |y, x, c| {
                    let [y, x, c] = place([y, x, c]);
                    byte(at(input), y, x, c)
                },
                |y, x, c| {
                    let [y, x, c] = place([y, x, c]);
                    float(at(input), &tensor(input), y, x, c)
                },
            )
        }
    }
}

/// A tensor of floats whose pixels are made of another's.
fn pixels(output: &Tensor, input: &Value, made: impl Fn(&[f32]) -> Vec<f32>) -> Value {
    let [height, width, channels] = output.size.map(|size| size as usize);
    let mut image = Image::new([height, width, channels], output.border as usize, 0.0);
    if let Value::Floats(from) = input {
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let pixel: Vec<f32> = (0..channels).map(|c| from.at(y, x, c)).collect();
            made(&pixel).into_iter().enumerate().for_each(|(c, value)| image.set(y, x, c, value));
        }
    }
    Value::Floats(image)
}

/// Where a sum's or product's second operand has what belongs to a place of the first: axes of 1 count all along.
fn place(part: [u32; 3], at: [usize; 3]) -> [usize; 3] {
    let mut at = at;
    at.iter_mut().zip(part).filter(|(_, size)| *size == 1).for_each(|(at, _)| *at = 0);
    at
}

/// An element of the network's input.
fn pixel(model: &Model<'_>, image: Input<'_>, [y, x, c]: [usize; 3]) -> f32 {
    let [channels, height, width] = model.header().input.map(|size| size as usize);
    match (image, model.header().preprocessing) {
        (Input::Floats(floats), _) => floats[(c * height + y) * width + x],
        (Input::Rgb8(bytes), Some(how)) => how.value(c, bytes[(y * width + x) * channels + c]),
        (Input::Rgb8(_), None) => 0.0,
    }
}

fn convolved(model: &Model<'_>, values: &[Value], convolution: &Convolution) -> Value {
    let (shape, tail) = (convolution.shape(model), &convolution.tail);
    let (channels, depth) = (shape.channels(), shape.depth());
    let padding = convolution.padding.map(|size| size as usize);
    let output = model.tensor(convolution.output);
    let bias = model.constants(convolution.bias, 4 * channels);
    match &values[convolution.input as usize] {
        Value::Bytes(image) => {
            let zero = model.tensor(convolution.input).quantisation().map_or(0, |(_, zero)| zero);
            let weights = model.constants(convolution.weights, channels * depth);
            let multipliers = model.constants(convolution.multipliers, 4 * channels);
            let constants = ByteConstants { weights, bias, multipliers, zero };
            let range = match tail.function {
                Function::Bytes { low, high } => [low, high],
                Function::Floats(end) => {
                    let border = output.border as usize;
                    return Value::Floats(convolution_mixed(&shape, image, padding, constants, end, border));
                }
            };
            let residual = tail.residual.and_then(|other| match &values[other as usize] {
                Value::Bytes(other) => Some((other, tail.sum, tail.swapped, tail.range)),
                Value::Floats(_) => None,
            });
            let table = tail.table.and_then(|at| model.constants(at, 256).first_chunk());
            let tail = Tail { zero: tail.zero, range, table, residual };
            let outside = output.quantisation().map_or(0, |(_, zero)| zero);
            let border = (output.border as usize, outside);
            Value::Bytes(convolution_u8(&shape, image, padding, constants, &tail, border))
        }
        Value::Floats(image) => {
            let weights = model.constants(convolution.weights, 4 * channels * depth);
            let residual = tail.residual.and_then(|other| match &values[other as usize] {
                Value::Floats(other) => Some(other),
                Value::Bytes(_) => None,
            });
            let end = match tail.function {
                Function::Floats(function) => function,
                Function::Bytes { .. } => FloatFunction::IDENTITY,
            };
            let constants = FloatConstants { weights, bias };
            Value::Floats(convolution_f32(&shape, image, padding, constants, (residual, end), output.border as usize))
        }
    }
}

/// Pixels of the image that a window sees, and how many a mean counts.
fn seen(window: &Window, y: usize, x: usize) -> (Vec<[usize; 2]>, usize) {
    let (rows, columns) = (window.cover(0, y), window.cover(1, x));
    let pixels = (rows.start..rows.end).flat_map(|y| (columns.start..columns.end).map(move |x| [y, x])).collect();
    (pixels, rows.counted * columns.counted)
}

fn maxima(model: &Model<'_>, values: &[Value], windowed: &Windowed) -> Value {
    let (window, input) = (windowed.window(model), &values[windowed.input as usize]);
    let tensor = model.tensor(windowed.input);
    each(
        &model.tensor(windowed.output),
        |y, x, c| seen(&window, y, x).0.into_iter().map(|[y, x]| byte(input, y, x, c)).max().unwrap_or(0),
        |y, x, c| {
            let pixels = seen(&window, y, x).0.into_iter();
            pixels.map(|[y, x]| float(input, &tensor, y, x, c)).fold(f32::NEG_INFINITY, f32::max)
        },
    )
}

fn means(model: &Model<'_>, values: &[Value], windowed: &Windowed) -> Value {
    let (window, input) = (windowed.window(model), &values[windowed.input as usize]);
    let tensor = model.tensor(windowed.input);
    let output = model.tensor(windowed.output);
    let ((scale, zero), (to_scale, to_zero)) =
        (tensor.quantisation().unwrap_or((1.0, 0)), output.quantisation().unwrap_or((1.0, 0)));
    each(
        &output,
        |y, x, c| {
            let (pixels, counted) = seen(&window, y, x);
            let sum: i32 = pixels.into_iter().map(|[y, x]| i32::from(byte(input, y, x, c)) - i32::from(zero)).sum();
            clamped(requantize(sum, mean_multiplier(scale, to_scale, counted), to_zero), windowed.end)
        },
        |y, x, c| {
            let (pixels, counted) = seen(&window, y, x);
            let sum: f64 = pixels.into_iter().map(|[y, x]| f64::from(float(input, &tensor, y, x, c))).sum();
            (sum / counted as f64) as f32
        },
    )
}

fn copied(model: &Model<'_>, values: &[Value], copy: &Copy) -> Value {
    let input = &values[copy.input as usize];
    let tensor = model.tensor(copy.input);
    let mut made = if copy.fill { empty(&model.tensor(copy.output)) } else { values[copy.output as usize].clone() };
    let output = model.tensor(copy.output);
    let [[from, from_step], [to, to_step]] = [copy.from, copy.to].map(|pair| pair.map(|n| n as usize));
    for y in (0..tensor.size[0]).step_by(copy.stride[0] as usize) {
        for x in (0..tensor.size[1]).step_by(copy.stride[1] as usize) {
            let [v, u] = [y / copy.stride[0] + copy.at[0], x / copy.stride[1] + copy.at[1]];
            if v >= output.size[0] || u >= output.size[1] {
                continue;
            }
            let [y, x, v, u] = [y, x, v, u].map(|n| n as usize);
            for i in 0..copy.channels as usize {
                let (from, to) = (from + i * from_step, to + i * to_step);
                match &mut made {
                    Value::Floats(image) => image.set(v, u, to, float(input, &tensor, y, x, from)),
                    Value::Bytes(image) => {
                        let byte = byte(input, y, x, from);
                        let table = copy.table.map(|at| model.constants(at, 256));
                        image.set(v, u, to, table.map_or(byte, |table| table[usize::from(byte)]));
                    }
                }
            }
        }
    }
    made
}
