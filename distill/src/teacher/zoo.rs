//! A network of the zoo as a teacher.

use attar_exec::{Context, Frozen, Network, Outputs, Precision};
use attar_measures::random::Stream;
use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::Tensor;

use super::{Question, Teacher};
use crate::error::Result;
use crate::recipe::TeacherNorm;

/// A zoo network with its weights.
#[derive(Debug)]
pub(crate) struct ZooTeacher {
    network: Answering,
    attacked: Attacked,
}

/// The network that answers.
#[derive(Debug)]
enum Answering {
    /// By running statistics.
    Frozen(Frozen),
    /// By running statistics, with a tap between a convolution and its norm.
    Tapped(Network),
    /// By the statistics of the batch; the running ones drift.
    Batch(Network),
}

/// The network that is attacked, in `f32` and by the running statistics that it came with.
#[derive(Debug)]
enum Attacked {
    /// As it came; folded once it is attacked.
    NotYet(Network),
    Before(Frozen),
}

impl ZooTeacher {
    /// A teacher that will be asked for `taps` of `graph` and no others. With running statistics it is folded, unless a
    /// tap looks between a convolution and its norm.
    pub(crate) fn new(
        graph: &Graph,
        weights: &Weights,
        norm: TeacherNorm,
        taps: &[NodeId],
        context: &Context,
    ) -> Result<Self> {
        let exact = context.with_precision(Precision::F32);
        if norm == TeacherNorm::Running && !taps.iter().any(|tap| is_normed(graph, *tap)) {
            let exact = Frozen::new(graph.clone(), weights, exact)?;
            let mut network = exact.clone();
            network.set_precision(context.precision());
            return Ok(Self { network: Answering::Frozen(network), attacked: Attacked::Before(exact) });
        }
        let exact = Network::from_weights(graph.clone(), weights, exact)?;
        let mut network = exact.clone();
        network.set_precision(context.precision());
        let network = match norm {
            TeacherNorm::Running => Answering::Tapped(network),
            TeacherNorm::Batch => Answering::Batch(network),
        };
        Ok(Self { network, attacked: Attacked::NotYet(exact) })
    }
}

/// Whether the node is a convolution that a norm reads: folding would take its value away.
fn is_normed(graph: &Graph, tap: NodeId) -> bool {
    let mut nodes = graph.iter().map(|(_, node)| node);
    matches!(graph.node(tap).op, Op::Conv2d(_))
        && nodes.any(|node| matches!(node.op, Op::BatchNorm2d(_)) && node.inputs.contains(&tap))
}

impl Teacher for ZooTeacher {
    fn outputs(&mut self, question: &Question<'_>, taps: &[NodeId]) -> Result<Outputs> {
        let input = question.pixels;
        Ok(match &mut self.network {
            Answering::Frozen(network) => network.eval(input, taps)?,
            Answering::Tapped(network) => network.eval(input, taps)?,
            Answering::Batch(network) => {
                // Statistics of the batch; the running ones drift, as in the authors' code. No zoo teacher has dropout
                // worth a seed: a fixed one keeps runs equal.
                let mut rng = Stream::of_number(0);
                network.batch_stats(input, taps, &mut rng)?
            }
        })
    }

    /// With the running statistics that it came with, whatever the recipe says of its norms.
    fn input_gradient(&mut self, input: &Tensor, slope: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if let Attacked::NotYet(network) = &self.attacked {
            self.attacked = Attacked::Before(network.freeze()?);
        }
        match &self.attacked {
            Attacked::Before(network) => network.input_gradient(input, slope),
            Attacked::NotYet(network) => network.freeze()?.input_gradient(input, slope),
        }
    }
}

#[cfg(test)]
mod tests {
    use attar_models::generated;
    use attar_models::zoo::{NetworkSpec, build};
    use candle_core::Device;

    use super::*;

    fn logits_and_tap(norm: TeacherNorm, tap: &str) -> (Vec<f32>, Vec<f32>, bool) {
        let graph = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let weights = generated::weights(&graph, 1);
        let taps = [graph.tap(tap).unwrap()];
        let mut teacher = ZooTeacher::new(&graph, &weights, norm, &taps, &Context::new(&Device::Cpu)).unwrap();
        let pixels = (0..4 * 144).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let input = Tensor::from_vec(pixels, (4, 1, 12, 12), &Device::Cpu).unwrap();
        let outputs = teacher.outputs(&Question { pixels: &input, samples: None }, &taps).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let is_folded =
            matches!(&teacher.network, Answering::Frozen(network) if network.params().len() < weights.0.len());
        (flat(&outputs.logits), flat(&outputs.taps[0]), is_folded)
    }

    #[test]
    fn folding_changes_nothing_but_rounding_and_gives_way_to_a_tap_inside() {
        let (logits, _, folded) = logits_and_tap(TeacherNorm::Running, "layer1");
        let (same, conv, unfolded) = logits_and_tap(TeacherNorm::Running, "layer1.0.conv1");
        assert!(folded && !unfolded && !conv.is_empty());
        assert!(logits.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + a.abs())), "{logits:?} {same:?}");
    }

    #[test]
    fn batch_statistics_answer_differently() {
        let (running, ..) = logits_and_tap(TeacherNorm::Running, "layer1");
        let (batch, _, folded) = logits_and_tap(TeacherNorm::Batch, "layer1");
        assert!(!folded && running != batch);
    }
}
