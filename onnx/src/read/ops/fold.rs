//! Operations on constants, and on sizes: what is known before an image is there.

use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::size::{Arithmetic, Size};
use crate::read::tensor::{Numbers, Steps, Tensor, kind};
use crate::read::value::Value;

/// Most numbers of a constant that is computed.
const MOST: usize = 1 << 24;

pub(super) fn fold<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let constant = |tensor: Tensor| Ok(vec![Value::Constant(tensor.into())]);
    let input = |at: usize| reader.tensor(node, at);
    match node.op() {
        "Constant" => constant(literal(node)?),
        "ConstantOfShape" => constant(filled(node, &*input(0)?)?),
        "Shape" => constant(shape(reader, node)?),
        "Identity" | "Dropout" => constant((*input(0)?).clone()),
        "Cast" => constant(cast(&*input(0)?, node.int("to").unwrap_or(0) as i32)?),
        "CastLike" => constant(cast(&*input(0)?, input(1)?.kind)?),
        "Add" => constant(arithmetic(Arithmetic::Add, &*input(0)?, &*input(1)?)?),
        "Sub" => constant(arithmetic(Arithmetic::Sub, &*input(0)?, &*input(1)?)?),
        "Mul" => constant(arithmetic(Arithmetic::Mul, &*input(0)?, &*input(1)?)?),
        "Div" => constant(arithmetic(Arithmetic::Div, &*input(0)?, &*input(1)?)?),
        "Neg" => {
            constant(arithmetic(Arithmetic::Sub, &Tensor { kind: input(0)?.kind, ..zero(&*input(0)?) }, &*input(0)?)?)
        }
        "Sqrt" => constant(each(&*input(0)?, f32::sqrt)?),
        "Reciprocal" => constant(each(&*input(0)?, |v| 1.0 / v)?),
        "Exp" => constant(each(&*input(0)?, f32::exp)?),
        "Abs" => constant(each(&*input(0)?, f32::abs)?),
        "Floor" => constant(each(&*input(0)?, f32::floor)?),
        "Ceil" => constant(each(&*input(0)?, f32::ceil)?),
        "Pow" => {
            let exponent = input(1)?.scalar().ok_or("an exponent for each number")?;
            constant(each(&*input(0)?, |v| v.powf(exponent))?)
        }
        "Unsqueeze" => constant(with_axes(reader, node, true)?),
        "Squeeze" => constant(with_axes(reader, node, false)?),
        "Reshape" | "Flatten" => constant(reshape(reader, node)?),
        "Transpose" => constant(transpose(node, &*input(0)?)?),
        "Concat" => constant(concat(reader, node)?),
        "Gather" => constant(gather(node, &*input(0)?, &*input(1)?)?),
        "Slice" => constant(slice(reader, node)?),
        "Expand" => constant(expand(&*input(0)?, &*input(1)?)?),
        "Range" if input(1)?.sizes() == Some(&[Size::BATCH]) => super::positions::images(&*input(0)?, &*input(2)?),
        "Range" => constant(range(&*input(0)?, &*input(1)?, &*input(2)?)?),
        "QuantizeLinear" => {
            super::quantised::without_blocks(node)?;
            let (zero, said) = (reader.maybe_tensor(node, 2)?, super::quantised::said_type(node));
            constant(super::quantised::quantized(&*input(0)?, &*input(1)?, zero.as_deref(), said)?)
        }
        "DequantizeLinear" => {
            super::quantised::without_blocks(node)?;
            let zero = reader.maybe_tensor(node, 2)?;
            let axis = node.int("axis").unwrap_or(1);
            let values = input(0)?;
            let axis = if axis < 0 { axis + values.dims.len() as i64 } else { axis };
            let axis = usize::try_from(axis).unwrap_or(0);
            let made = super::quantised::dequantized(&values, &*input(1)?, zero.as_deref(), axis)?;
            // What was trained is the weight, whatever it is stored as.
            constant(Tensor { stored: values.stored, ..made })
        }
        op => Err(format!("`{op}` of constants is not known here")),
    }
}

