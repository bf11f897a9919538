//! A case: a small file, what it is about, what goes in, what comes out by definition, and how answers are judged.

use attar_models::generated;
use attar_onnx::proto::{Dimension, ModelProto};
use serde::{Deserialize, Serialize};

use super::define::{self, Fault};
use crate::error::{Error, Result};

/// How many images a case has, where its file does not fix a batch.
const IMAGES: usize = 2;

/// What a group of cases is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Every operation of the graph, as our writer writes it.
    Operations,
    /// Windows and padding as files of others have them.
    Windows,
    /// Settings that may be left out, said otherwise or mean another thing in another operator set.
    Settings,
    /// Operator sets, oldest to newest.
    Opsets,
    /// Batches: free, fixed, and shapes that are computed of them.
    Batches,
    /// Layers of bytes between `QuantizeLinear` and `DequantizeLinear`.
    Quantised,
    /// The same in operations on bytes.
    Operators,
    /// Where runtimes are known to part.
    Traps,
}

impl Family {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 8] = [
        Self::Operations,
        Self::Windows,
        Self::Settings,
        Self::Opsets,
        Self::Batches,
        Self::Quantised,
        Self::Operators,
        Self::Traps,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Operations => "Operations of the graph, as our writer writes them",
            Self::Windows => "Windows and padding",
            Self::Settings => "Settings: left out, said otherwise, changed by an operator set",
            Self::Opsets => "Operator sets",
            Self::Batches => "Batches",
            Self::Quantised => "Layers of bytes (QDQ)",
            Self::Operators => "Operations on bytes (QOperator)",
            Self::Traps => "Where runtimes are known to part",
        }
    }
}

/// How answers are judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Judge {
    /// Floats: a hundred-thousandth of the largest number.
    Floats,
    /// Multiples of a step, which are right to the bit; up to `ties` of them may be one step off, by another right rounding.
    Steps {
        /// The step.
        step: f32,
        /// The part of the numbers, one number at least; with 0 none may.
        ties: f64,
    },
}

/// The part of a value's numbers that may be one step off where nothing is at a tie by design (as `attar bisect` has it).
pub(super) const FEW: f64 = 0.02;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, also as a file's.
    pub name: String,
    /// Its group.
    pub family: Family,
    /// What it is about, one sentence.
    pub about: String,
    /// How answers are judged.
    pub judge: Judge,
    /// `[C, H, W]` of an image.
    pub image: [usize; 3],
    /// Its images `[n, C, H, W]`.
    pub input: Vec<f32>,
    /// The batch that the file insists on.
    pub batch: Option<usize>,
    pub(super) model: ModelProto,
}

impl Case {
    /// A case with seeded images in `[-1.5, 1.5)`.
    pub(super) fn new(
        family: Family,
        name: impl Into<String>,
        about: impl Into<String>,
        judge: Judge,
        model: ModelProto,
    ) -> Self {
        let sizes = sizes(&model);
        let size = |at: usize| sizes.get(at).copied().flatten().unwrap_or(1);
        let (image, batch) = ([size(1), size(2), size(3)], sizes.first().copied().flatten());
        let input = generated::input([batch.unwrap_or(IMAGES), image[0], image[1], image[2]], 5);
        Self { name: name.into(), family, about: about.into(), judge, image, input, batch, model }
    }

    /// The same with these images.
    pub(super) fn asked(mut self, input: Vec<f32>) -> Self {
        self.input = input;
        self
    }

    /// How many images it has.
    pub fn images(&self) -> usize {
        self.input.len() / self.image.iter().product::<usize>().max(1)
    }

    /// The bytes of its file.
    pub fn bytes(&self) -> Vec<u8> {
        self.model.to_bytes()
    }

    /// Its operator set.
    pub fn opset(&self) -> i64 {
        let own = self.model.opset_import.iter().find(|set| set.domain().is_empty());
        own.map_or(0, |set| set.version())
    }

    /// What is right: `[n, K]`, row-major.
    ///
    /// # Errors
    /// [`Error::Engine`] where the definition does not know an operation: the corpus is wrong.
    pub fn expected(&self) -> Result<Vec<f32>> {
        self.with_fault(None)
    }

    /// What a runtime with a fault answers.
    ///
    /// # Errors
    /// As [`Case::expected`].
    pub fn with_fault(&self, fault: Option<Fault>) -> Result<Vec<f32>> {
        let answer = define::answer(&self.model, &self.input, self.images(), fault);
        let failed =
            |problem: String| Error::Engine { engine: "definition", problem: format!("{}: {problem}", self.name) };
        Ok(answer.map_err(failed)?.0)
    }
}

/// Sizes of a file's input; `None` where one is free.
fn sizes(model: &ModelProto) -> Vec<Option<usize>> {
    let input = model.graph.as_ref().and_then(|graph| graph.input.first());
    let tensor = input.and_then(|input| input.r#type.as_ref()?.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| &shape.dim[..]).unwrap_or_default();
    let size = |dim: &attar_onnx::proto::DimensionProto| match dim.value {
        Some(Dimension::Value(size)) => usize::try_from(size).ok(),
        _ => None,
    };
    dims.iter().map(size).collect()
}
