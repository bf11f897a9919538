//! Every runtime's answers to a whole data set, joined with the reference by the hash of the pixels.

use std::time::Instant;

use attar_data::Dataset;
use rayon::prelude::*;

use super::Candidate;
use super::answer::Answer;
use crate::bundle::{Bundle, Predictions};
use crate::classify::network_input;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Images decoded, preprocessed and answered at a time.
const BATCH: usize = 64;

/// All answers to a data set.
pub(super) struct Answered {
    /// The reference's row of each image.
    pub(super) rows: Vec<Option<usize>>,
    /// Images left unpaired because the reference holds their pixels less often than the data.
    pub(super) repeated: usize,
    pub(super) by_candidate: Vec<Vec<Answer>>,
    /// Time each runtime took.
    pub(super) seconds: Vec<f64>,
}

/// Lets every candidate answer every image of the data.
pub(super) fn answer_all(
    bundle: &Bundle,
    candidates: &mut [Candidate],
    data: &dyn Dataset,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Answered> {
    check_class_names(bundle, data)?;
    let reference = bundle.predictions();
    let mut taken = vec![false; reference.map_or(0, Predictions::len)];
    let mut all = Answered {
        rows: Vec::new(),
        repeated: 0,
        by_candidate: vec![Vec::new(); candidates.len()],
        seconds: vec![0.0; candidates.len()],
    };
    let Some(signature) = candidates.first().map(|c| c.engine.signature()) else { return Ok(all) };
    let mut contradicted = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let indices = start..(start + BATCH).min(data.len());
        let prepared: Vec<([u8; 32], Vec<f32>)> = indices
            .clone()
            .into_par_iter()
            .map(|i| {
                let image = data.image(i)?;
                check_label(bundle, data, i)?;
                Ok((image.sha256(), network_input(&image, bundle, signature, &data.name(i))?))
            })
            .collect::<Result<_>>()?;
        let batch: Vec<f32> = prepared.iter().flat_map(|(_, input)| input.iter().copied()).collect();
        for (i, (hash, _)) in indices.clone().zip(&prepared) {
            let found = reference.map_or(Found::Unknown, |reference| find(reference, &mut taken, hash, data.label(i)));
            all.rows.push(if let Found::Row(row) = found { Some(row) } else { None });
            all.repeated += usize::from(found == Found::Repeated);
            contradicted.extend((found == Found::Contradicted).then_some(i));
        }
        check_labels(&contradicted, all.rows.iter().flatten().count(), bundle, data)?;
        for (at, candidate) in candidates.iter_mut().enumerate() {
            let started = Instant::now();
            let logits = run_padded(candidate.engine.as_mut(), &batch, indices.len())?;
            all.seconds[at] += started.elapsed().as_secs_f64();
            for (i, logits) in indices.clone().zip(logits.chunks(signature.classes)) {
                check_finite(candidate.engine.name(), logits, &data.name(i))?;
                all.by_candidate[at].push(Answer::new(logits, data.label(i), all.rows[i], reference));
            }
        }
        start = indices.end;
        progress(start, data.len());
    }
    Ok(all)
}

/// What the reference knows about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Its answer.
    Row(usize),
    /// Its answer, which an equal image has taken already.
    Repeated,
    /// The pixels, with another label.
    Contradicted,
    /// Nothing.
    Unknown,
}

/// Takes the reference's row for these pixels and this label. Each row is taken once: an image that was copied into the
/// data a hundred times is one decision, and counting it a hundred times would make the interval narrower than it is.
fn find(reference: &Predictions, taken: &mut [bool], pixels_sha256: &[u8; 32], label: u32) -> Found {
    let rows = reference.rows(pixels_sha256);
    let labelled = || rows.iter().map(|row| *row as usize).filter(|row| reference.label[*row] == label);
    if let Some(row) = labelled().find(|row| !taken[*row]) {
        taken[row] = true;
        return Found::Row(row);
    }
    match (rows.is_empty(), labelled().next()) {
        (true, _) => Found::Unknown,
        (false, Some(_)) => Found::Repeated,
        (false, None) => Found::Contradicted,
    }
}

/// Runs a batch; a model that insists on another batch size gets black images to fill up.
fn run_padded(engine: &mut dyn Engine, batch: &[f32], n: usize) -> Result<Vec<f32>> {
    let signature = engine.signature();
    let padded = n.next_multiple_of(signature.fixed_batch.unwrap_or(1));
    if padded == n {
        return engine.run(batch, n);
    }
    let mut filled = batch.to_vec();
    filled.resize(padded * signature.input_len(), 0.0);
    let mut logits = engine.run(&filled, padded)?;
    logits.truncate(n * signature.classes);
    Ok(logits)
}

fn check_label(bundle: &Bundle, data: &dyn Dataset, index: usize) -> Result<()> {
    let (label, classes) = (data.label(index), bundle.labels().len());
    if (label as usize) < classes {
        return Ok(());
    }
    Err(Error::Data { problem: format!("{} has label {label} of {classes} classes", data.name(index)) })
}

fn check_finite(engine: &'static str, logits: &[f32], name: &str) -> Result<()> {
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(class) => Err(Error::Engine { engine, problem: format!("logit {class} of {name} is {}", logits[class]) }),
    }
}

fn check_class_names(bundle: &Bundle, data: &dyn Dataset) -> Result<()> {
    let (ours, theirs) = (bundle.labels(), data.classes());
    let fail = |problem: String| Err(Error::Data { problem });
    if ours.len() != theirs.len() {
        return fail(format!("{} classes in the data, {} in the bundle", theirs.len(), ours.len()));
    }
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    if let Some(at) = (0..ours.len()).find(|at| ours[*at] != theirs[*at]).filter(|_| sorted(ours) == sorted(theirs)) {
        return fail(format!(
            "the same class names in another order: class {at} is `{}` in the data, `{}` in the bundle",
            theirs[at], ours[at]
        ));
    }
    Ok(())
}

/// The reference knows the label of each of its images. A few contradictions are images that the data holds twice under two
/// labels (they are left unpaired); many are another order of classes.
fn check_labels(contradicted: &[usize], paired: usize, bundle: &Bundle, data: &dyn Dataset) -> Result<()> {
    let &[.., last] = contradicted else { return Ok(()) };
    if contradicted.len() < 3 || contradicted.len() * 10 < paired {
        return Ok(());
    }
    let problem = format!(
        "{} of {} images have another label than when the reference was made, e.g. {} (now `{}`)\n  hint: the order of classes \
         differs, or the labels were changed",
        contradicted.len(),
        paired + contradicted.len(),
        data.name(last),
        bundle.labels().get(data.label(last) as usize).map_or("?", String::as_str),
    );
    Err(Error::Data { problem })
}
