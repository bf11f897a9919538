//! Cross-layer equalisation: channels between two layers are scaled so that both layers' weights use their ranges alike, and
//! the function stays (Nagel et al. 2019, "Data-Free Quantization", section 4.1).

use attar_models::quantised::param;
use attar_models::{Activation, Graph, NodeId, Op, Weights};

use crate::error::Result;
use crate::placement::readers;

/// How often all pairs are gone through, at most.
const ROUNDS: usize = 40;

/// No factor is further from 1 than this when it is done.
const NEAR: f64 = 1e-3;

/// What was equalised.
#[derive(Debug, Clone)]
pub struct Equalised {
    /// The weights: the same function as before.
    pub weights: Weights,
    /// Names of the pairs of layers.
    pub pairs: Vec<[String; 2]>,
    /// Pairs with a ReLU6 between, which is another function of what is scaled: they were left as they are.
    pub across_relu6: Vec<[String; 2]>,
}

/// Equalises all pairs of layers of a prepared network between which nothing or a ReLU stands, and whose middle nobody else
/// reads: with `r1` and `r2` the largest weights that make and read a channel, its scale is divided by
/// `sqrt(r1 r2) / r2`.
///
/// # Errors
/// Weights that are not those of the graph.
pub fn equalise(graph: &Graph, weights: &Weights) -> Result<Equalised> {
    weights.check(graph)?;
    let mut done = Equalised { weights: weights.clone(), pairs: Vec::new(), across_relu6: Vec::new() };
    let mut pairs = Vec::new();
    for pair in pairs_of(graph) {
        let names = pair.layers.map(|id| graph.node(id).name.clone());
        match pair.relu6 {
            true => done.across_relu6.push(names),
            false => {
                done.pairs.push(names);
                pairs.push(pair);
            }
        }
    }
    for _ in 0..ROUNDS {
        let mut furthest = 0.0f64;
        for pair in &pairs {
            furthest = furthest.max(balance(graph, &mut done.weights, pair)?);
        }
        if furthest <= NEAR {
            break;
        }
    }
    Ok(done)
}

/// Two layers behind each other.
struct Pair {
    layers: [NodeId; 2],
    relu6: bool,
}

fn pairs_of(graph: &Graph) -> Vec<Pair> {
    let readers = readers(graph);
    let only = |id: NodeId| match readers[id.index()][..] {
        [one] if id != graph.output() => Some(one),
        _ => None,
    };
    let is_layer = |id: NodeId| matches!(graph.node(id).op, Op::Conv2d(_) | Op::Linear(_));
    // A group of several channels has no scale for each of them.
    let scales = |id: NodeId| match &graph.node(id).op {
        Op::Conv2d(conv) => {
            conv.groups == 1 || conv.groups == conv.in_channels && conv.out_channels == conv.in_channels
        }
        _ => true,
    };
    let mut pairs = Vec::new();
    for (first, _) in graph.iter().filter(|(id, _)| is_layer(*id)) {
        let Some(mut next) = only(first) else { continue };
        let mut relu6 = false;
        if let Op::Activation(activation @ (Activation::Relu | Activation::Relu6)) = graph.node(next).op {
            relu6 = activation == Activation::Relu6;
            let Some(after) = only(next) else { continue };
            next = after;
        }
        if is_layer(next) && scales(next) && channels(graph, first) == graph.node(graph.node(next).inputs[0]).shape[0] {
            pairs.push(Pair { layers: [first, next], relu6 });
        }
    }
    pairs
}

fn channels(graph: &Graph, id: NodeId) -> usize {
    graph.node(id).shape[0]
}

/// Scales the channels between two layers, and says how far the furthest factor was from 1.
fn balance(graph: &Graph, weights: &mut Weights, pair: &Pair) -> Result<f64> {
    let [first, second] = pair.layers.map(|id| graph.node(id));
    let count = channels(graph, pair.layers[0]);
    let made: Vec<f64> = rows(param(weights, first, "weight")?, count);
    let read: Vec<f64> = columns(param(weights, second, "weight")?, &second.op, count);
    let factor = |(made, read): (&f64, &f64)| match *made > 0.0 && *read > 0.0 {
        true => (made * read).sqrt() / read,
        false => 1.0, // a channel that is dead stays so
    };
    let factors: Vec<f64> = made.iter().zip(&read).map(factor).collect();
    let set = |name: String, weights: &mut Weights, change: &dyn Fn(usize, &mut f32, usize)| -> Result<()> {
        if let Some(array) = weights.0.get_mut(&name) {
            let all = array.f32_mut()?;
            let len = all.len();
            all.iter_mut().enumerate().for_each(|(at, value)| change(at, value, len));
        }
        Ok(())
    };
    let divide = |at: usize, value: &mut f32, len: usize| {
        *value = (f64::from(*value) / factors[at * count / len]) as f32;
    };
    set(format!("{}.weight", first.name), weights, &divide)?;
    set(format!("{}.bias", first.name), weights, &divide)?;
    let second_op = second.op.clone();
    set(format!("{}.weight", second.name), weights, &|at, value, len| {
        *value = (f64::from(*value) * factors[column(&second_op, at, len)]) as f32;
    })?;
    Ok(factors.iter().map(|factor| (factor - 1.0).abs()).fold(0.0, f64::max))
}

/// The largest weight of each row.
fn rows(weight: &[f32], count: usize) -> Vec<f64> {
    let depth = (weight.len() / count.max(1)).max(1);
    let largest = |row: &[f32]| row.iter().fold(0.0f64, |most, value| most.max(f64::from(value.abs())));
    weight.chunks(depth).map(largest).collect()
}

/// The largest weight that reads each channel.
fn columns(weight: &[f32], op: &Op, count: usize) -> Vec<f64> {
    let mut largest = vec![0.0f64; count];
    for (at, value) in weight.iter().enumerate() {
        let place = &mut largest[column(op, at, weight.len())];
        *place = place.max(f64::from(value.abs()));
    }
    largest
}

/// The input channel that a weight reads.
fn column(op: &Op, at: usize, len: usize) -> usize {
    match op {
        Op::Conv2d(conv) if conv.groups > 1 => at * conv.out_channels / len, // depthwise: its own
        Op::Conv2d(conv) => at / (conv.kernel[0] * conv.kernel[1]) % conv.in_channels,
        Op::Linear(linear) => at % linear.in_features,
        _ => 0,
    }
}
