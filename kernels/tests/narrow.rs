//! Every operation on `bf16` images against the same on `f32` images of the same values: they differ by the rounding of
//! what is written and the order of sums, whichever instructions the machine has.
#![allow(clippy::unwrap_used)] // in what the tests share, too

mod common;

use attar_kernels::{
    Activation, BatchStats, Clamp, ConvShape, Mask, NormGrads, NormShape, Pointwise, PoolShape, SavedStats, Tail,
    Value, activate, activate_backward, add, add_channels, avg_pool2d, avg_pool2d_backward, batch_norm_backward,
    batch_norm_train, channel_sums, conv2d, conv2d_input_grad, conv2d_weight_grad, convert, global_avg_pool,
    global_avg_pool_backward, layer_norm, layer_norm_backward, max_pool2d, max_pool2d_backward, mul, mul_channels,
    mul_channels_backward, pointwise, pointwise_backward, prelu, prelu_backward,
};
use common::values;
use half::bf16;

/// Half of a unit in the last place of `bf16`, relative.
const ROUNDING: f32 = 1.0 / 256.0;
/// What the order of additions and Winograd's transforms may do, relative to the largest value.
const ORDER: f32 = 2e-5;

/// Values that are `bf16` exactly, in both types.
fn both(seed: u64, len: usize) -> (Vec<bf16>, Vec<f32>) {
    let narrow: Vec<bf16> = values(seed, len).into_iter().map(Value::rounded).collect();
    let floats = floats(&narrow);
    (narrow, floats)
}

fn floats(narrow: &[bf16]) -> Vec<f32> {
    narrow.iter().map(|x| x.float()).collect()
}

/// An output that no kernel has written yet.
fn unwritten<T: Value>(len: usize) -> Vec<T> {
    vec![T::rounded(f32::NAN); len]
}

#[track_caller]
fn assert_rounded(what: &str, got: &[bf16], want: &[f32]) {
    assert_near(what, &floats(got), want, ROUNDING);
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f32], rounding: f32) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(1.0f32, |largest, want| largest.max(want.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        // Written so that NaN fails.
        assert!((got - want).abs() <= rounding * want.abs() + ORDER * largest, "{what}[{i}]: {got}, expected {want}");
    }
}

fn conv_shapes() -> Vec<ConvShape> {
    let plain = ConvShape {
        batch: 2,
        in_channels: 16,
        in_h: 11,
        in_w: 14,
        out_channels: 32,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
    };
    let channels = |in_channels, out_channels| ConvShape { in_channels, out_channels, ..plain };
    let mut shapes = vec![plain];
    for shape in [channels(16, 32), channels(3, 16), channels(7, 5), channels(10, 24), channels(130, 70)] {
        for (kernel, padding) in [([1, 1], [0, 0]), ([3, 3], [1, 1]), ([2, 5], [0, 2]), ([5, 1], [3, 0])] {
            for (stride, dilation) in [([1, 1], [1, 1]), ([2, 2], [1, 1]), ([1, 3], [2, 1]), ([3, 2], [1, 2])] {
                shapes.push(ConvShape { kernel, padding, stride, dilation, ..shape });
            }
        }
    }
    for (channels, groups) in [(12, 2), (12, 4), (20, 20), (33, 33)] {
        for stride in [[1, 1], [2, 2]] {
            shapes.push(ConvShape { in_channels: channels, out_channels: channels, groups, stride, ..plain });
        }
    }
    shapes.push(ConvShape { batch: 1, in_h: 1, in_w: 1, kernel: [1, 1], padding: [0, 0], ..plain });
    shapes.push(ConvShape { batch: 3, in_h: 130, in_w: 70, stride: [2, 2], kernel: [7, 7], padding: [3, 3], ..plain });
    shapes.into_iter().filter_map(|shape| shape.checked().ok()).collect()
}

