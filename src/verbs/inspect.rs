//! `attar inspect`: what a file is, without running it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use attar::inspect::{self, Inspection};
use attar::{Engines, table};
use attar_infer::cli::stated::shape;

use super::print;

/// Looks at an ONNX file, a bundle, a run or a file of weights: nodes, shapes, parameters, multiply-accumulates, taps, which
/// runtimes run it, whether it can be trained here and what stands in the way.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar inspect model.onnx\n  attar inspect model.onnx --html model.html\n  attar inspect bundles/distilled --json\n  attar inspect model.onnx --input-shape 3,224,224"
)]
pub(crate) struct Args {
    /// The file or directory.
    path: PathBuf,
    /// Sizes of the input, C,H,W, for an ONNX file that leaves them open.
    #[arg(long, value_name = "C,H,W", value_parser = shape)]
    input_shape: Option<[usize; 3]>,
    /// Write a page with the graph drawn.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Which runtimes are asked whether they run it.
    #[command(flatten)]
    engines: Engines,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let found = inspect::inspect(&args.path, &args.engines, args.input_shape)?;
    if let Some(path) = &args.html {
        std::fs::write(path, inspect::page(&found)).with_context(|| path.display().to_string())?;
    }
    match args.json {
        true => print(&super::versioned(&found)?),
        false => print(&text(&found)),
    }
}

fn text(found: &Inspection) -> String {
    let shape = |sizes: &[usize]| sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let mut rows = Vec::new();
    for node in &found.nodes {
        let number = |count: u64| if count == 0 { String::new() } else { table::si(count as f64) };
        rows.push(vec![
            node.name.clone(),
            node.op.clone(),
            shape(&node.shape),
            number(node.parameters as u64),
            number(node.macs),
            node.stage.clone().unwrap_or_default(),
        ]);
    }
    let mut lines = vec![table::render(&["value", "operation", "shape", "parameters", "MACs", "stage"], &rows)];
    let mut facts = vec![found.kind.name().to_owned()];
    facts.extend(found.input.map(|input| format!("input {}", shape(&input))));
    facts.extend(found.classes.map(|classes| format!("{classes} classes")));
    facts.extend(found.parameters.map(|count| format!("{} parameters", table::si(count as f64))));
    facts.extend(found.macs.map(|macs| format!("{} MACs", table::si(macs as f64))));
    lines.push(format!("\n{}: {}", found.path, facts.join(", ")));
    lines.extend(found.facts.iter().map(|(name, value)| format!("{name}: {value}")));
    let stated = |what: &str, there: bool| format!("{what}: {}", if there { "stated" } else { "not stated" });
    lines.push(stated("labels", !found.labels.is_empty()));
    lines.push(stated("preprocessing", found.preprocessing.is_some()));
    for runtime in &found.runtimes {
        let answer = runtime.problem.as_deref().unwrap_or("runs it");
        lines.push(format!("{}: {answer}", runtime.engine));
    }
    lines.extend(found.notes.iter().map(|note| format!("note: {note}")));
    if found.trainable() {
        lines.push("can be trained here".to_owned());
    } else if !found.obstacles.is_empty() {
        lines.push("cannot be trained here:".to_owned());
        lines.extend(found.obstacles.iter().map(|obstacle| format!("  {obstacle}")));
    }
    lines.join("\n")
}
