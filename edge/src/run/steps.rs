//! Steps that are neither the image's nor convolutions.

use super::memory::Work;
use crate::arithmetic::{Sum, multiplier};
use crate::layer::{FloatFunction, Source, Target};
use crate::plan::{Copy, Function, Step, Tensor, Windowed};
use crate::simple::{Addition, Mean, Multiplication};

/// A tensor that is read or written row by row.
struct Rows<T> {
    image: Target<T>,
    rows: usize,
    /// Elements of a row, without the border.
    length: usize,
}

impl<T> Rows<T> {
    fn of(work: &Work<'_>, number: u32) -> Self {
        let [height, width, channels] = work.model.tensor(number).size.map(|size| size as usize);
        Self { image: work.target(number), rows: height, length: width * channels }
    }

    /// First element of a row.
    fn row(&self, y: usize) -> *mut T {
        // SAFETY: rows below `rows` are there.
        unsafe { self.image.pixel(y, 0) }
    }
}

pub(super) fn run(work: &Work<'_>, step: &Step) {
    let model = work.model;
    match *step {
        Step::Load { .. } | Step::Store { .. } | Step::Convolution(_) => {} // the caller's
        Step::Add { inputs, output, end } => match quantised(work, inputs, output) {
            Some([a, b, out]) => add_bytes(work, inputs, output, (Sum::new(a, b, out), end)),
            None => add_floats(work, inputs, output, end),
        },
        Step::Multiply { inputs, output, end } => match quantised(work, inputs, output) {
            Some([a, b, out]) => {
                let (low, high) = bytes_of(end);
                let multiplier = multiplier(a.0, b.0, out.0);
                let how = Multiplication { first: a.1, second: b.1, multiplier, zero: out.1, low, high };
                multiply_bytes(work, inputs, output, &how);
            }
            None => multiply_floats(work, inputs, output, end),
        },
        Step::Apply { input, output, function, table } => {
            if model.tensor(input).quantisation().is_some() {
                let Some(table) = model.constants(table, 256).first_chunk() else { return };
                let (input, output) = (Rows::<u8>::of(work, input), Rows::<u8>::of(work, output));
                for y in 0..input.rows {
                    // SAFETY: rows of both have this length.
                    unsafe { (work.kernels.simple.table)(input.row(y), output.row(y), input.length, table) };
                }
            } else {
                let (input, output) = (Rows::<f32>::of(work, input), Rows::<f32>::of(work, output));
                for y in 0..input.rows {
                    // SAFETY: rows of both have this length.
                    unsafe {
                        (work.kernels.simple.function_f32)(
                            input.row(y),
                            output.row(y),
                            input.length,
                            floats_of(function),
                        );
                    }
                }
            }
        }
        Step::Max(windowed) => max(work, &windowed),
        Step::Mean(windowed) => mean(work, &windowed),
        Step::Quantize { input, output } => {
            let Some((scale, zero)) = model.tensor(output).quantisation() else { return };
            let (input, output) = (Rows::<f32>::of(work, input), Rows::<u8>::of(work, output));
            for y in 0..input.rows {
                // SAFETY: rows of both have this length.
                unsafe { (work.kernels.simple.quantize)(input.row(y), output.row(y), input.length, scale, zero) };
            }
        }
        Step::Dequantize { input, output } => {
            let Some((scale, zero)) = model.tensor(input).quantisation() else { return };
            let (input, output) = (Rows::<u8>::of(work, input), Rows::<f32>::of(work, output));
            for y in 0..input.rows {
                // SAFETY: rows of both have this length.
                unsafe { (work.kernels.simple.dequantize)(input.row(y), output.row(y), input.length, scale, zero) };
            }
        }
        Step::Copy(copy) => match model.tensor(copy.input).quantisation() {
            Some(_) => {
                copy_elements::<u8>(work, &copy, copy.table.and_then(|at| model.constants(at, 256).first_chunk()));
            }
            None => copy_elements::<f32>(work, &copy, None),
        },
    }
}

/// Scales and zero points of two operands and a result; none of floats.
fn quantised(work: &Work<'_>, inputs: [u32; 2], output: u32) -> Option<[(f32, u8); 3]> {
    let of = |number: u32| work.model.tensor(number).quantisation();
    Some([of(inputs[0])?, of(inputs[1])?, of(output)?])
}

fn bytes_of(end: Function) -> (u8, u8) {
    match end {
        Function::Bytes { low, high } => (low, high),
        Function::Floats(_) => (0, 255),
    }
}

fn floats_of(end: Function) -> FloatFunction {
    match end {
        Function::Floats(function) => function,
        Function::Bytes { .. } => FloatFunction::IDENTITY,
    }
}

fn add_bytes(work: &Work<'_>, inputs: [u32; 2], output: u32, (sum, end): (Sum, Function)) {
    let (low, high) = bytes_of(end);
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<u8>::of(work, number));
    for y in 0..out.rows {
        // SAFETY: rows of all three have this length.
        unsafe {
            (work.kernels.simple.add_u8)(a.row(y), b.row(y), out.row(y), out.length, &Addition { sum, low, high });
        };
    }
}

fn add_floats(work: &Work<'_>, inputs: [u32; 2], output: u32, end: Function) {
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<f32>::of(work, number));
    for y in 0..out.rows {
        // SAFETY: rows of all three have this length.
        unsafe { (work.kernels.simple.add_f32)(a.row(y), b.row(y), out.row(y), out.length, floats_of(end)) };
    }
}

