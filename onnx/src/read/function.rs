//! Functions of one number, however a file writes them out.
//!
//! `x * clip(x + 3, 0, 6) / 6`, `x * HardSigmoid(x)` and `HardSwish(x)` are one function. What a file computes element by
//! element from one value is kept as an expression until somebody needs it, and then recognised by what it computes:
//! two expressions that agree on a grid of numbers are the same activation.

use std::rc::Rc;

use attar_models::Activation;
use attar_models::op::Slope;

use super::size::Arithmetic;

/// Something computed element by element.
#[derive(Debug)]
pub(super) struct Expr {
    /// The file's name of the value.
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The value of a node of the draft.
    Node(usize),
    /// A constant, the same for all elements.
    Number(f64),
    Unary(Function, Rc<Expr>),
    Binary(Arithmetic, Rc<Expr>, Rc<Expr>),
}

/// A function that ONNX has as an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Relu,
    Clip(f64, f64),
    LeakyRelu(f64),
    Elu(f64),
    Sigmoid,
    HardSigmoid(f64, f64),
    HardSwish,
    Swish(f64),
    Gelu,
    GeluTanh,
    Mish,
    Softplus,
    Tanh,
    Erf,
    Exp,
    Sqrt,
    Abs,
    Neg,
    Reciprocal,
    Power(f64),
}

impl Function {
    fn of(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        match self {
            Self::Relu => x.max(0.0),
            Self::Clip(low, high) => x.max(low).min(high),
            Self::LeakyRelu(slope) if x < 0.0 => slope * x,
            Self::LeakyRelu(_) => x,
            Self::Elu(alpha) if x < 0.0 => alpha * x.exp_m1(),
            Self::Elu(_) => x,
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Swish(alpha) => x * sigmoid(alpha * x),
            Self::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Self::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
            }
            Self::Mish => x * softplus(x).tanh(),
            Self::Softplus => softplus(x),
            Self::Tanh => x.tanh(),
            Self::Erf => erf(x),
            Self::Exp => x.exp(),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Neg => -x,
            Self::Reciprocal => 1.0 / x,
            Self::Power(exponent) => x.powf(exponent),
        }
    }
}

/// The error function to about 1e-15: its Taylor series where that converges at once, else a continued fraction
/// (Abramowitz and Stegun 1964, 7.1.5 and 7.1.14).
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..60 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return (2.0 / std::f64::consts::PI.sqrt() * sum).copysign(x);
    }
    let fraction = (1..60).rev().fold(a, |below, n| a + f64::from(n) / 2.0 / below);
    (1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
}

impl Expr {
    /// The value that a node of the draft makes.
    pub(super) fn node(name: &str, node: usize) -> Rc<Self> {
        Rc::new(Self { name: name.to_owned(), kind: Kind::Node(node) })
    }

    pub(super) fn number(value: f64) -> Rc<Self> {
        Rc::new(Self { name: String::new(), kind: Kind::Number(value) })
    }

    /// The node whose elements it is computed from; `None` for a constant.
    pub(super) fn base(&self) -> Option<usize> {
        match &self.kind {
            Kind::Node(node) => Some(*node),
            Kind::Number(_) => None,
            Kind::Unary(_, inner) => inner.base(),
            Kind::Binary(_, a, b) => a.base().or_else(|| b.base()),
        }
    }

    /// What it is where the base is `x`.
    fn at(&self, x: f64) -> f64 {
        match &self.kind {
            Kind::Node(_) => x,
            Kind::Number(value) => *value,
            Kind::Unary(function, inner) => function.of(inner.at(x)),
            Kind::Binary(op, a, b) => op.apply(a.at(x), b.at(x)),
        }
    }

    /// What it computes, as far as a network has a word for it.
    pub(super) fn meaning(&self) -> Meaning {
        let values: Vec<(f64, f64)> = grid().map(|x| (x, self.at(x))).collect();
        // What is small everywhere is compared at its own scale.
        let scale = values.iter().map(|(_, y)| y.abs()).fold(0.0, f64::max).min(1.0);
        let agrees =
            |f: &dyn Fn(f64) -> f64| values.iter().all(|(x, y)| (f(*x) - y).abs() <= CLOSE * (scale + y.abs()));
        let slope = Function::LeakyRelu(-self.at(-1.0));
        let known = [
            (Activation::Relu, Function::Relu),
            (Activation::Relu6, Function::Clip(0.0, 6.0)),
            (Activation::HardSwish, Function::HardSwish),
            (Activation::HardSigmoid, Function::HardSigmoid(1.0 / 6.0, 0.5)),
            (Activation::Sigmoid, Function::Sigmoid),
            (Activation::Silu, Function::Swish(1.0)),
            (Activation::Gelu, Function::Gelu),
            (Activation::GeluTanh, Function::GeluTanh),
        ];
        if let Some((activation, _)) = known.iter().find(|(_, function)| agrees(&|x| function.of(x))) {
            return Meaning::Activation(*activation);
        }
        let (offset, factor) = (self.at(0.0), self.at(1.0) - self.at(0.0));
        if agrees(&|x| factor * x + offset) {
            return match (factor, offset) {
                (1.0, 0.0) => Meaning::Identity,
                _ => Meaning::Affine { factor: factor as f32, offset: offset as f32 },
            };
        }
        match (slope, Slope::new(-self.at(-1.0) as f32)) {
            (function, Some(slope)) if agrees(&|x| function.of(x)) => Meaning::Activation(Activation::LeakyRelu(slope)),
            _ => Meaning::Unknown,
        }
    }
}

