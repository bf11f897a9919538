//! Where the time of networks goes, by pass and kind of operation, for
//! `attar bench-train --profile`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use attar_models::{Node, Op};
use candle_core::Tensor;

use crate::error::Result;

/// Which way through a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// Evaluation, e.g. a teacher.
    Eval,
    /// Forward with everything kept that the way back needs.
    Forward,
    /// Back: gradients of parameters and inputs.
    Backward,
}

impl Pass {
    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eval => "eval",
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// What the operations of one kind took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// How many there were.
    pub calls: usize,
    /// Their time.
    pub time: Duration,
    /// Bytes of the values or gradients that they made, parameters' left out.
    pub bytes: usize,
    /// Floating-point operations of their products, two a multiply-accumulate; 0 for what has none.
    pub flops: f64,
}

/// Time and memory by pass and kind, e.g. `(Forward, "conv 3x3")`. A fused step counts as its first
/// operation.
pub type Profile = BTreeMap<(Pass, String), Spent>;

/// Asks how long operations take, of all networks whose contexts share it.
#[derive(Debug, Clone, Default)]
pub struct Profiler(Arc<Mutex<Option<Profile>>>);

impl Profiler {
    /// Runs `body` and tells what the networks that it ran spent. The device is waited for after
    /// every operation.
    pub fn watch<T>(&self, body: impl FnOnce() -> T) -> (T, Profile) {
        *self.current() = Some(Profile::new());
        let value = body();
        let profile = self.current().take();
        (value, profile.unwrap_or_default())
    }

    fn current(&self) -> MutexGuard<'_, Option<Profile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, if somebody asks.
    pub(crate) fn start(&self) -> Option<Instant> {
        self.current().is_some().then(Instant::now)
    }

    /// Books what an operation made of `input` (a batch of values, or of gradients) since `begun`.
    pub(crate) fn stop<'a>(
        &self,
        begun: Option<Instant>,
        pass: Pass,
        node: &Node,
        input: &Tensor,
        made: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<()> {
        let Some(begun) = begun else { return Ok(()) };
        input.device().synchronize()?;
        let bytes: usize = made.into_iter().map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes()).sum();
        let batch = input.dims().first().copied().unwrap_or_default();
        // Backward: that of the weight, and that of the input where it is wanted.
        let products = if pass == Pass::Backward && bytes > 0 { 2.0 } else { 1.0 };
        let time = begun.elapsed();
        if let Some(profile) = self.current().as_mut() {
            let spent = profile.entry((pass, kind(&node.op))).or_default();
            spent.calls += 1;
            spent.time += time;
            spent.bytes += bytes;
            spent.flops += products * 2.0 * node.op.macs(&node.shape) as f64 * batch as f64;
        }
        Ok(())
    }
}

/// Operations that cost alike under one name.
fn kind(op: &Op) -> String {
    match op {
        Op::Conv2d(conv) => {
            let [height, width] = conv.kernel;
            let kind = match conv.groups {
                1 => "conv",
                groups if groups == conv.in_channels => "depthwise conv",
                _ => "grouped conv",
            };
            let stride = if conv.stride == [1, 1] { String::new() } else { format!(" /{}", conv.stride[0]) };
            format!("{kind} {height}x{width}{stride}")
        }
        Op::BatchNorm2d(_) => "batch norm".to_owned(),
        Op::LayerNorm2d(_) => "layer norm".to_owned(),
        Op::Activation(_) | Op::PRelu(_) => "activation".to_owned(),
        Op::Scale(_) => "scale".to_owned(),
        Op::Add(_) => "add".to_owned(),
        Op::Mul(_) => "mul".to_owned(),
        Op::Linear(_) => "linear".to_owned(),
        Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::GlobalAvgPool(_) => "pool".to_owned(),
        Op::Concat(_) | Op::SliceChannels(_) | Op::ChannelShuffle(_) | Op::Pad2d(_) => "move".to_owned(),
        Op::Softmax(_) => "softmax".to_owned(),
        Op::Quantize(_) | Op::Dequantize(_) => "quantize".to_owned(),
        Op::Input(_)
        | Op::Subsample(_)
        | Op::PadChannels(_)
        | Op::Flatten(_)
        | Op::Dropout(_)
        | Op::Reshape(_)
        | Op::StochasticDepth(_) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use attar_measures::random::Stream;
    use attar_models::generated;
    use attar_models::zoo::{NetworkSpec, build};
    use candle_core::{DType, Device};

    use super::*;
    use crate::network::Network;

    #[test]
    fn every_operation_is_booked_and_nothing_when_nobody_asks() {
        let graph = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let (output, macs) = (graph.output(), graph.macs());
        let weights = generated::weights(&graph, 1);
        let mut network = Network::from_weights(graph, &weights, &Device::Cpu).unwrap();
        let x = Tensor::ones((4, 1, 12, 12), DType::F32, &Device::Cpu).unwrap();
        let step = |network: &mut Network| {
            let (outputs, tape) = network.train(&x, &[], &mut Stream::of_number(0)).unwrap();
            network.backward(tape, vec![(output, outputs.logits)], false).unwrap();
        };
        step(&mut network);
        let profiler = network.context().profiler().clone();
        let ((), profile) = profiler.watch(|| step(&mut network));
        let flops = |pass| profile.iter().filter(|((p, _), _)| *p == pass).map(|(_, spent)| spent.flops).sum::<f64>();
        assert!((flops(Pass::Forward) - 8.0 * macs as f64).abs() < 1.0);
        assert!(profile.keys().any(|(pass, kind)| *pass == Pass::Backward && kind == "conv 3x3"));
        assert!(profile.values().all(|spent| spent.calls > 0));
        let ((), nothing) = profiler.watch(|| ());
        assert!(nothing.is_empty());
    }
}