/// Pixels of a row and channels, where the second operand is a factor a channel.
fn a_channel_each(work: &Work<'_>, inputs: [u32; 2]) -> Option<[usize; 2]> {
    let [a, b] = inputs.map(|number| work.model.tensor(number).size);
    (a != b).then_some([a[1] as usize, a[2] as usize])
}

fn multiply_bytes(work: &Work<'_>, inputs: [u32; 2], output: u32, how: &Multiplication) {
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<u8>::of(work, number));
    let (simple, channels) = (&work.kernels.simple, a_channel_each(work, inputs));
    for y in 0..out.rows {
        // SAFETY: rows of `a` and `out` have this length, and so has `b` a row or, else, its one pixel.
        unsafe {
            match channels {
                Some([width, c]) => (simple.multiply_channels_u8)(a.row(y), b.row(0), out.row(y), width, c, how),
                None => (simple.multiply_u8)(a.row(y), b.row(y), out.row(y), out.length, how),
            }
        }
    }
}

fn multiply_floats(work: &Work<'_>, inputs: [u32; 2], output: u32, end: Function) {
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<f32>::of(work, number));
    let (simple, channels) = (&work.kernels.simple, a_channel_each(work, inputs));
    for y in 0..out.rows {
        // SAFETY: as for bytes.
        unsafe {
            match channels {
                Some([width, c]) => {
                    (simple.multiply_channels_f32)(a.row(y), b.row(0), out.row(y), width, c);
                    if floats_of(end) != FloatFunction::IDENTITY {
                        (simple.function_f32)(out.row(y), out.row(y), out.length, floats_of(end));
                    }
                }
                None => (simple.multiply_f32)(a.row(y), b.row(y), out.row(y), out.length, floats_of(end)),
            }
        }
    }
}

/// A row of an output.
fn row_of<T>(work: &Work<'_>, output: u32, y: usize) -> Target<T> {
    let target = work.target::<T>(output);
    Target { at: target.at.wrapping_add(y * target.row), ..target }
}

fn max(work: &Work<'_>, windowed: &Windowed) {
    let (input, output) = (work.model.tensor(windowed.input), work.model.tensor(windowed.output));
    let window = windowed.window(work.model);
    let [height, width, channels] = output.size.map(|size| size as usize);
    let simple = &work.kernels.simple;
    for y in 0..height {
        // SAFETY: windows see pixels of the image alone; the row is there.
        unsafe {
            if input.quantisation().is_some() {
                let source = work.source::<u8>(windowed.input, [0, 0]);
                (simple.max_u8)(&window, source, row_of(work, windowed.output, y), y, width, channels);
            } else {
                let source = work.source::<f32>(windowed.input, [0, 0]);
                (simple.max_f32)(&window, source, row_of(work, windowed.output, y), y, width, channels);
            }
        }
    }
}

fn mean(work: &Work<'_>, windowed: &Windowed) {
    let (input, output) = (work.model.tensor(windowed.input), work.model.tensor(windowed.output));
    let window = windowed.window(work.model);
    let [height, width, channels] = output.size.map(|size| size as usize);
    let simple = &work.kernels.simple;
    for y in 0..height {
        // SAFETY: as of maxima.
        unsafe {
            if let Some(how) = mean_of(&input, &output, windowed.end) {
                let source = work.source::<u8>(windowed.input, [0, 0]);
                (simple.mean_u8)(&window, &how, source, row_of(work, windowed.output, y), y, width, channels);
            } else {
                let source = work.source::<f32>(windowed.input, [0, 0]);
                (simple.mean_f32)(&window, source, row_of(work, windowed.output, y), y, width, channels);
            }
        }
    }
}

fn mean_of(input: &Tensor, output: &Tensor, end: Function) -> Option<Mean> {
    let ((scale, zero), (output_scale, output_zero)) = (input.quantisation()?, output.quantisation()?);
    let (low, high) = bytes_of(end);
    Some(Mean { scale, zero, output_scale, output_zero, low, high })
}

fn copy_elements<T: Element>(work: &Work<'_>, copy: &Copy, table: Option<&[u8; 256]>) {
    let (input, output) = (work.model.tensor(copy.input), work.model.tensor(copy.output));
    let source: Source<T> = work.source(copy.input, [0, 0]);
    let target: Target<T> = work.target(copy.output);
    let count = |axis: usize| {
        let there = (output.size[axis] - copy.at[axis]) as usize;
        (input.size[axis] as usize).div_ceil(copy.stride[axis] as usize).min(there)
    };
    let [[from, from_step], [to, to_step]] = [copy.from, copy.to].map(|pair| pair.map(|n| n as usize));
    let [down, right] = copy.stride.map(|n| n as usize);
    let [top, left] = copy.at.map(|n| n as usize);
    let channels = copy.channels as usize;
    for y in 0..count(0) {
        for x in 0..count(1) {
            // SAFETY: pixels and channels of both are there.
            unsafe {
                let input = source.pixel(y * down, x * right).add(from);
                let output = target.pixel(top + y, left + x).add(to);
                if from_step == 1 && to_step == 1 && table.is_none() {
                    core::ptr::copy_nonoverlapping(input, output, channels);
                    continue;
                }
                for i in 0..channels {
                    *output.add(i * to_step) = (*input.add(i * from_step)).looked_up(table);
                }
            }
        }
    }
}

/// An element that is copied, through a table if there is one.
trait Element: core::marker::Copy {
    fn looked_up(self, table: Option<&[u8; 256]>) -> Self;
}

impl Element for u8 {
    fn looked_up(self, table: Option<&[u8; 256]>) -> Self {
        table.map_or(self, |table| table[usize::from(self)])
    }
}

impl Element for f32 {
    fn looked_up(self, _: Option<&[u8; 256]>) -> Self {
        self
    }
}
