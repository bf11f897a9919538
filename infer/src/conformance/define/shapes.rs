//! Operations that move numbers about and compute none.

use attar_onnx::proto::{FLOAT, FLOAT16, INT32, INT64};

use super::fault::Fault;
use super::node::Node;
use super::tensor::{Tensor, indices};

pub(super) fn cast(node: &Node<'_>) -> Result<Tensor, String> {
    let (x, to) = (node.input(0)?, node.int("to", 0) as i32);
    match (x.kind, to) {
        (FLOAT, INT32 | INT64) => Err("floats to whole numbers".to_owned()),
        (_, FLOAT | FLOAT16 | INT32 | INT64) => Ok(Tensor { kind: to, whole: None, ..x.clone() }),
        (from, to) if from == to => Ok(x.clone()),
        (from, to) => Err(format!("type {from} to {to}")),
    }
}

pub(super) fn constant(node: &Node<'_>) -> Result<Tensor, String> {
    let value = node.proto.attribute.iter().find(|attribute| attribute.name() == "value");
    Tensor::read(value.and_then(|value| value.t.as_ref()).ok_or("a constant that is no tensor")?)
}

pub(super) fn flatten(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let axis = node.axis("axis", 1, x.shape.len())?;
    x.shaped(vec![x.shape[..axis].iter().product(), x.shape[axis..].iter().product()])
}

pub(super) fn reshape(node: &Node<'_>) -> Result<Tensor, String> {
    let (x, wanted) = (node.input(0)?, node.axes("shape", 1).ok_or("no shape")?);
    let kept = |(at, size): (usize, &i64)| match size {
        0 => x.shape.get(at).copied().ok_or("a 0 beyond the shape"),
        -1 => Ok(1),
        size => usize::try_from(*size).map_err(|_| "a negative size"),
    };
    let mut shape: Vec<usize> = wanted.iter().enumerate().map(kept).collect::<Result<_, _>>()?;
    if let Some(rest) = wanted.iter().position(|size| *size == -1) {
        shape[rest] = x.values.len() / shape.iter().product::<usize>();
    }
    x.shaped(shape)
}

pub(super) fn squeeze(node: &Node<'_>) -> Result<Tensor, String> {
    let (x, adds) = (node.input(0)?, node.proto.op_type() == "Unsqueeze");
    let axes = node.axes("axes", 1).ok_or("no axes")?;
    let rank = if adds { x.shape.len() + axes.len() } else { x.shape.len() };
    let axes: Vec<usize> = axes.iter().map(|axis| super::tensor::from_front(*axis, rank)).collect::<Result<_, _>>()?;
    let mut sizes = x.shape.iter().copied();
    let shape = match adds {
        true => (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { sizes.next().unwrap_or(1) }).collect(),
        false => sizes.enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, size)| size).collect(),
    };
    x.shaped(shape)
}

pub(super) fn transpose(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let perm: Vec<usize> =
        node.ints("perm").ok_or("no order")?.iter().map(|axis| usize::try_from(*axis).unwrap_or(0)).collect();
    let (shape, strides) = (perm.iter().map(|axis| x.shape[*axis]).collect::<Vec<_>>(), x.strides());
    let place = |index: &Vec<usize>| index.iter().zip(&perm).map(|(at, axis)| at * strides[*axis]).sum();
    let places: Vec<usize> = indices(&shape).iter().map(place).collect();
    Ok(x.taken(shape, &places))
}

pub(super) fn concat(node: &Node<'_>) -> Result<Tensor, String> {
    let parts: Vec<&Tensor> = (0..node.given.len()).map(|at| node.input(at)).collect::<Result<_, _>>()?;
    joined(node, &parts)
}

pub(super) fn joined(node: &Node<'_>, parts: &[&Tensor]) -> Result<Tensor, String> {
    let first = parts.first().ok_or("of nothing")?;
    let axis = node.axis("axis", 1, first.shape.len())?;
    let inner = |part: &Tensor| part.shape[axis..].iter().product::<usize>();
    let outer: usize = first.shape[..axis].iter().product();
    let row = |at: usize| parts.iter().flat_map(move |part| &part.values[at * inner(part)..][..inner(part)]).copied();
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    Ok(Tensor::of_kind(shape, first.kind, (0..outer).flat_map(row).collect()))
}

/// Numbers `from`, `from + step`, ... along an axis, `count` of them.
fn along(x: &Tensor, axis: usize, from: usize, step: i64, count: usize) -> Tensor {
    let mut shape = x.shape.clone();
    shape[axis] = count;
    let strides = x.strides();
    let place = |index: &Vec<usize>| {
        let own = |(a, at): (usize, &usize)| match a == axis {
            true => (from as i64 + *at as i64 * step) as usize * strides[a],
            false => at * strides[a],
        };
        index.iter().enumerate().map(own).sum()
    };
    let places: Vec<usize> = indices(&shape).iter().map(place).collect();
    x.taken(shape, &places)
}

