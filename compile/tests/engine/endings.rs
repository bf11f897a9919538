//! How quantised layers end: as floats, or as bytes with a largest number of their quantiser's own.

use attar_compile::{Options, compile};
use attar_edge::layer::FloatFunction;
use attar_edge::plan::{Convolution, Function, Kind, Step, Tensor};
use attar_edge::{Input, Level, Model, reference};
use attar_models::op::{Add, Conv2d, Dequantize, Flatten, GlobalAvgPool, Linear, Quantize};
use attar_models::{Activation, Array, GraphBuilder, NodeId, Op, Weights};

use crate::networks::Network;
use crate::{bits, levels, logits, oracle};

/// A network in the making.
struct Making {
    builder: GraphBuilder,
    weights: Weights,
    last: NodeId,
}

impl Making {
    fn new(input: [usize; 3]) -> Self {
        let (builder, last) = GraphBuilder::new("endings", input).unwrap();
        Self { builder, weights: Weights::default(), last }
    }

    fn add(&mut self, name: &str, op: Op, params: &[(&str, Vec<f32>)]) {
        self.join(name, op, &[self.last], params);
    }

    fn join(&mut self, name: &str, op: Op, inputs: &[NodeId], params: &[(&str, Vec<f32>)]) {
        let shapes: Vec<(&str, Vec<usize>)> =
            op.params().into_iter().map(|param| (param.suffix, param.shape)).collect();
        self.last = self.builder.add(name, op, inputs).unwrap();
        for (suffix, values) in params {
            let shape = shapes.iter().find(|(known, _)| known == suffix).unwrap().1.clone();
            self.weights.0.insert(format!("{name}.{suffix}"), Array::new(shape, values.clone()).unwrap());
        }
    }

    fn quantised(&mut self, name: &str, scale: f32, zero: f32, high: Option<u8>) {
        let levels = [("scale", vec![scale]), ("zero_point", vec![zero])];
        self.add(&format!("{name}.q"), Op::Quantize(Quantize { signed: false, high }), &levels);
        self.add(&format!("{name}.d"), Op::Dequantize(Dequantize {}), &levels);
    }

    /// A layer of `outputs` whose weights are these steps, with steps of `scales`, and a bias of floats.
    fn linear(&mut self, name: &str, steps: &[i32], scales: &[f32], bias: Vec<f32>) {
        let depth = steps.len() / scales.len();
        let weights = steps.iter().enumerate().map(|(at, step)| *step as f32 * scales[at / depth]).collect();
        let op = Linear { in_features: depth, out_features: scales.len(), bias: true, quantized: true };
        let params = [("weight", weights), ("bias", bias), ("weight_scale", scales.to_vec())];
        self.add(name, Op::Linear(op), &params);
    }

    fn finish(self) -> Network {
        Network { graph: self.builder.finish(self.last), weights: self.weights }
    }
}

fn plan_of(network: &Network) -> Vec<u8> {
    compile(&network.graph, &network.weights, Options::default()).unwrap()
}

/// Layers, each with what it reads and makes.
fn layers(plan: &[u8]) -> Vec<(Convolution, [Kind; 2])> {
    let model = Model::load(plan).unwrap();
    let tensors: Vec<Tensor> = model.tensors().collect();
    let kinds = |layer: &Convolution| [layer.input, layer.output].map(|number| tensors[number as usize].kind);
    let layer = |step: Step| match step {
        Step::Convolution(layer) => Some((layer, kinds(&layer))),
        _ => None,
    };
    model.steps().filter_map(layer).collect()
}

fn steps(plan: &[u8]) -> Vec<&'static str> {
    Model::load(plan).unwrap().steps().map(|step| step.what()).collect()
}

/// Numbers without order (Steele et al. 2014, SplitMix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What ONNX Runtime 1.32.0 gave for `QuantizeLinear -> DequantizeLinear -> Gemm` with int8 weights and int32 biases of these
/// numbers, which it fuses to `QGemm`, on an x86 with AVX-512 and VNNI. The first sum is 20135325, an odd number beyond 2^24.
#[test]
fn logits_are_onnx_runtimes_to_the_bit() {
    const LOGITS: [u32; 6] = [0x45239979, 0x438db223, 0x402ce5de, 0x43094d8a, 0x438039d0, 0xc32752f4];
    let (inputs, outputs, scale) = (720u64, 6u64, 0.1f32);
    let step = |at: u64| {
        let any = (mix(at) % 255) as i32 - 127;
        if at < inputs { 127 - (mix(at) % 2) as i32 } else { any }
    };
    let steps: Vec<i32> = (0..inputs * outputs).map(step).collect();
    let scales: Vec<f32> = (0..outputs).map(|c| 0.0013f32 * (1 + c) as f32).collect();
    let bias = (0..outputs).zip(&scales).map(|(c, weight)| {
        let steps = (mix(90_000 + c) % 20_001) as f64 - 10_000.0;
        (steps * f64::from(scale) * f64::from(*weight)) as f32
    });
    let bias = bias.collect();
    let image: Vec<f32> = (0..inputs).map(|k| (mix(80_000 + k) % 64) as f32 / 10.0 + 19.0).collect();
    let mut making = Making::new([720, 1, 1]);
    making.quantised("in", scale, 3.0, None);
    making.add("flat", Op::Flatten(Flatten {}), &[]);
    making.linear("logits", &steps, &scales, bias);
    let plan = plan_of(&making.finish());
    assert_eq!(self::steps(&plan), ["load", "convolution", "store"]);
    let expected = reference::run(&Model::load(&plan).unwrap(), Input::Floats(&image)).unwrap();
    assert_eq!(bits(&expected), LOGITS);
    for level in levels() {
        assert_eq!(bits(&logits(&plan, level, Input::Floats(&image))), LOGITS, "{level}");
    }
}

