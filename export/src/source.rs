//! What is exported: one checkpoint of a run, or an ONNX file of others, with its card and its reference answers, read and
//! checked before anything is written.

use std::path::{Path, PathBuf};

use attar_formats::bundle::Answerer;
use attar_formats::hash::sha256;
use attar_formats::reference::{Attacks, GoldenKind, Predictions};
use attar_formats::run::file::{ATTACKS, CARD, CHECKPOINTS, PREDICTIONS, REFERENCE};
use attar_formats::{Card, files, graph, read, reference, run};
use attar_models::{Graph, Weights};

use crate::error::{Error, Result};

/// A trained network, ready to leave.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the weights are.
    pub card: Card,
    /// The network.
    pub network: Network,
    /// What a person should know about where the graph came from.
    pub note: Option<String>,
    /// Folder with the goldens and `predictions.safetensors`; only where others answered may the latter be missing.
    pub reference: PathBuf,
    /// Who gave the reference answers, where that is not the network that was trained.
    pub answered_by: Option<Answerer>,
}

/// What is known of a network.
#[derive(Debug, Clone)]
pub enum Network {
    /// All of it.
    Known {
        /// The network, batch norms not folded.
        graph: Graph,
        /// Its `model.safetensors`, byte for byte.
        model: Vec<u8>,
        /// The arrays in it.
        weights: Weights,
    },
    /// How to run it: an ONNX file of others, which leaves as it came.
    File {
        /// The file, with all its arrays in it.
        bytes: Vec<u8>,
        /// Precision of its arithmetic.
        precision: String,
        /// Its operator set.
        opset: i64,
        /// Why it is no more than that.
        why: String,
    },
}

/// Which goldens travel with the bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Goldens {
    /// A few images of the validation split.
    #[default]
    Real,
    /// Made-up images, for data that must not leave.
    Synthetic,
    /// None at all.
    None,
}

impl Goldens {
    /// Those that there is a file of.
    fn kind(self) -> Option<GoldenKind> {
        match self {
            Self::Real => Some(GoldenKind::Real),
            Self::Synthetic => Some(GoldenKind::Synthetic),
            Self::None => None,
        }
    }

    /// The name in the goldens' metadata and on the command line.
    pub fn name(self) -> &'static str {
        self.kind().map_or("none", GoldenKind::name)
    }
}

impl Network {
    /// sha256 in hex of the file with its weights: `model.safetensors`, or the ONNX file itself.
    pub fn weights_sha256(&self) -> String {
        match self {
            Self::Known { model, .. } => sha256(model),
            Self::File { bytes, .. } => sha256(bytes),
        }
    }
}

impl Source {
    /// Reads `card.json`, `graph.json`, `checkpoints/CHECKPOINT/model.safetensors` and finds `reference/` in the directory of a run.
    /// Without a `checkpoint`, it is the one that the reference answers were made with.
    ///
    /// # Errors
    /// A file that is missing or damaged, or reference answers that belong to other weights.
    pub fn open(run: &Path, checkpoint: Option<&str>) -> Result<Self> {
        let card_file = run.join(CARD);
        if !card_file.exists() && run.join(CHECKPOINTS).is_dir() {
            let problem = "the run is not finished: it has no card and no reference answers yet\n  hint: go on with --resume to its end, or export its last checkpoint with --unfinished";
            return Err(Error::Source { path: run.to_owned(), problem: problem.to_owned() });
        }
        let text = String::from_utf8(bytes(&card_file)?)
            .map_err(|_| Error::Source { path: card_file.clone(), problem: "not UTF-8 text".to_owned() })?;
        let card = Card::from_json(&text, &card_file)?;
        let graph::Opened { graph, note, .. } = graph::of_card(&card, run)?;
        let reference = run.join(REFERENCE);
        let path = match checkpoint {
            Some(name) => run::model(run, name),
            None => matching(&run::predictions(run), &[run::BEST, run::LAST].map(|which| run::model(run, which)))?,
        };
        let model = bytes(&path)?;
        let weights = read::parse_safetensors(&model, &path)?.weights;
        let network = Network::Known { graph, model, weights };
        Ok(Self { card, network, note, reference, answered_by: None })
    }

