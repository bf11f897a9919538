//! The arrays of a file of our own, asked for by name, element type and shape.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attar_models::{Array, Element, Weights};

use crate::error::{Error, Result};

/// Arrays as they lie in a safetensors file, each in its own element type, and the file's metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrays {
    origin: PathBuf,
    arrays: Weights,
    metadata: BTreeMap<String, String>,
}

impl Arrays {
    /// `origin` is only named in errors.
    pub fn new(origin: &Path, arrays: Weights, metadata: BTreeMap<String, String>) -> Self {
        Self { origin: origin.to_owned(), arrays, metadata }
    }

    /// An error about this file.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::Format { path: self.origin.clone(), problem: problem.into() }
    }

    /// An entry of the metadata.
    ///
    /// # Errors
    /// [`Error::Format`] when there is none.
    pub fn metadata(&self, key: &str) -> Result<&str> {
        let value = self.metadata.get(key).map(String::as_str);
        value.ok_or_else(|| self.error(format!("no `{key}` in its metadata")))
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.arrays.get(name).is_some()
    }

    /// The shape and the elements of an array. Where `shape` is `None`, any extent will do.
    ///
    /// # Errors
    /// [`Error::Format`] when there is no such array, or it has another element type or shape.
    pub fn get<T: Element>(&self, name: &str, shape: &[Option<usize>]) -> Result<(&[usize], &[T])> {
        let array = self.arrays.get(name).ok_or_else(|| self.error(format!("no tensor `{name}`")))?;
        match array.slice() {
            Ok(elements) if fits(&array.shape, shape) => Ok((&array.shape, elements)),
            _ => Err(self.error(unlike::<T>(name, array, shape))),
        }
    }

    /// [`Arrays::get`], taken out.
    ///
    /// # Errors
    /// As [`Arrays::get`].
    pub fn take<T: Element>(&mut self, name: &str, shape: &[Option<usize>]) -> Result<(Vec<usize>, Vec<T>)> {
        self.get::<T>(name, shape)?;
        let array = self.arrays.0.remove(name).ok_or_else(|| self.error(format!("no tensor `{name}`")))?;
        Ok((array.shape.clone(), array.into_vec()?))
    }

    /// All arrays that were not taken.
    pub fn into_weights(self) -> Weights {
        self.arrays
    }
}

fn fits(found: &[usize], expected: &[Option<usize>]) -> bool {
    let same = |(found, expected): (&usize, &Option<usize>)| expected.is_none_or(|expected| expected == *found);
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

fn unlike<T: Element>(name: &str, array: &Array, shape: &[Option<usize>]) -> String {
    let extents = shape.iter().map(|extent| extent.map_or("?".to_owned(), |extent| extent.to_string()));
    let (found, expected) = (&array.shape, extents.collect::<Vec<_>>().join(", "));
    format!("`{name}` is {} {found:?}, expected {} [{expected}]", array.elements.type_name(), T::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_asked_for_by_name_type_and_shape() {
        let arrays = Weights(BTreeMap::from([("label".to_owned(), Array::new(vec![3], vec![1u32, 2, 3]).unwrap())]));
        let mut file = Arrays::new(Path::new("x"), arrays, BTreeMap::from([("kind".to_owned(), "real".to_owned())]));
        assert_eq!(file.metadata("kind").unwrap(), "real");
        assert_eq!(file.metadata("count").unwrap_err().to_string(), "x: no `count` in its metadata");
        assert_eq!(file.get::<u32>("top1", &[None]).unwrap_err().to_string(), "x: no tensor `top1`");
        let typed = file.get::<f32>("label", &[None]).unwrap_err().to_string();
        assert_eq!(typed, "x: `label` is U32 [3], expected F32 [?]");
        let shaped = file.get::<u32>("label", &[Some(3), None]).unwrap_err().to_string();
        assert_eq!(shaped, "x: `label` is U32 [3], expected U32 [3, ?]");
        assert_eq!(file.take::<u32>("label", &[Some(3)]).unwrap(), (vec![3], vec![1, 2, 3]));
        assert!(!file.has("label") && file.into_weights().0.is_empty());
    }
}
