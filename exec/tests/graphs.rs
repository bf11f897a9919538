//! Small networks as PyTorch computed them: values and gradients of the cases in `tests/fixtures/ops/graphs.safetensors`,
//! by the kernels, by Candle's operations in `f64`, and in training as in evaluation.
#![allow(clippy::unwrap_used, clippy::panic)] // in what the tests share, too

use std::path::Path;

use attar_exec::{Context, Network, Params};
use attar_measures::random::Stream;
use attar_models::{Array, Graph, Weights};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

struct Case<'a> {
    name: &'a str,
    graph: Graph,
    tensors: &'a SafeTensors<'a>,
}

impl Case<'_> {
    fn tensor(&self, name: &str) -> Option<Tensor> {
        let view = self.tensors.tensor(&format!("{}.{name}", self.name)).ok()?;
        let values: Vec<f32> = view.data().as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
        Some(Tensor::from_vec(values, view.shape(), &Device::Cpu).unwrap())
    }

    fn network(&self, context: &Context) -> Network {
        let array = |param: attar_models::Param| {
            let values = self.tensor(&param.name).unwrap_or_else(|| panic!("{} has no {}", self.name, param.name));
            (param.name, Array::new(param.shape, values.flatten_all().unwrap().to_vec1::<f32>().unwrap()).unwrap())
        };
        let weights = Weights(self.graph.params().map(array).collect());
        let params = Params::from_weights(&self.graph, &weights, context).unwrap();
        Network::new(self.graph.clone(), params, context).unwrap()
    }

    /// Compares with the tensor of that name, in units of its largest value.
    fn assert(&self, name: &str, got: &Tensor, tolerance: f64) {
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let want = self.tensor(name).unwrap();
        assert_eq!(got.dims(), want.dims(), "{} {name}", self.name);
        let (got, want) = (wide(got), wide(&want));
        let largest = want.iter().fold(1.0f64, |largest, x| largest.max(x.abs()));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!((got - want).abs() <= tolerance * largest, "{} {name}[{i}]: {got}, expected {want}", self.name);
        }
    }
}

#[test]
fn networks_compute_what_pytorch_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/ops/graphs.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cases = header.metadata().as_ref().unwrap();
    assert!(cases.len() > 25, "only {} cases", cases.len());
    for (name, graph) in cases {
        let graph = Graph::from_json(graph).unwrap_or_else(|error| panic!("{name}: {error}"));
        let case = Case { name, graph, tensors: &tensors };
        for (context, values) in [(Context::new(&Device::Cpu), DType::F32), (Context::exact(&Device::Cpu), DType::F64)]
        {
            let typed = |x: Tensor| x.to_dtype(values).unwrap();
            let mut network = case.network(&context);
            let x = typed(case.tensor("x").unwrap());
            case.assert("y", &network.eval(&x, &[]).unwrap().logits, 2e-6);
            let Some(dy) = case.tensor("dy").map(typed) else { continue };
            let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1)).unwrap();
            case.assert("y", &outputs.logits, 2e-6);
            let found = network.backward(tape, vec![(network.graph().output(), dy)], true).unwrap();
            case.assert("dx", &found.input.unwrap(), 2e-6);
        }
    }
}
