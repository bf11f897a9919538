//! Every operation against PyTorch: values and all gradients of the cases in `tests/fixtures/ops`.
#![allow(clippy::unwrap_used, clippy::panic)] // in what the tests share, too

mod common;

use attar_kernels::{
    Activation, BatchStats, Clamp, ConvShape, LinearShape, Mask, NormGrads, NormShape, Pointwise, PoolShape,
    SavedStats, Tail, activate, activate_backward, add, add_channels, avg_pool2d, avg_pool2d_backward,
    batch_norm_backward, batch_norm_eval, batch_norm_eval_backward, batch_norm_train, channel_sums, conv2d,
    conv2d_input_grad, conv2d_weight_grad, global_avg_pool, global_avg_pool_backward, layer_norm, layer_norm_backward,
    linear, linear_input_grad, linear_weight_grad, max_pool2d, max_pool2d_backward, mul, mul_channels,
    mul_channels_backward, pointwise, pointwise_backward, prelu, prelu_backward,
};
use common::{assert_close, channels_first, channels_last};
use safetensors::SafeTensors;
use serde_json::Value;

const TOLERANCE: f64 = 2e-6;

/// One case of a fixture file.
struct Case<'a> {
    name: &'a str,
    settings: Value,
    tensors: &'a SafeTensors<'a>,
}

impl Case<'_> {
    fn words(&self, tensor: &str) -> Option<Vec<[u8; 4]>> {
        let view = self.tensors.tensor(&format!("{}.{tensor}", self.name)).ok()?;
        Some(view.data().as_chunks().0.to_vec())
    }

    fn optional(&self, tensor: &str) -> Option<Vec<f32>> {
        Some(self.words(tensor)?.into_iter().map(f32::from_le_bytes).collect())
    }

    fn floats(&self, tensor: &str) -> Vec<f32> {
        self.optional(tensor).unwrap_or_else(|| panic!("{} has no {tensor}", self.name))
    }

    fn number(&self, key: &str) -> usize {
        self.settings[key].as_u64().unwrap() as usize
    }

    fn pair(&self, key: &str) -> [usize; 2] {
        [0, 1].map(|i| self.settings[key][i].as_u64().unwrap() as usize)
    }

    fn norm_shape(&self) -> NormShape {
        let shape = NormShape {
            batch: self.number("batch"),
            channels: self.number("channels"),
            positions: self.number("positions"),
        };
        shape.checked().unwrap()
    }

    /// A tensor that PyTorch stored as `[n, c, h, w]`.
    fn channels_last(&self, tensor: &str, extents: [usize; 4]) -> Vec<f32> {
        channels_last(&self.floats(tensor), extents)
    }

    /// Compares with the tensor of that name.
    fn assert(&self, tensor: &str, got: &[f32], tolerance: f64) {
        assert_close(&format!("{}.{tensor}", self.name), got, &self.floats(tensor), tolerance);
    }

    /// Compares with the tensor of that name that PyTorch stored as `[n, c, h, w]`.
    fn assert_last(&self, tensor: &str, extents: [usize; 4], got: &[f32], tolerance: f64) {
        assert_close(&format!("{}.{tensor}", self.name), got, &self.channels_last(tensor, extents), tolerance);
    }
}

