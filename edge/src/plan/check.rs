//! Everything that kernels rely on, looked at once: extents, sizes that fit, what is read was written, lifetimes that do not
//! share memory, sums that fit 32 bits. After this nothing of a plan is checked again.

use super::{
    ALIGNMENT, Convolution, Copy, Function, Kind, Model, SLACK, Step, Tensor, Windowed, check_channels as channels,
};
use crate::arithmetic::{Sum, mean_multiplier, multiplier, ratios_allowed};
use crate::error::{Error, Result};
use crate::layer::FloatFunction;

/// Most of any single size: channels, edges, kernels, strides. Three of them multiply within 64 bits.
const MOST_SIZE: u32 = 1 << 20;

/// Most bytes of an arena.
const MOST_ARENA: u64 = 1 << 36;

/// Largest sum that is sure to fit 32 bits.
const MOST_SUM: u64 = (1 << 31) - 1;

pub(super) type Found = core::result::Result<(), &'static str>;

pub(super) fn check(model: &Model<'_>) -> Result<()> {
    arena(model)?;
    for tensor in 0..model.header.tensors {
        checked_tensor(model, tensor).map_err(|problem| Error::Tensor { tensor, problem })?;
    }
    weights(model)?;
    let steps = model.header.steps;
    if steps < 2 {
        return Err(Error::Plan("it has less than two steps: none that loads an image, or none that stores logits"));
    }
    for number in 0..steps {
        let step = model.read_step(number)?;
        let fail = |problem| Error::Step { step: number, problem };
        let [first, last] = [number == 0, number + 1 == steps];
        if first != matches!(step, Step::Load { .. }) || last != matches!(step, Step::Store { .. }) {
            return Err(fail("the first step loads the image, the last one stores the logits, and no other does"));
        }
        if step.inputs().chain(step.output()).any(|tensor| tensor >= model.header.tensors) {
            return Err(fail("it names a tensor that is not there"));
        }
        if step.inputs().any(|input| step.output() == Some(input)) {
            return Err(fail("it writes what it reads"));
        }
        checked(model, &step).map_err(fail)?;
    }
    super::lives::check(model)
}

fn arena(model: &Model<'_>) -> Result<()> {
    let fits = usize::try_from(model.header.arena).is_ok_and(|arena| arena.checked_add(1 << 20).is_some());
    if model.header.arena > MOST_ARENA || !fits {
        return Err(Error::Plan("its working memory is larger than this machine can have"));
    }
    if !model.header.arena.is_multiple_of(ALIGNMENT) {
        return Err(Error::Plan("its working memory is no multiple of 64 bytes"));
    }
    Ok(())
}

/// Each weight belongs to one layer: what is to be checked and packed grows with the plan, not with its square.
fn weights(model: &Model<'_>) -> Result<()> {
    let mut total = 0u64;
    for number in 0..model.header.steps {
        let Step::Convolution(Convolution { output, input, groups, kernel, .. }) = model.read_step(number)? else {
            continue;
        };
        if output.max(input) >= model.header.tensors {
            continue; // refused below
        }
        let (output, input) = (model.tensor(output), model.tensor(input));
        let [rows, columns] = kernel.map(u64::from);
        let depth = u64::from(input.size[2] / groups.max(1)).saturating_mul(rows).saturating_mul(columns);
        total = total.saturating_add(depth.saturating_mul(output.size[2].into()).saturating_mul(input.width()));
    }
    // Small ones may be equal, and stored once.
    if total > model.header.constants as u64 + 256 * u64::from(model.header.steps) {
        return Err(Error::Plan("its layers have more weights than it has constants"));
    }
    Ok(())
}

