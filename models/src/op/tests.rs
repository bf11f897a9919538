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
        Op::BatchNorm2d(BatchNorm2d { eps: f64::NAN, ..BatchNorm2d::new(4) }),
        Op::BatchNorm2d(BatchNorm2d { momentum: 1.5, ..BatchNorm2d::new(4) }),
        Op::PadChannels(PadChannels { before: huge, after: huge }),
        Op::Subsample(Subsample { stride: 0 }),
        Op::Dropout(Dropout { p: f64::NAN }),
    ];
    for op in refused {
        assert!(shape(&op, &[vec![4, 5, 6]]).is_err(), "{op:?}");
    }
    assert!(shape(&Op::Input(Input { shape: vec![huge, huge, 2] }), &[]).is_err());
    let linear = Linear { in_features: 12, out_features: huge, bias: true };
    assert!(shape(&Op::Linear(linear), &[vec![12]]).is_err());
}

/// The running statistics follow the batches, everything else is the optimiser's.
#[test]
fn parameters_begin_as_their_papers_say() {
    let params = |op: Op| -> Vec<(&'static str, Init)> { op.params().iter().map(|p| (p.suffix, p.init)).collect() };
    let conv = Op::Conv2d(Conv2d::square(4, 8, 3, 1, 1).with_bias());
    assert_eq!(params(conv), [("weight", Init::Normal((2.0f64 / 72.0).sqrt())), ("bias", Init::Constant(0.0))]);
    let linear = Op::Linear(Linear { in_features: 16, out_features: 5, bias: true });
    assert_eq!(params(linear), [("weight", Init::Uniform(0.25)), ("bias", Init::Uniform(0.25))]);
    let norm = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
    assert_eq!(params(Op::BatchNorm2d(BatchNorm2d::new(4))), norm.map(|(name, value)| (name, Init::Constant(value))));
}