fn literal(node: &Node<'_>) -> Result<Tensor, String> {
    let own = |tensor: Tensor| Tensor { stored: false, ..tensor };
    if let Some(proto) = node.tensor("value") {
        return Tensor::read(proto).map(own);
    }
    let size = |n: i64| Size::of(n);
    match (node.float("value_float"), node.int("value_int"), node.floats("value_floats"), node.ints("value_ints")) {
        (Some(value), ..) => Ok(Tensor::scalar_of(value)),
        (_, Some(value), ..) => Ok(Tensor::whole(Vec::new(), vec![size(value)])),
        (_, _, Some(values), _) => Ok(Tensor::floats(vec![values.len()], values.to_vec())),
        (_, _, _, Some(values)) => Ok(Tensor::whole(vec![values.len()], values.iter().copied().map(size).collect())),
        _ => Err("a constant that is no numbers".to_owned()),
    }
}

fn dims_of(tensor: &Tensor) -> Result<Vec<usize>, String> {
    let sizes = tensor.indices().ok_or("a constant whose shape depends on the batch")?;
    let dims: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    let dims = dims.ok_or_else(|| format!("a shape of {sizes:?}"))?;
    counted(&dims).map(|_| dims)
}

fn counted(dims: &[usize]) -> Result<usize, String> {
    let count = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
    count.filter(|count| *count <= MOST).ok_or_else(|| format!("a constant of shape {dims:?} is too large"))
}

fn filled(node: &Node<'_>, shape: &Tensor) -> Result<Tensor, String> {
    let dims = dims_of(shape)?;
    let count = counted(&dims)?;
    let value = node.tensor("value").map(Tensor::read).transpose()?;
    Ok(match value {
        Some(Tensor { numbers: Numbers::Whole(values), kind, .. }) => {
            let value = values.first().copied().ok_or("fills with nothing")?;
            Tensor { kind, ..Tensor::whole(dims, vec![value; count]) }
        }
        Some(tensor) => Tensor::floats(dims, vec![tensor.scalar().ok_or("fills with nothing")?; count]),
        None => Tensor::floats(dims, vec![0.0; count]),
    })
}

fn shape<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Tensor, String> {
    let sizes = match node.input(0).and_then(|name| reader.value(name)) {
        Some(Value::Live(live)) => live.sizes(),
        Some(Value::Constant(tensor)) => tensor.dims.iter().map(|&dim| Size::of(dim as i64)).collect(),
        _ => return Err("takes the shape of what is not there".to_owned()),
    };
    let rank = sizes.len() as i64;
    let at = |position: i64| (if position < 0 { position + rank } else { position }).clamp(0, rank) as usize;
    let (start, end) = (at(node.int("start").unwrap_or(0)), at(node.int("end").unwrap_or(rank)));
    let sizes = sizes.get(start..end).unwrap_or_default().to_vec();
    Ok(Tensor::whole(vec![sizes.len()], sizes))
}

fn cast(tensor: &Tensor, to: i32) -> Result<Tensor, String> {
    let to_float = matches!(to, kind::FLOAT | kind::FLOAT16 | kind::BFLOAT16 | kind::DOUBLE);
    let numbers = match (&tensor.numbers, to_float) {
        (Numbers::Whole(_), true) => Numbers::Floats(tensor.to_floats().ok_or("a float that counts images")?),
        (Numbers::Floats(values), false) => Numbers::Whole(
            values.iter().map(|v| Size::of(if to == kind::BOOL { i64::from(*v != 0.0) } else { *v as i64 })).collect(),
        ),
        (numbers, _) => numbers.clone(),
    };
    Ok(Tensor { numbers, kind: to, steps: None, ..tensor.clone() })
}

fn zero(like: &Tensor) -> Tensor {
    match like.numbers {
        Numbers::Floats(_) => Tensor::scalar_of(0.0),
        Numbers::Whole(_) => Tensor::whole(Vec::new(), vec![Size::of(0)]),
    }
}

fn each(tensor: &Tensor, f: impl Fn(f32) -> f32) -> Result<Tensor, String> {
    match &tensor.numbers {
        Numbers::Floats(values) => Ok(Tensor::floats(tensor.dims.clone(), values.iter().map(|v| f(*v)).collect())),
        Numbers::Whole(_) => Err("of whole numbers is not known here".to_owned()),
    }
}

