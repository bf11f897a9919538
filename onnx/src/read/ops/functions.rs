//! Functions of one number, and softmax.

use std::rc::Rc;

use attar_models::Op;
use attar_models::op::{PRelu, Softmax};

use super::arithmetic::per_channel;
use crate::read::function::{Expr, Function, Kind};
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::tensor::Tensor;
use crate::read::value::Live;

/// An operation of one input that works number by number.
pub(super) fn unary<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let float = |name: &str, default: f64| node.float(name).map_or(default, f64::from);
    let function = match node.op() {
        "Relu" => Function::Relu,
        "Clip" => clip(reader, node)?,
        "LeakyRelu" => Function::LeakyRelu(float("alpha", 0.01)),
        "Elu" => Function::Elu(float("alpha", 1.0)),
        "Sigmoid" => Function::Sigmoid,
        "HardSigmoid" => Function::HardSigmoid(float("alpha", 0.2), float("beta", 0.5)),
        "HardSwish" => Function::HardSwish,
        "Swish" => Function::Swish(float("alpha", 1.0)),
        "QuickGelu" => Function::Swish(float("alpha", 1.702)),
        "Gelu" if node.text("approximate") == Some("tanh") => Function::GeluTanh,
        "Gelu" => Function::Gelu,
        "Mish" => Function::Mish,
        "Softplus" => Function::Softplus,
        "Tanh" => Function::Tanh,
        "Erf" => Function::Erf,
        "Exp" => Function::Exp,
        "Sqrt" => Function::Sqrt,
        "Abs" => Function::Abs,
        "Neg" => Function::Neg,
        "Reciprocal" => Function::Reciprocal,
        op => return Err(format!("`{op}` is no operation that is known here")),
    };
    let input = reader.live(node, 0)?;
    Ok(elementwise(node, &input, Kind::Unary(function, Rc::clone(&input.expr))))
}

/// A value that is computed number by number, of the shape of `like`.
pub(super) fn elementwise(node: &Node<'_>, like: &Live, kind: Kind) -> Live {
    Live { expr: Rc::new(Expr { name: node.output().to_owned(), kind }), ..like.clone() }
}

/// Bounds were attributes before operator set 11.
fn clip<'f>(reader: &Reader<'f>, node: &Node<'f>) -> Result<Function, String> {
    let bound = |at: usize, name: &str, none: f32| -> Result<f64, String> {
        let tensor = reader.maybe_tensor(node, at)?;
        let given = tensor.and_then(|tensor| tensor.scalar()).or_else(|| node.float(name));
        Ok(f64::from(given.unwrap_or(none)))
    };
    Ok(Function::Clip(bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?))
}

pub(super) fn power<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let exponent = reader.tensor(node, 1)?.scalar().ok_or("an exponent for each number is not known here")?;
    Ok(elementwise(node, &input, Kind::Unary(Function::Power(f64::from(exponent)), Rc::clone(&input.expr))))
}

pub(super) fn prelu<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let slope = reader.tensor(node, 1)?;
    let slopes = match slope.scalar() {
        Some(one) => vec![one],
        None => per_channel(&input, &slope)?,
    };
    let channels = slopes.len();
    let weight = Tensor::floats(vec![channels], slopes).array(vec![channels])?;
    let made = reader.add(node.output(), Op::PRelu(PRelu { channels }), &[&input], vec![("weight", weight)])?;
    Ok(Live { view: input.view, ..made })
}

/// A softmax over classes or channels; its logarithm is known only as the end of a network, where the reader cuts it off.
pub(super) fn softmax<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    // Before operator set 13 the axes from `axis` (1) on were one.
    let axis = node.int("axis").unwrap_or(if node.opset < 13 { 1 } else { -1 });
    let axis = input.axis(axis)?;
    let single = input.shape.iter().skip(1).all(|size| *size == 1);
    if Some(axis) != input.channel_axis() || (node.opset < 13 && !single) {
        return Err("a softmax over positions is not known here, only over channels or classes".to_owned());
    }
    if node.op() == "LogSoftmax" {
        return Err("a log-softmax inside of a network is not known here".to_owned());
    }
    let made = reader.add(node.output(), Op::Softmax(Softmax {}), &[&input], Vec::new())?;
    Ok(Live { view: input.view, ..made })
}
