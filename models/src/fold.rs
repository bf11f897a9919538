//! Folding batch norms into the convolutions before them: the network as it runs, one operation fewer a layer.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphBuilder, NodeId};
use crate::op::{BatchNorm2d, Op};
use crate::rewrite::Rewritten;
use crate::weights::Weights;

/// The same function in evaluation mode without the batch norms that follow a convolution.
///
/// A batch norm is folded when it reads a convolution that nothing else reads and that is no stage. The convolution
/// keeps its name and gets a bias, the batch norm disappears, and a stage or output that it was becomes the
/// convolution: its value is the norm's now ([`Rewritten::moved`]), and what it gave before is gone. Any other batch norm stays. With s = scale / sqrt(running_var + eps), the weight becomes weight * s and
/// the bias (bias - running_mean) * s + shift, computed in f64.
///
/// # Errors
/// [`Error::Mismatch`] when the weights do not fit the graph or a variance is so negative that it has no root.
pub fn fold_batch_norm(graph: &Graph, weights: &Weights) -> Result<Rewritten> {
    weights.check(graph)?;
    let (mut builder, input) = GraphBuilder::new(graph.name(), input_shape(graph)?)?;
    let mut folded = weights.clone();
    let mut moved = vec![input];
    let conv_of = foldable(graph);
    let norm_after = |conv: NodeId| conv_of.contains(&Some(conv));
    for (id, node) in graph.iter().skip(1) {
        if let Some(conv) = conv_of[id.index()] {
            fold(graph, conv, id, &mut folded)?;
            moved.push(moved[conv.index()]);
            continue;
        }
        let op = match &node.op {
            Op::Conv2d(conv) if norm_after(id) => {
                let mut conv = conv.clone();
                conv.bias = true;
                Op::Conv2d(conv)
            }
            other => other.clone(),
        };
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.index()]).collect();
        moved.push(builder.add(node.name.as_str(), op, &inputs)?);
    }
    for (name, id) in graph.stages() {
        builder.stage(name.as_str(), moved[id.index()]);
    }
    let after = builder.finish(moved[graph.output().index()]);
    folded.check(&after)?;
    // A convolution's own value is gone where it went on as its norm's.
    let moved = graph.iter().map(|(id, _)| (!norm_after(id)).then(|| moved[id.index()])).collect();
    Ok(Rewritten { graph: after, weights: folded, moved })
}

fn input_shape(graph: &Graph) -> Result<[usize; 3]> {
    <[usize; 3]>::try_from(graph.input_shape()).map_err(|_| Error::Node {
        node: graph.nodes()[0].name.clone(),
        problem: format!("an input is [C, H, W], got {:?}", graph.input_shape()),
    })
}

/// For each node, the convolution that it is folded into, if it is a batch norm that can be.
fn foldable(graph: &Graph) -> Vec<Option<NodeId>> {
    let uses = graph.use_counts();
    let is_stage = |id: NodeId| graph.stages().iter().any(|(_, stage)| *stage == id);
    let conv_of = |op: &Op, inputs: &[NodeId]| {
        let conv = *inputs.first()?;
        let follows = matches!(op, Op::BatchNorm2d(_)) && matches!(graph.node(conv).op, Op::Conv2d(_));
        (follows && uses[conv.index()] == 1 && !is_stage(conv)).then_some(conv)
    };
    graph.nodes().iter().map(|node| conv_of(&node.op, &node.inputs)).collect()
}