fn checked_tensor(model: &Model<'_>, number: u32) -> Found {
    let at = super::Header::TENSORS + number as usize * super::record::TENSOR;
    let tensor = Tensor::read(&model.bytes[at..]).ok_or("its kind is not known, or its zero point is no byte")?;
    if tensor.size.iter().any(|size| !(1..=MOST_SIZE).contains(size)) || tensor.border > 1024 {
        return Err("a size is 0 or beyond 2^20, or its border beyond 1024");
    }
    if let Kind::Bytes { scale, .. } = tensor.kind
        && !(scale.is_finite() && scale > 0.0)
    {
        return Err("its scale is not a positive number");
    }
    let [height, width, channels] = tensor.size.map(u128::from);
    let border = 2 * u128::from(tensor.border);
    let bytes = (height + border) * (width + border) * channels * u128::from(tensor.width());
    if bytes + u128::from(tensor.offset) + u128::from(SLACK) > u128::from(model.header.arena) {
        return Err("it reaches beyond the working memory");
    }
    if !tensor.offset.is_multiple_of(ALIGNMENT) {
        return Err("it does not begin at a multiple of 64 bytes");
    }
    Ok(())
}

fn checked(model: &Model<'_>, step: &Step) -> Found {
    let tensor = |number: u32| model.tensor(number);
    match *step {
        Step::Load { output } => {
            let [c, h, w] = model.header.input;
            same([h, w, c], tensor(output).size, "it is not of the image's size")
        }
        Step::Store { input } => same([1, 1, model.header.classes], tensor(input).size, "it is no row of logits"),
        Step::Convolution(convolution) => checked_convolution(model, &convolution),
        Step::Add { inputs: [a, b], output, end } => {
            let (a, b, sum) = (tensor(a), tensor(b), tensor(output));
            spread(a.size, b.size)?;
            same(a.size, sum.size, "its output is not of its first operand's size")?;
            ended(&sum, end)?;
            match [a, b, sum].map(|tensor| tensor.quantisation()) {
                [Some(a), Some(b), Some(sum)] => allowed(&Sum::new(a, b, sum)),
                [None, None, None] => Ok(()),
                _ => Err("it mixes bytes and floats"),
            }
        }
        Step::Multiply { inputs: [a, b], output, end } => {
            let (a, b, product) = (tensor(a), tensor(b), tensor(output));
            spread(a.size, b.size)?;
            same(a.size, product.size, "its output is not of its first operand's size")?;
            ended(&product, end)?;
            alike(&[a, b, product])?;
            match [a, b, product].map(|tensor| tensor.quantisation()) {
                [Some((a, _)), Some((b, _)), Some((product, _))] => finite(multiplier(a, b, product)),
                _ => Ok(()),
            }
        }
        Step::Apply { input, output, function, table } => {
            let (input, output) = (tensor(input), tensor(output));
            same(input.size, output.size, "its output is not of its input's size")?;
            alike(&[input, output])?;
            ended(&output, function)?;
            if output.kind == Kind::Floats { Ok(()) } else { constant(model, table, 256) }
        }
        Step::Max(windowed) => checked_windows(model, &windowed),
        Step::Mean(windowed) => {
            if windowed.kernel.iter().map(|size| u64::from(*size)).product::<u64>() > MOST_SUM / 255 {
                return Err("its sums can be beyond 2^31");
            }
            checked_windows(model, &windowed)?;
            match [windowed.input, windowed.output].map(|number| tensor(number).quantisation()) {
                // Of more values than 1 it is smaller.
                [Some((from, _)), Some((to, _))] => finite(mean_multiplier(from, to, 1)),
                _ => Ok(()),
            }
        }
        Step::Quantize { input, output } => cast(&tensor(input), &tensor(output)),
        Step::Dequantize { input, output } => cast(&tensor(output), &tensor(input)),
        Step::Copy(copy) => checked_copy(model, &copy),
        Step::Normalise { input, output, weights, bias, eps } => {
            channels::floats(&tensor(input), &tensor(output))?;
            channels::norm(model, &tensor(input), [weights, bias], eps)
        }
        Step::Softmax { input, output } => channels::floats(&tensor(input), &tensor(output)),
        Step::ApplyEach { input, output, constants } => {
            channels::each(model, &tensor(input), &tensor(output), constants)
        }
        Step::Reshape { input, output } => channels::reshaped(&tensor(input), &tensor(output)),
    }
}

/// The second operand of a sum or product.
fn spread(whole: [u32; 3], part: [u32; 3]) -> Found {
    let fits = whole.iter().zip(&part).all(|(whole, part)| part == whole || *part == 1);
    if fits { Ok(()) } else { Err("its second operand's sizes are neither those of the first nor 1") }
}

