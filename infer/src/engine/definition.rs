//! The integer reference of an 8-bit file: what the definition of the arithmetic makes of the file's plan.
//!
//! [`attar_edge::reference`] computes it in slow plain Rust. Where one of the engine's levels gave the same bytes for enough
//! images it takes over: another than the one that is judged, where the CPU has one that is quick.
#![cfg_attr(not(feature = "edge"), allow(dead_code))] // nobody has such a file there

use std::sync::Arc;

use attar_formats::certificate::Beyond16Bits;

use super::{Engine, EngineModel, Output, Signature};
use crate::error::{Error, Result};

/// An 8-bit file with the plan that its integers are defined by.
pub(crate) struct IntegerFile {
    /// What the file is called.
    pub(crate) file: String,
    /// Its sha256.
    pub(crate) file_sha256: String,
    /// sha256 of the ONNX file that it was compiled from, where it is a plan.
    pub(crate) source: Option<String>,
    /// Whether all between image and logits is computed in integers.
    pub(crate) exact: bool,
    /// Distance of two neighbouring logits.
    pub(crate) quantum: Option<f64>,
    /// Layers in which two products can leave 16 bits.
    pub(crate) layers_beyond_16_bits: usize,
    /// What it takes and gives.
    pub(crate) signature: Signature,
    plan: Vec<u8>,
}

/// Whether an 8-bit file's integers can be held to their definition.
#[derive(Clone, Default)]
pub(crate) enum Integers {
    /// It has none.
    #[default]
    Floats,
    /// They can.
    Defined(Arc<IntegerFile>),
    /// They cannot, and why.
    Undefined(String),
}

impl Integers {
    /// Of a model that takes `input`, `[C, H, W]`.
    pub(crate) fn of(model: &EngineModel, input: [usize; 3]) -> Self {
        if model.precision() != "int8" {
            return Self::Floats;
        }
        match file(model, input) {
            Ok(file) => Self::Defined(Arc::new(file)),
            Err(problem) => Self::Undefined(problem),
        }
    }

    /// The file, where they are defined.
    pub(crate) fn file(&self) -> Option<&Arc<IntegerFile>> {
        match self {
            Self::Defined(file) => Some(file),
            Self::Floats | Self::Undefined(_) => None,
        }
    }
}

#[cfg(feature = "edge")]
fn file(model: &EngineModel, input: [usize; 3]) -> std::result::Result<IntegerFile, String> {
    use attar_edge::Model;
    use attar_edge::layer::FloatFunction;
    use attar_edge::plan::{Function, Kind, Step};

    let plan = match model.is_plan() {
        true => model.bytes().to_vec(),
        false => super::attar::compiled(model.bytes(), model.origin(), Some(input))?.0,
    };
    let loaded = Model::load(&plan).map_err(|error| error.to_string())?;
    let tensors: Vec<_> = loaded.tensors().collect();
    let floats = |step: &Step| step.output().is_some_and(|at| tensors[at as usize].kind == Kind::Floats);
    // What only moves floats, or makes them of bytes, is the same at every level.
    let moves = |step: &Step| {
        use Step::{Copy, Dequantize, Load, Max, Reshape};
        matches!(step, Load { .. } | Dequantize { .. } | Copy(_) | Reshape { .. } | Max(_))
    };
    // A last layer of bytes whose sums become floats by one product each.
    let scales = |step: &Step| match step {
        Step::Convolution(layer) => {
            let clamps = matches!(layer.tail.function, Function::Floats(FloatFunction::Clamp { .. }));
            clamps && tensors[layer.input as usize].kind != Kind::Floats
        }
        _ => false,
    };
    let exact = loaded.steps().all(|step| !floats(&step) || moves(&step) || scales(&step));
    let stored = loaded.steps().find_map(|step| match step {
        Step::Store { input } => tensors[input as usize].quantisation(),
        _ => None,
    });
    let header = *loaded.header();
    let classes = header.classes as usize;
    Ok(IntegerFile {
        file: model.name().to_owned(),
        file_sha256: model.sha256().to_owned(),
        source: model.is_plan().then(|| attar_formats::hash::hex(&header.source)),
        exact,
        quantum: stored.map(|(scale, _)| f64::from(scale)),
        layers_beyond_16_bits: attar_edge::reference::layers_beyond_16_bits(&loaded),
        signature: Signature { input: header.input.map(|size| size as usize), classes, fixed_batch: None },
        plan,
    })
}

#[cfg(not(feature = "edge"))]
fn file(_: &EngineModel, _: [usize; 3]) -> std::result::Result<IntegerFile, String> {
    Err("this build leaves Attar's own engine out\n  hint: build with `--features compile`".to_owned())
}

/// Number of the integer arithmetic that this build computes; 0 where it computes none.
pub(crate) fn arithmetic() -> u32 {
    #[cfg(feature = "edge")]
    return attar_edge::arithmetic::ARITHMETIC;
    #[cfg(not(feature = "edge"))]
    return 0;
}

/// An integer reference that answers.
pub(crate) struct Definition {
    file: Arc<IntegerFile>,
    outputs: [Output; 1],
    /// The level that stands in, as often as there are threads.
    #[cfg(feature = "edge")]
    sessions: Vec<attar_edge::Session>,
    /// Images that the definition is to answer before another may.
    wanted: usize,
    by_definition: usize,
    by_level: usize,
    /// Of the images that the definition answered.
    beyond_16_bits: Beyond16Bits,
    /// Whether that level gave the same bytes so far.
    same: bool,
}

