//! What a network means, node by node, in floats: quantisers round, everything else is exact to `f64`.

use attar_models::op::{Conv2d, Pool2d};
use attar_models::{Activation, Graph, Node, Op, Weights};

use crate::networks::Network;

/// Logits of a network, in `f64` over `[C, H, W]`.
pub(crate) fn run(network: &Network, image: &[f32]) -> Vec<f64> {
    let Network { graph, weights } = network;
    let mut values: Vec<Vec<f64>> = Vec::new();
    for node in graph.nodes() {
        let value = if node.inputs.is_empty() {
            image.iter().map(|x| f64::from(*x)).collect()
        } else {
            let inputs: Vec<&[f64]> = node.inputs.iter().map(|input| &values[input.index()][..]).collect();
            made(graph, weights, node, &inputs)
        };
        assert_eq!(value.len(), node.shape.iter().product::<usize>(), "{}", node.name);
        values.push(value);
    }
    values.swap_remove(graph.output().index())
}

fn made(graph: &Graph, weights: &Weights, node: &Node, inputs: &[&[f64]]) -> Vec<f64> {
    let param = |suffix: &str| weights.get(&format!("{}.{suffix}", node.name)).unwrap().f32().unwrap();
    let first = |suffix: &str| f64::from(param(suffix)[0]);
    let (x, shape) = (inputs[0], &graph.node(node.inputs[0]).shape[..]);
    let plane: usize = shape[1..].iter().product();
    let each = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(*x)).collect::<Vec<f64>>();
    let pixels = |f: &dyn Fn(usize, usize, usize) -> f64| {
        let (size, mut made) = (&node.shape, Vec::new());
        (0..size[0]).for_each(|c| (0..size[1]).for_each(|y| made.extend((0..size[2]).map(|x| f(c, y, x)))));
        made
    };
    match &node.op {
        Op::Conv2d(conv) => convolution(conv, x, shape, &node.shape, (param("weight"), param("bias"))),
        Op::Linear(linear) => {
            let row = |(weights, bias): (&[f32], &f32)| {
                f64::from(*bias) + x.iter().zip(weights).map(|(x, weight)| x * f64::from(*weight)).sum::<f64>()
            };
            param("weight").chunks(linear.in_features).zip(param("bias")).map(row).collect()
        }
        Op::BatchNorm2d(norm) => {
            let at = |suffix: &str, c: usize| f64::from(param(suffix)[c]);
            let normed = |(i, x): (usize, &f64)| {
                let c = i / plane;
                let deviation = (at("running_var", c) + norm.eps).sqrt();
                (x - at("running_mean", c)) / deviation * at("weight", c) + at("bias", c)
            };
            x.iter().enumerate().map(normed).collect()
        }
        Op::Activation(activation) => each(&|x| activated(*activation, x)),
        Op::Quantize(quantize) => {
            let ([low, high], scale, zero) = (quantize.range().map(f64::from), first("scale"), first("zero_point"));
            each(&|x| ((x / scale).round_ties_even() + zero).clamp(low, high))
        }
        Op::Dequantize(_) => each(&|x| (x - first("zero_point")) * first("scale")),
        Op::Add(_) | Op::Mul(_) => {
            let other = &graph.node(node.inputs[1]).shape[..];
            let second = |i: usize| inputs[1][spread(shape, other, i)];
            let sum = matches!(node.op, Op::Add(_));
            x.iter().enumerate().map(|(i, x)| if sum { x + second(i) } else { x * second(i) }).collect()
        }
        Op::Scale(_) => {
            let scaled =
                |(i, x): (usize, &f64)| x * f64::from(param("weight")[i / plane]) + f64::from(param("bias")[i / plane]);
            x.iter().enumerate().map(scaled).collect()
        }
        Op::PRelu(_) => {
            let slope = |i: usize| f64::from(param("weight")[i / plane % param("weight").len()]);
            x.iter().enumerate().map(|(i, x)| if *x > 0.0 { *x } else { slope(i) * x }).collect()
        }
        Op::LayerNorm2d(norm) => over_channels(x, plane, &|pixel| {
            let mean = pixel.iter().sum::<f64>() / pixel.len() as f64;
            let variance = pixel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / pixel.len() as f64;
            let normed = |(c, x): (usize, &f64)| {
                (x - mean) / (variance + norm.eps).sqrt() * f64::from(param("weight")[c]) + f64::from(param("bias")[c])
            };
            pixel.iter().enumerate().map(normed).collect()
        }),
        Op::Softmax(_) => over_channels(x, plane, &|pixel| {
            let most = pixel.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = pixel.iter().map(|x| (x - most).exp()).sum();
            pixel.iter().map(|x| (x - most).exp() / sum).collect()
        }),
        Op::Concat(_) => inputs.concat(),
        Op::SliceChannels(slice) => x[slice.start * plane..slice.end * plane].to_vec(),
        Op::ChannelShuffle(shuffle) => {
            let each = shape[0] / shuffle.groups;
            let from = |c: usize| c % shuffle.groups * each + c / shuffle.groups;
            (0..shape[0]).flat_map(|c| x[from(c) * plane..][..plane].to_vec()).collect()
        }
        Op::Subsample(subsample) => {
            pixels(&|c, y, u| x[(c * shape[1] + y * subsample.stride) * shape[2] + u * subsample.stride])
        }
        Op::PadChannels(pad) => [vec![0.0; pad.before * plane], x.to_vec(), vec![0.0; pad.after * plane]].concat(),
        Op::Pad2d(pad) => pixels(&|c, y, u| at(x, shape, c, y as i64 - pad.top as i64, u as i64 - pad.left as i64)),
        Op::MaxPool2d(pool) => pixels(&|c, y, u| {
            let (seen, _) = window(pool, shape, y, u);
            seen.iter().map(|[y, u]| at(x, shape, c, *y, *u)).fold(f64::NEG_INFINITY, f64::max)
        }),
        Op::AvgPool2d(pool) => pixels(&|c, y, u| {
            let (seen, counted) = window(pool, shape, y, u);
            seen.iter().map(|[y, u]| at(x, shape, c, *y, *u)).sum::<f64>() / counted as f64
        }),
        Op::GlobalAvgPool(_) => x.chunks(plane).map(|plane| plane.iter().sum::<f64>() / plane.len() as f64).collect(),
        Op::Flatten(_) | Op::Dropout(_) | Op::StochasticDepth(_) | Op::Reshape(_) => x.to_vec(),
        other => panic!("no random network has {}", other.kind()),
    }
}

