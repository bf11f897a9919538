//! Lives of tensors: what is read was written, whole, and what is needed at the same time shares no memory.

use super::{Copy, Model, SLACK, Step, Tensor};
use crate::error::{Error, Result};

/// A tensor is written by the step that its life begins with, or by several that copy parts; it is read behind that, and up
/// to the end of its life no other shares its memory.
pub(super) fn check(model: &Model<'_>) -> Result<()> {
    let parts = |step: u32| matches!(model.step(step), Step::Copy(_));
    for tensor in 0..model.header.tensors {
        let [first, last] = model.tensor(tensor).life;
        let begins = last < model.header.steps && first <= last && model.step(first).output() == Some(tensor);
        if !begins {
            return Err(Error::Tensor { tensor, problem: "its life does not begin with the step that writes it" });
        }
    }
    for number in 0..model.header.steps {
        let fail = |problem| Error::Step { step: number, problem };
        let step = model.step(number);
        for input in step.inputs() {
            let [first, last] = model.tensor(input).life;
            if number <= first || number > last {
                return Err(fail("it reads a tensor before or behind its life"));
            }
        }
        let Some(output) = step.output() else { continue };
        let [first, last] = model.tensor(output).life;
        let again = first != number;
        if number < first || number > last || (again && !(parts(first) && parts(number))) {
            return Err(fail("it writes a tensor that another step has written"));
        }
        if let Step::Copy(copy) = step {
            if again && copy.fill {
                return Err(fail("it fills a tensor that another step has written"));
            }
            if !again && !copy.fill {
                whole(model, output, number).map_err(fail)?;
            }
            if again && (first..number).any(|before| model.step(before).inputs().any(|input| input == output)) {
                return Err(fail("it writes a tensor that a step before it has read"));
            }
        }
    }
    memory(model)
}

/// No two tensors whose lives meet share memory.
fn memory(model: &Model<'_>) -> Result<()> {
    for number in 0..model.header.tensors {
        let tensor = model.tensor(number);
        let end = |tensor: &Tensor| tensor.offset + tensor.bytes() + SLACK;
        let own_end = end(&tensor);
        for other in (0..number).map(|other| model.tensor(other)) {
            let apart_in_time = other.life[1] < tensor.life[0] || tensor.life[1] < other.life[0];
            if !apart_in_time && tensor.offset < end(&other) && other.offset < own_end {
                let problem = "it shares memory with another that is needed at the same time";
                return Err(Error::Tensor { tensor: number, problem });
            }
        }
    }
    Ok(())
}

/// Copies that fill nothing write every element of what they make together, from step `first` on: each all pixels, and each
/// channel once. They must step through channels alike, as parts of a concatenation or of a shuffle do.
fn whole(model: &Model<'_>, output: u32, first: u32) -> core::result::Result<(), &'static str> {
    let tensor = model.tensor(output);
    let parts = || {
        (first..=tensor.life[1]).filter_map(|number| match model.step(number) {
            Step::Copy(copy) if copy.output == output => Some(copy),
            _ => None,
        })
    };
    let mut channels = 0;
    for (at, part) in parts().enumerate() {
        let input = model.tensor(part.input);
        let covers = |axis: usize| input.size[axis].div_ceil(part.stride[axis]) >= tensor.size[axis];
        if part.at != [0, 0] || !covers(0) || !covers(1) {
            return Err("it leaves pixels of what it makes unwritten");
        }
        if parts().take(at).any(|other| meet(&part, &other)) {
            return Err("it writes channels that another copy writes, too, or with another step");
        }
        channels += u64::from(part.channels);
    }
    if channels == u64::from(tensor.size[2]) { Ok(()) } else { Err("it leaves channels of what it makes unwritten") }
}

/// Whether two copies write a channel both, as far as is easily seen.
fn meet(a: &Copy, b: &Copy) -> bool {
    let ([a, step], [b, other], [many, more]) = (a.to, b.to, [a.channels, b.channels]);
    let end = |first: u32, count: u32| u64::from(first) + u64::from(count - 1) * u64::from(step);
    let apart = end(a, many) < u64::from(b) || end(b, more) < u64::from(a);
    step != other || (a % step == b % step && !apart)
}
