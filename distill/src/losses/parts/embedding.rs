//! Features of both networks in one space: linear embeddings of unit length, as contrastive losses compare them.

use attar_models::op::{GlobalAvgPool, Linear};
use attar_models::{GraphBuilder, NodeId, Op, Outline, ValueKind};
use candle_core::Tensor;

use crate::error::Result;
use crate::losses::parts::maps::unit_rows;
use crate::losses::{BuildContext, Connector, Init, Pairs, Param, Step, Tap, Taps};

/// Which features meet, and how.
#[derive(Debug, Clone)]
pub(in crate::losses) struct Embedding {
    taps: Taps,
    /// Of the teacher's features.
    channels: usize,
    /// Of the space; none if the teacher's own features are the space.
    dim: Option<usize>,
}

impl Embedding {
    /// `dim` numbers for either network, both embeddings trained; without it the student's is as wide as the teacher's
    /// features, which stay as they are.
    pub(in crate::losses) fn new(context: &BuildContext<'_>, pairs: &Pairs, dim: Option<usize>) -> Result<Self> {
        if dim == Some(0) {
            return Err(context.error("dim", "0, expected at least 1"));
        }
        let pair = pairs.only(context)?;
        let channels = context.teacher()?.value(pair.teacher).shape.first().copied().unwrap_or_default();
        let student = projector(context, pair.student, dim.unwrap_or(channels))?;
        Ok(Self { taps: Taps { student: vec![student], teachers: vec![vec![pair.teacher]] }, channels, dim })
    }

    /// Width of the space.
    pub(in crate::losses) fn width(&self) -> usize {
        self.dim.unwrap_or(self.channels)
    }

    pub(in crate::losses) fn taps(&self) -> Taps {
        self.taps.clone()
    }

    /// The teacher's embedding, initialised as PyTorch's linear layer.
    pub(in crate::losses) fn params(&self) -> Vec<Param> {
        let init = Init::Uniform(1.0 / (self.channels as f64).sqrt());
        let param = |name: &str, shape| Param { name: name.to_owned(), shape, init };
        let of = |dim| vec![param("teacher.weight", vec![dim, self.channels]), param("teacher.bias", vec![dim])];
        self.dim.map(of).unwrap_or_default()
    }

    /// Embedded features of the student and of the teacher in the first view, each `[N, width]` of unit length.
    pub(in crate::losses) fn rows(&self, step: &Step<'_>) -> Result<[Tensor; 2]> {
        let view = step.view()?;
        let [own] = view.student.taps.as_slice() else { return Err(missing("student")) };
        let [other] = view.teacher()?.taps.as_slice() else { return Err(missing("teacher")) };
        let other = match self.dim {
            Some(_) => embed(&other.detach(), step.param("teacher.weight")?, step.param("teacher.bias")?)?,
            None => unit_rows(&pooled(&other.detach())?)?,
        };
        Ok([unit_rows(own)?, other])
    }
}

/// `(W f + b) / |W f + b|_2` for features `[N, C]`, or `[N, C, H, W]` averaged over positions; `W` is `[D, C]`, `b` `[D]`.
///
/// # Errors
/// Shapes that do not fit, or a device that failed.
pub fn embed(features: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    unit_rows(&pooled(features)?.matmul(&weight.t()?)?.broadcast_add(bias)?)
}

fn pooled(features: &Tensor) -> Result<Tensor> {
    Ok(if features.rank() == 2 { features.clone() } else { features.flatten_from(2)?.mean(2)? })
}

/// The map `[C, H, W]` at a node; at a global mean, what it averages.
pub(in crate::losses) fn map_behind(
    context: &BuildContext<'_>,
    network: &Outline,
    id: NodeId,
) -> Result<(NodeId, [usize; 3])> {
    let node = network.value(id);
    let id = match (node.kind, node.inputs.as_slice()) {
        (ValueKind::GlobalMean, [map]) => *map,
        _ => id,
    };
    let shape = &network.value(id).shape;
    let map = <[usize; 3]>::try_from(shape.as_slice()).map_err(|_| {
        let problem = format!("needs a map [C, H, W] or its mean, `{}` of the student has {shape:?}", node.name);
        context.error("pairs", problem)
    })?;
    Ok((id, map))
}

/// The mean over positions and a linear layer: `[C, H, W] -> [dim]`. The executor takes the mean without a copy of the
/// map.
fn projector(context: &BuildContext<'_>, own: NodeId, dim: usize) -> Result<Tap> {
    let (node, map) = map_behind(context, context.student, own)?;
    let (mut builder, input) = GraphBuilder::new("embedding", map)?;
    let mean = builder.add("mean", Op::GlobalAvgPool(GlobalAvgPool {}), &[input])?;
    let linear = Op::Linear(Linear { in_features: map[0], out_features: dim, bias: true, quantized: false });
    let linear = builder.add("linear", linear, &[mean])?;
    Ok(Tap { node, connector: Some(Connector { name: "student".to_owned(), graph: builder.finish(linear) }) })
}

fn missing(side: &str) -> crate::Error {
    candle_core::Error::Msg(format!("a step without the features of the {side}")).into()
}