/// The shape of two that are laid over each other, from the last axis on, where 1 goes with anything.
fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis]);
    let axis = |axis: usize| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("constants of shapes {a:?} and {b:?} do not go together")),
    };
    let dims = (0..rank).map(axis).collect::<Result<Vec<_>, _>>()?;
    counted(&dims).map(|_| dims)
}

/// For each element of `dims`, the one of `from` that lies under it.
fn under(dims: &[usize], from: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; dims.len()];
    let (mut step, before) = (1, dims.len() - from.len());
    for (axis, size) in from.iter().enumerate().rev() {
        strides[axis + before] = if *size == 1 { 0 } else { step };
        step *= size;
    }
    positions(dims, &strides)
}

/// Offsets of all elements of `dims` by the strides of its axes.
fn positions(dims: &[usize], strides: &[usize]) -> Vec<usize> {
    dims.iter().zip(strides).fold(vec![0], |offsets, (size, stride)| {
        offsets.iter().flat_map(|offset| (0..*size).map(move |at| offset + at * stride)).collect()
    })
}

fn picked(tensor: &Tensor, dims: Vec<usize>, positions: &[usize]) -> Result<Tensor, String> {
    fn pick<T: Copy>(values: &[T], positions: &[usize]) -> Result<Vec<T>, String> {
        let found = positions.iter().map(|at| values.get(*at).copied()).collect::<Option<Vec<T>>>();
        found.ok_or_else(|| "reads beyond a constant".to_owned())
    }
    let numbers = match &tensor.numbers {
        Numbers::Floats(values) => Numbers::Floats(pick(values, positions)?),
        Numbers::Whole(values) => Numbers::Whole(pick(values, positions)?),
    };
    Ok(Tensor { dims, numbers, kind: tensor.kind, stored: false, steps: None })
}

pub(super) fn arithmetic(op: Arithmetic, a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    let dims = broadcast(&a.dims, &b.dims)?;
    let (at_a, at_b) = (under(&dims, &a.dims), under(&dims, &b.dims));
    match (&a.numbers, &b.numbers) {
        (Numbers::Whole(x), Numbers::Whole(y)) => {
            let values =
                at_a.iter().zip(&at_b).map(|(i, j)| Size::compute(op, x[*i], y[*j])).collect::<Option<Vec<_>>>();
            let values = values.ok_or("a size that cannot be told without the batch")?;
            Ok(Tensor { kind: a.kind, ..Tensor::whole(dims, values) })
        }
        (Numbers::Floats(x), Numbers::Floats(y)) => {
            let one = |(i, j): (&usize, &usize)| op.apply(f64::from(x[*i]), f64::from(y[*j])) as f32;
            Ok(Tensor::floats(dims, at_a.iter().zip(&at_b).map(one).collect()))
        }
        _ => Err("mixes floats and whole numbers".to_owned()),
    }
}

fn with_axes<'f>(reader: &Reader<'f>, node: &Node<'f>, insert: bool) -> Result<Tensor, String> {
    let tensor = reader.tensor(node, 0)?;
    let axes = reader.maybe_tensor(node, 1)?.and_then(|axes| axes.indices());
    let axes = axes.or_else(|| node.ints("axes").map(<[i64]>::to_vec));
    let mut dims = tensor.dims.clone();
    let rank = (dims.len() + if insert { axes.as_ref().map_or(0, Vec::len) } else { 0 }) as i64;
    let mut places: Vec<usize> = match axes {
        Some(axes) => {
            axes.iter().filter_map(|axis| usize::try_from(if *axis < 0 { axis + rank } else { *axis }).ok()).collect()
        }
        None => (0..dims.len()).filter(|axis| dims[*axis] == 1).collect(),
    };
    places.sort_unstable();
    if insert {
        for place in places {
            if place > dims.len() {
                return Err(format!("axis {place} is not there"));
            }
            dims.insert(place, 1);
        }
    } else {
        for place in places.into_iter().rev() {
            match dims.get(place) {
                Some(1) => drop(dims.remove(place)),
                _ => return Err(format!("axis {place} of {dims:?} is not 1")),
            }
        }
    }
    let steps = tensor
        .steps
        .clone()
        .filter(|steps| steps.scales.len() == 1 || (steps.axis == 0 && dims.first() == tensor.dims.first()));
    Ok(Tensor { dims, steps, ..(*tensor).clone() })
}

