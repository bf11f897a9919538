//! Plans that were compiled of one ONNX file: it is compiled once for each size of its image, however often it is opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::attar::compiled;

/// `[C, H, W]` of an image, where whoever opens the file says it.
type Size = Option<[usize; 3]>;

/// A plan, and the name of the file's answer.
pub(crate) struct Compiled {
    pub(crate) plan: Vec<u8>,
    pub(crate) output: String,
}

/// Plans by the size that was said; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Plans(Arc<Mutex<BTreeMap<Size, Arc<Compiled>>>>);

impl Plans {
    /// The plan of the file for images of a size.
    pub(crate) fn of(&self, model: &[u8], origin: &Path, size: Size) -> Result<Arc<Compiled>, String> {
        // Whoever comes second waits for the plan. A compiler that panicked has left none.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&size) {
            return Ok(found.clone());
        }
        let (plan, output) = compiled(model, origin, size)?;
        let made = Arc::new(Compiled { plan, output });
        known.insert(size, made.clone());
        Ok(made)
    }
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_compiled_once_for_each_size() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/onnx/tiny.onnx");
        let model = std::fs::read(path).unwrap();
        let (plans, origin) = (Plans::default(), Path::new(path));
        let first = plans.of(&model, origin, None).unwrap();
        let again = plans.clone().of(&model, origin, None).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let said = attar_edge::Model::load(&first.plan).unwrap().header().input.map(|size| size as usize);
        let other = plans.of(&model, origin, Some(said)).unwrap();
        assert!(!Arc::ptr_eq(&first, &other) && first.plan == other.plan);
        assert!(plans.of(b"no network", origin, Some([1, 1, 1])).is_err());
    }
}