#[test]
fn convolution() {
    let shapes = conv_shapes();
    assert!(shapes.len() > 70, "{} shapes", shapes.len());
    for shape in shapes {
        let (x, x32) = both(1, shape.input_len());
        let (dy, dy32) = both(2, shape.output_len());
        let (residual, residual32) = both(3, shape.output_len());
        let (_, weight) = both(4, shape.weight_len());
        let bias = values(5, shape.out_channels);
        let depthwise = shape.groups == shape.in_channels; // has no residual
        let activation = Some(Activation::Relu);

        let (mut y, mut y32) = (unwritten(shape.output_len()), unwritten(shape.output_len()));
        let bias = Some(&bias[..]);
        let residual = Some(&residual[..]).filter(|_| !depthwise);
        let residual32 = Some(&residual32[..]).filter(|_| !depthwise);
        conv2d(&shape, &x, &weight, Tail { bias, residual, activation }, &mut y);
        conv2d(&shape, &x32, &weight, Tail { bias, residual: residual32, activation }, &mut y32);
        assert_rounded(&format!("y of {shape:?}"), &y, &y32);

        let (mut dx, mut dx32) = (unwritten(shape.input_len()), unwritten(shape.input_len()));
        conv2d_input_grad(&shape, &dy, &weight, &mut dx);
        conv2d_input_grad(&shape, &dy32, &weight, &mut dx32);
        assert_rounded(&format!("dx of {shape:?}"), &dx, &dx32);

        let (mut dw, mut dw32) = (unwritten(shape.weight_len()), unwritten(shape.weight_len()));
        conv2d_weight_grad(&shape, &x, &dy, &mut dw);
        conv2d_weight_grad(&shape, &x32, &dy32, &mut dw32);
        assert_near(&format!("dweight of {shape:?}"), &dw, &dw32, 0.0);
    }
}

#[test]
fn batch_norm() {
    for (channels, positions) in [(3, 50), (16, 49), (24, 400), (257, 9)] {
        let shape = NormShape { batch: 3, channels, positions }.checked().unwrap();
        let (x, x32) = both(1, shape.len());
        let (dy, dy32) = both(2, shape.len());
        let (residual, residual32) = both(3, shape.len());
        let (weight, bias) = (values(4, channels), values(5, channels));
        let mut stats = [(); 2].map(|()| [(); 3].map(|()| vec![0.0; channels]));
        let [narrow, wide] = &mut stats;
        fn places(stats: &mut [Vec<f32>; 3]) -> BatchStats<'_> {
            let [mean, inv_std, unbiased_variance] = stats;
            BatchStats { mean, inv_std, unbiased_variance }
        }
        let activation = Activation::Relu;
        let (mut y, mut y32) = (unwritten(shape.len()), unwritten(shape.len()));
        let (last, last32) = (Some(&residual[..]), Some(&residual32[..]));
        batch_norm_train(&shape, &x, &weight, &bias, 1e-5, last, Some(activation), &mut y, places(narrow)).unwrap();
        batch_norm_train(&shape, &x32, &weight, &bias, 1e-5, last32, Some(activation), &mut y32, places(wide)).unwrap();
        assert_rounded(&format!("y of {shape:?}"), &y, &y32);
        assert_eq!(narrow, wide, "statistics of the same values");

        let y32 = floats(&y); // the same clamps
        let [mean, inv_std, _] = &stats[0];
        let saved = SavedStats { mean, inv_std };
        let mut results: [Vec<bf16>; 2] = [(); 2].map(|()| unwritten(shape.len()));
        let mut results32: [Vec<f32>; 2] = [(); 2].map(|()| unwritten(shape.len()));
        let [mut dw, mut db, mut dw32, mut db32] = [(); 4].map(|()| vec![f32::NAN; channels]);
        let [dx, dresidual] = &mut results;
        let grads = NormGrads { dx, dweight: &mut dw, dbias: &mut db, dresidual: Some(dresidual) };
        batch_norm_backward(&shape, &x, &weight, saved, Some(Clamp::Output { activation, y: &y }), &dy, grads);
        let [dx, dresidual] = &mut results32;
        let grads = NormGrads { dx, dweight: &mut dw32, dbias: &mut db32, dresidual: Some(dresidual) };
        batch_norm_backward(&shape, &x32, &weight, saved, Some(Clamp::Output { activation, y: &y32 }), &dy32, grads);
        assert_rounded(&format!("dx of {shape:?}"), &results[0], &results32[0]);
        assert_rounded(&format!("dresidual of {shape:?}"), &results[1], &results32[1]);
        assert_near("dweight", &dw, &dw32, 0.0);
        assert_near("dbias", &db, &db32, 0.0);

        let (mut sums, mut sums32) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
        channel_sums(&shape, &x, &mut sums);
        channel_sums(&shape, &x32, &mut sums32);
        assert_eq!(sums, sums32);
    }
}

