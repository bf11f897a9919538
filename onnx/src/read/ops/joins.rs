//! Channels put together and taken apart.

use attar_models::Op;
use attar_models::op::{Concat, SliceChannels, Subsample};

use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::value::{Live, Value, View, join};

pub(super) fn concat<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let count = node.proto.input.len();
    let parts = (0..count).map(|at| reader.live(node, at)).collect::<Result<Vec<_>, _>>()?;
    joined(reader, node, node.output(), &parts)
}

/// Channels of `parts` behind each other by the `axis` of `node`, as a node called `name`.
pub(super) fn joined<'f>(reader: &mut Reader<'f>, node: &Node<'f>, name: &str, parts: &[Live]) -> Result<Live, String> {
    let first = parts.first().ok_or("joins nothing")?;
    if parts.len() == 1 {
        return Ok(first.clone());
    }
    let axis = first.axis(node.int("axis").unwrap_or(1))?;
    if parts.iter().any(|part| part.view != first.view) || first.channel_axis() != Some(axis) {
        return Err(format!("joins [N, {}] along axis {axis}; only channels are joined here", join(&first.seen())));
    }
    let inputs: Vec<&Live> = parts.iter().collect();
    let made = reader.add(name, Op::Concat(Concat { inputs: parts.len() }), &inputs, Vec::new())?;
    Ok(Live { view: first.view, ..made })
}

/// Channels `start..end` of a value.
fn channels(reader: &mut Reader<'_>, name: &str, input: &Live, start: usize, end: usize) -> Result<Live, String> {
    if (start, end) == (0, input.shape[0]) {
        return Ok(input.clone());
    }
    let made = reader.add(name, Op::SliceChannels(SliceChannels { start, end }), &[input], Vec::new())?;
    Ok(Live { view: input.view, ..made })
}

/// Parts of the channels, of sizes that are said or equal.
fn parts<'f>(
    reader: &mut Reader<'f>,
    node: &Node<'f>,
    input: &Live,
    axis: i64,
    sizes: Option<Vec<i64>>,
    names: &[String],
) -> Result<Vec<Value>, String> {
    let axis = input.axis(axis)?;
    if input.channel_axis() != Some(axis) {
        return Err(format!("splits [N, {}] along axis {axis}; only channels are split here", join(&input.seen())));
    }
    let total = input.shape[0];
    let sizes = match sizes {
        Some(sizes) => sizes.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>(),
        None => {
            let each = total.div_ceil(names.len().max(1));
            Some((0..names.len()).map(|at| each.min(total.saturating_sub(at * each))).collect())
        }
    };
    let sizes = sizes.filter(|sizes| sizes.iter().sum::<usize>() == total && !sizes.contains(&0));
    let sizes = sizes.ok_or_else(|| format!("its parts do not make up {total} channels"))?;
    let mut start = 0;
    let mut values = Vec::new();
    for (at, size) in sizes.iter().enumerate() {
        let name = names.get(at).cloned().unwrap_or_else(|| format!("{}.{at}", node.output()));
        values.push(Value::Live(channels(reader, &name, input, start, start + size)?));
        start += size;
    }
    Ok(values)
}

pub(super) fn split<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let input = reader.live(node, 0)?;
    let sizes = reader.maybe_tensor(node, 1)?.and_then(|sizes| sizes.indices());
    let sizes = sizes.or_else(|| node.ints("split").map(<[i64]>::to_vec));
    parts(reader, node, &input, node.int("axis").unwrap_or(0), sizes, &node.proto.output)
}

/// A list of parts: of one size, or of the sizes that are listed.
pub(super) fn split_to_sequence<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let input = reader.live(node, 0)?;
    let given = reader.tensor(node, 1)?;
    let numbers = given.indices().ok_or("sizes that depend on the batch")?;
    let axis = node.int("axis").unwrap_or(0);
    let total = input.seen().get(input.axis(axis)?.wrapping_sub(1)).copied().ok_or("splits the batch")? as i64;
    let sizes = match (given.dims.is_empty(), &numbers[..]) {
        (true, &[size]) if size > 0 => (0..(total + size - 1) / size).map(|at| size.min(total - at * size)).collect(),
        _ => numbers,
    };
    Ok(vec![Value::Several(parts(reader, node, &input, axis, Some(sizes), &[])?)])
}

pub(super) fn sequence_at<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let position = reader.tensor(node, 1)?.indices().and_then(|numbers| numbers.first().copied());
    let position = position.ok_or("a position that is not known")?;
    match node.input(0).and_then(|name| reader.value(name)) {
        Some(Value::Several(values)) => {
            let at = if position < 0 { position + values.len() as i64 } else { position };
            let value = usize::try_from(at).ok().and_then(|at| values.get(at));
            Ok(vec![value.cloned().ok_or_else(|| format!("part {position} of {} is not there", values.len()))?])
        }
        _ => Err("takes a part of what is no list".to_owned()),
    }
}

