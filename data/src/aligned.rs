//! A data set whose labels count in another list of classes, found there by name.

use std::path::Path;
use std::sync::Arc;

use attar_pixels::Image;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::folder::LeftOut;

/// The images of another data set, their labels moved, with something to say about it.
pub(crate) struct Aligned {
    of: Arc<dyn Dataset>,
    /// For each class of `of` its position in `classes`.
    positions: Vec<u32>,
    classes: Vec<String>,
    notes: Vec<String>,
}

impl Aligned {
    /// With the classes `known`, in which those of `of` are at `positions`.
    pub(crate) fn new(of: Arc<dyn Dataset>, positions: &[usize], known: &[String], note: Option<String>) -> Self {
        let notes = of.notes().iter().cloned().chain(note).collect();
        Self { of, positions: positions.iter().map(|at| *at as u32).collect(), classes: known.to_vec(), notes }
    }

    /// The same labels and classes, with notes.
    pub(crate) fn noted(of: Arc<dyn Dataset>, notes: Vec<String>) -> Self {
        let classes = of.classes().to_vec();
        Self { of, positions: (0..classes.len() as u32).collect(), classes, notes }
    }
}

impl Dataset for Aligned {
    fn len(&self) -> usize {
        self.of.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.positions.get(self.of.label(index) as usize).copied().unwrap_or(0)
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.of.image(index)
    }

    fn encoded(&self, index: usize) -> Result<Vec<u8>> {
        self.of.encoded(index)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        self.of.name(index)
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.of.file(index)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn left_out(&self) -> LeftOut {
        self.of.left_out()
    }
}