fn reshape<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Tensor, String> {
    let tensor = reader.tensor(node, 0)?;
    let len = tensor.len();
    let target = match node.op() {
        "Flatten" => {
            let axis = usize::try_from(node.int("axis").unwrap_or(1)).unwrap_or(1).min(tensor.dims.len());
            let rows: usize = tensor.dims[..axis].iter().product();
            vec![rows as i64, -1]
        }
        _ => reader.tensor(node, 1)?.indices().ok_or("a shape that depends on the batch")?,
    };
    let mut dims: Vec<usize> = Vec::new();
    for (at, size) in target.iter().enumerate() {
        dims.push(match size {
            0 => tensor.dims.get(at).copied().unwrap_or(0),
            -1 => {
                let others: i64 = target.iter().filter(|size| **size > 0).product();
                len.checked_div(usize::try_from(others).unwrap_or(0)).unwrap_or(0)
            }
            size => usize::try_from(*size).unwrap_or(0),
        });
    }
    if dims.iter().product::<usize>() != len {
        return Err(format!("makes {target:?} of a constant of shape {:?}", tensor.dims));
    }
    Ok(Tensor { dims, ..(*tensor).clone() })
}

fn transpose(node: &Node<'_>, tensor: &Tensor) -> Result<Tensor, String> {
    let rank = tensor.dims.len();
    let order: Vec<usize> = match node.ints("perm") {
        Some(order) => order.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(format!("an order {order:?} of {rank} axes"));
    }
    let mut strides = vec![1; rank];
    for axis in (1..rank).rev() {
        strides[axis - 1] = strides[axis] * tensor.dims[axis];
    }
    let dims: Vec<usize> = order.iter().map(|&axis| tensor.dims[axis]).collect();
    let turned: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let places = positions(&dims, &turned);
    let steps = tensor
        .steps
        .as_ref()
        .and_then(|steps| Some(Steps { axis: order.iter().position(|axis| *axis == steps.axis)?, ..steps.clone() }));
    Ok(Tensor { stored: tensor.stored, steps, ..picked(tensor, dims, &places)? })
}

fn concat<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Tensor, String> {
    let parts = (0..node.proto.input.len()).map(|at| reader.tensor(node, at)).collect::<Result<Vec<_>, _>>()?;
    let first = parts.first().ok_or("joins nothing")?;
    let axis = axis_of(node.int("axis").unwrap_or(0), first.dims.len())?;
    let others = |dims: &[usize]| [&dims[..axis], &dims[axis + 1..]].concat();
    if parts.iter().any(|part| part.dims.len() != first.dims.len() || others(&part.dims) != others(&first.dims)) {
        return Err("joins constants of shapes that do not go together".to_owned());
    }
    let mut dims = first.dims.clone();
    dims[axis] = parts.iter().map(|part| part.dims[axis]).sum();
    counted(&dims)?;
    // All behind each other, and where each number of the result lies in that.
    let mut places = Vec::new();
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    for row in 0..outer {
        let mut start = 0;
        for part in &parts {
            let run = part.dims[axis] * inner;
            places.extend((0..run).map(|at| start + row * run + at));
            start += part.len();
        }
    }
    let all = match first.numbers {
        Numbers::Floats(_) => {
            let values = parts.iter().map(|part| part.to_floats()).collect::<Option<Vec<_>>>().ok_or("mixes types")?;
            Tensor::floats(Vec::new(), values.concat())
        }
        Numbers::Whole(_) => {
            let values = parts.iter().map(|part| part.sizes()).collect::<Option<Vec<_>>>().ok_or("mixes types")?;
            Tensor { kind: first.kind, ..Tensor::whole(Vec::new(), values.concat()) }
        }
    };
    picked(&all, dims, &places)
}

