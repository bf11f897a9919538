//! Sums and products of two values, the second of which may be spread along some axes.

use super::memory::Work;
use super::steps::{Rows, bytes_of, floats_of};
use crate::arithmetic::{Sum, multiplier};
use crate::layer::FloatFunction;
use crate::plan::Function;
use crate::simple::{Addition, Multiplication};

/// Scales and zero points of two operands and a result; none of floats.
fn quantised(work: &Work<'_>, inputs: [u32; 2], output: u32) -> Option<[(f32, u8); 3]> {
    let of = |number: u32| work.model.tensor(number).quantisation();
    Some([of(inputs[0])?, of(inputs[1])?, of(output)?])
}

/// Elements that one number is spread to at once.
const SPREAD: usize = 64;

/// Hands places of elements on: of the first operand, of the second, of the output, and how many are computed there.
fn runs<T: Copy>(work: &Work<'_>, inputs: [u32; 2], output: u32, run: impl Fn(*const T, *const T, *mut T, usize)) {
    let [size, part] = inputs.map(|number| work.model.tensor(number).size.map(|size| size as usize));
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<T>::of(work, number));
    let [height, width, channels] = size;
    for y in 0..height {
        let (first, second, made) = (a.row(y), b.row(if part[0] == height { y } else { 0 }), out.row(y));
        if part[1..] == size[1..] {
            run(first, second, made, width * channels);
            continue;
        }
        for x in 0..width {
            let other = second.wrapping_add(if part[1] == width { x * part[2] } else { 0 });
            if part[2] == channels {
                run(first.wrapping_add(x * channels), other, made.wrapping_add(x * channels), channels);
                continue;
            }
            // SAFETY: sizes of the second operand are 1 or the first's, so the pixel is there.
            let spread = unsafe { [*other; SPREAD] };
            for at in (0..channels).step_by(SPREAD) {
                let place = x * channels + at;
                let count = SPREAD.min(channels - at);
                run(first.wrapping_add(place), spread.as_ptr(), made.wrapping_add(place), count);
            }
        }
    }
}

pub(super) fn add(work: &Work<'_>, inputs: [u32; 2], output: u32, end: Function) {
    let simple = &work.kernels.simple;
    // SAFETY: `runs` gives places of so many elements, of bytes or floats as the tensors are.
    match quantised(work, inputs, output) {
        Some([a, b, sum]) => {
            let (low, high) = bytes_of(end);
            let how = Addition { sum: Sum::new(a, b, sum), low, high };
            runs(work, inputs, output, |a, b, out, length| unsafe { (simple.add_u8)(a, b, out, length, &how) });
        }
        None => {
            let end = floats_of(end);
            // SAFETY: as above.
            runs(work, inputs, output, |a, b, out, length| unsafe { (simple.add_f32)(a, b, out, length, end) });
        }
    }
}

pub(super) fn multiply(work: &Work<'_>, inputs: [u32; 2], output: u32, end: Function) {
    let simple = &work.kernels.simple;
    let channels = a_channel_each(work, inputs);
    // SAFETY: as in `add`; rows of the output have these pixels and channels, and the one pixel has the latter.
    match quantised(work, inputs, output) {
        Some([a, b, product]) => {
            let (low, high) = bytes_of(end);
            let multiplier = multiplier(a.0, b.0, product.0);
            let how = Multiplication { first: a.1, second: b.1, multiplier, zero: product.1, low, high };
            match channels {
                Some([width, c]) => rows(work, inputs, output, |a, b, out| unsafe {
                    (simple.multiply_channels_u8)(a, b, out, width, c, &how);
                }),
                // SAFETY: as above.
                None => runs(work, inputs, output, |a, b, out, length| unsafe {
                    (simple.multiply_u8)(a, b, out, length, &how);
                }),
            }
        }
        None => {
            let end = floats_of(end);
            match channels {
                // SAFETY: as above.
                Some([width, c]) => rows(work, inputs, output, |a, b, out: *mut f32| unsafe {
                    (simple.multiply_channels_f32)(a, b, out, width, c);
                    if end != FloatFunction::IDENTITY {
                        (simple.function_f32)(out, out, width * c, end);
                    }
                }),
                // SAFETY: as above.
                None => runs(work, inputs, output, |a, b, out, length| unsafe {
                    (simple.multiply_f32)(a, b, out, length, end);
                }),
            }
        }
    }
}

/// Pixels of a row and channels, where the second operand is a factor a channel.
fn a_channel_each(work: &Work<'_>, inputs: [u32; 2]) -> Option<[usize; 2]> {
    let [a, b] = inputs.map(|number| work.model.tensor(number).size);
    (a != b && b == [1, 1, a[2]]).then_some([a[1] as usize, a[2] as usize])
}

/// Hands each row's first elements on, and those of the second operand's only row.
fn rows<T>(work: &Work<'_>, inputs: [u32; 2], output: u32, run: impl Fn(*const T, *const T, *mut T)) {
    let [a, b, out] = [inputs[0], inputs[1], output].map(|number| Rows::<T>::of(work, number));
    (0..out.rows).for_each(|y| run(a.row(y), b.row(0), out.row(y)));
}
