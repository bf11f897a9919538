//! The two sides: a file in a runtime, asked for some values at a time, or values that another program recorded.

use attar_formats::npy::floats;
use attar_formats::recorded::Recorded;
use attar_models::{Array, Elements};
use attar_onnx::{cut, wire};

use super::points::{Levels, Point, points};
use super::rows::{Cut, Rows, answerable};
use crate::engine::onnx::OnnxFile;
use crate::engine::values::{Values, load};
use crate::engine::{EngineKind, EngineModel, EngineSpec};
use crate::error::{Error, Result};

/// A file in a runtime.
#[derive(Debug)]
pub struct Live<'m> {
    pub(super) model: &'m EngineModel,
    pub(super) spec: EngineSpec,
    pub(super) graph: cut::Graph<'m>,
    pub(super) points: Vec<Point>,
    /// Name of its image.
    pub(super) input: String,
    /// The batch size that it insists on.
    pub(super) batch: Option<usize>,
    /// `[C, H, W]` that it takes.
    shape: [usize; 3],
    /// What Attar's own engine can be asked for.
    rows: Rows,
}

impl<'m> Live<'m> {
    /// Looks at the values of a file that takes `[C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Format`] for a plan, and for what does not take one image.
    pub fn new(model: &'m EngineModel, spec: EngineSpec, shape: [usize; 3]) -> Result<Self> {
        if model.is_plan() {
            let problem = "a plan, whose values are those of the file that it was made of\n  hint: give that file, with the \
                           engine `attar`";
            return Err(Error::format(model.origin(), problem));
        }
        model.sizes()?;
        let graph = cut::Graph::read(model.bytes());
        let file = OnnxFile::read(model.bytes());
        let (mut points, input, batch) = (points(&graph), file.input_name().to_owned(), file.fixed_batch());
        let mut rows = Rows::default();
        if spec.kind == EngineKind::Attar {
            rows = answerable(model, &graph, &points, shape);
            points.retain(|point| rows.shapes.contains_key(&point.value));
        }
        Ok(Self { model, spec, graph, points, input, batch, shape, rows })
    }

    /// Name of the image that it takes.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Whether its runtime runs parts of files.
    pub(super) fn cuts(&self) -> bool {
        self.spec.kind != EngineKind::Attar
    }

    /// The file with these values as its outputs, and they alone.
    pub(super) fn watch(&self, names: &[&str]) -> Result<Watched<'_>> {
        if self.spec.kind == EngineKind::Attar {
            let points = names.iter().filter_map(|name| self.points.iter().find(|point| point.value == *name));
            let points: Vec<&Point> = points.collect();
            let cut = Cut::open((self.model, &self.spec), &self.graph, &points, &self.rows, self.shape)?;
            return Ok(Watched { values: Box::new(cut), input: &self.input, places: (0..points.len()).collect() });
        }
        let own = self.graph.outputs();
        let more: Vec<&str> = names.iter().copied().filter(|name| !own.contains(name)).collect();
        let places = |name: &&str| {
            own.iter()
                .position(|own| own == name)
                .or_else(|| more.iter().position(|tap| tap == name).map(|at| own.len() + at))
        };
        let places = names.iter().filter_map(places).collect();
        let bytes = wire::with_outputs(self.model.bytes(), more);
        Ok(Watched { values: load(&self.spec, &bytes, self.model.origin())?, input: &self.input, places })
    }
}

/// A side that gives some of its values.
pub(super) struct Watched<'p> {
    values: Box<dyn Values>,
    input: &'p str,
    places: Vec<usize>,
}

impl Watched<'_> {
    /// The values, in the order in which they were asked for.
    pub(super) fn of(&mut self, images: &Array) -> Result<Vec<Array>> {
        let mut given: Vec<Option<Array>> = self.values.run(&[(self.input, images)])?.into_iter().map(Some).collect();
        let engine = "bisect";
        let missing = || Error::Engine { engine, problem: "fewer outputs than were asked for".to_owned() };
        self.places.iter().map(|at| given.get_mut(*at).and_then(Option::take).ok_or_else(missing)).collect()
    }
}

/// A recorded value of all `images`, which its first axis counts.
pub(super) fn recorded(file: &Recorded, name: &str, images: usize) -> Result<Array> {
    let whole = file.read(name)?;
    if whole.shape.first() != Some(&images) {
        let problem = format!("`{name}` is {:?}; its first axis should count the {images} images", whole.shape);
        return Err(Error::format(file.path(), problem));
    }
    Ok(whole)
}

/// Images `at..at + count` of a value; behind the last one stands the last one again.
pub(super) fn rows(whole: &Array, at: usize, count: usize) -> Result<Array> {
    let (images, rest) = whole.shape.split_first().map_or((1, &[][..]), |(images, rest)| (*images, rest));
    let length: usize = rest.iter().product();
    let parts: Vec<Elements> = (at..at + count)
        .map(|image| image.min(images.saturating_sub(1)) * length)
        .map(|from| part(&whole.elements, from, from + length))
        .collect();
    Ok(Array::of_elements([&[count], rest].concat(), joined(parts))?)
}

