//! What a live reference answers, to be kept: the `reference/` of a bundle that is made of a file of others.

use attar_data::Dataset;
use attar_formats::classes::Alignment;
use attar_formats::reference::GoldenKind;
use attar_pixels::Image;

use super::{Candidate, Reference};
use crate::bundle::{Answerer, Goldens, Predictions};
use crate::error::{Error, Result};

/// Real images among the goldens.
const GOLDENS: usize = 16;

/// A reference's answers.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// To seeded images.
    pub synthetic: Goldens,
    /// To a few labelled images, class by class in turn, where there were any.
    pub real: Option<Goldens>,
    /// To all labelled images.
    pub predictions: Option<Predictions>,
    /// Who answered.
    pub answered_by: Answerer,
}

impl Reference {
    /// Asks it everything that a bundle keeps of a reference ([`Reference::of`] said what it is). The answers count as those of
    /// the weights with this sha256, which the bundle is to hold. Images that cannot be read are an error that names them all,
    /// or are left out where that is wanted. `progress` hears how many of how many images are done.
    ///
    /// # Errors
    /// When nobody said what it is, the data are of other classes, an image cannot be read, or the runtime fails.
    pub fn record(
        mut self,
        weights_sha256: &str,
        data: Option<&dyn Dataset>,
        leave_out_bad: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Recorded> {
        let Some(subject) = self.subject.take() else {
            let problem = "nobody said how images reach it".to_owned();
            return Err(Error::Setting { setting: "reference", problem });
        };
        let columns = Alignment::same(subject.labels().len());
        let sides = (&subject, &subject, &columns);
        let predictions =
            data.map(|data| self.predictions(sides, (data, leave_out_bad), weights_sha256, progress)).transpose()?;
        let real = match data {
            None => None,
            Some(data) => {
                let (images, encoded) = readable(data)?;
                Some(self.goldens(sides, GoldenKind::Real, &images, encoded)?)
            }
        };
        let synthetic = self.seeded(&subject, &subject, &columns)?;
        let Candidate { file, file_sha256, data_files, precision, engine, .. } = self.loaded;
        let file = std::path::Path::new(&file).file_name().map_or(file.clone(), |name| name.to_string_lossy().into());
        let (engine, version) = (engine.name().to_owned(), engine.version().to_owned());
        let answered_by = Answerer { file, file_sha256, data_files, precision, engine, version };
        Ok(Recorded { synthetic, real, predictions, answered_by })
    }
}

/// The first images that can be read, class by class in turn, and their files.
fn readable(data: &dyn Dataset) -> Result<(Vec<Image>, Vec<Vec<u8>>)> {
    let (mut images, mut encoded) = (Vec::new(), Vec::new());
    for index in attar_data::in_turn(&data.labels(), data.len()) {
        if images.len() == GOLDENS {
            break;
        }
        // Those that cannot be read have been named, or are to be left out.
        let Ok(image) = data.image(index) else { continue };
        images.push(image);
        encoded.push(data.encoded(index)?);
    }
    Ok((images, encoded))
}
