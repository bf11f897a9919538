//! What the tests of losses share: fixtures by PyTorch, comparisons, finite differences.

use std::collections::BTreeMap;
use std::path::Path;

use attar_distill::Result;
use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use serde_json::Value;

pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The cases of one kind in `tests/fixtures/losses/<file>.safetensors`: name, settings, tensors without the case's name.
pub(crate) fn cases(file: &str, kind: &str) -> Vec<(String, Value, Tensors)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/fixtures/losses/{file}.safetensors"));
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut found = Vec::new();
    for (case, text) in header.metadata().as_ref().unwrap() {
        let settings: Value = serde_json::from_str(text).unwrap();
        if settings["kind"] == kind {
            let prefix = format!("{case}.");
            let own =
                |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone()));
            found.push((case.clone(), settings, tensors.iter().filter_map(own).collect()));
        }
    }
    assert!(!found.is_empty(), "{file} has no case of kind {kind}");
    found
}

pub(crate) fn number(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Equal within `tolerance`, relative to the largest expected magnitude.
pub(crate) fn close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    let (got, expected) = (numbers(got), numbers(expected));
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-6_f64, |most, value| most.max(value.abs()));
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!((got - expected).abs() <= tolerance * scale, "{what}[{i}]: {got}, expected {expected}");
    }
}

/// Value and gradient of a case in both float types; `f64` must agree far better.
pub(crate) fn against_pytorch(
    case: &str,
    tensors: &Tensors,
    leaf: &str,
    loss: impl Fn(&Tensor, &dyn Fn(&str) -> Tensor) -> Result<Tensor>,
) {
    for (dtype, tolerance) in [(DType::F32, 3e-6), (DType::F64, 1e-11)] {
        let input = |name: &str| tensors[name].to_dtype(dtype).unwrap();
        let var = Var::from_tensor(&input(leaf)).unwrap();
        let value = loss(&var, &input).unwrap();
        close(&format!("{case} value {dtype:?}"), &value, &tensors["value"], tolerance);
        let grads = value.backward().unwrap();
        let expected = &tensors[&format!("grad_{leaf}")];
        close(&format!("{case} gradient {dtype:?}"), grads.get(&var).unwrap(), expected, tolerance);
    }
}

/// Pseudo-random numbers without a generator: enough to be nobody's special case.
pub(crate) fn noise(shape: &[usize], salt: f64) -> Tensor {
    let len = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..len).map(|i| 2.0 * ((i as f64 + 1.0) * 12.9898 + salt * 78.233).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The gradient at `at` (`f64`) against central differences.
pub(crate) fn by_differences(what: &str, at: &Tensor, loss: impl Fn(&Tensor) -> Result<Tensor>) {
    const STEP: f64 = 1e-5;
    let var = Var::from_tensor(at).unwrap();
    let grad = numbers(loss(&var).unwrap().backward().unwrap().get(&var).unwrap());
    let values = numbers(at);
    for i in 0..values.len() {
        let shifted = |by: f64| {
            let mut values = values.clone();
            values[i] += by;
            number(&loss(&Tensor::from_vec(values, at.shape(), &Device::Cpu).unwrap()).unwrap())
        };
        let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
        assert!((grad[i] - expected).abs() < 1e-7, "{what}[{i}]: {}, by differences {expected}", grad[i]);
    }
}
