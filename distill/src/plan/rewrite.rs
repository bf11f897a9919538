//! A student that becomes another network before it learns: one of 8-bit integers, with the floats that it learns by.

use std::collections::BTreeSet;

use attar_compress::{Images, Latent, Placement, Settings, observe, prepare, quantise};
use attar_data::CalibrationImages;
use attar_exec::{Params, Precision};
use attar_models::{Graph, NodeId, Op, Outline, Weights};
use candle_core::Device;

use super::data::PlannedData;
use super::fail;
use crate::error::Result;
use crate::recipe::{Recipe, Rewrite};

/// Where a recipe says it.
const KEY: &str = "student.from.rewrites";

/// A student in integers.
#[derive(Debug)]
pub(crate) struct InIntegers {
    /// What it learns by.
    pub(crate) latent: Latent,
    /// The network in floats, as it was before.
    pub(crate) floats: (Graph, Weights),
    /// Where its values are found now, by their names.
    aliases: Vec<(String, NodeId)>,
}

impl InIntegers {
    /// The network as losses know it: by the names of the one in floats, too.
    pub(crate) fn outline(&self, graph: &Graph) -> Outline {
        let named = |outline: Outline, (name, id): &(String, NodeId)| outline.with_alias(name.as_str(), *id);
        self.aliases.iter().fold(Outline::from(graph), named)
    }
}

/// What a recipe has become of.
pub(super) struct Rewritten {
    pub(super) graph: Graph,
    pub(super) params: Params,
    pub(super) integers: InIntegers,
    pub(super) note: String,
}

/// Rewrites the student's network as the recipe says, if it does.
pub(super) fn rewritten(
    recipe: &Recipe,
    graph: &Graph,
    params: &Params,
    data: &PlannedData,
    device: &Device,
) -> Result<Option<Rewritten>> {
    let rewrites = recipe.student.from.as_ref().map(|from| from.rewrites()).unwrap_or_default();
    let [Rewrite::Quantise { scales, weight_bits, calibrator, images, learn_scales, keep }] = rewrites else {
        return match rewrites {
            [] => Ok(None),
            _ => Err(fail(KEY, "`quantise` stands there more than once; a network is in integers or it is not")),
        };
    };
    check(recipe, graph, device)?;
    let key = |name: &str| format!("{KEY}.0.{name}");
    if !(2..=8).contains(weight_bits) {
        return Err(fail(&key("weight_bits"), format!("{weight_bits}, expected 2 to 8")));
    }
    if *images == 0 {
        return Err(fail(&key("images"), "0, expected at least 1"));
    }
    if let crate::recipe::Calibrator::Percentile(percent) = calibrator
        && !(*percent > 0.0 && *percent <= 100.0)
    {
        return Err(fail(&key("calibrator"), format!("{percent}, expected above 0, to 100")));
    }
    let floats = params.to_weights()?;
    let wrong = |error: attar_compress::Error| fail(&key("kind"), error.to_string());
    let prepared = prepare(graph, &floats).map_err(wrong)?;
    let (before, weights) = (&prepared.graph, &prepared.weights);
    let keep: BTreeSet<String> = keep.iter().cloned().collect();
    let placement = Placement::of(before, &keep).map_err(|error| fail(&key("keep"), error.to_string()))?;
    let layers = placement.layers(before).len();
    if layers == 0 {
        return Err(fail(&key("keep"), "no convolution and no linear layer is left to be in integers"));
    }
    let CalibrationImages { inputs: seen, .. } =
        CalibrationImages::collect(data.train.as_ref(), &data.pipeline.preprocessing, data.input, *images)?;
    let looked = Images::new(data.input, &seen).map_err(wrong)?;
    let observed = observe(before, weights, &placement.quantised(before), &looked, &mut |_| {}).map_err(wrong)?;
    let settings = Settings { scales: (*scales).into(), weight_bits: *weight_bits, calibrator: (*calibrator).into() };
    let quantised = quantise(before, weights, &placement, &observed, settings).map_err(wrong)?;
    let latent = Latent::of(before, weights, &quantised, *learn_scales).map_err(wrong)?;
    let after = quantised.rewritten;
    let aliases = graph.iter().filter_map(|(id, node)| {
        let found = prepared.moved[id.index()].and_then(|id| after.moved[id.index()])?;
        Some((node.name.clone(), found))
    });
    let note = format!(
        "{KEY}: {layers} layers in integers with weights of {weight_bits} bits, by {} training images{}",
        seen.len(),
        if *learn_scales { "; scales learn, too" } else { "" }
    );
    Ok(Some(Rewritten {
        params: Params::from_weights(&after.graph, &after.weights, device)?,
        integers: InIntegers { latent, aliases: aliases.collect(), floats: (graph.clone(), floats) },
        graph: after.graph,
        note,
    }))
}

/// What has no way to learn in integers is said before anything is done.
fn check(recipe: &Recipe, graph: &Graph, device: &Device) -> Result<()> {
    if recipe.train.precision != Precision::F32 {
        let problem = "a network in integers trains in f32: rounded to fewer digits, its whole numbers would be others\n  \
                       hint: leave `precision` out";
        return Err(fail("train.precision", problem));
    }
    if !device.is_cpu() {
        let problem = "a network in integers trains on the CPU: its whole numbers are made there after every step\n  \
                       hint: device = \"cpu\"";
        return Err(fail("device", problem));
    }
    match graph.nodes().iter().find(|node| matches!(node.op, Op::Quantize(_))) {
        None => Ok(()),
        Some(node) => {
            let problem = format!(
                "the network is in integers already, by its node `{}`\n  hint: start from it as it was in floats",
                node.name
            );
            Err(fail(KEY, problem))
        }
    }
}
