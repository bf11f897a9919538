//! Steps that are neither the image's nor convolutions.

use super::memory::Work;
use super::pairs;
use crate::layer::{FloatFunction, Source, Target};
use crate::plan::{Copy, Function, Step, Tensor, Windowed};
use crate::simple::{self, Mean, Normalisation};

/// A tensor that is read or written row by row.
pub(super) struct Rows<T> {
    image: Target<T>,
    pub(super) rows: usize,
    /// Elements of a row, without the border.
    pub(super) length: usize,
}

impl<T> Rows<T> {
    pub(super) fn of(work: &Work<'_>, number: u32) -> Self {
        let [height, width, channels] = work.model.tensor(number).size.map(|size| size as usize);
        Self { image: work.target(number), rows: height, length: width * channels }
    }

    /// First element of a row.
    pub(super) fn row(&self, y: usize) -> *mut T {
        // SAFETY: rows below `rows` are there.
        unsafe { self.image.pixel(y, 0) }
    }
}

pub(super) fn run(work: &Work<'_>, step: &Step) {
    let model = work.model;
    match *step {
        Step::Load { .. } | Step::Store { .. } | Step::Convolution(_) => {} // the caller's
        Step::Add { inputs, output, end } => pairs::add(work, inputs, output, end),
        Step::Multiply { inputs, output, end } => pairs::multiply(work, inputs, output, end),
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
        Step::Normalise { input, output, weights, bias, eps } => {
            let channels = model.tensor(input).size[2] as usize;
            let [weights, bias] = [weights, bias].map(|at| model.constants(at, 4 * channels));
            let how = Normalisation { weights, bias, eps };
            // SAFETY: rows of both have so many pixels and channels, and there are as many constants.
            pixels(work, input, output, |a, out, pixels| unsafe {
                (work.kernels.simple.normalise)(a, out, pixels, channels, &how);
            });
        }
        Step::Softmax { input, output } => {
            let channels = model.tensor(input).size[2] as usize;
            // SAFETY: rows of both have so many pixels and channels.
            pixels(work, input, output, |a, out, pixels| unsafe {
                (work.kernels.simple.softmax)(a, out, pixels, channels);
            });
        }
        Step::ApplyEach { input, output, constants } => {
            let channels = model.tensor(input).size[2] as usize;
            if model.tensor(input).quantisation().is_some() {
                let tables = model.constants(constants, 256 * channels);
                // SAFETY: as above, and there is a table for each channel.
                pixels(work, input, output, |a, out, pixels| unsafe {
                    simple::tables(a, out, pixels, channels, tables);
                });
            } else {
                let slopes = model.constants(constants, 4 * channels);
                // SAFETY: as above, and there is a slope for each channel.
                pixels(work, input, output, |a, out, pixels| unsafe {
                    (work.kernels.simple.slopes)(a, out, pixels, channels, slopes);
                });
            }
        }
        Step::Reshape { input, output } => match model.tensor(input).quantisation() {
            Some(_) => reshape::<u8>(work, input, output),
            None => reshape::<f32>(work, input, output),
        },
    }
}

pub(super) fn bytes_of(end: Function) -> (u8, u8) {
    match end {
        Function::Bytes { low, high } => (low, high),
        Function::Floats(_) => (0, 255),
    }
}

pub(super) fn floats_of(end: Function) -> FloatFunction {
    match end {
        Function::Floats(function) => function,
        Function::Bytes { .. } => FloatFunction::IDENTITY,
    }
}

/// Hands each row's first elements on, and its pixels.
fn pixels<T>(work: &Work<'_>, input: u32, output: u32, each: impl Fn(*const T, *mut T, usize)) {
    let pixels = work.model.tensor(input).size[1] as usize;
    let (input, output) = (Rows::<T>::of(work, input), Rows::<T>::of(work, output));
    for y in 0..input.rows {
        each(input.row(y), output.row(y), pixels);
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

fn reshape<T: core::marker::Copy>(work: &Work<'_>, input: u32, output: u32) {
    let [from, to] = [input, output].map(|number| work.model.tensor(number).size.map(|size| size as usize));
    let (source, target): (Source<T>, Target<T>) = (work.source(input, [0, 0]), work.target(output));
    let (mut y, mut x, mut channel) = (0, 0, 0);
    for made in 0..to[2] {
        for (v, u) in (0..to[0]).flat_map(|v| (0..to[1]).map(move |u| (v, u))) {
            // SAFETY: pixels and channels of both are there, as both have as many elements.
            unsafe { *target.pixel(v, u).add(made) = *source.pixel(y, x).add(channel) };
            x += 1;
            if x == from[1] {
                (x, y) = (0, y + 1);
            }
            if y == from[0] {
                (y, channel) = (0, channel + 1);
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
