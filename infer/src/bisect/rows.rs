//! Values inside of a file in Attar's own engine, which gives logits alone: for each value the file is cut behind it, and its
//! numbers are the logits of what is left ([`attar_onnx::row`]).

use std::collections::BTreeMap;

use attar_models::Array;
use attar_onnx::cut::Graph;
use attar_onnx::row::row;

use super::points::Point;
use crate::engine::values::Values;
use crate::engine::{Engine, EngineModel, EngineSpec, plain};
use crate::error::{Error, Result};

/// What can be asked for.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Shapes of values, without the batch.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    /// The value that the engine answers with when the file is whole: what goes into a softmax at its end.
    answer: String,
}

/// Which points can be asked for.
#[cfg(feature = "compile")]
pub(super) fn answerable(model: &EngineModel, graph: &Graph<'_>, points: &[Point], input: [usize; 3]) -> Rows {
    let options = attar_onnx::ReadOptions { input: Some(input) };
    let Ok(import) = attar_onnx::read(model.bytes(), model.origin(), options) else { return Rows::default() };
    let shapes = import.operations.into_iter().filter_map(|operation| Some((operation.value, operation.shape?)));
    let mut shapes: BTreeMap<String, Vec<usize>> = shapes.collect();
    let end = graph.outputs().first().copied().unwrap_or("");
    let mut can = BTreeMap::new();
    for point in points.iter().filter(|point| point.value == import.output || point.value != end) {
        let Some(shape) = shapes.remove(&point.value) else { continue };
        if point.value == import.output || row(graph, &point.value, &shape, levels(point), input).is_some() {
            can.insert(point.value.clone(), shape);
        }
    }
    Rows { shapes: can, answer: import.output }
}

#[cfg(not(feature = "compile"))]
pub(super) fn answerable(_: &EngineModel, _: &Graph<'_>, _: &[Point], _: [usize; 3]) -> Rows {
    Rows::default()
}

fn levels(point: &Point) -> Option<attar_onnx::row::Levels> {
    point.levels.map(|levels| (levels.scale, levels.zero, levels.signed))
}

/// An engine for each value.
pub(super) struct Cut {
    engines: Vec<(Box<dyn Engine>, Vec<usize>)>,
}

impl Cut {
    /// Opens the file once for each of these points, which [`answerable`] lists.
    ///
    /// # Errors
    /// [`Error::Engine`] for what the engine does not compute.
    pub(super) fn open(
        (model, spec): (&EngineModel, &EngineSpec),
        graph: &Graph<'_>,
        points: &[&Point],
        rows: &Rows,
        input: [usize; 3],
    ) -> Result<Self> {
        let one = |point: &&Point| {
            let missing = || Error::Engine {
                engine: spec.kind.name(),
                problem: format!("`{}` cannot be taken out of {}", point.value, model.name()),
            };
            let shape = rows.shapes.get(&point.value).ok_or_else(missing)?;
            let engine = match point.value == rows.answer {
                true => plain(spec, model.bytes(), model.origin(), Some(input))?,
                false => {
                    let part = row(graph, &point.value, shape, levels(point), input).ok_or_else(missing)?;
                    plain(spec, &part, model.origin(), Some(input))?
                }
            };
            Ok((engine, shape.clone()))
        };
        Ok(Self { engines: points.iter().map(one).collect::<Result<_>>()? })
    }
}

impl Values for Cut {
    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<Array>> {
        let Some((_, images)) = inputs.first() else { return Ok(Vec::new()) };
        let (count, images) = (images.shape.first().copied().unwrap_or(0), images.f32()?);
        let mut all = Vec::new();
        for (engine, shape) in &mut self.engines {
            let numbers = engine.run(images, count)?;
            all.push(Array::new([&[count], &shape[..]].concat(), numbers)?);
        }
        Ok(all)
    }
}
