//! Every runtime's answers to a whole data set, joined with the reference by the hash of the pixels.

use std::ops::Range;
use std::time::Instant;

use attar_data::Dataset;
use attar_formats::classes::{self, Alignment};
use rayon::prelude::*;

use super::Candidate;
use super::answer::Answer;
use super::integers::{self, Definitions, Distance};
use crate::bundle::Predictions;
use crate::engine::Signature;
use crate::error::{Error, Result};
use crate::subject::Subject;
use attar_formats::certificate::LeftOut;

/// Images decoded, preprocessed and answered at a time.
pub(super) const BATCH: usize = 64;

/// All answers to a data set.
pub(super) struct Answered {
    /// The reference's row of each image that was answered.
    pub(super) rows: Vec<Option<usize>>,
    /// Images left unpaired because the reference holds their pixels less often than the data.
    pub(super) repeated: usize,
    pub(super) by_candidate: Vec<Vec<Answer>>,
    /// Those of each integer reference.
    pub(super) by_definition: Vec<Vec<Answer>>,
    /// How far each runtime is from its integer reference.
    pub(super) distances: Vec<Distance>,
    /// Time each runtime took.
    pub(super) seconds: Vec<f64>,
    /// What was put right or chosen when the data was opened, and how its classes were found among the subject's.
    pub(super) notes: Vec<String>,
    /// Images that could not be read.
    pub(super) left_out: Vec<LeftOut>,
}

/// An image that can be asked about.
pub(super) struct Prepared {
    pub(super) index: usize,
    /// Its class in the subject.
    pub(super) label: u32,
    pub(super) sha256: [u8; 32],
    pub(super) input: Vec<f32>,
}

/// Lets every candidate answer every image of the data.
///
/// Images that cannot be read are left out where that is wanted; otherwise the others are looked at as well, and all bad ones
/// are named in one error.
pub(super) fn answer_all(
    subject: &Subject,
    candidates: &mut [Candidate],
    definitions: &mut Definitions,
    data: &dyn Dataset,
    leave_out_bad: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Answered> {
    let alignment = align_classes(subject, data)?;
    let reference = subject.predictions();
    let mut taken = vec![false; reference.map_or(0, Predictions::len)];
    let mut all = Answered {
        rows: Vec::new(),
        repeated: 0,
        by_candidate: vec![Vec::new(); candidates.len()],
        by_definition: vec![Vec::new(); definitions.all.len()],
        distances: vec![Distance::default(); candidates.len()],
        seconds: vec![0.0; candidates.len()],
        notes: data.notes().iter().cloned().chain(alignment.note.clone()).collect(),
        left_out: Vec::new(),
    };
    let Some(signature) = candidates.first().map(|c| c.engine.signature()) else { return Ok(all) };
    let mut contradicted = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let indices = start..(start + BATCH).min(data.len());
        start = indices.end;
        let prepared = prepare(subject, signature, data, indices, &alignment, &mut all.left_out)?;
        if prepared.is_empty() || !(all.left_out.is_empty() || leave_out_bad) {
            progress(start, data.len());
            continue;
        }
        let batch: Vec<f32> = prepared.iter().flat_map(|one| one.input.iter().copied()).collect();
        let mut rows = Vec::with_capacity(prepared.len());
        for one in &prepared {
            let found =
                reference.map_or(Found::Unknown, |reference| find(reference, &mut taken, &one.sha256, one.label));
            rows.push(if let Found::Row(row) = found { Some(row) } else { None });
            all.repeated += usize::from(found == Found::Repeated);
            contradicted.extend((found == Found::Contradicted).then_some((one.index, one.label)));
        }
        all.rows.extend_from_slice(&rows);
        check_labels(&contradicted, all.rows.iter().flatten().count(), subject, data)?;
        let names: Vec<String> = prepared.iter().map(|one| data.name(one.index)).collect();
        let defined = integers::answers(&mut definitions.all, &batch, &names)?;
        for (answers, logits) in all.by_definition.iter_mut().zip(&defined) {
            for ((one, row), logits) in prepared.iter().zip(&rows).zip(logits.chunks(signature.classes)) {
                let of = (one.index, one.label, *row);
                answers.push(Answer::new(logits, subject.normalised, of, reference));
            }
        }
        for (at, candidate) in candidates.iter_mut().enumerate() {
            let started = Instant::now();
            let logits = candidate.engine.run(&batch, prepared.len())?;
            all.seconds[at] += started.elapsed().as_secs_f64();
            let normalised = candidate.engine.answers().normalised() || subject.normalised;
            if let Some(defined) = definitions.of[at].map(|of| defined[of].chunks(signature.classes)) {
                for ((one, logits), defined) in prepared.iter().zip(logits.chunks(signature.classes)).zip(defined) {
                    all.distances[at].add(one.index, &|| data.name(one.index), logits, defined);
                }
            }
            for ((one, row), logits) in prepared.iter().zip(&rows).zip(logits.chunks(signature.classes)) {
                check_finite(candidate.engine.name(), logits, &data.name(one.index))?;
                all.by_candidate[at].push(Answer::new(logits, normalised, (one.index, one.label, *row), reference));
            }
        }
        progress(start, data.len());
    }
    let all_bad = all.rows.is_empty() && !all.left_out.is_empty();
    if !all.left_out.is_empty() && (all_bad || !leave_out_bad) {
        return Err(bad_images(&all.left_out, data.len()));
    }
    Ok(all)
}

