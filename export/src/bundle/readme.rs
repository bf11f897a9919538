//! The model card of a bundle: `README.md` with the front matter that model hubs read.

use std::fmt::Write as _;

use attar_formats::Card;
use attar_formats::bundle::Answerer;
use attar_formats::card::{INTERRUPTED, Origin};
use attar_pixels::{Interpolation, Preprocessing, ResizeTo};

use crate::source::{Goldens, Network};

/// What the model card tells.
pub(super) struct Facts<'a> {
    pub(super) card: &'a Card,
    pub(super) network: &'a Network,
    /// Trained parameters and multiply-accumulates, where the network is known.
    pub(super) parameters: Option<(usize, u64)>,
    pub(super) onnx_bytes: usize,
    pub(super) opset: i64,
    pub(super) goldens: Goldens,
    pub(super) golden_count: usize,
    pub(super) attacked: usize,
    /// Whether there are answers to labelled images.
    pub(super) predictions: bool,
    pub(super) answered_by: Option<&'a Answerer>,
}

/// The whole file. Writing to a string cannot fail, hence the ignored results.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let mut out = front_matter(facts.card);
    let network = &facts.card.network;
    let [c, h, w] = network.input;
    let _ = write!(out, "\n# {}, {} classes\n\n{}\n\n| | |\n|---|---|\n", network.name, network.classes, what(facts));
    let (input, output) = match facts.network {
        Network::Known { .. } => ("`input` ", "`logits` "),
        Network::File { .. } => ("", ""), // its own names
    };
    let _ = writeln!(out, "| Network | `{}` |", made(facts.card));
    let _ = writeln!(out, "| Input | {input}[batch, {c}, {h}, {w}], f32 |");
    let _ = writeln!(out, "| Output | {output}[batch, {}], f32 |", network.classes);
    if let Some((parameters, macs)) = facts.parameters {
        let _ = writeln!(out, "| Parameters | {} |", grouped(parameters as u64));
        let _ = writeln!(out, "| Multiply-accumulates an image | {} |", grouped(macs));
    }
    let _ = writeln!(out, "| `model.onnx` | {} bytes, opset {} |", grouped(facts.onnx_bytes as u64), facts.opset);
    if facts.card.provenance.checkpoint.as_deref().is_some_and(|checkpoint| checkpoint.ends_with(INTERRUPTED)) {
        out.push_str("\n**The run that trained it was not finished**: these are the weights of its last checkpoint, see Provenance.\n");
    }
    metrics(&mut out, facts.card);
    let _ = write!(out, "\n## Preprocessing\n\n{}\n", steps(&facts.card.preprocessing));
    provenance(&mut out, facts.card);
    let _ = write!(out, "\n## Reference answers\n\n{}\n", reference(facts));
    out.push_str(
        "\n## Use\n\n```\nattar-infer predict . image.jpg\nattar-infer verify .\n```\n\n\
         `manifest.json` holds the sha256 of every file.\n",
    );
    out
}

/// What lies in the bundle, and who made it.
fn what(facts: &Facts<'_>) -> String {
    match (facts.network, facts.answered_by) {
        (Network::Known { .. }, None) => "An image classifier, trained and exported by attar. `model.onnx` is for running \
             (batch norms folded), `graph.json` with `model.safetensors` for training on (torchvision's parameter names)."
            .to_owned(),
        (Network::Known { .. }, Some(answerer)) => format!(
            "An image classifier that others trained: the network of the ONNX file `{}` (sha256 `{}`), read and exported by \
             attar. `model.onnx` is for running (batch norms folded), `graph.json` with `model.safetensors` for training on \
             (parameters are called as in the file).",
            answerer.file, answerer.file_sha256
        ),
        (Network::File { precision, why, .. }, _) => format!(
            "An image classifier that others trained: `model.onnx` ({precision}) is their file as it came, put into a bundle by \
             attar. There is no `graph.json`: {}.",
            why.replace(['\n', '\r'], " ").trim_end_matches('.')
        ),
    }
}

