//! Writes a store of soft labels: a teacher asked for every epoch's images, epoch by epoch, going on where it stopped.

use std::path::Path;
use std::sync::Arc;

use attar_formats::hash::sha256;
use attar_formats::write;

use crate::batch::input;
use crate::error::{Error, Result};
use crate::files::io;
use crate::labels::{AnswersKey, MANIFEST, Manifest, Store, VERSION, encode, epoch_file};
use crate::plan::{Live, Plan, PlannedData, PlannedTeacher};
use crate::recipe::{Recipe, TeacherNorm, TeacherSource};
use crate::run::{How, Owner, PROGRAM, Prefetch, batches, pool};

/// How far the writing is: epochs that are done, of how many, images of the one under way, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Epochs that are complete.
    pub epochs: usize,
    /// Epochs asked for.
    pub of_epochs: usize,
    /// Images of the epoch under way that are done.
    pub images: usize,
    /// Images of an epoch.
    pub of_images: usize,
}

/// Writes the answers of the plan's only teacher to its first `epochs` epochs into `directory`, the `top` likeliest classes
/// of each image (all if `None`). What is there of the same teacher and question is kept.
///
/// # Errors
/// Another number of teachers than one, one whose answers depend on the company of an image (`bn = "batch"`), a directory
/// with other answers or another process at work, an image that cannot be read, a full disk.
pub fn write(
    plan: Plan,
    directory: &Path,
    epochs: usize,
    top: Option<usize>,
    mut tell: impl FnMut(Progress) + Send,
) -> Result<Manifest> {
    let (recipe, data, device) = (plan.recipe, plan.data, plan.device);
    let teacher = plan
        .teachers
        .only()
        .map_err(|count| fail("teachers", format!("{count}, expected the one whose answers are to be stored")))?;
    let asked = data.answers_key(recipe.seed);
    let top = top.unwrap_or(asked.classes).min(asked.classes);
    let mut manifest = begin(directory, &recipe, &data, &teacher, asked, top)?;
    let _owner = Owner::take(directory)?;
    let (workers, loaders) = (pool(plan.threads)?, Arc::new(pool(plan.threads)?));
    let mut teacher = Live::start(teacher, &device)?;
    workers.install(|| {
        while manifest.epochs.len() < epochs {
            let epoch = manifest.epochs.len() + 1;
            let order: Vec<u32> = (0..data.train.len() as u32).collect();
            let pipelines = vec![(teacher.input.pipeline(&data.pipeline), recipe.seed)];
            let parts = batches(&order, recipe.train.batch);
            let count = parts.len();
            let how = How::Train { pipelines, epoch: epoch as u64 };
            let prefetch = Prefetch::start(Arc::clone(&data.train), parts, how, Arc::clone(&loaders));
            let mut bytes = Vec::new();
            let mut images = 0;
            for _ in 0..count {
                for batch in prefetch.next()? {
                    for row in teacher.answer(&input(&batch, &device)?)? {
                        encode(&row, top, &mut bytes);
                    }
                    images += batch.ids.len();
                }
                let epochs_done = manifest.epochs.len();
                tell(Progress { epochs: epochs_done, of_epochs: epochs, images, of_images: data.train.len() });
            }
            write::bytes(&directory.join(epoch_file(epoch)), &bytes)?;
            manifest.epochs.push(sha256(&bytes));
            manifest.save(directory)?;
        }
        Ok(manifest)
    })
}

/// The manifest to go on with: a new one, or that of the directory if it holds answers of the same teacher to the same
/// question.
fn begin(
    directory: &Path,
    recipe: &Recipe,
    data: &PlannedData,
    teacher: &PlannedTeacher,
    asked: AnswersKey,
    top: usize,
) -> Result<Manifest> {
    if teacher.bn == TeacherNorm::Batch {
        let problem = "with bn = \"batch\" an answer depends on the batch around it and cannot be stored";
        return Err(fail("teachers.bn", problem.to_owned()));
    }
    if let Err(problem) = &teacher.logits {
        return Err(fail("teachers", format!("its answers to these images cannot be stored: {problem}")));
    }
    if asked.classes > usize::from(u16::MAX) {
        return Err(fail("data", format!("{} classes, at most {} can be stored", asked.classes, u16::MAX)));
    }
    if top == 0 {
        return Err(fail("top", "0, expected at least 1".to_owned()));
    }
    std::fs::create_dir_all(directory).map_err(|source| io(directory, source))?;
    let absolute = std::path::absolute(directory).map_err(|source| io(directory, source))?;
    let from = recipe.relative_to(&absolute).teachers.into_iter().next().map(|section| section.from);
    let Some(from) = from.filter(|from| !matches!(from, TeacherSource::Stored { .. } | TeacherSource::Given { .. }))
    else {
        return Err(fail(
            "teachers",
            "stored answers, or those of a program's own teacher, cannot be stored".to_owned(),
        ));
    };
    let fresh = Manifest {
        version: VERSION,
        program: PROGRAM.to_owned(),
        teacher: teacher.name.clone(),
        network: teacher.outline.name().to_owned(),
        weights_sha256: teacher.weights_sha256.clone(),
        from,
        teacher_preprocessing: teacher.input.own().map(|own| own.preprocessing.clone()),
        asked,
        classes: Some(data.classes().to_vec()),
        images_sha256: Some(data.images_sha256()?),
        top,
        epochs: Vec::new(),
    };
    if !directory.join(MANIFEST).exists() {
        fresh.save(directory)?;
        return Ok(fresh);
    }
    let store = Store::open(directory)?;
    let intact = store.intact();
    let mut there = store.manifest;
    let same = |a: &Manifest, b: &Manifest| {
        let teacher = (&a.weights_sha256, &a.teacher_preprocessing) == (&b.weights_sha256, &b.teacher_preprocessing);
        teacher && (&a.asked, a.top) == (&b.asked, b.top)
    };
    if there.images_sha256.is_none() && same(&there, &fresh) {
        let problem = "is of before stores named their images\n  hint: `attar labels RECIPE --out DIR --stamp` adds the name, then it goes on";
        return Err(Error::Format { path: directory.to_owned(), problem: problem.to_owned() });
    }
    if same(&there, &fresh) && (&there.images_sha256, &there.classes) != (&fresh.images_sha256, &fresh.classes) {
        let problem = "holds answers to other pictures, or to these in another order\n  hint: choose another directory";
        return Err(Error::Format { path: directory.to_owned(), problem: problem.to_owned() });
    }
    if same(&there, &fresh) {
        there.epochs.truncate(intact);
        return Ok(there);
    }
    let problem = "holds the answers of another teacher, or to another question\n  hint: choose another directory";
    Err(Error::Format { path: directory.to_owned(), problem: problem.to_owned() })
}

fn fail(key: &str, problem: String) -> Error {
    Error::Recipe { key: key.to_owned(), problem }
}
