//! A small network around each operation, so that what is asked of operations is asked of all of
//! them.

use attar_measures::random::Stream;
use attar_models::op::{
    Add, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, LayerNorm2d, Mul, PRelu, PadChannels, Pool2d, Quantize,
    Reshape, Scale, SliceChannels, Softmax, StochasticDepth,
};
use attar_models::{Activation, Graph, GraphBuilder, NodeId, Op};

use super::{BF16, Checks, Named, ROUNDING, missing, random};
use crate::context::Context;
use crate::error::Result;
use crate::network::Network;
use crate::params::Params;
use crate::precision::Precision;

/// One network for each operation of [`Op::examples`], for each activation, and for settings that
/// have ways of their own, with what to call the operation. Its input is an image, its output `[F]`; between them stand the operation, called
/// `op`, and what leads to it.
///
/// # Errors
/// An operation that takes inputs which nothing makes of an image: `lead_to` must learn to.
pub fn examples() -> Result<Vec<(String, Graph)>> {
    let activations = Activation::ALL.into_iter().filter(|other| !matches!(other, Activation::Relu));
    let activations = activations.map(|other| (Op::Activation(other), vec![vec![4, 5, 6]]));
    let named = |(op, shapes): (Op, Vec<Vec<usize>>)| {
        let name = match &op {
            Op::Activation(activation) => activation.name().to_owned(),
            other => other.kind().to_owned(),
        };
        (name, op, shapes)
    };
    let mut all = Vec::new();
    for (name, op, shapes) in Op::examples().into_iter().chain(activations).map(named).chain(others()) {
        if matches!(op, Op::Input(_)) {
            continue;
        }
        let graph = around(&name, op, &shapes)?;
        all.push((name, graph));
    }
    Ok(all)
}

/// What an operation does in other settings, or to a row, in ways that its one example does not go.
fn others() -> Vec<(String, Op, Vec<Vec<usize>>)> {
    broadcast().into_iter().chain(windows()).collect()
}

fn windows() -> Vec<(String, Op, Vec<Vec<usize>>)> {
    let pool = || Pool2d::square(3, 2, 1);
    let (up, uneven) = (Pool2d { ceil_mode: true, ..pool() }, Pool2d { padding_end: Some([2, 0]), ..pool() });
    let alone = Pool2d { count_include_pad: false, ..pool() };
    let image = || vec![vec![4, 7, 8]];
    let all = vec![
        ("max-pool2d-rounded-up", Op::MaxPool2d(up.clone()), image()),
        ("max-pool2d-uneven", Op::MaxPool2d(uneven.clone()), image()),
        ("avg-pool2d-rounded-up", Op::AvgPool2d(up.clone()), image()),
        ("avg-pool2d-uneven", Op::AvgPool2d(uneven), image()),
        ("avg-pool2d-alone", Op::AvgPool2d(alone.clone()), image()),
        ("avg-pool2d-alone-rounded-up", Op::AvgPool2d(Pool2d { ceil_mode: true, ..alone }), image()),
        ("concat-row", Op::Concat(Concat { inputs: 2 }), vec![vec![12], vec![12]]),
        ("slice-channels-row", Op::SliceChannels(SliceChannels { start: 4, end: 9 }), vec![vec![12]]),
        ("softmax-row", Op::Softmax(Softmax {}), vec![vec![12]]),
        ("quantize-signed", Op::Quantize(Quantize { signed: true, high: None }), vec![vec![4, 5, 6]]),
        ("reshape-row", Op::Reshape(Reshape { shape: vec![12, 1, 1] }), vec![vec![12]]),
    ];
    all.into_iter().map(|(name, op, shapes)| (name.to_owned(), op, shapes)).collect()
}

/// Parts that count for many positions, rows, constants.
fn broadcast() -> Vec<(String, Op, Vec<Vec<usize>>)> {
    let image = || vec![4, 5, 6];
    let mut all = Vec::new();
    for part in [[4, 5, 6], [4, 1, 1], [1, 5, 6], [1, 1, 1]] {
        for (what, op) in [("add", Op::Add(Add {})), ("mul", Op::Mul(Mul {}))] {
            let [c, h, w] = part;
            all.push((format!("{what} of {c}x{h}x{w}"), op, vec![image(), part.to_vec()]));
        }
    }
    let constant = Scale { channels: 4, bias: true, trained: false };
    all.push(("scale that stays".to_owned(), Op::Scale(constant), vec![image()]));
    let factor = Scale { channels: 12, bias: false, trained: true };
    all.push(("scale of a row".to_owned(), Op::Scale(factor), vec![vec![12]]));
    all.push(("prelu of one slope".to_owned(), Op::PRelu(PRelu { channels: 1 }), vec![image()]));
    let row = LayerNorm2d { channels: 12, eps: 1e-6 };
    all.push(("layer-norm2d of a row".to_owned(), Op::LayerNorm2d(row), vec![vec![12]]));
    all.push(("stochastic-depth of a row".to_owned(), Op::StochasticDepth(StochasticDepth { p: 0.5 }), vec![vec![12]]));
    all
}

