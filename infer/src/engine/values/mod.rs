//! A model in a runtime that is asked for values of any type and number, whatever it takes: what an [`super::Engine`], which
//! takes one image and gives logits, is not for. Parts of files and files with values on the way among their outputs run so.

#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod tract;

use std::path::Path;

use attar_models::Array;

use super::{EngineKind, EngineSpec};
use crate::error::{Error, Result};

/// A loaded model.
pub(crate) trait Values {
    /// The model's outputs in their order, of its inputs by name.
    ///
    /// # Errors
    /// [`Error::Engine`] when the runtime fails or an output is of a type that [`attar_models::Elements`] has not.
    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<Array>>;
}

/// Loads a model; `origin` names it in errors.
///
/// # Errors
/// [`Error::Unavailable`] when the runtime is not there, [`Error::Engine`] when it refuses the model or, as Attar's own, gives
/// no values on the way.
pub(crate) fn load(spec: &EngineSpec, model: &[u8], origin: &Path) -> Result<Box<dyn Values>> {
    match spec.kind {
        #[cfg(feature = "tract")]
        EngineKind::Tract => Ok(Box::new(tract::Tract::open(model, origin)?)),
        #[cfg(feature = "ort")]
        EngineKind::Ort => Ok(Box::new(ort::Ort::open(model, origin, spec)?)),
        #[cfg(feature = "edge")]
        EngineKind::Attar => {
            let problem = format!("{}: it runs no parts of files", origin.display());
            Err(Error::Engine { engine: spec.kind.name(), problem })
        }
        #[cfg(not(all(feature = "tract", feature = "ort", feature = "edge")))]
        missing => {
            let _ = (model, origin);
            Err(super::not_compiled(missing))
        }
    }
}