/// An axis counted from the front.
fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} of {rank} is not there"))
}

/// Offsets of the numbers at these positions of each axis, in order.
fn offsets(dims: &[usize], along: &[Vec<usize>]) -> Vec<usize> {
    let mut step: usize = dims.iter().product();
    dims.iter().zip(along).fold(vec![0], |offsets, (size, positions)| {
        step = step.checked_div(*size).unwrap_or(0);
        offsets.iter().flat_map(|offset| positions.iter().map(move |at| offset + at * step)).collect()
    })
}

fn gather(node: &Node<'_>, tensor: &Tensor, index: &Tensor) -> Result<Tensor, String> {
    let axis = axis_of(node.int("axis").unwrap_or(0), tensor.dims.len())?;
    let size = tensor.dims[axis];
    let at = index.indices().ok_or("positions that depend on the batch")?;
    let at = at
        .iter()
        .map(|&at| usize::try_from(if at < 0 { at + size as i64 } else { at }).ok())
        .collect::<Option<Vec<_>>>();
    let at = at.filter(|at| at.iter().all(|at| *at < size)).ok_or("a position that is not there")?;
    let mut along: Vec<Vec<usize>> = tensor.dims.iter().map(|size| (0..*size).collect()).collect();
    along[axis] = at;
    let dims = [&tensor.dims[..axis], &index.dims, &tensor.dims[axis + 1..]].concat();
    counted(&dims)?;
    picked(tensor, dims, &offsets(&tensor.dims, &along))
}

fn slice<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Tensor, String> {
    let tensor = reader.tensor(node, 0)?;
    let numbers = |at: usize, name: &str| -> Result<Option<Vec<i64>>, String> {
        let given = reader.maybe_tensor(node, at)?.and_then(|tensor| tensor.indices());
        Ok(given.or_else(|| node.ints(name).map(<[i64]>::to_vec)))
    };
    let starts = numbers(1, "starts")?.ok_or("no starts")?;
    let ends = numbers(2, "ends")?.ok_or("no ends")?;
    let axes = numbers(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = numbers(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps of different lengths".to_owned());
    }
    let mut along: Vec<Vec<usize>> = tensor.dims.iter().map(|size| (0..*size).collect()).collect();
    for (((axis, start), end), step) in axes.iter().zip(starts).zip(ends).zip(steps) {
        let axis = axis_of(*axis, tensor.dims.len())?;
        along[axis] = steps_of(tensor.dims[axis] as i64, start, end, step)?;
    }
    let dims = along.iter().map(Vec::len).collect();
    picked(&tensor, dims, &offsets(&tensor.dims, &along))
}

/// The positions that a slice takes of an axis, forwards or backwards.
fn steps_of(size: i64, start: i64, end: i64, step: i64) -> Result<Vec<usize>, String> {
    let counted = |position: i64| if position < 0 { position.saturating_add(size) } else { position };
    let (mut at, end) = match step {
        0 => return Err("steps of nothing".to_owned()),
        1.. => (counted(start).clamp(0, size), counted(end).clamp(0, size)),
        _ => (counted(start).clamp(0, size - 1), counted(end).clamp(-1, size - 1)),
    };
    let mut positions = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        positions.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    Ok(positions)
}

fn expand(tensor: &Tensor, target: &Tensor) -> Result<Tensor, String> {
    let dims = broadcast(&tensor.dims, &dims_of(target)?)?;
    let places = under(&dims, &tensor.dims);
    picked(tensor, dims, &places)
}

fn range(start: &Tensor, limit: &Tensor, step: &Tensor) -> Result<Tensor, String> {
    let one = |tensor: &Tensor| {
        tensor.indices().and_then(|numbers| numbers.first().copied()).ok_or("a range of what is not known")
    };
    let (start, limit, step) = (one(start)?, one(limit)?, one(step)?);
    let count = if step == 0 { 0 } else { (limit - start + step - step.signum()) / step };
    let count = usize::try_from(count).unwrap_or(0);
    counted(&[count])?;
    let values: Vec<Size> = (0..count as i64).map(|at| Size::of(start + at * step)).collect();
    Ok(Tensor::whole(vec![count], values))
}