/// What an expression of one value computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Identity,
    Activation(Activation),
    Affine { factor: f32, offset: f32 },
    Unknown,
}

/// How close two functions must be to be one: constants of a file are rounded to `f32`.
const CLOSE: f64 = 2e-6;

/// Numbers at which functions are compared: dense where activations bend, and far out.
fn grid() -> impl Iterator<Item = f64> {
    let near = (-240..=240).map(|i| f64::from(i) * 0.0317);
    near.chain([-1e6, -1e3, -40.0, -17.3, -11.0, 9.1, 12.5, 33.0, 1e3, 1e6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unary(function: Function, inner: &Rc<Expr>) -> Rc<Expr> {
        Rc::new(Expr { name: "y".to_owned(), kind: Kind::Unary(function, Rc::clone(inner)) })
    }

    fn binary(op: Arithmetic, a: &Rc<Expr>, b: &Rc<Expr>) -> Rc<Expr> {
        Rc::new(Expr { name: "y".to_owned(), kind: Kind::Binary(op, Rc::clone(a), Rc::clone(b)) })
    }

    #[test]
    fn one_function_has_many_spellings() {
        let x = Expr::node("x", 0);
        let [three, six, half, one] = [3.0, 6.0, 0.5, 1.0].map(Expr::number);
        let shifted = binary(Arithmetic::Add, &x, &three);
        let gate = binary(Arithmetic::Div, &unary(Function::Clip(0.0, 6.0), &shifted), &six);
        assert_eq!(gate.meaning(), Meaning::Activation(Activation::HardSigmoid));
        assert_eq!(binary(Arithmetic::Mul, &x, &gate).meaning(), Meaning::Activation(Activation::HardSwish));
        let sixth = Function::HardSigmoid(f64::from(1.0f32 / 6.0), 0.5);
        assert_eq!(
            binary(Arithmetic::Mul, &unary(sixth, &x), &x).meaning(),
            Meaning::Activation(Activation::HardSwish)
        );
        let sigmoid = unary(Function::Sigmoid, &x);
        assert_eq!(binary(Arithmetic::Mul, &x, &sigmoid).meaning(), Meaning::Activation(Activation::Silu));
        let root = Expr::number(f64::from(std::f32::consts::SQRT_2));
        let erf = unary(Function::Erf, &binary(Arithmetic::Div, &x, &root));
        let gelu = binary(Arithmetic::Mul, &binary(Arithmetic::Mul, &x, &binary(Arithmetic::Add, &erf, &one)), &half);
        assert_eq!(gelu.meaning(), Meaning::Activation(Activation::Gelu));
        assert_eq!(unary(Function::GeluTanh, &x).meaning(), Meaning::Activation(Activation::GeluTanh));
        let clipped = unary(Function::Clip(0.0, f64::from(f32::MAX)), &x);
        assert_eq!(clipped.meaning(), Meaning::Activation(Activation::Relu));
        assert_eq!(unary(Function::Clip(0.0, 100.0), &x).meaning(), Meaning::Unknown, "it ends far out");
        let doubled = binary(Arithmetic::Mul, &shifted, &Expr::number(2.0));
        assert_eq!(doubled.meaning(), Meaning::Affine { factor: 2.0, offset: 6.0 });
        assert_eq!(binary(Arithmetic::Mul, &x, &one).meaning(), Meaning::Identity);
        assert_eq!(unary(Function::Tanh, &x).meaning(), Meaning::Unknown);
        let tiny = binary(Arithmetic::Mul, &unary(Function::Gelu, &x), &Expr::number(1e-8));
        assert_eq!(tiny.meaning(), Meaning::Unknown, "however small it is, it is not a straight line");
        assert_eq!(binary(Arithmetic::Add, &x, &unary(Function::Relu, &x)).meaning(), Meaning::Unknown);
        let Meaning::Activation(Activation::LeakyRelu(slope)) = unary(Function::LeakyRelu(0.1), &x).meaning() else {
            panic!("leaky");
        };
        assert_eq!(slope.value(), 0.1);
    }

    #[test]
    fn the_error_function_is_what_tables_say() {
        for (x, expected) in [
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - expected).abs() < 1e-12 && (erf(-x) + expected).abs() < 1e-12, "{x}: {}", erf(x));
        }
    }
}
