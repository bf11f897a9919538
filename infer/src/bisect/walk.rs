//! The comparison: group by group of values, image by image.

use std::path::PathBuf;

use attar_formats::npy::floats;
use attar_models::Array;

use super::differences::differences;
use super::measure::{Measure, Rule};
use super::part::{Part, Shapes, as_cut, part, run_part};
use super::party::{Live, Watched, channels_first, reals, recorded, rows};
use super::points::Point;
use super::report::{Bisection, Compared, Finding, Found, SideFacts};
use super::{Given, Images, Other, Pair, pairs};
use crate::engine::available;
use crate::engine::values::Values;
use crate::error::{Error, Result};

/// Values that are asked for at a time.
const TOGETHER: usize = 16;

/// What is known of a pair when all images are done.
#[derive(Debug, Default)]
struct Sums {
    total: Measure,
    own: Option<Measure>,
    /// Why there is no own error.
    problem: Option<String>,
}

/// Both sides, and which of them can be cut.
pub(super) struct Sides<'s> {
    pub(super) cut: &'s Live<'s>,
    pub(super) given: Given<'s>,
    /// Whether the side that is cut is B.
    pub(super) cut_is_b: bool,
}

impl<'s> Sides<'s> {
    /// B's file is cut and fed with A's values, unless B cannot be: then A's is.
    pub(super) fn new(a: &'s Live<'s>, b: &'s Other<'s>, images: usize) -> Self {
        match b {
            Other::Live(b) if b.cuts() || !a.cuts() => Self { cut: b, given: Given::Live(a), cut_is_b: true },
            Other::Live(b) => Self { cut: a, given: Given::Live(b), cut_is_b: false },
            Other::Recorded(file) => {
                Self { cut: a, given: Given::Recorded { file, input: &a.input, images }, cut_is_b: false }
            }
        }
    }
}

