//! Other shapes of the same numbers.

use attar_models::Op;
use attar_models::op::{ChannelShuffle, Dropout, Flatten, Reshape};

use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::size::Size;
use crate::read::tensor::kind;
use crate::read::value::{Live, Value, View, join};

/// Hands on what it is given: a dropout is one in training only, a cast between floats none at all.
pub(super) fn pass<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let name = node.input(0).ok_or("input 0 is missing")?;
    let value = reader.value(name).cloned().ok_or("input 0 is missing")?;
    match (node.op(), value) {
        ("Cast", _) if !is_float(node.int("to").unwrap_or(0)) => {
            Err("turns numbers made of the images into whole ones, which is not known here".to_owned())
        }
        ("Dropout", Value::Live(live)) => {
            let p = match reader.maybe_tensor(node, 1)? {
                Some(ratio) => ratio.scalar(),
                None => node.float("ratio"),
            };
            let p = f64::from(p.unwrap_or(0.5));
            let made = reader.add(node.output(), Op::Dropout(Dropout { p }), &[&live], Vec::new())?;
            Ok(vec![Value::Live(Live { view: live.view, ..made })])
        }
        (_, value) => Ok(vec![value]),
    }
}

fn is_float(kind: i64) -> bool {
    [kind::FLOAT, kind::FLOAT16, kind::BFLOAT16, kind::DOUBLE].iter().any(|float| i64::from(*float) == kind)
}

pub(super) fn flatten<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let axis = input.axis(node.int("axis").unwrap_or(1))?;
    if axis != 1 {
        return Err(format!("flattens from axis {axis} on; only one row an image is known here"));
    }
    let features = input.shape.iter().product();
    reshaped(reader, node.output(), &input, &[features])
}

pub(super) fn reshape<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let target = reader.tensor(node, 1)?;
    let target = target.sizes().ok_or("a shape of floats")?;
    let keep_zero = node.int("allowzero").unwrap_or(0) == 0;
    if input.view == View::Plain && target.iter().map(|size| size.known()).eq([Some(-1)]) {
        return Ok(Live { view: View::Together, ..input });
    }
    let sample = sample_of(reader.fixed_batch, &input, target, keep_zero)?;
    reshaped(reader, node.output(), &input, &sample)
}

/// The shape of a sample that a `Reshape` asks for. Its batch is the file's, whatever it is written as.
fn sample_of(fixed_batch: Option<i64>, input: &Live, target: &[Size], keep_zero: bool) -> Result<Vec<usize>, String> {
    let seen = input.seen();
    let fail = || {
        let shown: Vec<String> = target
            .iter()
            .map(|size| if size.per_image { format!("{}N", size.n) } else { size.n.to_string() })
            .collect();
        format!("makes [{}] of [N, {}], which is no shape of each image", shown.join(", "), join(&seen))
    };
    let (first, rest) = target.split_first().ok_or_else(fail)?;
    let elements: usize = seen.iter().product();
    let is_batch = *first == Size::BATCH
        || matches!(first.known(), Some(0 | -1))
        || (first.known().is_some() && first.known() == fixed_batch);
    if !is_batch {
        return Err(fail());
    }
    let mut free = None;
    let mut sample = Vec::new();
    for (at, size) in rest.iter().enumerate() {
        sample.push(match size.known().ok_or_else(fail)? {
            0 if keep_zero => *seen.get(at).ok_or_else(fail)?,
            -1 if free.is_none() && first.known() != Some(-1) => {
                free = Some(at);
                1
            }
            size => usize::try_from(size).map_err(|_| fail())?,
        });
    }
    let known: usize = sample.iter().try_fold(1usize, |product, size| product.checked_mul(*size)).ok_or_else(fail)?;
    if let Some(free) = free {
        sample[free] = elements.checked_div(known).ok_or_else(fail)?;
    }
    if sample.iter().product::<usize>() != elements {
        return Err(fail());
    }
    Ok(sample)
}

