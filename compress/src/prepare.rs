//! The network as it is deployed: norms folded, nothing that only training needs, and the mean over an image apart from the
//! flattening behind it, so that a quantiser can stand between the two.

use attar_models::op::{Flatten, Pool2d};
use attar_models::{Graph, GraphBuilder, NodeId, Op, Rewritten, Weights};

use crate::error::{Error, Result};

/// Folds batch norms into the convolutions before them, drops dropout and stochastic depth, and writes a mean over the whole
/// image as a pool, called `NODE.pool`, and a flattening. The function in evaluation mode stays.
///
/// # Errors
/// As [`attar_models::fold::fold_batch_norm`].
pub fn prepare(graph: &Graph, weights: &Weights) -> Result<Rewritten> {
    let folded = attar_models::fold::fold_batch_norm(graph, weights)?;
    let before = &folded.graph;
    let input = <[usize; 3]>::try_from(before.input_shape())
        .map_err(|_| Error::setting("input", format!("is {:?}, expected [C, H, W]", before.input_shape())))?;
    let (mut builder, input) = GraphBuilder::new(before.name(), input)?;
    let mut moved: Vec<NodeId> = vec![input];
    for (_, node) in before.iter().skip(1) {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.index()]).collect();
        let made = match &node.op {
            Op::Dropout(_) | Op::StochasticDepth(_) => inputs[0],
            Op::GlobalAvgPool(_) => {
                let [height, width] = size(before, node.inputs[0])?;
                let pool = Op::AvgPool2d(Pool2d::new([height, width], [1, 1], [0, 0]));
                let pooled = builder.add(format!("{}.pool", node.name), pool, &inputs)?;
                builder.add(node.name.as_str(), Op::Flatten(Flatten {}), &[pooled])?
            }
            op => builder.add(node.name.as_str(), op.clone(), &inputs)?,
        };
        moved.push(made);
    }
    for (name, id) in before.stages() {
        builder.stage(name.as_str(), moved[id.index()]);
    }
    let after = builder.finish(moved[before.output().index()]);
    let moved = folded.moved.iter().map(|id| id.map(|id| moved[id.index()])).collect();
    Ok(Rewritten { graph: after, weights: folded.weights, moved })
}

fn size(graph: &Graph, id: NodeId) -> Result<[usize; 2]> {
    match graph.node(id).shape[..] {
        [_, height, width] => Ok([height, width]),
        ref other => Err(Error::setting(&graph.node(id).name, format!("is {other:?}, expected an image"))),
    }
}
