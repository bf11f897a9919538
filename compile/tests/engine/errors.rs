//! What cannot be compiled is refused by the name of its node.

use attar_compile::{Options, compile};
use attar_models::op::{Add, Conv2d, Dequantize, Flatten, GlobalAvgPool, Linear, Mul, Quantize};
use attar_models::{Activation, Array, GraphBuilder, NodeId, Op, generated};

/// A network in the making; parameters are generated where none are given.
struct Making {
    builder: GraphBuilder,
    given: Vec<(String, Vec<f32>)>,
    last: NodeId,
}

impl Making {
    fn new(input: [usize; 3]) -> Self {
        let (builder, last) = GraphBuilder::new("errors", input).unwrap();
        Self { builder, given: Vec::new(), last }
    }

    fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.last = self.builder.add(name, op, inputs).unwrap();
        self.last
    }

    fn give(&mut self, name: &str, values: &[f32]) {
        self.given.push((name.to_owned(), values.to_vec()));
    }

    /// Quantised and dequantised.
    fn quantised(&mut self, name: &str, of: NodeId, scale: f32) -> NodeId {
        let quantised = self.add(&format!("{name}.q"), Op::Quantize(Quantize { signed: false, high: None }), &[of]);
        let value = self.add(&format!("{name}.d"), Op::Dequantize(Dequantize {}), &[quantised]);
        for part in ["q", "d"] {
            self.give(&format!("{name}.{part}.scale"), &[scale]);
            self.give(&format!("{name}.{part}.zero_point"), &[3.0]);
        }
        value
    }

    fn row(&mut self) {
        let last = self.last;
        self.add("row", Op::GlobalAvgPool(GlobalAvgPool {}), &[last]);
    }

    fn error(self) -> String {
        let graph = self.builder.finish(self.last);
        let mut weights = generated::weights(&graph, 1);
        for (name, values) in self.given {
            let shape = weights.get(&name).unwrap().shape.clone();
            weights.0.insert(name, Array::new(shape, values).unwrap());
        }
        compile(&graph, &weights, Options::default()).unwrap_err().to_string()
    }
}

#[track_caller]
fn names(error: &str, node: &str, problem: &str) {
    assert!(error.starts_with(&format!("node `{node}`: ")) && error.contains(problem), "{error}");
}

#[test]
fn an_answer_that_is_an_image() {
    let mut making = Making::new([4, 5, 6]);
    let input = making.last;
    making.add("culprit", Op::Activation(Activation::Relu), &[input]);
    names(&making.error(), "culprit", "one row of logits");
}

#[test]
fn scales_of_a_sum_that_are_too_far_apart() {
    for scales in [[1.0, 1.0, 1e-7], [1e-7, 1.0, 1.0], [1e-4, 1e3, 1e-2]] {
        let mut making = Making::new([4, 5, 6]);
        let input = making.last;
        let first = making.quantised("a", input, scales[0]);
        let second = making.quantised("b", input, scales[1]);
        let sum = making.add("culprit", Op::Add(Add {}), &[first, second]);
        making.quantised("c", sum, scales[2]);
        making.row();
        names(&making.error(), "culprit", "more than 2^20 apart");
    }
}

#[test]
fn sums_beyond_32_bits() {
    let mut making = Making::new([1, 260, 256]);
    let input = making.last;
    let bytes = making.quantised("a", input, 0.1);
    let row = making.add("flat", Op::Flatten(Flatten {}), &[bytes]);
    let features = 260 * 256;
    let linear = Linear { in_features: features, out_features: 1, bias: false, quantized: true };
    let linear = making.add("culprit", Op::Linear(linear), &[row]);
    making.give("culprit.weight", &vec![-128.0; features]);
    making.give("culprit.weight_scale", &[1.0]);
    making.quantised("b", linear, 0.1);
    names(&making.error(), "culprit", "sums of its output channel 0 can be beyond 2^31");
}

#[test]
fn numbers_that_mean_something_else_to_who_reads_them() {
    let mut making = Making::new([4, 5, 6]);
    let input = making.last;
    making.quantised("a", input, 0.1);
    making.row();
    making.give("a.d.scale", &[0.2]);
    names(&making.error(), "a.d", "not that of the QuantizeLinear before it");

    let mut making = Making::new([4, 5, 6]);
    let input = making.last;
    making.add("culprit", Op::Dequantize(Dequantize {}), &[input]);
    making.row();
    names(&making.error(), "culprit", "it dequantises what is not quantised");

    let mut making = Making::new([4, 5, 6]);
    let input = making.last;
    making.add("culprit", Op::Quantize(Quantize { signed: true, high: None }), &[input]);
    making.give("culprit.zero_point", &[3.0]);
    making.row();
    names(&making.error(), "culprit", "without a DequantizeLinear between");
}

/// Convolved whole numbers are not dequantised ones.
#[test]
fn layers_of_whole_numbers() {
    for quantised in [false, true] {
        let mut making = Making::new([4, 5, 6]);
        let input = making.last;
        let numbers = making.add("culprit", Op::Quantize(Quantize { signed: false, high: None }), &[input]);
        let conv = Conv2d { quantized: true, ..Conv2d::square(4, 4, 1, 1, 0) };
        let made = making.add("conv", Op::Conv2d(conv), &[numbers]);
        making.give("conv.weight", &[1.0; 16]);
        making.give("conv.weight_scale", &[1.0; 4]);
        if quantised {
            making.quantised("b", made, 0.1);
        }
        making.row();
        names(&making.error(), "culprit", "without a DequantizeLinear between");
    }
}

#[test]
fn scales_whose_product_is_no_number() {
    let mut making = Making::new([4, 5, 6]);
    let input = making.last;
    let first = making.quantised("a", input, 1e30);
    let second = making.quantised("b", input, 2e30);
    let product = making.add("culprit", Op::Mul(Mul {}), &[first, second]);
    making.quantised("c", product, 0.1);
    making.row();
    names(&making.error(), "culprit", "no finite number");
}
