//! Layer norms written out, as exporters do below operator set 17 and our writer does always: mean, difference, square, mean,
//! epsilon, root, quotient, factor, shift.

use std::rc::Rc;

use super::arithmetic::per_channel;
use super::norms::layer_norm_node;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::value::{Live, Moment, MomentKind, Value};

/// The mean of `input` over its channels, which stay as an axis of 1.
pub(super) fn mean(input: &Live) -> Vec<Value> {
    made(input, MomentKind::Mean)
}

fn made(of: &Live, kind: MomentKind) -> Vec<Value> {
    vec![Value::Moment(Rc::new(Moment { of: of.clone(), kind }))]
}

/// The next operation on the way to a layer norm.
pub(super) fn read<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let value = |at: usize| node.input(at).and_then(|name| reader.value(name)).cloned();
    let scalar = |value: &Option<Value>| match value {
        Some(Value::Constant(tensor)) => tensor.scalar(),
        _ => None,
    };
    let unknown = || "a mean over channels is known as part of a layer norm only".to_owned();
    let (first, second) = (value(0), value(1));
    let of_same = |a: &Live, b: &Live| Rc::ptr_eq(&a.expr, &b.expr);
    match (node.op(), &first, &second) {
        ("Sub", Some(Value::Live(x)), Some(Value::Moment(m))) if m.kind == MomentKind::Mean && of_same(x, &m.of) => {
            Ok(made(x, MomentKind::Centred))
        }
        ("Mul", Some(Value::Moment(a)), Some(Value::Moment(b)))
            if (a.kind, b.kind) == (MomentKind::Centred, MomentKind::Centred) && of_same(&a.of, &b.of) =>
        {
            Ok(made(&a.of, MomentKind::Square))
        }
        ("Pow", Some(Value::Moment(m)), exponent) if m.kind == MomentKind::Centred && scalar(exponent) == Some(2.0) => {
            Ok(made(&m.of, MomentKind::Square))
        }
        ("ReduceMean", Some(Value::Moment(m)), _) if m.kind == MomentKind::Square => {
            let axes = super::pools::reduced_axes(reader, node, &m.of)?;
            if m.of.channel_axis().is_none_or(|axis| axes != [axis]) || node.int("keepdims") == Some(0) {
                return Err(unknown());
            }
            Ok(made(&m.of, MomentKind::Variance { eps: 0.0 }))
        }
        ("Add", Some(Value::Moment(m)), eps) | ("Add", eps, Some(Value::Moment(m))) => match (m.kind, scalar(eps)) {
            (MomentKind::Variance { .. }, Some(eps)) => Ok(made(&m.of, MomentKind::Variance { eps })),
            _ => Err(unknown()),
        },
        ("Sqrt", Some(Value::Moment(m)), None) => match m.kind {
            MomentKind::Variance { eps } => Ok(made(&m.of, MomentKind::Deviation { eps })),
            _ => Err(unknown()),
        },
        ("Div", Some(Value::Moment(a)), Some(Value::Moment(b))) if of_same(&a.of, &b.of) => match (a.kind, b.kind) {
            (MomentKind::Centred, MomentKind::Deviation { eps }) => normalised(reader, node, &a.of, eps),
            _ => Err(unknown()),
        },
        ("Identity" | "Cast", Some(moment), None) => Ok(vec![moment.clone()]),
        _ => Err(unknown()),
    }
}

/// The norm, with the factor and the shift that follow right behind it.
fn normalised<'f>(reader: &mut Reader<'f>, node: &Node<'f>, of: &Live, eps: f32) -> Result<Vec<Value>, String> {
    let channels = of.shape[0];
    let follows = |from: &Node<'f>, op: &str| -> Option<(usize, Node<'f>, Vec<f32>)> {
        let (at, next) = reader.only_reader(from, op)?;
        let values = per_channel(of, &*reader.other_operand(&next, from.output())?).ok()?;
        Some((at, next, values))
    };
    let factor = follows(node, "Mul");
    let shift = factor.as_ref().and_then(|(_, factor, _)| follows(factor, "Add"));
    let last = shift.as_ref().or(factor.as_ref()).map_or(*node, |(_, last, _)| *last);
    let weight = factor.as_ref().map_or_else(|| vec![1.0; channels], |(.., values)| values.clone());
    let bias = shift.as_ref().map_or_else(|| vec![0.0; channels], |(.., values)| values.clone());
    let live = layer_norm_node(reader, last.output(), of, f64::from(eps), weight, bias)?;
    for (at, ..) in factor.iter().chain(&shift) {
        reader.take(*at, &live);
    }
    Ok(vec![Value::Live(live)])
}