/// Runs `check` on the `count` cases of a file.
fn for_cases(family: &str, count: usize, check: impl Fn(&Case<'_>)) {
    let path = format!("{}/../tests/fixtures/ops/{family}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cases = header.metadata().as_ref().unwrap();
    assert_eq!(cases.len(), count, "cases in {path}");
    for (name, settings) in cases {
        check(&Case { name, settings: serde_json::from_str(settings).unwrap(), tensors: &tensors });
    }
}

/// An output that no kernel has written yet.
fn unwritten(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

#[test]
fn convolution() {
    for_cases("conv", 24, |case| {
        let shape = ConvShape {
            batch: case.number("batch"),
            in_channels: case.number("in_channels"),
            in_h: case.number("in_h"),
            in_w: case.number("in_w"),
            out_channels: case.number("out_channels"),
            kernel: case.pair("kernel"),
            stride: case.pair("stride"),
            padding: case.pair("padding"),
            dilation: case.pair("dilation"),
            groups: case.number("groups"),
        };
        let shape = shape.checked().unwrap();
        let input = [shape.batch, shape.in_channels, shape.in_h, shape.in_w];
        let output = [shape.batch, shape.out_channels, shape.out_h(), shape.out_w()];
        let (x, dy) = (channels_last(&case.floats("x"), input), channels_last(&case.floats("dy"), output));
        let weight = case.floats("weight");

        let mut y = unwritten(shape.output_len());
        let tail = Tail { bias: Some(&case.floats("bias")), ..Tail::default() };
        conv2d(&shape, &x, &weight, tail, &mut y);
        case.assert("y", &channels_first(&y, output), TOLERANCE);

        let mut dx = unwritten(shape.input_len());
        conv2d_input_grad(&shape, &dy, &weight, &mut dx);
        case.assert("dx", &channels_first(&dx, input), TOLERANCE);

        let mut dweight = unwritten(shape.weight_len());
        conv2d_weight_grad(&shape, &x, &dy, &mut dweight);
        case.assert("dweight", &dweight, TOLERANCE);

        let outputs =
            NormShape { batch: shape.batch, channels: shape.out_channels, positions: shape.out_h() * shape.out_w() };
        let mut dbias = unwritten(shape.out_channels);
        channel_sums(&outputs, &dy, &mut dbias);
        case.assert("dbias", &dbias, TOLERANCE);
    });
}

#[test]
fn batch_norm() {
    for_cases("norm", 12, |case| {
        let shape = case.norm_shape();
        let eps = case.settings["eps"].as_f64().unwrap();
        let activation = match case.settings["activation"].as_str().unwrap() {
            "relu" => Some(Activation::Relu),
            "relu6" => Some(Activation::Relu6),
            _ => None,
        };
        let extents = [shape.batch, shape.channels, shape.positions, 1];
        let (x, dy) = (case.channels_last("x", extents), case.channels_last("dy", extents));
        let (weight, bias) = (case.floats("weight"), case.floats("bias"));
        let residual = case.optional("residual").map(|residual| channels_last(&residual, extents));
        // Inputs far from zero have lost digits before the norm sees them.
        let tolerance = if case.name == "far-from-zero" { 2e-5 } else { TOLERANCE };

        let mut y = unwritten(shape.len());
        let (mean, var) = (case.floats("running_mean"), case.floats("running_var"));
        batch_norm_eval(&shape, &x, &weight, &bias, &mean, &var, eps, residual.as_deref(), activation, &mut y);
        case.assert_last("y_eval", extents, &y, tolerance);

        let [mut mean, mut inv_std, mut unbiased_variance] = [(); 3].map(|()| unwritten(shape.channels));
        let stats = BatchStats { mean: &mut mean, inv_std: &mut inv_std, unbiased_variance: &mut unbiased_variance };
        let mut y = unwritten(shape.len());
        batch_norm_train(&shape, &x, &weight, &bias, eps, residual.as_deref(), activation, &mut y, stats).unwrap();
        case.assert_last("y", extents, &y, tolerance);
        case.assert("batch_mean", &mean, tolerance);
        case.assert("batch_var", &unbiased_variance, tolerance);

        // With the activation inside of backward, told in both ways, and with a gradient that has passed it before.
        let mut masked = dy.clone();
        if let Some(activation) = activation {
            activate_backward(Mask { activation, y: &y }, &dy, &mut masked);
        }
        let output = activation.map(|activation| Clamp::Output { activation, y: &y });
        let recomputed = activation.map(|activation| Clamp::Recomputed { activation, bias: &bias });
        let without_residual = if residual.is_some() { output } else { recomputed };
        for (clamp, dy, wants_residual) in [
            (output, &dy, true),
            (output, &dy, false),
            (without_residual, &dy, false),
            (None, &masked, true),
            (None, &masked, false),
        ] {
            let [mut dx, mut dresidual] = [(); 2].map(|()| unwritten(shape.len()));
            let [mut dweight, mut dbias] = [(); 2].map(|()| unwritten(shape.channels));
            let grads = NormGrads {
                dx: &mut dx,
                dweight: &mut dweight,
                dbias: &mut dbias,
                dresidual: wants_residual.then_some(&mut dresidual[..]),
            };
            let stats = SavedStats { mean: &mean, inv_std: &inv_std };
            batch_norm_backward(&shape, &x, &weight, stats, clamp, dy, grads);
            // Two values a channel cancel nearly completely, amplified by `inv_std`.
            let amplified = inv_std.iter().fold(1.0f32, |a, &b| a.max(b));
            case.assert_last("dx", extents, &dx, tolerance * f64::from(amplified));
            case.assert("dweight", &dweight, tolerance * f64::from(amplified));
            case.assert("dbias", &dbias, tolerance);
            if wants_residual && residual.is_some() {
                case.assert_last("dresidual", extents, &dresidual, 0.0);
            }
        }
    });
}

#[test]
fn pooling() {
    for_cases("pool", 18, |case| {
        if case.name.starts_with("global") {
            let shape = case.norm_shape();
            let extents = [shape.batch, shape.channels, shape.positions, 1];
            let (x, dy) = (case.channels_last("x", extents), case.floats("dy"));
            let (mut y, mut dx) = (unwritten(dy.len()), unwritten(x.len()));
            global_avg_pool(&shape, &x, &mut y);
            global_avg_pool_backward(&shape, &dy, &mut dx);
            case.assert("y", &y, TOLERANCE);
            case.assert_last("dx", extents, &dx, TOLERANCE);
            return;
        }
        let shape = PoolShape {
            batch: case.number("batch"),
            channels: case.number("channels"),
            in_h: case.number("in_h"),
            in_w: case.number("in_w"),
            kernel: case.pair("kernel"),
            stride: case.pair("stride"),
            padding: case.pair("padding"),
            padding_end: case.pair(if case.settings["padding_end"].is_null() { "padding" } else { "padding_end" }),
            ceil_mode: case.settings["ceil_mode"].as_bool().unwrap_or(false),
            count_include_pad: case.settings["count_include_pad"].as_bool().unwrap_or(true),
        };
        let shape = shape.checked().unwrap();
        let inputs = [shape.batch, shape.channels, shape.in_h, shape.in_w];
        let outputs = [shape.batch, shape.channels, shape.out_h(), shape.out_w()];
        let (x, dy) = (case.channels_last("x", inputs), case.channels_last("dy", outputs));
        let (mut y, mut dx) = (unwritten(dy.len()), unwritten(x.len()));
        if let Some(want) = case.words("argmax") {
            let mut argmax = vec![u32::MAX; dy.len()];
            max_pool2d(&shape, &x, &mut y, &mut argmax);
            let want: Vec<u32> = want.into_iter().map(u32::from_le_bytes).collect();
            assert_eq!(argmax, channels_last(&want, outputs), "{}: argmax", case.name);
            assert_same(case.name, &y, &case.channels_last("y", outputs));
            max_pool2d_backward(&shape, &dy, &argmax, &mut dx);
        } else {
            avg_pool2d(&shape, &x, &mut y);
            case.assert_last("y", outputs, &y, TOLERANCE);
            avg_pool2d_backward(&shape, &dy, &mut dx);
        }
        case.assert_last("dx", inputs, &dx, TOLERANCE);
    });
}

#[test]
fn linear_layer() {
    for_cases("linear", 5, |case| {
        let shape = LinearShape {
            batch: case.number("batch"),
            in_features: case.number("in_features"),
            out_features: case.number("out_features"),
        };
        let shape = shape.checked().unwrap();
        let (x, weight, bias, dy) = (case.floats("x"), case.floats("weight"), case.floats("bias"), case.floats("dy"));
        let [mut y, mut dx, mut dweight, mut dbias] = [dy.len(), x.len(), weight.len(), bias.len()].map(unwritten);
        linear(&shape, &x, &weight, Some(&bias), &mut y);
        case.assert("y", &y, TOLERANCE);
        linear_input_grad(&shape, &dy, &weight, &mut dx);
        case.assert("dx", &dx, TOLERANCE);
        linear_weight_grad(&shape, &x, &dy, &mut dweight);
        case.assert("dweight", &dweight, TOLERANCE);
        let rows = NormShape { batch: shape.batch, channels: shape.out_features, positions: 1 };
        channel_sums(&rows, &dy, &mut dbias);
        case.assert("dbias", &dbias, TOLERANCE);
    });
}

#[test]
fn activations_at_their_edges() {
    for_cases("activation", 2, |case| {
        let activation = if case.name == "relu" { Activation::Relu } else { Activation::Relu6 };
        let (x, dy) = (case.floats("x"), case.floats("dy"));
        let (mut y, mut dx) = (unwritten(x.len()), unwritten(x.len()));
        activate(activation, &x, &mut y);
        assert_same(case.name, &y, &case.floats("y"));
        for y in [&y, &x] {
            activate_backward(Mask { activation, y }, &dy, &mut dx);
            assert_same(case.name, &dx, &case.floats("dx"));
        }
    });
}

fn function(case: &Case<'_>) -> Pointwise {
    match case.name {
        "hard-swish" => Pointwise::HardSwish,
        "hard-sigmoid" => Pointwise::HardSigmoid,
        "sigmoid" => Pointwise::Sigmoid,
        "silu" => Pointwise::Silu,
        "gelu" => Pointwise::Gelu,
        "gelu-tanh" => Pointwise::GeluTanh,
        _ => Pointwise::LeakyRelu(case.settings["slope"].as_f64().unwrap() as f32),
    }
}

#[test]
fn activations_that_are_no_clamps() {
    let check = |case: &Case<'_>| {
        let function = function(case);
        let (x, dy) = (case.floats("x"), case.floats("dy"));
        let (mut y, mut dx) = (unwritten(x.len()), unwritten(x.len()));
        pointwise(function, &x, &mut y);
        let kept = if function == Pointwise::Sigmoid { &y } else { &x };
        pointwise_backward(function, kept, &dy, &mut dx);
        for (tensor, got) in [("y", &y), ("dx", &dx)] {
            let want = case.floats(tensor);
            let finite = |values: &[f32]| -> Vec<f32> { values.iter().copied().filter(|x| x.is_finite()).collect() };
            let others = |values: &[f32]| -> Vec<f32> { values.iter().copied().filter(|x| !x.is_finite()).collect() };
            assert_same(&format!("{}.{tensor}", case.name), &others(got), &others(&want));
            // Not in units of the largest: among them are the largest that there are.
            for (got, want) in finite(got).into_iter().zip(finite(&want)) {
                let limit = 1.5e-6_f32.max(want.abs() * 1e-6);
                assert!((got - want).abs() <= limit, "{}.{tensor}: {got}, expected {want}", case.name);
            }
        }
    };
    for_cases("pointwise", 2, check);
    for_cases("smooth", 7, check);
}

#[test]
fn sums_and_products_of_images_and_of_channels() {
    for_cases("broadcast", 12, |case| {
        let shape: Vec<usize> = serde_json::from_value(case.settings["shape"].clone()).unwrap();
        let extents = <[usize; 4]>::try_from(shape).unwrap();
        let norm = NormShape { batch: extents[0], channels: extents[1], positions: extents[2] * extents[3] };
        let (a, dy) = (case.channels_last("a", extents), case.channels_last("dy", extents));
        let mut y = unwritten(a.len());
        let (operation, part) = case.name.split_once('-').unwrap();
        match (operation, part) {
            ("add", "equal") => add(&a, &case.channels_last("b", extents), &mut y),
            ("add", "channels") => add_channels(&norm, &a, &case.floats("b"), &mut y),
            ("mul", "equal") => {
                let b = case.channels_last("b", extents);
                for (tensor, left, right) in [("y", &a, &b), ("da", &dy, &b), ("db", &dy, &a)] {
                    mul(left, right, &mut y);
                    case.assert_last(tensor, extents, &y, TOLERANCE);
                }
                return;
            }
            ("mul", "channels") => mul_channels(&norm, &a, &case.floats("b"), &mut y),
            _ => return, // exec broadcasts, and its tests read these
        }
        case.assert_last("y", extents, &y, TOLERANCE);
    });
}

#[test]
fn parameters_along_channels() {
    for_cases("channels", 13, |case| {
        let shape = case.norm_shape();
        let extents = [shape.batch, shape.channels, shape.positions, 1];
        let (x, weight) = (case.channels_last("x", extents), case.floats("weight"));
        let dy = case.channels_last("dy", extents);
        let (mut y, mut dx, mut dweight) = (unwritten(x.len()), unwritten(x.len()), unwritten(weight.len()));
        let mut dbias = unwritten(weight.len());
        if case.name.starts_with("prelu") {
            prelu(&shape, &x, &weight, &mut y);
            prelu_backward(&shape, &x, &weight, &dy, &mut dx, &mut dweight);
        } else if case.name.starts_with("layer-norm") {
            let eps = case.settings["eps"].as_f64().unwrap();
            layer_norm(&shape, &x, &weight, &case.floats("bias"), eps, &mut y);
            layer_norm_backward(&shape, &x, &weight, eps, &dy, &mut dx, &mut dweight, &mut dbias);
        } else {
            // A norm around 0 with a spread of 1.
            let (zero, one) = (vec![0.0; weight.len()], vec![1.0; weight.len()]);
            batch_norm_eval(&shape, &x, &weight, &case.floats("bias"), &zero, &one, 0.0, None, None, &mut y);
            let grads = NormGrads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias, dresidual: None };
            batch_norm_eval_backward(&shape, &x, &weight, &zero, &one, 0.0, None, &dy, grads);
        }
        case.assert_last("y", extents, &y, TOLERANCE);
        case.assert_last("dx", extents, &dx, TOLERANCE);
        case.assert("dweight", &dweight, TOLERANCE);
        if let Some(expected) = case.optional("dbias") {
            assert_close(&format!("{}.dbias", case.name), &dbias, &expected, TOLERANCE);
        }
    });
}

#[test]
fn factors_of_channels() {
    for_cases("gate", 4, |case| {
        let shape = case.norm_shape();
        let extents = [shape.batch, shape.channels, shape.positions, 1];
        let (x, dy) = (case.channels_last("x", extents), case.channels_last("dy", extents));
        let factor = case.floats("factor");
        let (mut y, mut dx, mut dfactor) = (unwritten(x.len()), unwritten(x.len()), unwritten(factor.len()));
        mul_channels(&shape, &x, &factor, &mut y);
        mul_channels_backward(&shape, &x, &factor, &dy, &mut dx, &mut dfactor);
        case.assert_last("y", extents, &y, TOLERANCE);
        case.assert_last("dx", extents, &dx, TOLERANCE);
        case.assert("dfactor", &dfactor, TOLERANCE);
    });
}

/// Equal values; NaN equals NaN and 0 equals -0.
#[track_caller]
fn assert_same(name: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{name}: length");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want || (got.is_nan() && want.is_nan()), "{name}[{i}]: {got}, expected {want}");
    }
}