impl Definition {
    /// Of a file; the definition answers the first `wanted` images.
    pub(crate) fn new(file: &Arc<IntegerFile>, wanted: usize) -> Self {
        let outputs = [Output { name: "logits".to_owned(), shape: vec![file.signature.classes] }];
        Self {
            file: Arc::clone(file),
            outputs,
            #[cfg(feature = "edge")]
            sessions: Vec::new(),
            wanted: wanted.max(1),
            by_definition: 0,
            by_level: 0,
            beyond_16_bits: Beyond16Bits { layers: file.layers_beyond_16_bits, pairs: 0, beyond: 0 },
            same: true,
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> &Arc<IntegerFile> {
        &self.file
    }

    /// How many images the definition answered, and how many the level in its place.
    pub(crate) fn answered(&self) -> [usize; 2] {
        [self.by_definition, self.by_level]
    }

    /// Where a runtime that adds two products in 16 bits clips them, if the weights allow it.
    pub(crate) fn beyond_16_bits(&self) -> Option<Beyond16Bits> {
        Some(self.beyond_16_bits).filter(|beyond| beyond.layers > 0)
    }

    /// The level that stands in.
    pub(crate) fn level(&self) -> &'static str {
        #[cfg(feature = "edge")]
        return stand_in().name();
        #[cfg(not(feature = "edge"))]
        "none"
    }

    #[cfg(feature = "edge")]
    fn answers(&mut self, batch: &[f32], n: usize) -> std::result::Result<Vec<f32>, attar_edge::Error> {
        let (length, classes) = (self.file.signature.input_len(), self.file.signature.classes);
        let mut first = if self.same { self.wanted.saturating_sub(self.by_definition).min(n) } else { n };
        let mut logits = self.defined(&batch[..first * length])?;
        if self.same && first > 0 {
            let quick = self.quickly(&batch[..first * length], first)?;
            self.same = quick.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits());
            if !self.same {
                logits.extend(self.defined(&batch[first * length..])?);
                first = n;
            }
        }
        self.by_definition += first;
        self.by_level += n - first;
        if first < n {
            logits.extend(self.quickly(&batch[first * length..], n - first)?);
        }
        debug_assert_eq!(logits.len(), n * classes);
        Ok(logits)
    }

    /// By the definition itself.
    #[cfg(feature = "edge")]
    fn defined(&mut self, batch: &[f32]) -> std::result::Result<Vec<f32>, attar_edge::Error> {
        use attar_edge::reference::{Pairs, run, run_counting_pairs};
        use rayon::prelude::*;

        let model = attar_edge::Model::load(&self.file.plan)?;
        let images = batch.par_chunks_exact(self.file.signature.input_len()).map(attar_edge::Input::Floats);
        let all = images.map(|image| match self.file.layers_beyond_16_bits {
            0 => Ok((run(&model, image)?, Pairs::default())),
            _ => run_counting_pairs(&model, image),
        });
        let mut logits = Vec::new();
        for (answer, pairs) in all.collect::<std::result::Result<Vec<_>, attar_edge::Error>>()? {
            logits.extend(answer);
            self.beyond_16_bits.pairs += pairs.all;
            self.beyond_16_bits.beyond += pairs.beyond;
        }
        Ok(logits)
    }

    /// By the level that stands in.
    #[cfg(feature = "edge")]
    fn quickly(&mut self, batch: &[f32], n: usize) -> std::result::Result<Vec<f32>, attar_edge::Error> {
        use rayon::prelude::*;

        let (length, classes) = (self.file.signature.input_len(), self.file.signature.classes);
        let threads = rayon::current_num_threads().min(n).max(1);
        while self.sessions.len() < threads {
            self.sessions.push(attar_edge::Session::new(self.file.plan.clone(), stand_in())?);
        }
        let (mut logits, share) = (vec![0.0; n * classes], n.div_ceil(threads));
        let shares = batch.par_chunks(share * length).zip(logits.par_chunks_mut(share * classes));
        self.sessions.par_iter_mut().zip(shares).try_for_each(|(session, (images, logits))| {
            let mut one = images.chunks_exact(length).zip(logits.chunks_exact_mut(classes));
            one.try_for_each(|(image, logits)| session.run(attar_edge::Input::Floats(image), logits))
        })?;
        Ok(logits)
    }
}

/// The quickest level beside the best, which is the one that is judged; plain Rust would take minutes for a test set. Where the
/// CPU has only one, that.
#[cfg(feature = "edge")]
fn stand_in() -> attar_edge::Level {
    use attar_edge::Level;

    let best = Level::best();
    let mut others = Level::ALL.into_iter().filter(|level| level.available() && ![best, Level::Scalar].contains(level));
    others.next_back().unwrap_or(best)
}

impl Engine for Definition {
    fn name(&self) -> &'static str {
        "definition"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn signature(&self) -> Signature {
        self.file.signature
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn run_all(&mut self, batch: &[f32], n: usize) -> Result<Vec<Vec<f32>>> {
        let failed =
            |problem: String| Error::Engine { engine: "definition", problem: format!("{}: {problem}", self.file.file) };
        if Some(batch.len()) != self.file.signature.input_len().checked_mul(n) {
            let problem = format!("{} floats for {n} images of {:?}", batch.len(), self.file.signature.input);
            return Err(failed(problem));
        }
        #[cfg(feature = "edge")]
        {
            let name = self.file.file.clone();
            let answers = self.answers(batch, n);
            let failed =
                |error: attar_edge::Error| Error::Engine { engine: "definition", problem: format!("{name}: {error}") };
            answers.map(|logits| vec![logits]).map_err(failed)
        }
        #[cfg(not(feature = "edge"))]
        Err(failed("this build leaves Attar's own engine out".to_owned()))
    }
}