/// Where a sum's or product's second operand, of which axes may be 1, has what belongs to an element of the first.
fn spread(shape: &[usize], other: &[usize], mut element: usize) -> usize {
    let (mut place, mut step) = (0, 1);
    for (size, part) in shape.iter().zip(other).rev() {
        place += if *part == 1 { 0 } else { element % size * step };
        element /= size;
        step *= part;
    }
    place
}

/// What is made of each pixel's channels.
fn over_channels(x: &[f64], plane: usize, made: &dyn Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut all = vec![0.0; x.len()];
    for at in 0..plane {
        let pixel: Vec<f64> = x.iter().skip(at).step_by(plane).copied().collect();
        made(&pixel).into_iter().enumerate().for_each(|(c, value)| all[c * plane + at] = value);
    }
    all
}

/// An element; 0 beyond the image.
fn at(image: &[f64], shape: &[usize], c: usize, y: i64, x: i64) -> f64 {
    let inside = (0..shape[1] as i64).contains(&y) && (0..shape[2] as i64).contains(&x);
    if inside { image[(c * shape[1] + y as usize) * shape[2] + x as usize] } else { 0.0 }
}

/// Pixels of the image that a window sees, and how many a mean divides by.
fn window(pool: &Pool2d, shape: &[usize], y: usize, x: usize) -> (Vec<[i64; 2]>, usize) {
    let begin = |axis: usize, at: usize| (at * pool.stride[axis]) as i64 - pool.padding[axis] as i64;
    let end = |axis: usize, at: usize, behind: usize| {
        (begin(axis, at) + pool.kernel[axis] as i64).min((shape[axis + 1] + behind) as i64)
    };
    let all = |behind: [usize; 2]| {
        let rows = begin(0, y)..end(0, y, behind[0]);
        rows.flat_map(|v| (begin(1, x)..end(1, x, behind[1])).map(move |u| [v, u])).collect::<Vec<[i64; 2]>>()
    };
    let inside = |[y, x]: &[i64; 2]| *y >= 0 && *x >= 0;
    let seen: Vec<[i64; 2]> = all([0, 0]).into_iter().filter(inside).collect();
    let counted = if pool.count_include_pad { all(pool.padding_end()).len() } else { seen.len() };
    (seen, counted)
}

fn convolution(
    conv: &Conv2d,
    image: &[f64],
    shape: &[usize],
    output: &[usize],
    (weights, bias): (&[f32], &[f32]),
) -> Vec<f64> {
    let (inputs, outputs, [rows, columns]) =
        (conv.in_channels / conv.groups, conv.out_channels / conv.groups, conv.kernel);
    let mut made = Vec::new();
    for c in 0..output[0] {
        for (y, x) in (0..output[1]).flat_map(|y| (0..output[2]).map(move |x| (y, x))) {
            let mut sum = f64::from(bias[c]);
            for (i, v, u) in (0..inputs).flat_map(|i| (0..rows).flat_map(move |v| (0..columns).map(move |u| (i, v, u))))
            {
                let place = |axis: usize, at: usize, tap: usize| {
                    (at * conv.stride[axis] + tap * conv.dilation[axis]) as i64 - conv.padding[axis] as i64
                };
                let value = at(image, shape, c / outputs * inputs + i, place(0, y, v), place(1, x, u));
                sum += value * f64::from(weights[((c * inputs + i) * rows + v) * columns + u]);
            }
            made.push(sum);
        }
    }
    made
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::LeakyRelu(slope) => x.max(x * f64::from(slope.value())),
        Activation::Gelu => x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
    }
}

/// The error function by its series (Abramowitz and Stegun 1964, 7.1.6); beyond 5 it is 1 to `f32`.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}