fn joined(parts: Vec<Elements>) -> Elements {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or(Elements::F32(Vec::new()));
    parts.fold(first, |all, part| match (all, part) {
        (Elements::U8(mut all), Elements::U8(part)) => {
            all.extend(part);
            Elements::U8(all)
        }
        (Elements::I8(mut all), Elements::I8(part)) => {
            all.extend(part);
            Elements::I8(all)
        }
        (all, part) => Elements::F32([floats(&all), floats(&part)].concat()),
    })
}

fn part(elements: &Elements, from: usize, to: usize) -> Elements {
    match elements {
        Elements::U8(values) => Elements::U8(values[from..to].to_vec()),
        Elements::I8(values) => Elements::I8(values[from..to].to_vec()),
        Elements::F32(values) => Elements::F32(values[from..to].to_vec()),
        other @ (Elements::F16(_) | Elements::Bf16(_) | Elements::I32(_) | Elements::U32(_) | Elements::I64(_)) => {
            Elements::F32(floats(other)[from..to].to_vec())
        }
    }
}

/// What numbers stand for: bytes by their levels, all else as it is.
pub(super) fn reals(array: &Array, levels: Option<Levels>) -> Vec<f32> {
    let real = |number: i32, levels: Levels| levels.real(number) as f32;
    match (&array.elements, levels) {
        (Elements::U8(values), Some(levels)) => values.iter().map(|value| real(i32::from(*value), levels)).collect(),
        (Elements::I8(values), Some(levels)) => values.iter().map(|value| real(i32::from(*value), levels)).collect(),
        (elements, _) => floats(elements),
    }
}

/// Real numbers as a side has them: bytes where it quantises the value, else floats.
pub(super) fn numbers(reals: Vec<f32>, shape: &[usize], levels: Option<Levels>) -> std::result::Result<Array, String> {
    let elements = match levels {
        None => Elements::F32(reals),
        Some(levels) if levels.signed => Elements::I8(reals.iter().map(|real| levels.number(*real) as i8).collect()),
        Some(levels) => Elements::U8(reals.iter().map(|real| levels.number(*real) as u8).collect()),
    };
    Array::of_elements(shape.to_vec(), elements).map_err(|error| error.to_string())
}

/// Recorded numbers with their channels last, `[N, H, W, C]`, in the order of `[N, C, H, W]`, where that alone explains the
/// shapes.
pub(super) fn channels_first(array: &Array, wanted: &[usize]) -> Option<Array> {
    let (&[n, h, w, c], &[n_, c_, h_, w_]) = (&array.shape[..], wanted) else { return None };
    if array.shape == wanted || [n, h, w, c] != [n_, h_, w_, c_] {
        return None;
    }
    let reorder = |at: usize| {
        let (image, rest) = (at / (c * h * w), at % (c * h * w));
        let (channel, pixel) = (rest / (h * w), rest % (h * w));
        (image * h * w + pixel) * c + channel
    };
    let order: Vec<usize> = (0..n * h * w * c).map(reorder).collect();
    let elements = match &array.elements {
        Elements::U8(values) => Elements::U8(order.iter().map(|at| values[*at]).collect()),
        Elements::I8(values) => Elements::I8(order.iter().map(|at| values[*at]).collect()),
        other => {
            let values = floats(other);
            Elements::F32(order.iter().map(|at| values[*at]).collect())
        }
    };
    Array::of_elements(wanted.to_vec(), elements).ok()
}

/// The images of a recording, `[C, H, W]` each, and how many there are.
///
/// # Errors
/// [`Error::Format`] when the input of the network is not among the values, or of another shape.
pub fn recorded_images(file: &Recorded, input: &str, shape: [usize; 3]) -> Result<(Vec<f32>, usize)> {
    let fail = |problem: String| Error::format(file.path(), problem);
    if !file.shapes().contains_key(input) {
        let names: Vec<&str> = file.shapes().keys().map(String::as_str).collect();
        let near = attar_models::nearest(input, names.iter().copied()).unwrap_or_default();
        let hint = if near.is_empty() { String::new() } else { format!("\n  hint: is it `{near}`?") };
        return Err(fail(format!("the network's input `{input}` is not among its values{hint}")));
    }
    let array = file.read(input)?;
    let images = array.shape.first().copied().unwrap_or(0);
    let wanted = [&[images], &shape[..]].concat();
    let array = channels_first(&array, &wanted).unwrap_or(array);
    if array.shape != wanted || images == 0 {
        return Err(fail(format!(
            "`{input}` is {:?}, expected [N, {}, {}, {}]",
            array.shape, shape[0], shape[1], shape[2]
        )));
    }
    Ok((floats(&array.elements), images))
}
