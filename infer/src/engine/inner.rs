//! A file whose answer is taken before its end: the logits that go into a softmax.

use super::{Engine, EngineModel, EngineSpec, Output, Signature};
use crate::error::{Error, Result};

/// An engine that gives a value inside of its file in the place of the file's answer.
pub(crate) struct Inner {
    engine: Box<dyn Engine>,
    output: [Output; 1],
}

impl Inner {
    /// Opens a model for images `[C, H, W]`; its answer is the value called `value`, a row of numbers for each image.
    pub(crate) fn open(
        model: &EngineModel,
        spec: &EngineSpec,
        input: [usize; 3],
        value: &str,
    ) -> Result<Box<dyn Engine>> {
        let engine = model.open_with_taps(spec, Some(input), &[value.to_owned()])?;
        let given = engine.outputs().get(1).map(Output::sample_len).unwrap_or_default();
        if given != engine.signature().classes {
            let problem = format!("`{value}` holds {given} numbers, its answer {}", engine.signature().classes);
            return Err(Error::Engine { engine: engine.name(), problem });
        }
        let output = [Output { name: value.to_owned(), shape: vec![given] }];
        Ok(Box::new(Self { engine, output }))
    }
}

impl Engine for Inner {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn version(&self) -> &str {
        self.engine.version()
    }

    fn signature(&self) -> Signature {
        self.engine.signature()
    }

    fn outputs(&self) -> &[Output] {
        &self.output
    }

    fn level(&self) -> Option<&'static str> {
        self.engine.level()
    }

    fn threads(&self, n: usize) -> usize {
        self.engine.threads(n)
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        Ok(self.engine.run_all(batch, n)?.into_iter().skip(1).collect())
    }
}