fn around(name: &str, op: Op, shapes: &[Vec<usize>]) -> Result<Graph> {
    let image = match shapes.first().map(Vec::as_slice) {
        Some(&[c, h, w]) => [c, h, w],
        Some(&[f]) if f.is_multiple_of(3) => [3, 1, f / 3],
        Some(&[f]) => [1, 1, f],
        _ => return Err(missing("an input of an operation that is an image or a row")),
    };
    let (mut builder, x) = GraphBuilder::new(name, image)?;
    let mut inputs = Vec::with_capacity(shapes.len());
    for (at, shape) in shapes.iter().enumerate() {
        inputs.push(lead_to(&mut builder, x, &image, at, shape)?);
    }
    let at = builder.add("op", op, &inputs)?;
    let end = builder.add("flatten", Op::Flatten(Flatten {}), &[at])?;
    Ok(builder.finish(end))
}

/// A node of this shape that depends on the image.
fn lead_to(builder: &mut GraphBuilder, x: NodeId, image: &[usize; 3], at: usize, shape: &[usize]) -> Result<NodeId> {
    let (op, name) = match shape {
        _ if *shape == image[..] && at == 0 => return Ok(x),
        _ if *shape == image[..] => (Op::Dropout(Dropout { p: 0.0 }), "same"),
        [c] if *c == image[0] && at > 0 => (Op::GlobalAvgPool(GlobalAvgPool {}), "means"),
        [c, 1, 1] if *c == image[0] && at > 0 => {
            let whole = Pool2d::new([image[1], image[2]], [1, 1], [0, 0]);
            (Op::AvgPool2d(whole), "means")
        }
        [c, h, w] if at > 0 && *c > image[0] && [*h, *w] == image[1..] => {
            (Op::PadChannels(PadChannels { before: 1, after: c - image[0] - 1 }), "wider")
        }
        [1, h, w] if [*h, *w] == image[1..] && at > 0 => {
            let mix = Conv2d { out_channels: 1, bias: true, ..Conv2d::square(image[0], 1, 1, 1, 0) };
            (Op::Conv2d(mix), "map")
        }
        [1, 1, 1] if at > 0 => {
            let whole = Conv2d { kernel: [image[1], image[2]], ..Conv2d::square(image[0], 1, 1, 1, 0) };
            (Op::Conv2d(whole), "number")
        }
        [f] if *f == image.iter().product::<usize>() => (Op::Flatten(Flatten {}), "row"),
        _ => return Err(missing(&format!("a way from an image {image:?} to {shape:?}"))),
    };
    Ok(builder.add(format!("{name}{at}"), op, &[x])?)
}

/// Whether a network has an operation whose gradient is not its slope: rounding passes it straight through.
pub fn rounds(graph: &Graph) -> bool {
    graph.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_)))
}

/// Every operation alone, forward and backward.
pub(super) fn alone(checks: &mut Checks) -> Result<()> {
    all(checks, "alone", ROUNDING, Precision::F32)
}

/// With images in `bf16`.
pub(super) fn bf16(checks: &mut Checks) -> Result<()> {
    all(checks, "alone bf16", BF16, Precision::Bf16)
}

fn all(checks: &mut Checks, what: &str, tolerance: f64, precision: Precision) -> Result<()> {
    for (name, graph) in examples()? {
        checks.compare(&format!("{name} {what}"), "its example", tolerance, |at| pass(&graph, precision, at))?;
    }
    Ok(())
}

fn pass(graph: &Graph, precision: Precision, at: &Context) -> Result<Named> {
    let mut network = Network::new(graph.clone(), Params::init(graph, 1, "", at)?, at)?;
    network.set_precision(precision);
    let x = random(&[&[3], graph.input_shape()].concat(), 1, at)?;
    let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1))?;
    let dy = random(outputs.logits.dims(), 2, at)?;
    let found = network.backward(tape, vec![(graph.output(), dy)], true)?;
    let mut all = vec![("y", outputs.logits), ("dx", found.input.ok_or_else(|| missing("the gradient of the input"))?)];
    if !found.params.is_empty() {
        all.push(("dparams", super::flat(found.params.iter().map(|(_, gradient)| gradient))?));
    }
    Ok(all)
}
