//! Where the training images live: on the host, whose loaders make batches of them, or on the device, which makes them itself.

use attar_data::Moves;

use super::PlannedData;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, Resident, ViewKind};

/// Most bytes that are brought to the device unasked.
const MOST_BYTES: u64 = 2 << 30;

/// Where the training images live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Residence {
    /// On the device.
    Device {
        /// What they take there.
        bytes: u64,
    },
    /// On the host.
    Host {
        /// Why, where one may have hoped for the device.
        note: Option<String>,
    },
}

impl Residence {
    /// Decides it for a recipe. Unasked it is the device only where that `is_cuda`: elsewhere there is nothing to win.
    /// `apart` is a teacher that has batches of its own.
    pub(super) fn decide(recipe: &Recipe, data: &PlannedData, apart: Option<&str>, is_cuda: bool) -> Result<Self> {
        let choice = recipe.data.resident;
        if choice == Resident::Never || (choice == Resident::Auto && !is_cuda) {
            return Ok(Self::Host { note: None });
        }
        let bytes = data.train.len() as u64 * data.input.iter().map(|size| *size as u64).product::<u64>();
        let own_size = || apart.map(|teacher| format!("teachers.{teacher} sees them made by its own preprocessing"));
        match (beyond_the_device(recipe).or_else(own_size), choice) {
            (Some(problem), Resident::Always) => {
                let problem = format!(
                    "\"always\", but {problem}, and only the host can do it\n  hint: leave that out, or say \"auto\""
                );
                Err(Error::Recipe { key: "data.resident".to_owned(), problem })
            }
            (Some(problem), _) => Ok(stays(&problem)),
            (None, Resident::Auto) if bytes > MOST_BYTES => Ok(stays(&format!(
                "on the device they would take {} MiB, more than {}; `data.resident = \"always\"` has them there all the same",
                bytes >> 20,
                MOST_BYTES >> 20
            ))),
            (None, _) => Ok(Self::Device { bytes }),
        }
    }

    /// Why the images are not where one may have hoped.
    pub(super) fn note(&self) -> Option<&str> {
        match self {
            Self::Host { note } => note.as_deref(),
            Self::Device { .. } => None,
        }
    }
}

fn stays(why: &str) -> Residence {
    Residence::Host { note: Some(format!("training images stay on the host: {why}")) }
}

/// The first augmentation, of the plain view and then of the others, that a device cannot do.
fn beyond_the_device(recipe: &Recipe) -> Option<String> {
    let views = recipe.views.iter().filter_map(|view| match &view.kind {
        ViewKind::Augmented { augment, .. } => Some((format!("views.{}", view.name), augment)),
        _ => None,
    });
    let mut lists = std::iter::once(("data".to_owned(), &recipe.data.augment)).chain(views);
    lists.find_map(|(section, augment)| Moves::of(augment).err().map(|error| format!("{section}.{error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use attar_data::{Dataset, InMemory, Pipeline};

    use super::*;
    use crate::recipe::PLAIN;

    /// A recipe for 100 grey images of 8x8, and the data as if they were `size` pixels wide and high.
    fn decide(more: &str, size: usize, is_cuda: bool) -> Result<Residence> {
        decide_beside(None, more, size, is_cuda)
    }

    /// With a teacher that has batches of its own.
    fn decide_beside(teacher: Option<&str>, more: &str, size: usize, is_cuda: bool) -> Result<Residence> {
        let recipe = format!("losses = []{}", PLAIN.replace("[student]", &format!("{more}\n[student]")));
        let recipe = Recipe::parse(&recipe, &[])?;
        let images = InMemory::new([8, 8], 1, vec![0; 6400], vec![0; 100], vec!["one".to_owned()], "train")?;
        let images: Arc<dyn Dataset> = Arc::new(images);
        let (augment, preprocessing) = (recipe.data.augment.clone(), recipe.data.preprocessing.clone());
        let data = PlannedData {
            train: Arc::clone(&images),
            validation: Arc::clone(&images),
            test: Arc::clone(&images),
            pool: images,
            pipeline: Pipeline::new(augment, preprocessing),
            input: [1, size, size],
            hashes: Default::default(),
            notes: Vec::new(),
        };
        Residence::decide(&recipe, &data, teacher, is_cuda)
    }

    const MOVES: &str = "augment = [{ kind = 'flip' }, { kind = 'pad-crop', padding = 1, fill = 'reflect' }]\n";
    const MORE: &str = "augment = [{ kind = 'flip' }, { kind = 'random-erasing' }]\n";

    #[test]
    fn auto_is_for_cuda_and_says_why_not() {
        let on_device = Residence::Device { bytes: 6400 };
        assert_eq!(decide(MOVES, 8, true).unwrap(), on_device);
        assert_eq!(decide("", 8, true).unwrap(), on_device);
        assert_eq!(decide(MOVES, 8, false).unwrap(), Residence::Host { note: None });
        for (more, size, expected) in
            [(MORE, 8, "data.augment: `random-erasing`"), (MOVES, 5000, "2384 MiB, more than 2048")]
        {
            let residence = decide(more, size, true).unwrap();
            let note = residence.note().unwrap();
            assert!(note.contains("stay on the host") && note.contains(expected), "{note}");
        }
        let residence = decide_beside(Some("big"), MOVES, 8, true).unwrap();
        assert!(residence.note().unwrap().contains("teachers.big sees"));
    }

    #[test]
    fn always_and_never_are_obeyed_or_refused() {
        let never = MOVES.to_owned() + "resident = 'never'";
        assert_eq!(decide(&never, 8, true).unwrap(), Residence::Host { note: None });
        let always = MOVES.to_owned() + "resident = 'always'";
        assert_eq!(decide(&always, 8, false).unwrap(), Residence::Device { bytes: 6400 });
        assert!(matches!(decide(&always, 5000, true).unwrap(), Residence::Device { .. }));
        let view = "resident = 'always'\n[[views]]\nname = 'strong'\nkind = 'augmented'\naugment = [{ kind = 'rand-augment' }]";
        for (more, expected) in [
            (MORE.to_owned() + "resident = 'always'", "data.augment: `random-erasing`"),
            (view.to_owned(), "views.strong.augment: `rand-augment`"),
        ] {
            let message = decide(&more, 8, true).unwrap_err().to_string();
            let said = ["data.resident: \"always\", but", expected, "hint:"];
            assert!(said.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