/// YAML; strings are quoted as JSON, which YAML reads alike.
fn front_matter(card: &Card) -> String {
    let licence = card.provenance.licence.as_deref().unwrap_or("unknown");
    format!(
        "---\nlicense: {}\nlibrary_name: attar\npipeline_tag: image-classification\n\
         tags:\n- image-classification\n- onnx\n- {}\nmetrics:\n- accuracy\n---\n",
        quoted(licence),
        quoted(&card.network.name)
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How the network was made, in one line: name and options in the zoo.
fn made(card: &Card) -> String {
    let zoo = card.provenance.network.as_ref().and_then(Origin::zoo);
    zoo.and_then(|spec| serde_json::to_string(spec).ok()).unwrap_or_else(|| card.network.name.clone())
}

fn metrics(out: &mut String, card: &Card) {
    if card.provenance.metrics.is_empty() {
        return;
    }
    out.push_str("\n## Measured\n\n| | |\n|---|---:|\n");
    for (name, value) in &card.provenance.metrics {
        let _ = writeln!(out, "| {} | {} |", cell(name), (value * 1000.0).round() / 1000.0);
    }
}

fn steps(preprocessing: &Preprocessing) -> String {
    let mut lines = vec![format!(
        "Decode to {}.",
        if preprocessing.channels == 1 { "one grey channel (ITU-R 601)" } else { "RGB" }
    )];
    if let Some(resize) = preprocessing.resize {
        let filter = match resize.interpolation {
            Interpolation::Bilinear => "bilinear",
            Interpolation::Bicubic => "bicubic",
        };
        let to = match resize.to {
            ResizeTo::ShorterEdge(edge) => format!("shorter edge {edge}"),
            ResizeTo::Exact([height, width]) => format!("{height} x {width}"),
        };
        lines.push(format!("Resize to {to} (antialiased {filter}, PIL's)."));
    }
    if let Some([height, width]) = preprocessing.crop {
        lines.push(format!("Centre crop {height} x {width}."));
    }
    lines.push(format!(
        "Divide by 255, subtract {:?}, divide by {:?} (per channel).",
        preprocessing.mean, preprocessing.std
    ));
    let numbered = lines.iter().enumerate().map(|(i, line)| format!("{}. {line}\n", i + 1));
    numbered.collect::<String>() + "\nThe same in `preprocessor_config.json`, which the runtimes obey."
}

fn provenance(out: &mut String, card: &Card) {
    let from = &card.provenance;
    out.push_str("\n## Provenance\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(out, "| {name} | {} |", cell(value));
        }
    };
    row("Written by", Some(&from.program));
    let network = from.network.as_ref().filter(|origin| origin.zoo().is_none());
    row("Network", network.map(Origin::to_string).as_deref());
    row("Checkpoint", from.checkpoint.as_deref());
    row("Seed", from.seed.map(|seed| seed.to_string()).as_deref());
    row("Recipe sha256", from.recipe_sha256.as_deref());
    row("Data sha256", from.data_sha256.as_deref());
    for (name, sha256) in &from.teachers {
        row(&format!("Teacher {} sha256", cell(name)), Some(sha256));
    }
    row("Licence", Some(from.licence.as_deref().unwrap_or("not stated")));
}

fn reference(facts: &Facts<'_>) -> String {
    let whose = if facts.answered_by.is_some() { "its" } else { "the trainer's" };
    let goldens = match (facts.goldens, facts.answered_by) {
        (Goldens::Real, None) => format!(
            "`reference/golden.safetensors` holds {} **real images that were held out** (of the validation split, or of \
             the test split where there is none; never of the training split) with the trainer's logits.",
            facts.golden_count
        ),
        (Goldens::Real, Some(_)) => format!(
            "`reference/golden.safetensors` holds {} **real images** of the data that it was asked about, with its logits.",
            facts.golden_count
        ),
        (Goldens::Synthetic, _) => format!(
            "`reference/golden.safetensors` holds {} synthetic images with {whose} logits; no image of the data \
             set is in this bundle.",
            facts.golden_count
        ),
        (Goldens::None, _) => "No goldens: no image is in this bundle.".to_owned(),
    };
    let predictions = match (facts.predictions, facts.answered_by) {
        (true, None) => {
            "\n\n`reference/predictions.safetensors` holds the trainer's answer to every validation and test \
             image, found by the sha256 of its pixels; it holds no pixels."
        }
        (true, Some(_)) => {
            "\n\n`reference/predictions.safetensors` holds its answer to every image that it was asked about, found by the \
             sha256 of its pixels; it holds no pixels."
        }
        (false, _) => "\n\nIt was asked about no labelled images.",
    };
    let who = facts.answered_by.map(|answerer| {
        let Answerer { file, precision, engine, version, file_sha256, .. } = answerer;
        format!("They are those of `{file}` ({precision}, sha256 `{file_sha256}`) in {engine} {version}.\n\n")
    });
    let attacked = match facts.attacked {
        0 => String::new(),
        count => format!(
            " `reference/attacks.safetensors` holds {count} **real test images**, moved by attacks so that the network errs."
        ),
    };
    format!("{}{goldens}{attacked}{predictions}", who.unwrap_or_default())
}

/// Text in a table: no bars, no line breaks.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// 1234567 as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(" ")
}
