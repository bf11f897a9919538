//! A network of the zoo as a teacher.

use attar_models::{Graph, NodeId, Op, Weights};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Teacher;
use crate::error::Result;
use crate::network::{Network, Outputs};
use crate::params::Params;
use crate::recipe::TeacherNorm;

/// A zoo network with its weights.
#[derive(Debug)]
pub(crate) struct ZooTeacher {
    network: Network,
    norm: TeacherNorm,
    /// Where each tap of the graph as planned lies in the graph that runs, which may be folded.
    places: Vec<Option<NodeId>>,
}

impl ZooTeacher {
    /// A teacher that will be asked for `taps` of `graph` and no others. With running statistics it is folded, unless a
    /// tap looks between a convolution and its norm.
    pub(crate) fn new(
        graph: &Graph,
        weights: &Weights,
        norm: TeacherNorm,
        taps: &[NodeId],
        device: &Device,
    ) -> Result<Self> {
        let folds = norm == TeacherNorm::Running;
        if folds && let Some((folded, places, weights)) = fold(graph, weights, taps)? {
            let params = Params::from_weights(&folded, &weights, device)?;
            return Ok(Self { network: Network::new(folded, params, device)?, norm, places });
        }
        let params = Params::from_weights(graph, weights, device)?;
        let places = graph.iter().map(|(id, _)| Some(id)).collect();
        Ok(Self { network: Network::new(graph.clone(), params, device)?, norm, places })
    }
}

impl Teacher for ZooTeacher {
    fn outputs(&mut self, input: &Tensor, taps: &[NodeId]) -> Result<Outputs> {
        let place = |id: &NodeId| self.places.get(id.index()).copied().flatten().unwrap_or(*id);
        let taps: Vec<NodeId> = taps.iter().map(place).collect();
        match self.norm {
            TeacherNorm::Running => self.network.eval(input, &taps),
            TeacherNorm::Batch => {
                // Statistics of the batch; the running ones drift, as in the authors' code, and nothing reads them. No zoo
                // teacher has dropout worth a seed: a fixed one keeps runs equal.
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                self.network.batch_stats(input, &taps, &mut rng)
            }
        }
    }
}

type Folded = (Graph, Vec<Option<NodeId>>, Weights);

/// The folded graph and where each node of the original lies in it, or `None` when a tap would change its meaning: a
/// folded convolution gives what its norm gave.
fn fold(graph: &Graph, weights: &Weights, taps: &[NodeId]) -> Result<Option<Folded>> {
    let (folded, folded_weights) = attar_models::fold::fold_batch_norm(graph, weights)?;
    let place = |name: &str| folded.iter().find(|(_, node)| node.name == name).map(|(id, _)| id);
    let mut places = Vec::with_capacity(graph.nodes().len());
    let mut changed = vec![false; graph.nodes().len()];
    for (_, node) in graph.iter() {
        let here = place(&node.name);
        let gone_norm = here.is_none() && matches!(node.op, Op::BatchNorm2d { .. });
        if gone_norm && let Some(conv) = node.inputs.first() {
            changed[conv.index()] = true;
            places.push(place(&graph.node(*conv).name));
        } else {
            places.push(here);
        }
    }
    let kept = |id: &NodeId| !changed[id.index()] && places[id.index()].is_some();
    Ok(taps.iter().all(kept).then_some((folded, places, folded_weights)))
}