pub(super) fn same(a: [u32; 3], b: [u32; 3], problem: &'static str) -> Found {
    if a == b { Ok(()) } else { Err(problem) }
}

/// All bytes or all floats.
pub(super) fn alike(tensors: &[Tensor]) -> Found {
    let bytes = tensors.iter().filter(|tensor| tensor.kind != Kind::Floats).count();
    if bytes == 0 || bytes == tensors.len() { Ok(()) } else { Err("it mixes bytes and floats") }
}

fn cast(floats: &Tensor, bytes: &Tensor) -> Found {
    same(floats.size, bytes.size, "its output is not of its input's size")?;
    if floats.kind == Kind::Floats && bytes.kind != Kind::Floats {
        return Ok(());
    }
    Err("it does not lead from floats to bytes, or back")
}

/// What happens at the end is of the output's kind, and means something.
fn ended(output: &Tensor, end: Function) -> Found {
    if matches!(end, Function::Floats(_)) != (output.kind == Kind::Floats) {
        return Err("what happens at its end is not of its output's kind");
    }
    let means = match end {
        Function::Bytes { low, high } => low <= high,
        Function::Floats(FloatFunction::Clamp { low, high }) => low <= high,
        Function::Floats(FloatFunction::LeakyRelu { slope }) => slope.is_finite(),
        Function::Floats(_) => true,
    };
    if means { Ok(()) } else { Err("what happens at its end has no meaning: bounds out of order, or no numbers") }
}

/// A factor that sums or products of whole numbers are multiplied by: times 0 it must be 0.
fn finite(multiplier: f32) -> Found {
    if multiplier.is_finite() { Ok(()) } else { Err("a multiplier that its scales make is no finite number") }
}

fn allowed(sum: &Sum) -> Found {
    if ratios_allowed(sum) { Ok(()) } else { Err("scales of its sum differ by more than 2^20") }
}

pub(super) fn constant(model: &Model<'_>, at: u32, length: u64) -> Found {
    if u64::from(at) + length <= model.header.constants as u64 {
        return Ok(());
    }
    Err("its constants reach beyond those of the plan")
}

/// Sizes of a moving window, and that it stays within the image and its border.
fn within(input: &Tensor, output: &Tensor, (kernel, stride): ([u32; 2], [u32; 2]), padding: [u32; 2]) -> Found {
    let sizes = kernel.iter().chain(&stride);
    if sizes.clone().any(|size| !(1..=MOST_SIZE).contains(size)) || padding.iter().any(|size| *size > MOST_SIZE) {
        return Err("a size of its window is 0 or beyond 2^20");
    }
    for axis in 0..2 {
        let reach = u64::from(output.size[axis] - 1) * u64::from(stride[axis]) + u64::from(kernel[axis]);
        let there = u64::from(input.size[axis]) + u64::from(input.border) + u64::from(padding[axis]);
        if reach > there || padding[axis] > input.border {
            return Err("its windows reach beyond the image and its border");
        }
    }
    Ok(())
}

