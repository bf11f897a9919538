//! How a network runs and learns on tensors: executor, operations, parameters, optimisers.
//!
//! A [`Network`] is a graph with parameters in a [`Context`] (device, backend, precision). The
//! executor differentiates it; what a loss asks of its outputs comes from outside, as gradients:
//!
//! ```
//! use attar_exec::ops::Backend;
//! use attar_exec::optim::OptimiserSpec;
//! use attar_exec::{Network, Params};
//! use attar_measures::random::Stream;
//! use attar_models::zoo::{NetworkSpec, build};
//! use candle_core::{DType, Device, Tensor};
//!
//! let graph = build(&NetworkSpec::new("resnet8", 10, [3, 16, 16]))?;
//! let (output, params) = (graph.output(), Params::init(&graph, 7, "", &Device::Cpu)?);
//! let mut network = Network::new(graph, params, &Device::Cpu)?;
//! let mut optimiser = serde_json::from_str::<OptimiserSpec>(r#"{"kind": "sgd", "momentum": 0.9}"#).unwrap().build()?;
//!
//! let x = Tensor::ones((4, 3, 16, 16), DType::F32, &Device::Cpu)?;
//! let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(1))?;
//! let slope = outputs.logits.ones_like()?; // of the sum of all logits
//! let gradients = network.backward(tape, vec![(output, slope)], false)?;
//! optimiser.step(Backend::Cpu, network.params_mut(), &gradients.params, 0.1)?;
//!
//! let frozen = network.freeze()?; // evaluates, batch norms folded
//! assert_eq!(frozen.eval(&x, &[])?.logits.dims(), [4, 10]);
//! # Ok::<(), attar_exec::Error>(())
//! ```

pub mod check;
mod context;
pub mod device;
mod error;
pub mod network;
pub mod ops;
pub mod optim;
pub mod params;
mod precision;
pub mod profile;

pub use attar_kernels::check_level;
pub use context::Context;
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use network::{Frozen, Gradients, Network, Outputs, Tape};
pub use params::{ParamId, Params, Slots};
pub use precision::Precision;
