//! Every operation by its example; settings that a file may hold and no network can have.

use super::*;

fn shape(op: &Op, inputs: &[Vec<usize>]) -> Result<Vec<usize>, String> {
    op.output_shape(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn every_operation_has_an_example_that_fits_and_survives_its_file() {
    for (op, inputs) in Op::examples() {
        assert_eq!(op.inputs(), inputs.len(), "{}", op.kind());
        assert!(!shape(&op, &inputs).unwrap().is_empty(), "{}", op.kind());
        let json = serde_json::to_value(&op).unwrap();
        assert_eq!(json["kind"], op.kind());
        assert_eq!(serde_json::from_value::<Op>(json.clone()).unwrap(), op);
        let mut typo = json;
        typo["strid"] = 1.into();
        let refused = serde_json::from_value::<Op>(typo);
        assert!(refused.is_err(), "{} takes a key that it does not have", op.kind());
    }
}

#[test]
fn every_activation_has_its_word_in_files() {
    for activation in Activation::ALL {
        let op = Op::Activation(activation);
        let json = serde_json::to_value(&op).unwrap();
        assert!(json["function"].is_string(), "{json}");
        assert_eq!(serde_json::from_value::<Op>(json).unwrap(), op);
    }
}

#[test]
fn a_slope_is_written_where_there_is_one_and_is_finite() {
    let read = |text: &str| serde_json::from_str::<Op>(text);
    let leaky = Op::Activation(Activation::LeakyRelu(Slope::new(0.2).unwrap()));
    let text = r#"{"kind":"activation","function":"leaky-relu","slope":0.2}"#;
    assert_eq!((serde_json::to_string(&leaky).unwrap(), read(text).unwrap()), (text.to_owned(), leaky));
    for (wrong, problem) in [
        (r#"{"kind":"activation","function":"leaky-relu"}"#, "without its `slope`"),
        (r#"{"kind":"activation","function":"leaky-relu","slope":1e300}"#, "finite"),
        (r#"{"kind":"activation","function":"relu","slope":0.2}"#, "has no `slope`"),
        (r#"{"kind":"activation","function":"mish"}"#, "unknown function `mish`"),
    ] {
        let message = read(wrong).unwrap_err().to_string();
        assert!(message.contains(problem), "{message}");
    }
    assert!(Slope::new(f32::NAN).is_none() && Slope::new(f32::INFINITY).is_none());
}

#[test]
fn sums_and_products_broadcast_the_second_input_alone() {
    for op in [Op::Add(Add {}), Op::Mul(Mul {})] {
        let of = |first: &[usize], second: &[usize]| shape(&op, &[first.to_vec(), second.to_vec()]);
        for part in [[4, 5, 6], [4, 1, 1], [1, 5, 6], [1, 1, 1], [4, 1, 6]] {
            assert_eq!(of(&[4, 5, 6], &part).unwrap(), [4, 5, 6]);
        }
        assert_eq!(of(&[7], &[1]).unwrap(), [7]);
        for (first, second) in [(&[4, 1, 1][..], &[4, 5, 6][..]), (&[4, 5, 6], &[6]), (&[4, 5, 6], &[4, 5, 2])] {
            assert!(of(first, second).unwrap_err().contains("or 1"), "{first:?} {second:?}");
        }
    }
}

#[test]
fn numbers_of_inputs_are_counted() {
    for (op, mut inputs) in Op::examples() {
        inputs.push(vec![4, 5, 6]);
        assert!(shape(&op, &inputs).unwrap_err().contains("inputs, was given"), "{}", op.kind());
    }
}

#[test]
fn settings_of_no_network_are_refused_and_nothing_overflows() {
    let huge = usize::MAX;
    let conv = || Conv2d::square(4, 4, 3, 1, 1);
    let refused = [
        Op::Conv2d(Conv2d { kernel: [0, 3], ..conv() }),
        Op::Conv2d(Conv2d { stride: [1, 0], ..conv() }),
        Op::Conv2d(Conv2d { dilation: [0, 0], ..conv() }),
        Op::Conv2d(Conv2d { padding: [huge, 1], ..conv() }),
        Op::Conv2d(Conv2d { dilation: [huge, huge], ..conv() }),
        Op::Conv2d(Conv2d { out_channels: huge, ..conv() }),
        Op::Conv2d(Conv2d { out_channels: 0, ..conv() }),
        Op::Conv2d(Conv2d { groups: 0, ..conv() }),
        Op::Conv2d(Conv2d { groups: 3, ..conv() }),
        Op::Conv2d(Conv2d { kernel: [9, 9], ..conv() }),
        // Each size is fine by itself, all together are 2^56 weights.
        Op::Conv2d(Conv2d { out_channels: 1 << 24, kernel: [1 << 15; 2], padding: [1 << 15; 2], ..conv() }),
        Op::MaxPool2d(Pool2d { padding: [2, 2], ..Pool2d::square(3, 1, 0) }),
        Op::AvgPool2d(Pool2d::square(huge, 1, 0)),
        Op::MaxPool2d(Pool2d { padding_end: Some([0, 3]), ..Pool2d::square(3, 1, 0) }),
        Op::AvgPool2d(Pool2d { padding_end: Some([huge, huge]), ceil_mode: true, ..Pool2d::square(3, 1, 0) }),
        Op::BatchNorm2d(BatchNorm2d { eps: f64::NAN, ..BatchNorm2d::new(4) }),
        Op::BatchNorm2d(BatchNorm2d { momentum: 1.5, ..BatchNorm2d::new(4) }),
        Op::PadChannels(PadChannels { before: huge, after: huge }),
        Op::Subsample(Subsample { stride: 0 }),
        Op::Dropout(Dropout { p: f64::NAN }),
        Op::Concat(Concat { inputs: 1 }),
        Op::Concat(Concat { inputs: huge }),
        Op::SliceChannels(SliceChannels { start: 2, end: 2 }),
        Op::SliceChannels(SliceChannels { start: 3, end: 5 }),
        Op::SliceChannels(SliceChannels { start: huge, end: huge }),
        Op::ChannelShuffle(ChannelShuffle { groups: 0 }),
        Op::ChannelShuffle(ChannelShuffle { groups: 3 }),
        Op::Pad2d(Pad2d { top: huge, left: huge, bottom: huge, right: huge }),
        Op::Reshape(Reshape { shape: vec![huge, huge, 2] }),
        Op::Reshape(Reshape { shape: vec![60, 2] }),
        Op::Reshape(Reshape { shape: vec![119] }),
        Op::Reshape(Reshape { shape: vec![0, 0, 0] }),
        Op::StochasticDepth(StochasticDepth { p: 1.0 }),
        Op::Scale(Scale { channels: 5, bias: false, trained: true }),
        Op::PRelu(PRelu { channels: 3 }),
        Op::LayerNorm2d(LayerNorm2d { channels: 4, eps: f64::INFINITY }),
        Op::LayerNorm2d(LayerNorm2d { channels: huge, eps: 1e-6 }),
    ];
    for op in refused {
        assert!(shape(&op, &[vec![4, 5, 6]]).is_err(), "{op:?}");
    }
    assert!(shape(&Op::Input(Input { shape: vec![huge, huge, 2] }), &[]).is_err());
    let linear = Linear { in_features: 12, out_features: huge, bias: true, quantized: false };
    assert!(shape(&Op::Linear(linear), &[vec![12]]).is_err());
}

/// The running statistics follow the batches, everything else is the optimiser's.
#[test]
fn parameters_begin_as_their_papers_say() {
    let params = |op: Op| -> Vec<(&'static str, Init)> { op.params().iter().map(|p| (p.suffix, p.init)).collect() };
    let conv = Op::Conv2d(Conv2d::square(4, 8, 3, 1, 1).with_bias());
    assert_eq!(params(conv), [("weight", Init::Normal((2.0f64 / 72.0).sqrt())), ("bias", Init::Constant(0.0))]);
    let linear = Op::Linear(Linear { in_features: 16, out_features: 5, bias: true, quantized: false });
    assert_eq!(params(linear), [("weight", Init::Uniform(0.25)), ("bias", Init::Uniform(0.25))]);
    let norm = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
    let scale = |trained| Op::Scale(Scale { channels: 2, bias: true, trained });
    assert_eq!(params(scale(true)), [("weight", Init::Constant(1.0)), ("bias", Init::Constant(0.0))]);
    assert!(scale(true).params().iter().all(|param| param.role.is_trained() && param.role != Role::Weight));
    assert!(scale(false).params().iter().all(|param| param.role == Role::Constant && !param.role.is_trained()));
    assert_eq!(params(Op::PRelu(PRelu { channels: 1 })), [("weight", Init::Constant(0.25))]);
    assert_eq!(params(Op::BatchNorm2d(BatchNorm2d::new(4))), norm.map(|(name, value)| (name, Init::Constant(value))));
}

#[test]
fn quantisers_own_two_numbers_that_nothing_trains() {
    let params = Op::Quantize(Quantize { signed: true, high: None }).params();
    assert_eq!(params, Op::Dequantize(Dequantize {}).params());
    let told: Vec<_> = params.iter().map(|p| (p.suffix, p.shape.as_slice(), p.role.is_trained())).collect();
    assert_eq!(told, [("scale", &[1usize][..], false), ("zero_point", &[1], false)]);
}

/// ReLU6 in whole steps; files of before have no such number, and files without it have none.
#[test]
fn a_quantiser_may_have_a_largest_number_of_its_own_above_its_zero_point() {
    let quantize = |text: &str| serde_json::from_str::<Quantize>(text).unwrap();
    let (all, some) = (quantize(r#"{"signed":false}"#), quantize(r#"{"signed":false,"high":192}"#));
    assert_eq!((all.range(), some.range()), ([0.0, 255.0], [0.0, 192.0]));
    assert_eq!(serde_json::to_string(&all).unwrap(), r#"{"signed":false}"#);
    assert_eq!(serde_json::to_string(&some).unwrap(), r#"{"signed":false,"high":192}"#);
    let checked = |signed: bool, zero_point: f32, high: u8| {
        let (mut builder, input) = crate::GraphBuilder::new("quantised", [1, 1, 1]).unwrap();
        let output = builder.add("q", Op::Quantize(Quantize { signed, high: Some(high) }), &[input]).unwrap();
        let one = |value: f32| crate::Array::new(vec![1], vec![value]).unwrap();
        let params = [("q.scale", one(0.5)), ("q.zero_point", one(zero_point))];
        let weights = crate::Weights(params.map(|(name, array)| (name.to_owned(), array)).into());
        weights.check(&builder.finish(output)).map_err(|error| error.to_string())
    };
    for (signed, zero_point, high) in [(false, 191.0, 192), (false, 0.0, 254), (true, -128.0, 64), (true, 0.0, 126)] {
        checked(signed, zero_point, high).unwrap();
    }
    for (signed, zero_point, high) in [(false, 192.0, 192), (false, 0.0, 255), (true, 0.0, 127), (true, 3.0, 3)] {
        let error = checked(signed, zero_point, high).unwrap_err();
        assert!(error.contains(&format!("q's largest number is {high}, expected a number above")), "{error}");
    }
}

/// What concat joins must fit; features are joined too.
#[test]
fn channels_are_joined_and_cut_of_images_and_of_features() {
    let join = |a: &[usize], b: &[usize]| shape(&Op::Concat(Concat { inputs: 2 }), &[a.to_vec(), b.to_vec()]);
    assert_eq!(join(&[4, 5, 6], &[3, 5, 6]).unwrap(), [7, 5, 6]);
    assert_eq!(join(&[4], &[3]).unwrap(), [7]);
    for (a, b) in [(&[4usize, 5, 6][..], &[3usize, 5, 7][..]), (&[4, 5, 6], &[3]), (&[4, 5], &[4, 5])] {
        assert!(join(a, b).is_err(), "{a:?} and {b:?}");
    }
    assert_eq!(shape(&Op::SliceChannels(SliceChannels { start: 1, end: 4 }), &[vec![4]]).unwrap(), [3]);
    assert_eq!(shape(&Op::Reshape(Reshape { shape: vec![6, 1, 1] }), &[vec![6]]).unwrap(), [6, 1, 1]);
}

/// Sizes as PyTorch and ONNX have them, and files of before.
#[test]
fn pools_round_up_where_they_are_told_to_and_old_files_keep_their_bytes() {
    let size = |pool: &Pool2d, edge: usize| shape(&Op::MaxPool2d(pool.clone()), &[vec![1, edge, edge]]).unwrap()[1];
    let up = |kernel, stride, padding| Pool2d { ceil_mode: true, ..Pool2d::square(kernel, stride, padding) };
    // torch.nn.functional.max_pool2d(torch.zeros(1, 1, edge, edge), kernel, stride, padding, ceil_mode=True)
    for (pool, edge, expected) in [
        (up(3, 2, 0), 112, 56),
        (up(3, 2, 0), 113, 56),
        (up(3, 2, 1), 112, 57),
        (up(2, 2, 0), 7, 4),
        (up(1, 2, 0), 4, 2), // rounds up to 3, of which the last would begin beyond the image
        (up(2, 3, 1), 4, 2),
        (up(3, 2, 0), 2, 1), // smaller than the window, whose last row lies beyond
    ] {
        assert_eq!(size(&pool, edge), expected, "{pool:?} of {edge}");
    }
    let same = Pool2d { padding_end: Some([1, 1]), ..Pool2d::square(3, 2, 0) };
    assert_eq!(size(&same, 8), 4);
    let text = |pool: Pool2d| serde_json::to_string(&Op::AvgPool2d(pool)).unwrap();
    let plain = r#"{"kind":"avg-pool2d","kernel":[3,3],"stride":[2,2],"padding":[1,1]}"#;
    assert_eq!(text(Pool2d::square(3, 2, 1)), plain);
    assert_eq!(serde_json::from_str::<Op>(plain).unwrap(), Op::AvgPool2d(Pool2d::square(3, 2, 1)));
    let all =
        Pool2d { padding_end: Some([0, 1]), ceil_mode: true, count_include_pad: false, ..Pool2d::square(3, 2, 1) };
    let told = r#"{"kind":"avg-pool2d","kernel":[3,3],"stride":[2,2],"padding":[1,1],"padding_end":[0,1],"ceil_mode":true,"count_include_pad":false}"#;
    assert_eq!(text(all.clone()), told);
    assert_eq!(serde_json::from_str::<Op>(told).unwrap(), Op::AvgPool2d(all));
}