/// Where biases are no whole steps, or sums could be beyond 32 bits, floats are computed with.
#[test]
fn what_integers_cannot_hold_is_computed_in_floats() {
    // With the third, the bias alone is within 32 bits.
    for (bias, makes) in [(0.3, [true; 2]), (0.304, [false; 2]), (21_474_800.0, [false; 2]), (3e7, [false; 2])] {
        let mut making = Making::new([4, 1, 1]);
        making.quantised("in", 0.1, 3.0, None);
        making.add("flat", Op::Flatten(Flatten {}), &[]);
        making.linear("logits", &[100, -100, 127, -128, 1, 2, 3, 4], &[0.1, 0.1], vec![bias, 0.0]);
        let network = making.finish();
        let plan = plan_of(&network);
        let [(_, [input, output])] = layers(&plan)[..] else { panic!("one layer") };
        assert_eq!([input != Kind::Floats, output == Kind::Floats && input != Kind::Floats], makes, "{bias}");
        let image = [1.0, -0.2, 3.0, 0.7];
        let meant: Vec<f64> = oracle::run(&network, &image);
        for (found, meant) in logits(&plan, Level::Scalar, Input::Floats(&image)).iter().zip(meant) {
            assert!((f64::from(*found) - meant).abs() <= 1e-6 * meant.abs().max(1.0), "{bias}: {found} for {meant}");
        }
    }
}

/// A value that a quantiser and something else read is made twice, once as bytes and once as floats; what follows the floats
/// ends their layer where it is a function, and is a step where it is a sum.
#[test]
fn floats_of_a_layer_go_on_as_floats() {
    for activated in [false, true] {
        let mut making = Making::new([2, 3, 3]);
        making.quantised("in", 0.02, 128.0, None);
        let (input, conv) = (making.last, Conv2d { quantized: true, ..Conv2d::square(2, 2, 3, 1, 1).with_bias() });
        let weights = (0..36).map(|at| ((at * 7) % 23 - 11) as f32 * 0.03).collect();
        let params = [("weight", weights), ("bias", vec![0.012, -0.03]), ("weight_scale", vec![0.03; 2])];
        making.add("conv", Op::Conv2d(conv), &params);
        if activated {
            making.add("silu", Op::Activation(Activation::Silu), &[]);
        } else {
            making.join("sum", Op::Add(Add {}), &[making.last, input], &[]);
        }
        making.add("row", Op::GlobalAvgPool(GlobalAvgPool {}), &[]);
        let network = making.finish();
        let plan = plan_of(&network);
        let [(layer, [Kind::Bytes { .. }, Kind::Floats])] = layers(&plan)[..] else { panic!("floats of bytes") };
        assert_eq!(layer.tail.residual, None);
        assert_eq!(layer.tail.function == Function::Floats(FloatFunction::Silu), activated);
        assert_eq!(steps(&plan).contains(&"add"), !activated);
        let image: Vec<f32> = (0..18).map(|at| (at * 5 % 7) as f32 / 2.0 - 1.5).collect();
        let meant: Vec<f64> = oracle::run(&network, &image);
        for level in levels() {
            for (found, meant) in logits(&plan, level, Input::Floats(&image)).iter().zip(&meant) {
                assert!((f64::from(*found) - meant).abs() <= 1e-5, "{level}: {found} for {meant}");
            }
        }
    }
}

/// ReLU6 in whole steps: the clamp of the layer before, and a table where floats become bytes.
#[test]
fn a_largest_number_of_a_quantisers_own_is_kept_to() {
    let mut making = Making::new([4, 1, 1]);
    making.quantised("in", 1.0, 3.0, Some(10));
    making.add("flat", Op::Flatten(Flatten {}), &[]);
    making.linear("logits", &[1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0], &[1.0; 3], vec![0.0; 3]);
    making.add("relu", Op::Activation(Activation::Relu), &[]);
    making.quantised("out", 1.0, 2.0, Some(14));
    let plan = plan_of(&making.finish());
    assert_eq!(steps(&plan), ["load", "quantize", "function", "convolution", "store"]);
    let [(layer, [Kind::Bytes { .. }, Kind::Bytes { .. }])] = layers(&plan)[..] else { panic!("bytes of bytes") };
    assert_eq!(layer.tail.function, Function::Bytes { low: 2, high: 14 });
    for level in levels() {
        // 100 is kept to 10 - 3 steps, twice that to 14 - 2; 3 times 3 is within both.
        assert_eq!(logits(&plan, level, Input::Floats(&[100.0, 100.0, 3.0, 0.0])), [7.0, 12.0, 9.0], "{level}");
        assert_eq!(logits(&plan, level, Input::Floats(&[-2.0, 0.0, 1.0, 0.0])), [0.0, 0.0, 3.0], "{level}");
    }
}