    /// The bytes of the reference answers, after checking that they were made with these weights; `None` where a file of
    /// others was asked about no labelled images.
    ///
    /// # Errors
    /// A file that is missing, damaged or belongs to other weights or classes.
    pub(crate) fn predictions(&self) -> Result<Option<Vec<u8>>> {
        let path = self.reference.join(PREDICTIONS);
        if self.answered_by.is_some() && !path.exists() {
            return Ok(None);
        }
        let fail = |problem: String| Error::Source { path: path.clone(), problem };
        let bytes = bytes(&path)?;
        let answers = Predictions::parse(&path, &bytes)?;
        let (made_with, exported) = (&answers.weights_sha256, self.network.weights_sha256());
        if *made_with != exported {
            return Err(fail(format!(
                "these answers were given by other weights (sha256 {made_with}) than the exported ones ({exported})\n  \
                 hint: export the checkpoint that the run evaluated last, or resume the run to its end"
            )));
        }
        let (classes, expected) = (answers.classes(), self.card.network.classes);
        if classes != expected {
            return Err(fail(format!("answers of {classes} classes, but the network has {expected}")));
        }
        Ok(Some(bytes))
    }

    /// The bytes of the attacked images and how many they are, after checking that these weights were attacked; `None` where
    /// the recipe attacks nothing, or no real images are to leave.
    ///
    /// # Errors
    /// A file that is damaged or of other weights.
    pub(crate) fn attacks(&self, which: Goldens) -> Result<Option<(Vec<u8>, usize)>> {
        let path = self.reference.join(ATTACKS);
        if which != Goldens::Real || !path.exists() {
            return Ok(None);
        }
        let bytes = bytes(&path)?;
        let attacks = Attacks::parse(&path, &bytes)?;
        let (attacked, exported) = (&attacks.weights_sha256, self.network.weights_sha256());
        if *attacked != exported {
            let problem = format!("other weights were attacked (sha256 {attacked}) than are exported ({exported})");
            return Err(Error::Source { path, problem });
        }
        Ok(Some((bytes, attacks.len() * attacks.pixels.len())))
    }

    /// The bytes of the chosen goldens and how many they are, after checking their shapes.
    ///
    /// # Errors
    /// A file that is missing, damaged, of the other kind, or made with a network of other shapes.
    pub(crate) fn goldens(&self, which: Goldens) -> Result<Option<(Vec<u8>, usize)>> {
        let Some(kind) = which.kind() else { return Ok(None) };
        let path = self.reference.join(run::goldens(kind));
        let fail = |problem: String| Error::Source { path: path.clone(), problem };
        let bytes = bytes(&path)?;
        let goldens = reference::Goldens::parse(&path, &bytes)?;
        if goldens.kind != kind {
            return Err(fail(format!("these goldens are {}, expected {}", goldens.kind.name(), kind.name())));
        }
        let network = &self.card.network;
        if goldens.input_shape != network.input || goldens.classes() != network.classes {
            return Err(fail(format!(
                "goldens of inputs {:?} and {} logits, but the network takes {:?} and gives {}",
                goldens.input_shape,
                goldens.classes(),
                network.input,
                network.classes
            )));
        }
        Ok(Some((bytes, goldens.len())))
    }
}

/// The candidate that the predictions were made with.
fn matching(predictions: &Path, candidates: &[PathBuf]) -> Result<PathBuf> {
    let made_with = Predictions::read(predictions)?.weights_sha256;
    for candidate in candidates {
        if candidate.is_file() && sha256(&bytes(candidate)?) == made_with {
            return Ok(candidate.clone());
        }
    }
    let problem = format!(
        "these answers were given by weights (sha256 {made_with}) that are neither of {}\n  \
         hint: resume the run to its end; it writes them with the checkpoint it exports",
        candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Err(Error::Source { path: predictions.to_owned(), problem })
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    files::read(path, files::MOST_BINARY).map_err(|source| Error::Io { path: path.to_owned(), source })
}
