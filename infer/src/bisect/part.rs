//! A node by itself: what lies between two compared values, cut out of its file and fed with the other side's numbers.

use std::collections::BTreeMap;
use std::path::Path;

use attar_models::{Array, Elements};
use attar_onnx::cut::{Info, Segment};

use super::Pair;
use super::party::{Live, channels_first, numbers, reals};
use crate::engine::values::{Values, load};
use crate::error::{Error, Result};

/// Shapes of values on the side that is cut, as far as it was asked.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// A pair's nodes, cut out, and where their inputs come from.
pub(super) struct Part<'p, 'm> {
    pub(super) segment: Segment<'m>,
    /// For each of its inputs the pair that it is; `None` for the image.
    pub(super) from: Vec<Option<&'p Pair>>,
}

/// The nodes between a pair and the pairs before it.
pub(super) fn part<'p, 's>(
    cut: &'p Live<'s>,
    pairs: &'p [Pair],
    pair: &Pair,
) -> std::result::Result<Part<'p, 's>, String> {
    let known = |name: &str| name == cut.input || pairs.iter().any(|pair| pair.cut.value == name);
    let segment = cut.graph.segment(&pair.cut.value, known);
    let segment = segment.ok_or_else(|| format!("`{}` comes of nodes with graphs within them", pair.cut.value))?;
    let from = segment.inputs.iter().map(|name| pairs.iter().find(|pair| pair.cut.value == *name)).collect();
    Ok(Part { segment, from })
}

/// The other side's numbers as the side that is cut has them.
pub(super) fn as_cut(given: &Array, pair: &Pair, shapes: &Shapes) -> std::result::Result<Array, String> {
    let shape = shapes.get(&pair.cut.value).unwrap_or(&given.shape);
    let mut given = channels_first(given, shape).unwrap_or_else(|| given.clone());
    if given.shape.iter().product::<usize>() == shape.iter().product::<usize>() {
        given.shape.clone_from(shape); // `[N, C]` of what is `[N, C, 1, 1]`, and the like
    }
    let bytes = matches!(given.elements, Elements::U8(_) | Elements::I8(_));
    if bytes && pair.given_levels == pair.cut.levels {
        return Ok(given);
    }
    if bytes && pair.given_levels.is_none() {
        return Ok(given); // bytes that mean nothing known
    }
    numbers(reals(&given, pair.given_levels), &given.shape, pair.cut.levels)
}

/// Runs a pair's nodes on these inputs.
pub(super) fn run_part(
    cut: &Live<'_>,
    part: &Part<'_, '_>,
    pair: &Pair,
    inputs: &[Array],
    loaded: &mut Option<Box<dyn Values>>,
) -> Result<Array> {
    let named: Vec<(&str, &Array)> = part.segment.inputs.iter().copied().zip(inputs).collect();
    let values = match loaded {
        Some(values) => values,
        None => {
            loaded.insert(load(&cut.spec, &model(cut, part, &pair.cut.value, &named, None), Path::new(&pair.cut.node))?)
        }
    };
    let missing = || Error::Engine { engine: cut.spec.kind.name(), problem: "a part without an answer".to_owned() };
    values.run(&named)?.into_iter().next().ok_or_else(missing)
}

/// A pair's nodes as a model.
pub(super) fn model(
    cut: &Live<'_>,
    part: &Part<'_, '_>,
    output: &str,
    inputs: &[(&str, &Array)],
    answer: Option<&Array>,
) -> Vec<u8> {
    fn info<'n>(name: &'n str, array: &Array) -> Info<'n> {
        let kind = match array.elements {
            Elements::F32(_) => 1,
            Elements::U8(_) => 2,
            Elements::I8(_) => 3,
            Elements::I32(_) => 6,
            Elements::I64(_) => 7,
            Elements::F16(_) => 10,
            Elements::U32(_) => 12,
            Elements::Bf16(_) => 16,
        };
        Info { name, kind: Some(kind), shape: Some(array.shape.clone()) }
    }
    let inputs: Vec<Info<'_>> = inputs.iter().map(|(name, array)| info(name, array)).collect();
    let output = answer.map_or(Info { name: output, ..Info::default() }, |array| info(output, array));
    cut.graph.cut(&part.segment.nodes, &inputs, &[output])
}