/// The same numbers in another shape of a sample.
fn reshaped(reader: &mut Reader<'_>, name: &str, input: &Live, sample: &[usize]) -> Result<Live, String> {
    if sample == input.seen() {
        return Ok(input.clone());
    }
    // One channel, or one position: an exporter moves the axis of the channels by a new shape.
    if input.axis_moves_nothing() {
        let moved = match input.view {
            View::Plain => View::ChannelsLast,
            View::ChannelsLast => View::Plain,
            other => other,
        };
        let moved = Live { view: moved, ..input.clone() };
        if sample == moved.seen() {
            return Ok(moved);
        }
    }
    match (input.view, &input.shape[..], sample) {
        (View::Plain, &[c, h, w], &[groups, per_group, gh, gw]) if [h, w] == [gh, gw] && groups * per_group == c => {
            Ok(Live { view: View::Grouped(groups), ..input.clone() })
        }
        (View::Grouped(_), shape, sample) if shape == sample => Ok(Live { view: View::Plain, ..input.clone() }),
        (View::Shuffled(groups), shape, sample) if shape == sample => {
            let op = Op::ChannelShuffle(ChannelShuffle { groups });
            reader.add(name, op, &[input], Vec::new())
        }
        (View::Plain, [_, _, _], [_]) => reader.add(name, Op::Flatten(Flatten {}), &[input], Vec::new()),
        (View::ChannelsLast, &[channels, _, _], [_]) => {
            let row = reader.add(name, Op::Flatten(Flatten {}), &[input], Vec::new())?;
            let view = if input.axis_moves_nothing() { View::Plain } else { View::RowsOfChannels { channels } };
            Ok(Live { view, ..row })
        }
        (View::Plain, _, _) => reader.add(name, Op::Reshape(Reshape { shape: sample.to_vec() }), &[input], Vec::new()),
        _ => Err(format!(
            "makes [N, {}] of [N, {}], whose axes were exchanged before",
            join(sample),
            join(&input.seen())
        )),
    }
}

/// Axes of an operation, from an input or, before operator set 13, an attribute.
fn axes_of<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Option<Vec<i64>>, String> {
    match reader.maybe_tensor(node, 1)? {
        Some(tensor) => tensor.indices().map(Some).ok_or_else(|| "axes that depend on the batch".to_owned()),
        None => Ok(node.ints("axes").map(<[i64]>::to_vec)),
    }
}

pub(super) fn squeeze<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let seen = input.seen();
    let axes = match axes_of(reader, node)? {
        Some(axes) => axes.iter().map(|axis| input.axis(*axis)).collect::<Result<Vec<_>, _>>()?,
        None => (1..=seen.len()).filter(|axis| seen[axis - 1] == 1).collect(),
    };
    if axes.iter().any(|axis| *axis == 0 || seen[axis - 1] != 1) {
        return Err(format!("leaves out axes {axes:?} of [N, {}], which are not 1", join(&seen)));
    }
    let sample: Vec<usize> = (1..=seen.len()).filter(|axis| !axes.contains(axis)).map(|axis| seen[axis - 1]).collect();
    reshaped(reader, node.output(), &input, &sample)
}

pub(super) fn unsqueeze<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let mut sample = input.seen();
    let axes = axes_of(reader, node)?.ok_or("no axes")?;
    let rank = (sample.len() + 1 + axes.len()) as i64;
    let mut places: Vec<i64> = axes.iter().map(|axis| if *axis < 0 { axis + rank } else { *axis }).collect();
    places.sort_unstable();
    for place in &places {
        let at = usize::try_from(*place - 1).ok().filter(|at| *at <= sample.len());
        sample.insert(at.ok_or_else(|| format!("axes {axes:?} are not there"))?, 1);
    }
    if input.view == View::NoChannel && places == [1] {
        return Ok(Live { view: View::Plain, ..input });
    }
    reshaped(reader, node.output(), &input, &sample)
}

pub(super) fn transpose<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let rank = input.seen().len() + 1;
    let reversed: Vec<i64> = (0..rank as i64).rev().collect();
    let order = node.ints("perm").unwrap_or(&reversed);
    if order.iter().copied().eq(0..rank as i64) {
        return Ok(input);
    }
    let view = match (input.view, order) {
        (View::Plain, [0, 2, 3, 1]) if input.shape.len() == 3 => View::ChannelsLast,
        (View::ChannelsLast, [0, 3, 1, 2]) => View::Plain,
        (View::Grouped(groups), [0, 2, 1, 3, 4]) => View::Shuffled(groups),
        _ => {
            return Err(format!(
                "puts the axes of [N, {}] into the order {order:?}, which is not known here",
                join(&input.seen())
            ));
        }
    };
    Ok(Live { view, ..input })
}

/// What is repeated as often as it is there already.
pub(super) fn expand<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let target = reader.tensor(node, 1)?;
    let sizes = target.sizes().unwrap_or_default();
    let seen = input.sizes();
    let same = sizes.len() <= seen.len()
        && sizes.iter().rev().zip(seen.iter().rev()).all(|(size, seen)| size == seen || size.known() == Some(1));
    if same { Ok(input) } else { Err("repeats a value along an axis, which is not known here".to_owned()) }
}
