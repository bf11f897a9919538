//! Says of an older store which images it answers, once its teacher has been asked again for some of them.

use std::path::Path;

use crate::error::{Error, Result};
use crate::labels::Store;
use crate::plan::{Plan, asked_again};

/// Images that the teacher is asked for again.
const SAMPLES: usize = 128;

/// A store that names its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The fingerprint of the images.
    pub images_sha256: String,
    /// For how many of them the teacher gave the stored answers again; 0 where the store had the name already.
    pub asked: usize,
}

/// Adds to the store in `directory` the fingerprint of the images of the plan and the names of their classes, if its teacher,
/// the plan's only one, gives its answers again for a sample.
///
/// # Errors
/// A store of another question, teacher or pictures; answers that differ.
pub fn stamp(plan: Plan, directory: &Path) -> Result<Stamped> {
    let fail = |problem: String| Error::Recipe { key: "teachers".to_owned(), problem };
    let one = plan.teachers.only();
    let teacher = one.map_err(|count| fail(format!("{count}, expected the one whose answers are stored")))?;
    if teacher.only_samples {
        let problem = "gives stored answers; name the teacher itself, as when they were written";
        return Err(fail(problem.to_owned()));
    }
    let mut store = Store::open(directory)?;
    store.fits(&plan.data.answers_key(plan.recipe.seed), 1).map_err(fail)?;
    let images = plan.data.images_sha256()?;
    let known = store.names(plan.data.classes(), || Ok(images.clone()))?.is_none();
    if known && store.manifest.classes.is_some() {
        return Ok(Stamped { images_sha256: images, asked: 0 });
    }
    let asked = asked_again::compare(&mut store, teacher, directory, &plan.data, SAMPLES)?;
    store.manifest.classes = Some(plan.data.classes().to_vec());
    store.manifest.images_sha256 = Some(images.clone());
    store.manifest.save(directory)?;
    Ok(Stamped { images_sha256: images, asked })
}