fn checked_convolution(model: &Model<'_>, convolution: &Convolution) -> Found {
    let (input, output) = (model.tensor(convolution.input), model.tensor(convolution.output));
    let tail = &convolution.tail;
    let mixed = input.kind != Kind::Floats && output.kind == Kind::Floats;
    if mixed && (tail.residual.is_some() || tail.table.is_some()) {
        return Err("floats that bytes make are neither added to others nor looked up");
    }
    if !mixed {
        alike(&[input, output])?;
    }
    let groups = convolution.groups;
    if groups == 0 || !input.size[2].is_multiple_of(groups) || !output.size[2].is_multiple_of(groups) {
        return Err("its groups do not divide its channels");
    }
    if convolution.dilation.iter().chain(&convolution.kernel).any(|size| !(1..=MOST_SIZE).contains(size)) {
        return Err("a size of its kernel is 0 or beyond 2^20");
    }
    let reach = |axis: usize| u64::from(convolution.kernel[axis] - 1) * u64::from(convolution.dilation[axis]) + 1;
    let [Ok(height), Ok(width)] = [reach(0), reach(1)].map(u32::try_from) else {
        return Err("its kernel reaches beyond 2^32");
    };
    within(&input, &output, ([height, width], convolution.stride), convolution.padding)?;

    let [channels, inputs] = [output.size[2], input.size[2] / groups].map(u64::from);
    let depth = inputs * u64::from(convolution.kernel[0]) * u64::from(convolution.kernel[1]);
    let width = input.width();
    let weights = channels.checked_mul(depth).and_then(|count| count.checked_mul(width)).unwrap_or(u64::MAX / 2);
    constant(model, convolution.weights, weights)?;
    constant(model, convolution.bias, 4 * channels)?;
    ended(&output, tail.function)?;
    if let Some(residual) = tail.residual {
        let residual = model.tensor(residual);
        same(residual.size, output.size, "what it adds is not of its output's size")?;
        alike(&[residual, output])?;
    }
    if input.kind == Kind::Floats {
        return Ok(());
    }
    constant(model, convolution.multipliers, 4 * channels)?;
    let multipliers = model.constants(convolution.multipliers, 4 * channels as usize);
    if (0..channels as usize).any(|channel| !crate::layer::f32_at(multipliers, channel).is_finite()) {
        return Err("one of its multipliers is no finite number");
    }
    if let Some(table) = tail.table {
        constant(model, table, 256)?;
    }
    if tail.residual.is_some() {
        allowed(&tail.sum)?;
        ended(&output, Function::Bytes { low: tail.range[0], high: tail.range[1] })?;
    }
    sums(model, convolution, channels as usize, depth as usize)
}

/// No sum of a byte layer, whatever the image, is beyond 32 bits.
fn sums(model: &Model<'_>, convolution: &Convolution, channels: usize, depth: usize) -> Found {
    let weights = model.constants(convolution.weights, channels * depth);
    let bias = model.constants(convolution.bias, 4 * channels);
    for (channel, weights) in weights.chunks_exact(depth).enumerate() {
        let total: u64 = weights.iter().map(|weight| u64::from((*weight as i8).unsigned_abs())).sum();
        let bias = u64::from(crate::layer::i32_at(bias, channel).unsigned_abs());
        if total * 255 + bias > MOST_SUM {
            return Err("its sums can be beyond 2^31");
        }
    }
    Ok(())
}

fn checked_windows(model: &Model<'_>, windowed: &Windowed) -> Found {
    let (input, output) = (model.tensor(windowed.input), model.tensor(windowed.output));
    alike(&[input, output])?;
    ended(&output, windowed.end)?;
    if input.size[2] != output.size[2] {
        return Err("its output has not its input's channels");
    }
    let Windowed { kernel, stride, padding, padding_end, .. } = *windowed;
    if kernel.iter().chain(&stride).any(|size| !(1..=MOST_SIZE).contains(size)) {
        return Err("a size of its window is 0 or beyond 2^20");
    }
    for axis in 0..2 {
        let last = u64::from(output.size[axis] - 1) * u64::from(stride[axis]);
        let empty = padding[axis] >= kernel[axis] || last >= u64::from(input.size[axis]) + u64::from(padding[axis]);
        if empty || padding_end[axis] > MOST_SIZE {
            return Err("one of its windows sees nothing of the image");
        }
    }
    Ok(())
}

fn checked_copy(model: &Model<'_>, copy: &Copy) -> Found {
    let (input, output) = (model.tensor(copy.input), model.tensor(copy.output));
    alike(&[input, output])?;
    if let Some(table) = copy.table {
        constant(model, table, 256)?;
        if output.kind == Kind::Floats {
            return Err("floats do not go through a table of bytes");
        }
    }
    let last = |[first, step]: [u32; 2]| u64::from(first) + u64::from(copy.channels.max(1) - 1) * u64::from(step);
    let steps = [copy.from[1], copy.to[1], copy.stride[0], copy.stride[1], copy.channels];
    if steps.contains(&0) || last(copy.from) >= u64::from(input.size[2]) || last(copy.to) >= u64::from(output.size[2]) {
        return Err("its channels are not there, or a step is 0");
    }
    if copy.at[0] >= output.size[0] || copy.at[1] >= output.size[1] {
        return Err("it begins beyond its output");
    }
    Ok(())
}
