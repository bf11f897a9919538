//! What a file is: an ONNX file of whomever, a bundle, a run or a file of weights, seen without running it.

mod lanes;
mod page;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use attar_formats::bundle::{self, Answerer, Manifest};
use attar_formats::graph::{self, GRAPH_FILE};
use attar_formats::run;
use attar_formats::{Card, files, read};
use attar_infer::engine::{self, EngineKind};
use attar_models::{Graph, Op};
use attar_onnx::{Import, ReadOptions};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Engines;

pub use page::page;

/// What was found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Inspection {
    /// The file or directory.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Facts about the file: format, operator set, who wrote it.
    pub facts: Vec<(String, String)>,
    /// Shape of one input sample, `[C, H, W]`, where there is a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<[usize; 3]>,
    /// Numbers in one answer, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Trained parameters, where the network is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// Values in order: of the network where it is known, else of the file.
    pub nodes: Vec<InspectedNode>,
    /// Names of its classes, where they are stated.
    pub labels: Vec<String>,
    /// How it wants images prepared, where that is stated.
    pub preprocessing: Option<serde_json::Value>,
    /// Which runtimes of this program run it.
    pub runtimes: Vec<RuntimeAnswer>,
    /// What stands in the way of training it; empty where nothing does.
    pub obstacles: Vec<String>,
    /// What should be known of it.
    pub notes: Vec<String>,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An ONNX file.
    Onnx,
    /// A bundle of ours.
    Bundle,
    /// A run of ours.
    Run,
    /// A file of weights; no network is in it.
    Weights,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "an ONNX file",
            Self::Bundle => "a bundle",
            Self::Run => "a run",
            Self::Weights => "a file of weights",
        }
    }
}

/// One value.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InspectedNode {
    /// Its name: what a recipe calls it as a tap.
    pub name: String,
    /// The operation.
    pub op: String,
    /// Positions of the nodes that it reads.
    pub inputs: Vec<usize>,
    /// Shape of one sample; empty where it is not known.
    pub shape: Vec<usize>,
    /// Trained parameters.
    pub parameters: usize,
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// The stage that ends here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