pub(super) fn split(node: &Node<'_>) -> Result<Vec<Tensor>, String> {
    let x = node.input(0)?;
    let axis = node.axis("axis", 0, x.shape.len())?;
    let parts = node.proto.output.len();
    let equal = x.shape[axis].div_ceil(parts);
    let sizes = node.axes("split", 1).unwrap_or_else(|| {
        (0..parts).map(|at| (x.shape[axis] - (at * equal).min(x.shape[axis])).min(equal) as i64).collect()
    });
    let mut from = 0;
    let mut part = |size: &i64| {
        let size = usize::try_from(*size).unwrap_or(0);
        from += size;
        along(x, axis, from - size, 1, size)
    };
    Ok(sizes.iter().map(&mut part).collect())
}

pub(super) fn slice(node: &Node<'_>) -> Result<Tensor, String> {
    let mut x = node.input(0)?.clone();
    let (starts, ends) = (node.axes("starts", 1).ok_or("no starts")?, node.axes("ends", 2).ok_or("no ends")?);
    let axes = node.axes("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = node.maybe(4).map_or_else(|| vec![1; starts.len()], Tensor::indices);
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = if *axis < 0 && node.has(Fault::AxisFromFront) { 1 } else { x.axis(*axis)? };
        let size = x.shape[axis] as i64;
        let from_front = |place: i64| if place < 0 { place.saturating_add(size) } else { place };
        let step = if node.has(Fault::StepsIgnored) { step.signum() } else { *step };
        let (start, end) = match step > 0 {
            true => (from_front(*start).clamp(0, size), from_front(*end).clamp(0, size)),
            false => (from_front(*start).clamp(0, size - 1), from_front(*end).clamp(-1, size - 1)),
        };
        let count = usize::try_from((end - start + step - step.signum()) / step).unwrap_or(0);
        x = along(&x, axis, start as usize, step, count);
    }
    Ok(x)
}

pub(super) fn gather(node: &Node<'_>) -> Result<Tensor, String> {
    let (x, wanted) = (node.input(0)?, node.input(1)?);
    let axis = node.axis("axis", 0, x.shape.len())?;
    let places: Vec<usize> =
        wanted.indices().iter().map(|at| super::tensor::from_front(*at, x.shape[axis])).collect::<Result<_, _>>()?;
    let outer: usize = x.shape[..axis].iter().product();
    let inner: usize = x.shape[axis + 1..].iter().product();
    let size = x.shape[axis];
    let row = |o: usize| places.iter().flat_map(move |at| (0..inner).map(move |i| (o * size + at) * inner + i));
    let all: Vec<usize> = (0..outer).flat_map(row).collect();
    Ok(x.taken([&x.shape[..axis], &wanted.shape, &x.shape[axis + 1..]].concat(), &all))
}

pub(super) fn shape(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let rank = x.shape.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let sizes = &x.shape[place(node.int("start", 0))..place(node.int("end", rank))];
    Ok(Tensor::of_kind(vec![sizes.len()], INT64, sizes.iter().map(|size| *size as f64).collect()))
}

/// Around all axes, or those that are named; a pad below 0 cuts off.
pub(super) fn pad(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let rank = x.shape.len();
    let pads = node.axes("pads", 1).ok_or("no pads")?;
    let axes = node.maybe(3).map_or_else(|| (0..rank as i64).collect(), Tensor::indices);
    let mut ends = vec![[0i64; 2]; rank];
    for (at, axis) in axes.iter().enumerate() {
        ends[x.axis(*axis)?] = [pads[at], pads[axes.len() + at]];
    }
    if node.has(Fault::EvenPads) {
        ends.iter_mut().for_each(|[before, behind]| *behind = *before);
    }
    let filling = node.maybe(2).and_then(|value| value.values.first().copied());
    let filling = filling.unwrap_or_else(|| node.float("value", 0.0, 0.0));
    let size = |(size, [before, behind]): (&usize, &[i64; 2])| usize::try_from(*size as i64 + before + behind);
    let shape: Vec<usize> =
        x.shape.iter().zip(&ends).map(size).collect::<Result<_, _>>().map_err(|_| "cuts all off")?;
    let (strides, mode) = (x.strides(), node.text("mode").unwrap_or("constant"));
    let number = |index: &Vec<usize>| {
        let mut place = 0;
        for (axis, at) in index.iter().enumerate() {
            let (at, size) = (*at as i64 - ends[axis][0], x.shape[axis] as i64);
            let at = match mode {
                "edge" => at.clamp(0, size - 1),
                "reflect" if at < 0 => -at,
                "reflect" if at >= size => 2 * (size - 1) - at,
                _ if at < 0 || at >= size => return filling,
                _ => at,
            };
            place += at as usize * strides[axis];
        }
        x.values[place]
    };
    Ok(Tensor::of_kind(shape.clone(), x.kind, indices(&shape).iter().map(number).collect()))
}
