//! A network of the zoo as a teacher.

use attar_exec::Precision;
use attar_exec::{Network, Outputs};
use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Question, Teacher};
use crate::error::Result;
use crate::recipe::TeacherNorm;

/// A zoo network with its weights.
#[derive(Debug)]
pub(crate) struct ZooTeacher {
    network: Network,
    norm: TeacherNorm,
    /// As it came: with batch statistics the running ones of `network` drift.
    original: Network,
    /// The original folded, once it has been attacked.
    attacked: Option<Network>,
}

impl ZooTeacher {
    /// A teacher that will be asked for `taps` of `graph` and no others. With running statistics it is folded, unless a
    /// tap looks between a convolution and its norm.
    pub(crate) fn new(
        graph: &Graph,
        weights: &Weights,
        norm: TeacherNorm,
        taps: &[NodeId],
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        let folds = norm == TeacherNorm::Running && !taps.iter().any(|tap| is_normed(graph, *tap));
        let mut network = if folds {
            Network::folded(graph.clone(), weights, device)?
        } else {
            Network::from_weights(graph.clone(), weights, device)?
        };
        let original = network.clone();
        network.set_precision(precision);
        Ok(Self { original, network, norm, attacked: None })
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
        match self.norm {
            TeacherNorm::Running => Ok(self.network.eval(input, taps)?),
            TeacherNorm::Batch => {
                // Statistics of the batch; the running ones drift, as in the authors' code. No zoo
                // teacher has dropout worth a seed: a fixed one keeps runs equal.
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                Ok(self.network.batch_stats(input, taps, &mut rng)?)
            }
        }
    }

    /// With the running statistics that it came with, whatever the recipe says of its norms.
    fn input_gradient(&mut self, input: &Tensor, slope: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.attacked.is_none() {
            self.attacked = Some(self.original.folded_copy()?);
        }
        match &self.attacked {
            Some(network) => network.input_gradient(input, slope),
            None => self.original.input_gradient(input, slope),
        }
    }
}

#[cfg(test)]
mod tests {
    use attar_models::generated;
    use attar_models::zoo::{NetworkSpec, build};

    use super::*;

    fn logits_and_tap(norm: TeacherNorm, tap: &str) -> (Vec<f32>, Vec<f32>, bool) {
        let graph = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        let weights = generated::weights(&graph, 1);
        let taps = [graph.tap(tap).unwrap()];
        let mut teacher = ZooTeacher::new(&graph, &weights, norm, &taps, Precision::F32, &Device::Cpu).unwrap();
        let pixels = (0..4 * 144).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let input = Tensor::from_vec(pixels, (4, 1, 12, 12), &Device::Cpu).unwrap();
        let outputs = teacher.outputs(&Question { pixels: &input, samples: None }, &taps).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let is_folded = teacher.network.params().len() < weights.0.len();
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