#[test]
fn pooling() {
    let pool = PoolShape {
        batch: 2,
        channels: 19,
        in_h: 9,
        in_w: 14,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        padding_end: [1, 1],
        ceil_mode: false,
        count_include_pad: true,
    };
    let rounded_up = PoolShape { padding_end: [0, 2], ceil_mode: true, count_include_pad: false, ..pool };
    for pool in [pool, PoolShape { kernel: [2, 2], padding: [0, 0], padding_end: [0, 0], ..pool }, rounded_up] {
        let pool = pool.checked().unwrap();
        let ((x, x32), (dy, dy32)) = (both(1, pool.input_len()), both(2, pool.output_len()));
        let (mut y, mut y32) = (unwritten(pool.output_len()), unwritten(pool.output_len()));
        let (mut dx, mut dx32) = (unwritten(pool.input_len()), unwritten(pool.input_len()));
        let (mut at, mut at32) = (vec![0; pool.output_len()], vec![0; pool.output_len()]);
        max_pool2d(&pool, &x, &mut y, &mut at);
        max_pool2d(&pool, &x32, &mut y32, &mut at32);
        assert_eq!((floats(&y), &at), (y32.clone(), &at32));
        max_pool2d_backward(&pool, &dy, &at, &mut dx);
        max_pool2d_backward(&pool, &dy32, &at, &mut dx32);
        assert_rounded("dx of a maximum", &dx, &dx32);
        avg_pool2d(&pool, &x, &mut y);
        avg_pool2d(&pool, &x32, &mut y32);
        assert_rounded("means", &y, &y32);
        avg_pool2d_backward(&pool, &dy, &mut dx);
        avg_pool2d_backward(&pool, &dy32, &mut dx32);
        assert_rounded("dx of means", &dx, &dx32);
    }
    let shape = NormShape { batch: 3, channels: 21, positions: 49 }.checked().unwrap();
    let (x, x32) = both(3, shape.len());
    let (mut means, mut means32) = (vec![f32::NAN; 63], vec![f32::NAN; 63]);
    global_avg_pool(&shape, &x, &mut means);
    global_avg_pool(&shape, &x32, &mut means32);
    assert_eq!(means, means32);
    let (mut dx, mut dx32) = (unwritten(shape.len()), unwritten(shape.len()));
    global_avg_pool_backward::<bf16>(&shape, &means, &mut dx);
    global_avg_pool_backward::<f32>(&shape, &means, &mut dx32);
    assert_rounded("dx of a mean", &dx, &dx32);
}

#[test]
fn elementwise() {
    let ((a, a32), (b, b32)) = (both(1, 1003), both(2, 1003));
    let (mut y, mut y32) = (unwritten(1003), unwritten(1003));
    add(&a, &b, &mut y);
    add(&a32, &b32, &mut y32);
    assert_rounded("a sum", &y, &y32);
    for activation in [Activation::Relu, Activation::Relu6] {
        activate(activation, &a, &mut y);
        activate(activation, &a32, &mut y32);
        assert_eq!(floats(&y), y32);
        let (mut dx, mut dx32) = (unwritten(1003), unwritten(1003));
        activate_backward(Mask { activation, y: &y }, &b, &mut dx);
        activate_backward(Mask { activation, y: &y32 }, &b32, &mut dx32);
        assert_eq!(floats(&dx), dx32);
    }
    convert(&values(3, 1003), &mut y);
    convert(&y, &mut y32);
    let nearest: Vec<f32> = values(3, 1003).into_iter().map(|x| bf16::from_f32(x).to_f32()).collect();
    assert_eq!(y32, nearest);
}