/// Moves the batch norm's five arrays into the convolution's two. `weights` fit the graph.
fn fold(graph: &Graph, conv: NodeId, norm: NodeId, weights: &mut Weights) -> Result<()> {
    let (conv, norm) = (graph.node(conv), graph.node(norm));
    let Op::BatchNorm2d(BatchNorm2d { channels, eps, .. }) = norm.op else { return Ok(()) };
    let mut take = |node: &str, suffix: &str| {
        let name = format!("{node}.{suffix}");
        let array = weights.0.remove(&name);
        array.ok_or_else(|| Error::Mismatch { network: graph.name().to_owned(), problem: format!("missing {name}") })
    };
    let scale = take(&norm.name, "weight")?.into_vec::<f32>()?;
    let shift = take(&norm.name, "bias")?.into_vec::<f32>()?;
    let mean = take(&norm.name, "running_mean")?.into_vec::<f32>()?;
    let var = take(&norm.name, "running_var")?.into_vec::<f32>()?;
    let mut weight = take(&conv.name, "weight")?;
    let old_bias = take(&conv.name, "bias").ok().map(Array::into_vec::<f32>).transpose()?;
    let mut bias = Vec::with_capacity(channels);
    let per_channel = weight.elements.len() / channels.max(1);
    for (channel, filter) in weight.f32_mut()?.chunks_mut(per_channel.max(1)).enumerate() {
        let variance = f64::from(var[channel]) + eps;
        if variance <= 0.0 {
            let problem = format!("{}.running_var[{channel}] is {}, expected at least 0", norm.name, var[channel]);
            return Err(Error::Mismatch { network: graph.name().to_owned(), problem });
        }
        let factor = f64::from(scale[channel]) / variance.sqrt();
        filter.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        let offset = old_bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
        let offset = (offset - f64::from(mean[channel])) * factor + f64::from(shift[channel]);
        bias.push(offset as f32);
    }
    weights.0.insert(format!("{}.weight", conv.name), weight);
    weights.0.insert(format!("{}.bias", conv.name), Array::new(vec![channels], bias)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated;
    use crate::op::{Add, Conv2d};
    use crate::zoo::{NetworkSpec, build, catalog};

    /// A 1x1 convolution on one pixel is a matrix product; batch norm and its folded form are compared by hand.
    #[test]
    fn the_folded_convolution_computes_what_both_did() -> Result<()> {
        for bias in [false, true] {
            let (mut b, x) = GraphBuilder::new("one", [3, 1, 1])?;
            let mut conv = Conv2d::square(3, 4, 1, 1, 0);
            conv.bias = bias;
            let x = b.add("conv", Op::Conv2d(conv), &[x])?;
            let x = b.add("bn", Op::BatchNorm2d(BatchNorm2d { channels: 4, eps: 1e-2, momentum: 0.1 }), &[x])?;
            let graph = b.finish(x);
            let weights = generated::weights(&graph, 3);
            let Rewritten { graph: after, weights: folded, .. } = fold_batch_norm(&graph, &weights)?;
            assert_eq!(folded.0.keys().collect::<Vec<_>>(), ["conv.bias", "conv.weight"]);
            assert_eq!(after.nodes().len(), 2);
            let pixel = [0.7, -0.3, 0.2];
            let product = |weights: &Weights, channel: usize| -> f64 {
                let row = &weights.get("conv.weight").unwrap().f32().unwrap()[channel * 3..][..3];
                let offset = weights.get("conv.bias").map_or(0.0, |bias| f64::from(bias.f32().unwrap()[channel]));
                row.iter().zip(pixel).map(|(w, p)| f64::from(*w) * p).sum::<f64>() + offset
            };
            let at = |name: &str, channel: usize| f64::from(weights.get(name).unwrap().f32().unwrap()[channel]);
            for c in 0..4 {
                let standard =
                    (product(&weights, c) - at("bn.running_mean", c)) / (at("bn.running_var", c) + 1e-2).sqrt();
                let expected = standard * at("bn.weight", c) + at("bn.bias", c);
                assert!((product(&folded, c) - expected).abs() < 1e-6, "channel {c}, bias {bias}");
            }
        }
        Ok(())
    }

    #[test]
    fn no_batch_norm_is_left_in_any_network_and_stages_stay() {
        for entry in catalog() {
            let graph = build(&NetworkSpec::new(entry.name, 3, [3, 16, 12])).unwrap();
            let Rewritten { graph: after, weights: folded, moved } =
                fold_batch_norm(&graph, &generated::weights(&graph, 1)).unwrap();
            for (id, node) in graph.iter() {
                let is_normed = graph
                    .nodes()
                    .iter()
                    .any(|reader| matches!(reader.op, Op::BatchNorm2d(_)) && reader.inputs.contains(&id));
                let expected = match node.op {
                    Op::Conv2d(_) if is_normed => None,
                    Op::BatchNorm2d(_) => Some(graph.node(node.inputs[0]).name.as_str()),
                    _ => Some(node.name.as_str()),
                };
                let found = moved[id.index()].map(|after_id| after.node(after_id).name.as_str());
                assert_eq!(found, expected, "{} of {}", node.name, entry.name);
            }
            assert!(!after.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm2d(_))), "{}", entry.name);
            folded.check(&after).unwrap();
            let norms = graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm2d(_))).count();
            assert_eq!(after.nodes().len() + norms, graph.nodes().len());
            assert_eq!(after.output_shape(), graph.output_shape());
            assert_eq!(after.macs(), graph.macs());
            for ((name, before), (folded_name, id)) in graph.stages().iter().zip(after.stages()) {
                assert_eq!(name, folded_name);
                assert_eq!(graph.node(*before).shape, after.node(*id).shape, "{name} of {}", entry.name);
            }
        }
        let graph = build(&NetworkSpec::new("mobilenet_v2", 3, [3, 16, 12])).unwrap();
        let after = fold_batch_norm(&graph, &generated::weights(&graph, 1)).unwrap().graph;
        assert_eq!(after.node(after.tap("features.17").unwrap()).name, "features.17.conv.2");
    }

    #[test]
    fn a_batch_norm_stays_where_its_convolution_is_read_twice_or_tapped() -> Result<()> {
        for tapped in [false, true] {
            let (mut b, x) = GraphBuilder::new("kept", [3, 4, 4])?;
            let conv = b.add("conv", Op::Conv2d(Conv2d::square(3, 3, 3, 1, 1)), &[x])?;
            let norm = Op::BatchNorm2d(BatchNorm2d { channels: 3, eps: 1e-5, momentum: 0.1 });
            let mut out = b.add("bn", norm.clone(), &[conv])?;
            if tapped {
                b.stage("layer1", conv);
            } else {
                out = b.add("add", Op::Add(Add {}), &[out, conv])?;
            }
            let out = b.add("bn2", norm, &[out])?;
            let graph = b.finish(out);
            let weights = generated::weights(&graph, 1);
            let folded = fold_batch_norm(&graph, &weights)?;
            let moved = graph.iter().map(|(id, _)| Some(id)).collect();
            assert_eq!(folded, Rewritten { graph, weights, moved });
        }
        Ok(())
    }

    #[test]
    fn a_variance_without_a_root_is_named() {
        let graph = build(&NetworkSpec::new("resnet8", 3, [3, 8, 8])).unwrap();
        let mut weights = generated::weights(&graph, 1);
        weights.0.get_mut("layer1.0.bn1.running_var").unwrap().f32_mut().unwrap()[2] = -1.0;
        let message = fold_batch_norm(&graph, &weights).unwrap_err().to_string();
        assert!(message.contains("layer1.0.bn1.running_var[2] is -1"), "{message}");
        weights.0.remove("fc.bias");
        assert!(fold_batch_norm(&graph, &weights).is_err());
    }
}