/// Compares the sides; `progress` hears how many of how many values are done.
///
/// # Errors
/// When a runtime is not there or refuses a file, an image cannot be made, or a recording does not fit the file.
pub fn bisect(
    a: &Live<'_>,
    b: &Other<'_>,
    images: &Images<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Bisection> {
    let sides = Sides::new(a, b, images.count);
    let same_file = matches!(b, Other::Live(b) if b.model.sha256() == a.model.sha256());
    let (pairs, unmatched) = pairs(sides.cut, &sides.given, sides.cut_is_b, same_file);
    let mut found = walk(&sides, &pairs, images, TOGETHER, progress)?;
    let mut notes = Vec::new();
    let unwatched = match b {
        Other::Live(b) if !pairs.is_empty() => unwatched(a, b, &pairs, images)?,
        Other::Live(_) | Other::Recorded(_) => None,
    };
    let fused = unwatched
        .as_ref()
        .is_some_and(|(measure, rule, point)| !measure.total_is_rounding(*rule, point.depth, point.behind_bytes));
    if fused && first(&found, &pairs).is_none() {
        notes.push(
            "the answers part although no value does: asking for values keeps a runtime from fusing them; they were asked for \
             one at a time"
                .to_owned(),
        );
        found = walk(&sides, &pairs, images, 1, progress)?;
    }
    let mut first = first(&found, &pairs);
    if let (None, true, Some(last)) = (&first, fused, pairs.last()) {
        let Pair { cut, .. } = last;
        let (value, node, op) = (cut.value.clone(), cut.node.clone(), cut.op.clone());
        first = Some(Found { value, node, op, finding: Finding::Fused, differences: Vec::new() });
    }
    if let (Some(first), Other::Live(b)) = (&mut first, b)
        && let Some(pair) = pairs.iter().find(|pair| pair.cut.value == first.value)
    {
        let levels = [pair.given_levels, pair.cut.levels];
        first.differences =
            differences(a, b, &first.node, if sides.cut_is_b { levels } else { [levels[1], levels[0]] });
    }
    let problem = found.iter().find_map(|sums| sums.problem.clone());
    notes.extend(problem.map(|problem| format!("what some nodes do by themselves is not known: {problem}")));
    let values = found.iter().zip(&pairs).map(|(sums, pair)| compared(sums, pair, sides.cut_is_b)).collect();
    let (facts_a, facts_b) = (
        facts(a),
        match b {
            Other::Live(b) => facts(b),
            Other::Recorded(file) => SideFacts {
                file: file.path().to_owned(),
                engine: None,
                engine_version: None,
                sha256: None,
                precision: None,
            },
        },
    );
    let unmatched = if sides.cut_is_b { [unmatched[1], unmatched[0]] } else { unmatched };
    let unwatched = unwatched.map(|(measure, rule, _)| measure.errors(rule));
    Ok(Bisection {
        a: facts_a,
        b: facts_b,
        images: images.count,
        first,
        values,
        unmatched,
        unwatched,
        repro: None,
        notes,
    })
}

fn facts(live: &Live<'_>) -> SideFacts {
    let known = available(&live.spec.ort).into_iter().find(|found| found.engine == live.spec.kind);
    SideFacts {
        file: PathBuf::from(live.model.name()),
        engine: Some(live.spec.kind.name().to_owned() + if live.spec.unfused { " (unfused)" } else { "" }),
        engine_version: known.and_then(|found| found.version),
        sha256: Some(live.model.sha256().to_owned()),
        precision: Some(live.model.precision().to_owned()),
    }
}

fn finding(sums: &Sums, pair: &Pair) -> Finding {
    let total = sums.total.total_is_rounding(pair.rule, pair.cut.depth, pair.cut.behind_bytes);
    match &sums.own {
        Some(own) if !own.own_is_rounding(pair.rule) => Finding::Own,
        Some(_) if !total => Finding::Inherited,
        None if !total => Finding::Unknown,
        _ if sums.total.errors(pair.rule).max == 0.0 => Finding::Equal,
        _ => Finding::Rounding,
    }
}

/// The first node that is guilty; else the first value at which what came together is more than rounding.
fn first(found: &[Sums], pairs: &[Pair]) -> Option<Found> {
    let all: Vec<Finding> = found.iter().zip(pairs).map(|(sums, pair)| finding(sums, pair)).collect();
    let at = |wanted: &[Finding]| all.iter().position(|finding| wanted.contains(finding));
    let at = at(&[Finding::Own, Finding::Unknown]).or_else(|| at(&[Finding::Inherited]))?;
    let Pair { cut, .. } = &pairs[at];
    let (value, node, op) = (cut.value.clone(), cut.node.clone(), cut.op.clone());
    Some(Found { value, node, op, finding: all[at], differences: Vec::new() })
}

fn compared(sums: &Sums, pair: &Pair, cut_is_b: bool) -> Compared {
    let (cut, given) = (pair.cut.value.clone(), pair.given.clone());
    let (value, other) = if cut_is_b { (given, cut) } else { (cut, given) };
    Compared {
        other: (other != value).then_some(other),
        value,
        node: pair.cut.node.clone(),
        op: pair.cut.op.clone(),
        depth: pair.cut.depth,
        unit: pair.rule.unit(),
        quantising: matches!(pair.rule, Rule::Quantising(_)),
        total: sums.total.errors(pair.rule),
        own: sums.own.as_ref().map(|own| own.errors(pair.rule)),
        image: sums.own.as_ref().unwrap_or(&sums.total).worst,
        finding: finding(sums, pair),
    }
}

/// Images `at..` as one batch of the size that a file insists on, or one image.
pub(super) fn batch(images: &Images<'_>, at: usize, count: usize) -> Result<Array> {
    let mut all = Vec::new();
    for image in at..at + count {
        all.extend((images.at)(image.min(images.count.saturating_sub(1)))?); // a batch is filled up with the last one
    }
    let [c, h, w] = images.shape;
    Ok(Array::new(vec![count, c, h, w], all)?)
}

/// The side that is given, asked for some values.
enum Source<'w> {
    Watched(Watched<'w>),
    Recorded(Vec<Array>),
}

fn walk(
    sides: &Sides<'_>,
    pairs: &[Pair],
    images: &Images<'_>,
    together: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Sums>> {
    let (mut all, mut shapes) = (Vec::new(), Shapes::new());
    for group in pairs.chunks(together) {
        all.extend(walk_group(sides, pairs, group, images, &mut shapes)?);
        progress(all.len(), pairs.len());
    }
    Ok(all)
}

fn walk_group(
    sides: &Sides<'_>,
    pairs: &[Pair],
    group: &[Pair],
    images: &Images<'_>,
    shapes: &mut Shapes,
) -> Result<Vec<Sums>> {
    let cut = sides.cut;
    let parts: Vec<std::result::Result<Part<'_, '_>, String>> = group
        .iter()
        .map(
            |pair| if cut.cuts() { part(cut, pairs, pair) } else { Err("Attar's own engine runs no parts".to_owned()) },
        )
        .collect();
    let mut wanted: Vec<&Pair> = group.iter().collect();
    for pair in parts.iter().flatten().flat_map(|part| part.from.iter().flatten()) {
        if !wanted.iter().any(|known| known.cut.value == pair.cut.value) {
            wanted.push(pair);
        }
    }
    let names: Vec<&str> = group.iter().map(|pair| pair.cut.value.as_str()).collect();
    let mut own = cut.watch(&names)?;
    let mut source = source(&sides.given, &wanted)?;
    let mut sums: Vec<Sums> = group.iter().map(|_| Sums::default()).collect();
    let mut loaded: Vec<Option<Box<dyn Values>>> = group.iter().map(|_| None).collect();
    let step = cut.batch.or(match &sides.given {
        Given::Live(live) => live.batch,
        Given::Recorded { .. } => None,
    });
    let step = step.unwrap_or(1).max(1);
    for at in (0..images.count).step_by(step) {
        let image = batch(images, at, step)?;
        let answers = own.of(&image)?;
        let given = asked(&mut source, &image, at, step)?;
        shapes.extend(group.iter().zip(&answers).map(|(pair, array)| (pair.cut.value.clone(), array.shape.clone())));
        for (place, pair) in group.iter().enumerate() {
            let shape = &answers[place].shape;
            let other = fitted(&given[place], shape, pair)?;
            let values = reals(&other, pair.given_levels);
            let cut_values = reals(&answers[place], pair.cut.levels);
            let ordered = |cut_values: &[f32], sum: &mut Measure| match sides.cut_is_b {
                true => sum.add(at, &values, cut_values, pair.rule),
                false => sum.add(at, cut_values, &values, pair.rule),
            };
            ordered(&cut_values, &mut sums[place].total);
            let Ok(part) = &parts[place] else { continue };
            let inputs = part.from.iter().map(|from| match from {
                None => Ok(image.clone()),
                Some(pair) => {
                    let at = wanted.iter().position(|known| known.cut.value == pair.cut.value).unwrap_or_default();
                    as_cut(&given[at], pair, shapes)
                }
            });
            let answer = inputs.collect::<std::result::Result<Vec<Array>, String>>().and_then(|inputs| {
                run_part(cut, part, pair, &inputs, &mut loaded[place]).map_err(|error| error.to_string())
            });
            match answer {
                Ok(answer) => ordered(&reals(&answer, pair.cut.levels), sums[place].own.get_or_insert_default()),
                Err(problem) => sums[place].problem = Some(problem),
            }
        }
    }
    for (sums, part) in sums.iter_mut().zip(parts) {
        if let Err(problem) = part {
            sums.problem = Some(problem);
        }
        // What failed on one image is not known.
        sums.own = sums.own.take().filter(|_| sums.problem.is_none());
    }
    Ok(sums)
}

fn source<'w>(given: &'w Given<'_>, wanted: &[&Pair]) -> Result<Source<'w>> {
    let names: Vec<&str> = wanted.iter().map(|pair| pair.given.as_str()).collect();
    Ok(match given {
        Given::Live(live) => Source::Watched(live.watch(&names)?),
        Given::Recorded { file, images, .. } => {
            Source::Recorded(names.iter().map(|name| recorded(file, name, *images)).collect::<Result<_>>()?)
        }
    })
}

fn asked(source: &mut Source<'_>, image: &Array, at: usize, step: usize) -> Result<Vec<Array>> {
    match source {
        Source::Watched(watched) => watched.of(image),
        Source::Recorded(arrays) => arrays.iter().map(|whole| rows(whole, at, step)).collect(),
    }
}

/// What the given side has at these values, for one batch.
pub(super) fn given_values(given: &Given<'_>, wanted: &[&Pair], image: &Array, at: usize) -> Result<Vec<Array>> {
    let step = image.shape.first().copied().unwrap_or(1);
    asked(&mut source(given, wanted)?, image, at, step)
}

/// The other side's numbers in the shape of those of the side that is cut.
fn fitted(given: &Array, shape: &[usize], pair: &Pair) -> Result<Array> {
    if let Some(moved) = channels_first(given, shape) {
        return Ok(moved);
    }
    if given.shape.iter().product::<usize>() == shape.iter().product::<usize>() {
        return Ok(given.clone());
    }
    let problem =
        format!("`{}` is {:?} on one side, `{}` {shape:?} on the other", pair.given, given.shape, pair.cut.value);
    Err(Error::Data { problem })
}

/// How far the answers of both files are apart as they run without being watched, with the rule and the point by which that
/// is judged; `None` where the answer is no pair.
fn unwatched(
    a: &Live<'_>,
    b: &Live<'_>,
    pairs: &[Pair],
    images: &Images<'_>,
) -> Result<Option<(Measure, Rule, Point)>> {
    let is_answer = |live: &Live<'_>, name: &str| live.graph.outputs().first() == Some(&name);
    let answer = pairs
        .iter()
        .find(|pair| [a, b].iter().all(|live| is_answer(live, &pair.cut.value) || is_answer(live, &pair.given)));
    let Some(pair) = answer else { return Ok(None) };
    let mut sum = Measure::default();
    let mut sides = [a.watch(a.graph.outputs())?, b.watch(b.graph.outputs())?];
    let step = a.batch.or(b.batch).unwrap_or(1).max(1);
    for at in (0..images.count).step_by(step) {
        let image = batch(images, at, step)?;
        let [first, second] = sides.each_mut().map(|side| side.of(&image));
        let (first, second) = (first?.into_iter().next(), second?.into_iter().next());
        let numbers = |array: &Option<Array>| array.as_ref().map(|array| floats(&array.elements)).unwrap_or_default();
        sum.add(at, &numbers(&first), &numbers(&second), pair.rule);
    }
    Ok(Some((sum, pair.rule, pair.cut.clone())))
}