#[test]
fn activations_that_are_no_clamps_and_factors_of_channels() {
    let shape = NormShape { batch: 2, channels: 24, positions: 70 }.checked().unwrap();
    let ((x, wide_x), (dy, wide_dy)) = (both(21, shape.len()), both(22, shape.len()));
    use Pointwise::{Gelu, GeluTanh, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Silu};
    for function in [HardSwish, HardSigmoid, Sigmoid, Silu, Gelu, GeluTanh, LeakyRelu(0.2)] {
        let (mut y, mut wide_y) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
        pointwise(function, &x, &mut y);
        pointwise(function, &wide_x, &mut wide_y);
        assert_rounded("y", &y, &wide_y);
        let (mut dx, mut wide_dx) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
        pointwise_backward(function, &x, &dy, &mut dx);
        pointwise_backward(function, &wide_x, &wide_dy, &mut wide_dx);
        assert_rounded("dx", &dx, &wide_dx);
    }
    let (factor, wide_factor) = both(23, 48);
    let (mut y, mut wide_y) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
    mul_channels(&shape, &x, &factor, &mut y);
    mul_channels(&shape, &wide_x, &wide_factor, &mut wide_y);
    assert_rounded("y", &y, &wide_y);
    let (mut dx, mut wide_dx) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
    let (mut dfactor, mut wide_dfactor) = (unwritten::<bf16>(48), unwritten::<f32>(48));
    mul_channels_backward(&shape, &x, &factor, &dy, &mut dx, &mut dfactor);
    mul_channels_backward(&shape, &wide_x, &wide_factor, &wide_dy, &mut wide_dx, &mut wide_dfactor);
    assert_rounded("dx", &dx, &wide_dx);
    assert_rounded("dfactor", &dfactor, &wide_dfactor);
}

#[test]
fn sums_products_and_parameters_along_channels() {
    let shape = NormShape { batch: 2, channels: 24, positions: 70 }.checked().unwrap();
    let ((x, wide_x), (dy, wide_dy)) = (both(31, shape.len()), both(32, shape.len()));
    let (weight, bias) = (values(33, 24), values(34, 24));
    let (mut y, mut wide_y) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
    let (term, wide_term) = both(35, 48);
    add_channels(&shape, &x, &term, &mut y);
    add_channels(&shape, &wide_x, &wide_term, &mut wide_y);
    assert_rounded("a sum of channels", &y, &wide_y);
    mul(&x, &dy, &mut y);
    mul(&wide_x, &wide_dy, &mut wide_y);
    assert_rounded("a product", &y, &wide_y);
    let (mut dx, mut wide_dx) = (unwritten::<bf16>(x.len()), unwritten::<f32>(x.len()));
    let [mut dw, mut db, mut wide_dw, mut wide_db] = [(); 4].map(|()| vec![f32::NAN; 24]);
    prelu(&shape, &x, &weight, &mut y);
    prelu(&shape, &wide_x, &weight, &mut wide_y);
    assert_rounded("y of prelu", &y, &wide_y);
    prelu_backward(&shape, &x, &weight, &dy, &mut dx, &mut dw);
    prelu_backward(&shape, &wide_x, &weight, &wide_dy, &mut wide_dx, &mut wide_dw);
    assert_rounded("dx of prelu", &dx, &wide_dx);
    assert_near("dweight of prelu", &dw, &wide_dw, 0.0);
    layer_norm(&shape, &x, &weight, &bias, 1e-6, &mut y);
    layer_norm(&shape, &wide_x, &weight, &bias, 1e-6, &mut wide_y);
    assert_rounded("y of a layer norm", &y, &wide_y);
    layer_norm_backward(&shape, &x, &weight, 1e-6, &dy, &mut dx, &mut dw, &mut db);
    layer_norm_backward(&shape, &wide_x, &weight, 1e-6, &wide_dy, &mut wide_dx, &mut wide_dw, &mut wide_db);
    assert_rounded("dx of a layer norm", &dx, &wide_dx);
    assert_near("dweight of a layer norm", &dw, &wide_dw, 0.0);
    assert_near("dbias of a layer norm", &db, &wide_db, 0.0);
}
