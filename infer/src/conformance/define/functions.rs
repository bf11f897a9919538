//! Functions of one number, and of two that go together.

use super::fault::Fault;
use super::node::Node;
use super::tensor::{Tensor, broadcast, places};

/// A function of one number, by the name of its operation.
pub(super) fn unary(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let function = function(node)?;
    Ok(Tensor { values: x.values.iter().map(|x| function(*x)).collect(), whole: None, ..x.clone() })
}

/// It, so that operations on bytes can ask for it, too.
pub(super) fn function<'n>(node: &'n Node<'_>) -> Result<Box<dyn Fn(f64) -> f64 + 'n>, String> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let hard = |x: f64, slope: f64, middle: f64| (slope * x + middle).clamp(0.0, 1.0);
    Ok(match node.proto.op_type().trim_start_matches("QLinear") {
        "Relu" => Box::new(|x| x.max(0.0)),
        "Sigmoid" => Box::new(sigmoid),
        "Tanh" => Box::new(f64::tanh),
        "Erf" => Box::new(erf),
        "Sqrt" => Box::new(f64::sqrt),
        "Exp" => Box::new(f64::exp),
        "Neg" => Box::new(|x| -x),
        "HardSigmoid" => {
            let (alpha, beta) = (node.float("alpha", 0.2, 1.0 / 6.0), node.float("beta", 0.5, 0.5));
            Box::new(move |x| hard(x, alpha, beta))
        }
        "HardSwish" => Box::new(move |x| x * hard(x, f64::from(1.0f32 / 6.0), 0.5)),
        "LeakyRelu" => {
            let slope = node.float("alpha", 0.01, 0.2);
            Box::new(move |x| if x < 0.0 { slope * x } else { x })
        }
        "Gelu" if node.text("approximate") == Some("tanh") => Box::new(|x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }),
        "Gelu" => Box::new(|x| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))),
        "Clip" => {
            let bound = |at: usize, name: &str, default: f64| match node.maybe(at) {
                Some(bound) => bound.values.first().copied().unwrap_or(default),
                None if node.has_setting(name) => node.float(name, 0.0, 0.0),
                None => default,
            };
            let (mut low, mut high) = (bound(1, "min", f64::NEG_INFINITY), bound(2, "max", f64::INFINITY));
            if node.has(Fault::ClipIsRelu6) {
                (low, high) = (0.0, 6.0);
            }
            Box::new(move |x| x.max(low).min(high))
        }
        op => return Err(format!("`{op}` is not defined here")),
    })
}

/// `erf(x) = 2 / sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1))` (Abramowitz and Stegun 1964, 7.1.6), whose terms have
/// one sign.
fn erf(x: f64) -> f64 {
    let size = x.abs().min(6.0);
    let (mut term, mut sum) = (size, size);
    for n in 1..200 {
        term *= 2.0 * size * size / f64::from(2 * n + 1);
        sum += term;
    }
    x.signum() * (std::f64::consts::FRAC_2_SQRT_PI * (-size * size).exp() * sum).min(1.0)
}

/// Two values number by number.
pub(super) fn binary(node: &Node<'_>) -> Result<Tensor, String> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    pairwise(node.proto.op_type(), a, b)
}

pub(super) fn pairwise(op: &str, a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    let function: fn(f64, f64) -> f64 = match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        "PRelu" => |x, slope| if x < 0.0 { slope * x } else { x },
        _ => return Err(format!("`{op}` is not defined here")),
    };
    let shape = broadcast(&a.shape, &b.shape)?;
    let (of_a, of_b) = (places(a, &shape), places(b, &shape));
    let values = of_a.iter().zip(&of_b).map(|(x, y)| function(a.values[*x], b.values[*y])).collect();
    Ok(Tensor::of_kind(shape, a.kind, values))
}

pub(super) fn sum(node: &Node<'_>) -> Result<Tensor, String> {
    let mut all = node.input(0)?.clone();
    for at in 1..node.given.len() {
        all = pairwise("Add", &all, node.input(at)?)?;
    }
    Ok(all)
}

/// Over one axis; before operator set 13 over all from it on, the default being axis 1.
pub(super) fn softmax(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let new = node.opset >= 13 || node.has(Fault::NewSoftmax);
    let axis = node.axis("axis", if node.opset >= 13 { -1 } else { 1 }, x.shape.len())?;
    let (length, step) = match new {
        true => (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>()),
        false => (x.shape[axis..].iter().product(), 1),
    };
    let mut values = x.values.clone();
    let rows = values.len() / length.max(1);
    for row in 0..rows {
        let start = (row / step) * step * length + row % step;
        let places: Vec<usize> = (0..length).map(|at| start + at * step).collect();
        let most = places.iter().map(|at| x.values[*at]).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = places.iter().map(|at| (x.values[*at] - most).exp()).sum();
        places.iter().for_each(|at| values[*at] = (x.values[*at] - most).exp() / total);
    }
    Ok(Tensor::floats(x.shape.clone(), values))
}