/// Some of the channels, or every n-th row and column.
pub(super) fn slice<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let Taken { cut, strides } = of_slice(reader, node, &input)?;
    let taken = match cut {
        Some((start, end)) => channels(reader, node.output(), &input, start, end)?,
        None => input.clone(),
    };
    let unknown = || {
        format!(
            "steps {strides:?} over [N, {}]; only the same over height and width is known here",
            join(&input.seen())
        )
    };
    let plain = input.view == View::Plain && cut.is_none();
    match strides[..] {
        _ if strides.iter().all(|stride| *stride == 1) => Ok(taken),
        [1, 1, h, w] if plain && h == w => {
            reader.add(node.output(), Op::Subsample(Subsample { stride: h }), &[&taken], Vec::new())
        }
        // PyTorch writes `x[:, :, ::2, ::2]` as one for the height and one for the width.
        [1, 1, h, w] if plain && (h == 1 || w == 1) => {
            let (at, next) = reader.only_reader(node, "Slice").ok_or_else(unknown)?;
            let halfway = vec![input.shape[0], input.shape[1].div_ceil(h), input.shape[2].div_ceil(w)];
            let rest = of_slice(reader, &next, &Live { shape: halfway, ..input.clone() })?;
            if rest.cut.is_some() || rest.strides != [1, 1, w, h] {
                return Err(unknown());
            }
            let op = Op::Subsample(Subsample { stride: h.max(w) });
            let made = reader.add(next.output(), op, &[&taken], Vec::new())?;
            reader.take(at, &made);
            Ok(made)
        }
        _ => Err(unknown()),
    }
}

/// What a `Slice` takes.
struct Taken {
    /// Of the channels, from where to where.
    cut: Option<(usize, usize)>,
    /// Over each axis, that of the images first.
    strides: Vec<usize>,
}

fn of_slice<'f>(reader: &Reader<'f>, node: &Node<'f>, input: &Live) -> Result<Taken, String> {
    let numbers = |at: usize, name: &str| -> Result<Option<Vec<i64>>, String> {
        let tensor = reader.maybe_tensor(node, at)?;
        match tensor {
            Some(tensor) => tensor.indices().map(Some).ok_or_else(|| format!("{name} depend on the batch")),
            None => Ok(node.ints(name).map(<[i64]>::to_vec)),
        }
    };
    let starts = numbers(1, "starts")?.ok_or("no starts")?;
    let ends = numbers(2, "ends")?.ok_or("no ends")?;
    let axes = numbers(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = numbers(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps of different lengths".to_owned());
    }
    let seen = input.seen();
    let (mut cut, mut strides) = (None, vec![1usize; seen.len() + 1]);
    for (((axis, start), end), step) in axes.iter().zip(starts).zip(ends).zip(steps) {
        let axis = input.axis(*axis)?;
        let full = (axis == 0 && start == 0 && end >= i64::from(i32::MAX) && step == 1).then_some(usize::MAX);
        let Some(size) = axis.checked_sub(1).map(|axis| seen[axis]) else {
            match full {
                Some(_) => continue,
                None => return Err("takes some of the images of a batch".to_owned()),
            }
        };
        let within = |position: i64| {
            let size = size as i64;
            (if position < 0 { position + size } else { position }).clamp(0, size) as usize
        };
        let (start, end) = (within(start), within(end));
        match usize::try_from(step).unwrap_or(0) {
            1 if (start, end) == (0, size) => {}
            1 if Some(axis) == input.channel_axis() && start < end => cut = Some((start, end)),
            step if step > 1 && start == 0 && end == size => strides[axis] = step,
            _ => {
                return Err(format!(
                    "takes {start}..{end} by {step} of axis {axis} of [N, {}], which is not known here",
                    join(&seen)
                ));
            }
        }
    }
    Ok(Taken { cut, strides })
}

/// One channel; its axis goes.
pub(super) fn gather<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let index = reader.tensor(node, 1)?;
    let axis = input.axis(node.int("axis").unwrap_or(0))?;
    let (true, Some(&[at])) = (input.image().is_ok() && axis == 1, index.indices().as_deref()) else {
        return Err(format!("takes parts of axis {axis} of [N, {}], which is not known here", join(&input.seen())));
    };
    let channels_of = input.shape[0] as i64;
    let at = if at < 0 { at + channels_of } else { at };
    let start = usize::try_from(at).ok().filter(|at| *at < input.shape[0]);
    let start = start.ok_or_else(|| format!("channel {at} of {channels_of} is not there"))?;
    let made = channels(reader, node.output(), &input, start, start + 1)?;
    let view = if index.dims.is_empty() { View::NoChannel } else { View::Plain };
    Ok(Live { view, ..made })
}
