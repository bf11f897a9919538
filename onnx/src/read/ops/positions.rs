//! Positions in what all images make together. PyTorch's dynamo writes some views as `Reshape` to one axis and `Gather` by
//! positions that it computes from the number of images; where they are the identity, they are read as a reshape.

use std::rc::Rc;

use attar_models::Op;
use attar_models::op::Reshape;

use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::size::{Arithmetic, Size};
use crate::read::tensor::Tensor;
use crate::read::value::{Live, Positions, Value, View};

/// `Range(0, N, 1)`.
pub(super) fn images(start: &Tensor, step: &Tensor) -> Result<Vec<Value>, String> {
    match (start.indices().as_deref(), step.indices().as_deref()) {
        (Some(&[0]), Some(&[step])) => Ok(made(step, Tensor::whole(Vec::new(), vec![Size::of(0)]))),
        _ => Err("a range over the images that does not begin at the first".to_owned()),
    }
}

fn made(step: i64, within: Tensor) -> Vec<Value> {
    vec![Value::Positions(Rc::new(Positions { step, within }))]
}

/// An operation on positions.
pub(super) fn read<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let of = |at: usize| match node.input(at).and_then(|name| reader.value(name)) {
        Some(Value::Positions(positions)) => Some(Rc::clone(positions)),
        _ => None,
    };
    let unknown = || "computes with positions of images, which is not known here".to_owned();
    match (node.op(), of(0), of(1)) {
        ("Mul", Some(positions), None) => {
            let factor = reader.tensor(node, 1)?;
            let one = factor.indices().filter(|factor| factor.len() == 1).ok_or_else(unknown)?;
            let within = super::fold::arithmetic(Arithmetic::Mul, &positions.within, &factor)?;
            Ok(made(positions.step * one[0], within))
        }
        ("Unsqueeze", Some(positions), None) => {
            let axes = reader.tensor(node, 1)?.indices().ok_or_else(unknown)?;
            let behind = axes.iter().copied().eq(1..=axes.len() as i64) && positions.within.dims.is_empty();
            let dims = vec![1; axes.len()];
            if behind { Ok(made(positions.step, Tensor { dims, ..positions.within.clone() })) } else { Err(unknown()) }
        }
        ("Add", Some(positions), None) => offset(&positions, &*reader.tensor(node, 1)?),
        ("Add", None, Some(positions)) => offset(&positions, &*reader.tensor(node, 0)?),
        ("Cast" | "CastLike" | "Identity", Some(positions), None) => Ok(vec![Value::Positions(positions)]),
        ("Gather", None, Some(positions)) => {
            let input = reader.live(node, 0)?;
            gathered(reader, node, &input, &positions).map(|live| vec![Value::Live(live)])
        }
        _ => Err(unknown()),
    }
}

/// Positions moved by a constant, whose first axis, if it has as many, is that of the images.
fn offset(positions: &Positions, constant: &Tensor) -> Result<Vec<Value>, String> {
    let images_axis = constant.dims.len() > positions.within.dims.len();
    let dims = match constant.dims.split_first() {
        Some((1, rest)) if images_axis => rest.to_vec(),
        _ if images_axis => return Err("moves each image's positions in its own way".to_owned()),
        _ => constant.dims.clone(),
    };
    let constant = Tensor { dims, ..constant.clone() };
    Ok(made(positions.step, super::fold::arithmetic(Arithmetic::Add, &positions.within, &constant)?))
}

fn gathered<'f>(reader: &mut Reader<'f>, node: &Node<'f>, input: &Live, positions: &Positions) -> Result<Live, String> {
    let elements: usize = input.shape.iter().product();
    let in_order = positions.within.indices().is_some_and(|at| at.iter().copied().eq(0..elements as i64));
    if input.view != View::Together || positions.step != elements as i64 || !in_order {
        return Err("takes parts of all images together, which is not known here".to_owned());
    }
    let plain = Live { view: View::Plain, ..input.clone() };
    if positions.within.dims == input.shape {
        return Ok(plain);
    }
    let op = Op::Reshape(Reshape { shape: positions.within.dims.clone() });
    reader.add(node.output(), op, &[&plain], Vec::new())
}
