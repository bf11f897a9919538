//! Sums, differences, products and quotients: of two values, of a value and constants, and those that spell a function.

use std::rc::Rc;

use attar_models::Op;
use attar_models::op::{Add, Mul, Scale};

use super::functions::elementwise;
use crate::read::function::{Expr, Kind};
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::size::Arithmetic;
use crate::read::tensor::Tensor;
use crate::read::value::{Live, Value, View, join};

pub(super) fn binary<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    if node.proto.input.len() != 2 {
        return Err(format!("{} inputs, expected two", node.proto.input.len()));
    }
    let op = match node.op() {
        "Add" | "Sum" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        _ => Arithmetic::Div,
    };
    let [a, b] = [0, 1].map(|at| node.input(at).and_then(|name| reader.value(name)).cloned());
    match (a, b) {
        (Some(Value::Live(a)), Some(Value::Live(b))) => both(reader, node, op, &a, &b),
        (Some(Value::Live(a)), Some(Value::Constant(b))) => with_constant(reader, node, op, &a, &b, false),
        (Some(Value::Constant(a)), Some(Value::Live(b))) => with_constant(reader, node, op, &b, &a, true),
        _ => Err("takes two values".to_owned()),
    }
}

/// Of two values. Of one base they may spell a function; else they are nodes.
fn both<'f>(reader: &mut Reader<'f>, node: &Node<'f>, op: Arithmetic, a: &Live, b: &Live) -> Result<Live, String> {
    let same_base = a.expr.base().is_some() && a.expr.base() == b.expr.base();
    if same_base && a.shape == b.shape && a.view == b.view {
        return Ok(elementwise(node, a, Kind::Binary(op, Rc::clone(&a.expr), Rc::clone(&b.expr))));
    }
    let Pair { wide, narrow } = Pair::of(a, b)?;
    let view = a.view;
    let made = match op {
        Arithmetic::Add | Arithmetic::Mul => {
            let op = if op == Arithmetic::Add { Op::Add(Add {}) } else { Op::Mul(Mul {}) };
            reader.add(node.output(), op, &[wide, narrow], Vec::new())?
        }
        Arithmetic::Sub => {
            let negative = Kind::Binary(Arithmetic::Mul, Rc::clone(&b.expr), Expr::number(-1.0));
            let expr = Rc::new(Expr { name: format!("{}.negative", node.output()), kind: negative });
            let negative = Live { expr, ..b.clone() };
            let (wide, narrow) = if std::ptr::eq(wide, a) { (a, &negative) } else { (&negative, a) };
            reader.add(node.output(), Op::Add(Add {}), &[wide, narrow], Vec::new())?
        }
        Arithmetic::Div => return Err("the quotient of two values is not known here".to_owned()),
    };
    Ok(Live { view, ..made })
}

/// Two values that are added or multiplied, number by number.
pub(super) struct Pair<'l> {
    /// The one as large as the result.
    pub(super) wide: &'l Live,
    /// The other, whose sizes are the same or 1.
    pub(super) narrow: &'l Live,
}

impl<'l> Pair<'l> {
    /// Checks that their axes lie in one order and their sizes go together.
    pub(super) fn of(a: &'l Live, b: &'l Live) -> Result<Self, String> {
        let in_other_order = |x: &Live| matches!(x.view, View::RowsOfChannels { .. });
        let rows = a.shape.len() == 1 && b.shape.len() == 1 && !in_other_order(a) && !in_other_order(b);
        if a.view != b.view && !rows {
            return Err("joins values whose axes lie in different order".to_owned());
        }
        let whole = |x: &Live, y: &Live| x.shape.iter().zip(&y.shape).all(|(x, y)| x == y || *y == 1);
        match (a.shape.len() == b.shape.len(), whole(a, b), whole(b, a)) {
            (true, true, _) => Ok(Self { wide: a, narrow: b }),
            (true, _, true) => Ok(Self { wide: b, narrow: a }),
            _ => Err(format!("[N, {}] and [N, {}] do not go together here", join(&a.seen()), join(&b.seen()))),
        }
    }
}

/// Of a value and a constant: one number for all belongs to a function, one a channel is a scale.
fn with_constant<'f>(
    reader: &mut Reader<'f>,
    node: &Node<'f>,
    op: Arithmetic,
    live: &Live,
    constant: &Tensor,
    constant_first: bool,
) -> Result<Live, String> {
    if let Some(number) = constant.scalar() {
        let (live_side, number) = (Rc::clone(&live.expr), Expr::number(f64::from(number)));
        let (a, b) = if constant_first { (number, live_side) } else { (live_side, number) };
        return Ok(elementwise(node, live, Kind::Binary(op, a, b)));
    }
    let values = per_channel(live, constant)?;
    let channels = values.len();
    let ones = || vec![1.0; channels];
    let (weight, bias) = match (op, constant_first) {
        (Arithmetic::Add, _) => (ones(), values),
        (Arithmetic::Sub, false) => (ones(), values.iter().map(|v| -v).collect()),
        (Arithmetic::Sub, true) => (vec![-1.0; channels], values),
        (Arithmetic::Mul, _) => (values, vec![0.0; channels]),
        (Arithmetic::Div, false) => (values.iter().map(|v| 1.0 / v).collect(), vec![0.0; channels]),
        (Arithmetic::Div, true) => return Err("a constant divided by a value is not known here".to_owned()),
    };
    let trained = constant.stored;
    let (mut name, mut bias, mut after) = (node.output(), bias, None);
    // A shift right behind a factor belongs to it.
    if op == Arithmetic::Mul
        && let Some((at, next)) = reader.only_reader(node, "Add")
        && let Some(shift) = reader.other_operand(&next, node.output())
        && shift.len() > 1
        && let Ok(shift) = per_channel(live, &shift)
    {
        (name, bias, after) = (next.output(), shift, Some(at));
    }
    // A factor alone has no shift to learn.
    let has_bias = bias.iter().any(|b| *b != 0.0) || after.is_some();
    let scale = Scale { channels, bias: has_bias, trained };
    let array = |values| Tensor::floats(vec![channels], values).array(vec![channels]);
    let mut params = vec![("weight", array(weight)?)];
    if has_bias {
        params.push(("bias", array(bias)?));
    }
    let made = reader.add(name, Op::Scale(scale), &[live], params)?;
    let made = Live { view: live.view, ..made };
    if let Some(at) = after {
        reader.take(at, &made);
    }
    Ok(made)
}

/// A constant as one number a channel, if it is that as far as ONNX lays it over the value.
pub(super) fn per_channel(live: &Live, constant: &Tensor) -> Result<Vec<f32>, String> {
    let fail = || {
        let (dims, seen) = (&constant.dims, join(&live.seen()));
        format!("a constant of shape {dims:?} over [N, {seen}], expected one number, or one a channel")
    };
    let axis = live.channel_axis().ok_or_else(fail)?;
    let rank = live.seen().len() + 1;
    let before = rank.checked_sub(constant.dims.len()).ok_or_else(fail)?;
    let fits = constant.dims.iter().enumerate().all(|(at, size)| *size == 1 || at + before == axis);
    match (fits && constant.len() == live.shape[0], constant.to_floats()) {
        (true, Some(values)) if live.view != View::NoChannel => Ok(values),
        _ => Err(fail()),
    }
}