/// Decodes and preprocesses images; those that cannot be read are told in `bad`.
pub(super) fn prepare(
    subject: &Subject,
    signature: Signature,
    data: &dyn Dataset,
    indices: Range<usize>,
    alignment: &Alignment,
    bad: &mut Vec<LeftOut>,
) -> Result<Vec<Prepared>> {
    let one = |index| {
        let label = class_of(data, index, alignment)?;
        let image = data.image(index)?;
        let input = subject.network_input(&image, signature, &data.name(index))?;
        Ok(Prepared { index, label, sha256: image.sha256(), input })
    };
    let looked_at: Vec<Result<Prepared>> = indices.clone().into_par_iter().map(one).collect();
    let mut prepared = Vec::with_capacity(looked_at.len());
    for (index, one) in indices.zip(looked_at) {
        match one {
            Ok(one) => prepared.push(one),
            Err(Error::Setting { setting, problem }) => return Err(Error::Setting { setting, problem }),
            Err(error) => bad.push(left_out(data.name(index), &error)),
        }
    }
    Ok(prepared)
}

fn left_out(name: String, error: &Error) -> LeftOut {
    let problem = error.to_string();
    LeftOut { name, problem: problem.lines().next().unwrap_or_default().to_owned() }
}

/// Bad images that are named in an error.
const NAMED: usize = 20;

pub(super) fn bad_images(bad: &[LeftOut], all: usize) -> Error {
    let line = |one: &LeftOut| match one.problem.contains(&one.name) {
        true => format!("\n  {}", one.problem),
        false => format!("\n  {}: {}", one.name, one.problem),
    };
    let lines: String = bad.iter().take(NAMED).map(line).collect();
    let more = if bad.len() > NAMED { format!("\n  and {} more", bad.len() - NAMED) } else { String::new() };
    Error::BadImages { count: bad.len(), all, listed: lines + &more }
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

/// The data's classes among the subject's, by name.
pub(super) fn align_classes(subject: &Subject, data: &dyn Dataset) -> Result<Alignment> {
    classes::align(data.classes(), subject.labels()).map_err(|problem| Error::Data {
        problem: format!(
            "its classes are not those of {}; {problem}\n  hint: classes go by name; images of classes that it knows are enough",
            subject.name()
        ),
    })
}

/// The class of an image in the subject.
fn class_of(data: &dyn Dataset, index: usize, alignment: &Alignment) -> Result<u32> {
    let label = data.label(index);
    let problem = || format!("{} has label {label} of {} classes", data.name(index), alignment.columns.len());
    let column = alignment.columns.get(label as usize);
    column.map(|column| *column as u32).ok_or_else(|| Error::Setting { setting: "data", problem: problem() })
}

pub(super) fn check_finite(engine: &'static str, logits: &[f32], name: &str) -> Result<()> {
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(class) => Err(Error::Engine { engine, problem: format!("logit {class} of {name} is {}", logits[class]) }),
    }
}

/// The reference knows the label of each of its images. A few contradictions are images that the data holds twice under two
/// labels (they are left unpaired); many are another order of classes.
fn check_labels(contradicted: &[(usize, u32)], paired: usize, subject: &Subject, data: &dyn Dataset) -> Result<()> {
    let &[.., (last, label)] = contradicted else { return Ok(()) };
    if contradicted.len() < 3 || contradicted.len() * 10 < paired {
        return Ok(());
    }
    let problem = format!(
        "{} of {} images have another label than when the reference was made, e.g. {} (now `{}`)\n  hint: the order of classes \
         differs, or the labels were changed",
        contradicted.len(),
        paired + contradicted.len(),
        data.name(last),
        subject.labels().get(label as usize).map_or("?", String::as_str),
    );
    Err(Error::Data { problem })
}
