//! Attacked images: some test images, moved so that the trained network errs, to be shown to what was exported.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use attar_models::{Array, Weights};

use crate::error::{Error, Result};
use crate::read::parse_arrays;
use crate::write;

/// Some images under one or more attacks, as bytes of the network's size: only scaling and normalisation are still to come.
/// Arrays `label` `[n]` and for each attack `pixels.NAME` `[n, H, W, C]`; metadata `weights_sha256`, `classes` and `attacks`, a
/// JSON list of the names.
#[derive(Clone, PartialEq, Eq)]
pub struct Attacks {
    /// sha256 of the `model.safetensors` that was attacked.
    pub weights_sha256: String,
    /// Number of classes of the network.
    pub classes: usize,
    /// `[H, W, C]` of an image.
    pub shape: [usize; 3],
    /// Label of each image.
    pub labels: Vec<u32>,
    /// The images under each attack, `[n, H, W, C]`, by its name.
    pub pixels: BTreeMap<String, Vec<u8>>,
}

/// Before the name of an attack.
const PIXELS: &str = "pixels.";

impl Attacks {
    /// Number of images of an attack.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Reads the bytes of such a file; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Format`]: damaged, of other shapes, without an image or an attack, or with a label beyond the classes.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut file = parse_arrays(bytes, path)?;
        let weights_sha256 = file.metadata("weights_sha256")?.to_owned();
        let classes = file.metadata("classes")?.parse();
        let classes = classes.map_err(|_| file.error("`classes` is not a number"))?;
        let names: Result<Vec<String>, _> = serde_json::from_str(file.metadata("attacks")?);
        let names = names.map_err(|_| file.error("`attacks` is no list of names"))?;
        let labels = file.take::<u32>("label", &[None])?.1;
        let (mut shape, mut pixels) = ([0; 3], BTreeMap::new());
        for name in names {
            let (found, values) =
                file.take::<u8>(&format!("{PIXELS}{name}"), &[Some(labels.len()), None, None, None])?;
            let found = [found[1], found[2], found[3]];
            if !pixels.is_empty() && found != shape {
                return Err(file.error(format!("images of {found:?} under `{name}`, and of {shape:?} under others")));
            }
            shape = found;
            pixels.insert(name, values);
        }
        let attacks = Self { weights_sha256, classes, shape, labels, pixels };
        attacks.check().map_err(|problem| file.error(problem))?;
        Ok(attacks)
    }

    /// Writes such a file, atomically.
    ///
    /// # Errors
    /// As [`Attacks::parse`] where they are not what it would read; [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|problem| Error::Format { path: path.to_owned(), problem })?;
        let (n, [h, w, c]) = (self.len(), self.shape);
        let mut arrays = Weights(BTreeMap::from([("label".to_owned(), Array::new(vec![n], self.labels.clone())?)]));
        for (name, pixels) in &self.pixels {
            arrays.0.insert(format!("{PIXELS}{name}"), Array::new(vec![n, h, w, c], pixels.clone())?);
        }
        let names = serde_json::Value::from_iter(self.pixels.keys().map(String::as_str));
        let metadata = [
            ("weights_sha256", self.weights_sha256.clone()),
            ("classes", self.classes.to_string()),
            ("attacks", names.to_string()),
        ];
        write::safetensors(path, &arrays, &metadata.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn check(&self) -> Result<(), String> {
        let (n, [h, w, c]) = (self.len(), self.shape);
        if n == 0 || self.pixels.is_empty() {
            return Err("no image under attack".to_owned());
        }
        if !matches!(c, 1 | 3) {
            return Err(format!("images of {c} channels, expected 1 or 3"));
        }
        let bytes = [n, h, w, c].into_iter().try_fold(1_usize, usize::checked_mul);
        if let Some((name, found)) = self.pixels.iter().find(|(_, pixels)| Some(pixels.len()) != bytes) {
            return Err(format!("{} bytes under `{name}` for {n} images of {:?}", found.len(), self.shape));
        }
        match self.labels.iter().find(|label| **label as usize >= self.classes) {
            Some(label) => Err(format!("label {label} of {} classes", self.classes)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Attacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.pixels.keys().collect();
        f.debug_struct("Attacks").field("len", &self.len()).field("attacks", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attacks() -> Attacks {
        let pixels = |from: u8| (0..24).map(|at| at + from).collect();
        Attacks {
            weights_sha256: "abc".to_owned(),
            classes: 3,
            shape: [2, 2, 3],
            labels: vec![2, 0],
            pixels: BTreeMap::from([("pgd-20".to_owned(), pixels(3)), ("fgsm".to_owned(), pixels(90))]),
        }
    }

    #[test]
    fn attacks_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attacks.safetensors");
        attacks().write(&path).unwrap();
        assert_eq!(Attacks::parse(&path, &std::fs::read(&path).unwrap()).unwrap(), attacks());
    }

    #[test]
    fn attacks_that_do_not_hold_together_are_refused() {
        let refused = |change: fn(&mut Attacks)| {
            let mut broken = attacks();
            change(&mut broken);
            broken.check().unwrap_err()
        };
        assert!(refused(|a| a.labels[0] = 3).contains("label 3 of 3 classes"));
        assert!(refused(|a| a.shape = [3, 4, 2]).contains("2 channels"));
        assert!(refused(|a| a.labels.push(0)).contains("24 bytes under `fgsm` for 3 images of [2, 2, 3]"));
        assert!(refused(|a| a.pixels.clear()).contains("no image under attack"));
        assert!(refused(|a| a.labels.clear()).contains("no image under attack"));
    }
}
