//! An ONNX file of others becomes a bundle. Where all of its operations are known, the bundle holds the network and a file
//! that is written of it, else the file as it came; what is compared with are the file's own answers in a runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attar_data::Dataset;
use attar_export::{Goldens, Network, Source};
use attar_formats::card::{CARD_VERSION, NetworkFacts, Origin, Provenance};
use attar_formats::reference::{GoldenKind, Predictions};
use attar_formats::run::{self, file};
use attar_formats::{Card, files, write};
use attar_infer::parity::{Recorded, Reference};
use attar_infer::{Side, Stated, Subject};
use attar_onnx::{Import, ReadOptions, wire};

use super::{Exported, Options, refuse_existing, verified};
use crate::Engines;

/// An ONNX file with what its metadata and its owner say of it.
#[derive(Debug)]
pub struct OnnxFile {
    side: Side,
    subject: Subject,
    import: Import,
}

impl OnnxFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As [`Side::open`], and where neither the file nor its owner says what its classes and its preprocessing are.
    pub fn open(path: &Path, stated: &Stated) -> Result<Self> {
        let side = Side::open(path, stated)?;
        let subject = side.subject()?;
        let model = side.models().first().with_context(|| format!("{} is no ONNX file", path.display()))?;
        let import = attar_onnx::read(model.bytes(), path, ReadOptions { input: Some(side.input()) })?;
        Ok(Self { side, subject, import })
    }

    /// Names of its classes, in the order of its answers.
    pub fn labels(&self) -> &[String] {
        self.subject.labels()
    }

    /// Why its bundle holds no network but the file as it came; `None` where it holds the network.
    pub fn obstacle(&self) -> Option<String> {
        match self.side.models().first().map(|model| model.precision()) {
            Some("f32") | None => {}
            Some(other) => return Some(format!("its arithmetic is {other}, which is kept as it is in the file alone")),
        }
        if self.import.network.is_some() {
            return None;
        }
        const SHOWN: usize = 3;
        let obstacles = &self.import.obstacles;
        let mut shown: Vec<String> = obstacles.iter().take(SHOWN).map(ToString::to_string).collect();
        shown.extend((obstacles.len() > SHOWN).then(|| format!("and {} more", obstacles.len() - SHOWN)));
        Some(shown.join("; "))
    }

    /// Its operator set.
    pub fn opset(&self) -> i64 {
        self.import.opset
    }

    /// Asks the file, in the first of the runtimes (ONNX Runtime where none is named and it is there, else tract), about seeded
    /// images and about `data`, writes the bundle beside its final place, runs it in every runtime, and only then gives it its
    /// name. `options.opset` counts where the network is known. `progress` hears how many of how many images are answered.
    ///
    /// # Errors
    /// As [`super::export_verified`]; real goldens without data; data of other classes; a runtime that does not run the file.
    pub fn export(
        self,
        out: &Path,
        options: &Options,
        engines: &Engines,
        data: Option<&dyn Dataset>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Exported> {
        refuse_existing(out)?;
        if options.goldens == Goldens::Real && data.is_none() {
            anyhow::bail!("--goldens real takes images, and there are none\n  hint: --data names some");
        }
        let obstacle = self.obstacle();
        let model = self.side.models().first().context("no model")?;
        let place = tempfile::tempdir().context("no place for reference answers")?;
        let network = network(model.bytes(), (&obstacle, model.precision()), &self.import, place.path())?;
        // The logits themselves, where the file makes probabilities of them.
        let value = Some(self.import.output.as_str()).filter(|value| !wire::outputs(model.bytes()).contains(value));
        let specs = engines.reference(engines.engine.first().copied());
        let reference = Reference::load_value(&self.side, &specs, value)?.of(self.subject.clone(), Vec::new())?;
        let recorded = reference.record(&network.weights_sha256(), data, false, progress)?;
        let reference = leave(&recorded, place.path())?;
        let card = self.card(recorded.predictions.as_ref())?;
        let mut notes = self.import.notes.clone();
        if let Network::Known { graph, .. } = &network {
            notes.extend(attar_onnx::without_norms(graph));
        }
        notes.extend(obstacle.map(|why| format!("the bundle holds the file as it came, and no graph.json: {why}")));
        let source = Source { card, network, note: None, reference, answered_by: Some(recorded.answered_by) };
        verified(&source, notes, out, options, engines)
    }

    fn card(&self, predictions: Option<&Predictions>) -> Result<Card> {
        let (subject, path) = (&self.subject, self.side.path());
        let origin = Origin::file(path)?;
        let name = |path: &Path| path.file_name().map_or_else(|| path.to_owned(), PathBuf::from);
        let producer = Some(self.import.producer.clone()).filter(|producer| !producer.is_empty());
        let metrics = predictions.map(|answers| ("data_top1".to_owned(), top1(answers)));
        Ok(Card {
            card_version: CARD_VERSION,
            network: NetworkFacts {
                name: subject.name().to_owned(),
                classes: subject.labels().len(),
                input: subject.input(),
            },
            labels: subject.labels().to_vec(),
            preprocessing: subject.preprocessing().clone(),
            provenance: Provenance {
                program: producer.unwrap_or_else(|| "not stated in the ONNX file".to_owned()),
                network: Some(origin.with_path(name)),
                metrics: metrics.into_iter().collect(),
                ..Provenance::default()
            },
        })
    }
}

/// Accuracy of answers, in percent.
fn top1(answers: &Predictions) -> f64 {
    let right = answers.top1.iter().zip(&answers.label).filter(|(top, label)| top == label).count();
    100.0 * right as f64 / answers.len().max(1) as f64
}

/// The network of a file, whose weights are written into `folder` first; or the file.
fn network(
    bytes: &[u8],
    (obstacle, precision): (&Option<String>, &str),
    import: &Import,
    folder: &Path,
) -> Result<Network> {
    match (obstacle, &import.network) {
        (None, Some((graph, weights))) => {
            let path = folder.join(attar_formats::bundle::file::WEIGHTS);
            write::safetensors(&path, weights, &BTreeMap::new())?;
            let model = files::read(&path, files::MOST_BINARY).with_context(|| path.display().to_string())?;
            Ok(Network::Known { graph: graph.clone(), model, weights: weights.clone() })
        }
        (why, _) => Ok(Network::File {
            bytes: bytes.to_vec(),
            precision: precision.to_owned(),
            opset: import.opset,
            why: why.clone().unwrap_or_default(),
        }),
    }
}

/// Writes reference answers as a run has them, and says where.
fn leave(recorded: &Recorded, folder: &Path) -> Result<PathBuf> {
    let reference = folder.join(file::REFERENCE);
    std::fs::create_dir(&reference).with_context(|| reference.display().to_string())?;
    recorded.synthetic.write(&reference.join(run::goldens(GoldenKind::Synthetic)))?;
    if let Some(real) = &recorded.real {
        real.write(&reference.join(run::goldens(GoldenKind::Real)))?;
    }
    if let Some(predictions) = &recorded.predictions {
        predictions.write(&reference.join(file::PREDICTIONS))?;
    }
    Ok(reference)
}
