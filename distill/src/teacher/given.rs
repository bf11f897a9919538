//! A teacher that a program brings along, and what must be known of it.

use std::fmt;

use attar_models::Outline;
use attar_pixels::Preprocessing;

use super::{Candle, OnnxTeacher, Teacher};

/// A teacher and what it can be asked for. [`Candle`] and [`OnnxTeacher`] become one by `into()`; of a [`Teacher`] of one's own
/// it is made by [`Given::new`].
pub struct Given {
    pub(crate) teacher: Box<dyn Teacher>,
    pub(crate) outline: Outline,
    pub(crate) attackable: bool,
    pub(crate) preprocessing: Option<Preprocessing>,
    pub(crate) classes: Option<Vec<String>>,
    pub(crate) weights_sha256: Option<String>,
    pub(crate) at_least: Option<f64>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("outline", &self.outline).finish_non_exhaustive()
    }
}

impl Given {
    /// A teacher that hands over the values of `outline`, by their ids in it.
    pub fn new(outline: Outline, teacher: impl Teacher + 'static) -> Self {
        Self {
            teacher: Box::new(teacher),
            outline,
            attackable: false,
            preprocessing: None,
            classes: None,
            weights_sha256: None,
            at_least: None,
        }
    }

    /// It has a gradient in its input ([`Teacher::input_gradient`]), so that views may attack it.
    #[must_use]
    pub fn attackable(self) -> Self {
        Self { attackable: true, ..self }
    }

    /// How it wants images prepared; as the student if nothing is said.
    #[must_use]
    pub fn preprocessing(self, preprocessing: Preprocessing) -> Self {
        Self { preprocessing: Some(preprocessing), ..self }
    }

    /// Names of its classes in the order of its logits; those of the data in theirs if nothing is said.
    #[must_use]
    pub fn classes(self, names: Vec<String>) -> Self {
        Self { classes: Some(names), ..self }
    }

    /// sha256 of its weights, in hex: the receipt names it, and a run is resumed with these weights only.
    #[must_use]
    pub fn weights_sha256(self, hex: impl Into<String>) -> Self {
        Self { weights_sha256: Some(hex.into()), ..self }
    }

    /// Least accuracy before the first step, a share from 0 to 1.
    #[must_use]
    pub fn at_least(self, share: f64) -> Self {
        Self { at_least: Some(share), ..self }
    }
}

impl From<Candle> for Given {
    fn from(teacher: Candle) -> Self {
        Self::new(teacher.outline().clone(), teacher).attackable()
    }
}

impl From<OnnxTeacher> for Given {
    fn from(teacher: OnnxTeacher) -> Self {
        Self::new(teacher.outline().clone(), teacher)
    }
}