/// Whether a runtime takes the file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RuntimeAnswer {
    /// Its name.
    pub engine: String,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Inspection {
    fn empty(path: &Path, kind: Kind) -> Self {
        Self {
            path: path.display().to_string(),
            kind,
            facts: Vec::new(),
            input: None,
            classes: None,
            parameters: None,
            macs: None,
            nodes: Vec::new(),
            labels: Vec::new(),
            preprocessing: None,
            runtimes: Vec::new(),
            obstacles: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether `attar` can train it.
    pub fn trainable(&self) -> bool {
        self.kind != Kind::Weights && self.obstacles.is_empty()
    }

    fn of_graph(&mut self, graph: &Graph) {
        self.input = <[usize; 3]>::try_from(graph.input_shape()).ok();
        self.classes = Some(graph.output_shape().iter().product());
        self.parameters = Some(graph.parameter_count());
        self.macs = Some(graph.macs());
        self.nodes = graph
            .iter()
            .map(|(id, node)| {
                let trained = node.params().filter(|param| param.role.is_trained());
                let stage = graph.stages().iter().find(|(_, end)| *end == id);
                InspectedNode {
                    name: node.name.clone(),
                    op: op_text(&node.op),
                    inputs: node.inputs.iter().map(|input| input.index()).collect(),
                    shape: node.shape.clone(),
                    parameters: trained.map(|param| param.shape.iter().product::<usize>()).sum(),
                    macs: node.op.macs(&node.shape),
                    stage: stage.map(|(name, _)| name.clone()),
                }
            })
            .collect();
    }

    fn of_card(&mut self, card: &Card) {
        self.labels.clone_from(&card.labels);
        self.preprocessing = attar_formats::card::hf::to_hf(&card.preprocessing).ok();
    }
}

/// An operation with the settings that tell it from others of its kind.
fn op_text(op: &Op) -> String {
    match op {
        Op::Conv2d(conv) => {
            let [h, w] = conv.kernel;
            let groups = match conv.groups {
                1 => String::new(),
                groups if groups == conv.in_channels => ", depthwise".to_owned(),
                groups => format!(", {groups} groups"),
            };
            let stride = if conv.stride == [1, 1] { String::new() } else { format!(", stride {}", conv.stride[0]) };
            format!("conv2d {h}x{w}{stride}{groups}")
        }
        Op::Activation(activation) => activation.name().to_owned(),
        Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => format!("{} {}x{}", op.kind(), pool.kernel[0], pool.kernel[1]),
        other => other.kind().to_owned(),
    }
}

/// Looks at what lies at `path`. `input` are sizes for an ONNX file that leaves them open.
///
/// # Errors
/// When there is nothing, or it is none of the kinds that are known.
pub fn inspect(path: &Path, engines: &Engines, input: Option<[usize; 3]>) -> Result<Inspection> {
    if path.join(bundle::file::MANIFEST).is_file() {
        return of_bundle(path, engines);
    }
    if path.join(run::file::CARD).is_file() {
        return of_run(path);
    }
    if path.is_dir() {
        bail!("{} is neither a bundle (no manifest.json) nor a finished run (no card.json)", path.display());
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("safetensors" | "pth" | "pt") => of_weights(path),
        _ => of_onnx(path, engines, input),
    }
}

fn of_onnx(path: &Path, engines: &Engines, input: Option<[usize; 3]>) -> Result<Inspection> {
    let bytes = files::read(path, files::MOST_BINARY).with_context(|| path.display().to_string())?;
    let import = attar_onnx::read(&bytes, path, ReadOptions { input })?;
    let mut found = Inspection::empty(path, Kind::Onnx);
    found.facts = vec![
        ("operator set".to_owned(), import.opset.to_string()),
        ("IR version".to_owned(), import.ir_version.to_string()),
        ("written by".to_owned(), import.producer.clone()),
        ("bytes".to_owned(), bytes.len().to_string()),
    ];
    match &import.network {
        Some((graph, _)) => found.of_graph(graph),
        None => of_operations(&mut found, &import),
    }
    found.obstacles = import.obstacles.iter().map(ToString::to_string).collect();
    found.notes.clone_from(&import.notes);
    found.notes.extend(import.network.as_ref().and_then(|(graph, _)| attar_onnx::without_norms(graph)));
    let said = import.said()?;
    found.labels = said.labels.unwrap_or_default();
    found.preprocessing = said.preprocessing.and_then(|how| attar_formats::card::hf::to_hf(&how).ok());
    found.runtimes = runtimes(path, engines, Some(import.input));
    Ok(found)
}

/// The file's own operations, where they make no network here.
fn of_operations(found: &mut Inspection, import: &Import) {
    found.input = Some(import.input);
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, operation) in import.operations.iter().enumerate() {
        let inputs = operation.inputs.iter().filter_map(|name| places.get(name.as_str()).copied()).collect();
        places.insert(&operation.value, at);
        let shape = operation.shape.clone().unwrap_or_default();
        if operation.value == import.output {
            found.classes = (!shape.is_empty()).then(|| shape.iter().product());
        }
        let (name, op) = (operation.value.clone(), operation.op.clone());
        found.nodes.push(InspectedNode { name, op, inputs, shape, parameters: 0, macs: 0, stage: None });
    }
}

fn of_bundle(path: &Path, engines: &Engines) -> Result<Inspection> {
    let manifest = Manifest::open(path)?;
    manifest.check_files(path)?;
    let config = path.join(bundle::file::CONFIG);
    let card = Card::from_json(&manifest.read_text(path, bundle::file::CONFIG)?, &config)?;
    let mut found = Inspection::empty(path, Kind::Bundle);
    // A bundle of a file of others with operations that are not known holds no graph but that file.
    let stranger = manifest.models.first().filter(|model| !manifest.is_own(model));
    match stranger.filter(|_| !manifest.files.contains_key(GRAPH_FILE)) {
        Some(model) => {
            let of_file = of_onnx(&path.join(&model.file), engines, Some(card.network.input))?;
            found = Inspection { path: found.path, kind: Kind::Bundle, ..of_file };
        }
        None => {
            let opened = graph::of_card(&card, path)?;
            found.of_graph(&opened.graph);
            found.notes.extend(opened.note);
            if let Some(model) = manifest.models.first() {
                found.runtimes = runtimes(&path.join(&model.file), engines, found.input);
            }
        }
    }
    found.of_card(&card);
    for model in &manifest.models {
        found.facts.push((model.file.clone(), model.precision.clone()));
    }
    if let Some(Answerer { file, engine, version, .. }) = &manifest.answered_by {
        found.facts.push(("reference".to_owned(), format!("{file} in {engine} {version}")));
    }
    Ok(found)
}

fn of_run(path: &Path) -> Result<Inspection> {
    let card_path = path.join(run::file::CARD);
    let text = files::read_text(&card_path, files::MOST_TEXT).with_context(|| card_path.display().to_string())?;
    let card = Card::from_json(&text, &card_path)?;
    let mut found = Inspection::empty(path, Kind::Run);
    found.of_card(&card);
    let opened = graph::of_card(&card, path)?;
    found.of_graph(&opened.graph);
    found.notes.extend(opened.note);
    found.facts = card.provenance.metrics.iter().map(|(name, value)| (name.clone(), format!("{value:.3}"))).collect();
    let graph_file = path.join(GRAPH_FILE);
    found.facts.push(("graph".to_owned(), if graph_file.is_file() { GRAPH_FILE } else { "of the zoo" }.to_owned()));
    Ok(found)
}

/// Arrays of a file of weights; a network has to be named by whoever uses it.
fn of_weights(path: &Path) -> Result<Inspection> {
    let loaded = read::any(path)?;
    let mut found = Inspection::empty(path, Kind::Weights);
    found.notes.extend(loaded.note);
    found.parameters = Some(loaded.weights.0.values().map(|array| array.shape.iter().product::<usize>()).sum());
    for (name, array) in &loaded.weights.0 {
        let parameters = array.shape.iter().product();
        let op = array.elements.type_name().to_owned();
        let shape = array.shape.clone();
        let node =
            InspectedNode { name: name.clone(), op, inputs: Vec::new(), shape, parameters, macs: 0, stage: None };
        found.nodes.push(node);
    }
    Ok(found)
}

/// What each runtime says to a file.
fn runtimes(path: &Path, engines: &Engines, input: Option<[usize; 3]>) -> Vec<RuntimeAnswer> {
    let kinds = EngineKind::ALL.into_iter().filter(|kind| engines.engine.is_empty() || engines.engine.contains(kind));
    let answer = |kind: EngineKind| {
        let problem = engine::open_file(&engines.spec(kind), path, input).err().map(|error| error.to_string());
        RuntimeAnswer { engine: kind.name().to_owned(), problem }
    };
    kinds.map(answer).collect()
}
