//! `attar models`: the zoo with parameters and MACs, or one network node by node.

use anyhow::Result;
use attar::table;
use attar_models::{Graph, Op, zoo};
use schemars::JsonSchema;
use serde::Serialize;

use super::print;

/// Lists the networks of the zoo, or shows one with its taps and shapes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  attar models\n  attar models resnet20 --classes 100 --input 3x32x32\n  attar models mobilenet_v2 --json"
)]
pub(crate) struct Args {
    /// Show this network node by node.
    name: Option<String>,
    /// Number of classes (with a name).
    #[arg(long, requires = "name")]
    classes: Option<usize>,
    /// Input shape CxHxW (with a name).
    #[arg(long, requires = "name", value_parser = input_shape)]
    input: Option<[usize; 3]>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One network as printed.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    name: String,
    input: [usize; 3],
    classes: usize,
    parameters: usize,
    macs: u64,
    options: String,
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Networks {
    networks: Vec<Row>,
}

/// One of them, node by node.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Network<'a> {
    summary: Row,
    /// Names of the ends of its stages.
    stages: Vec<&'a str>,
    nodes: Vec<Node<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Node<'a> {
    name: &'a str,
    /// Kind and settings, as in `graph.json`.
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    op: &'a Op,
    /// Of one output sample.
    shape: &'a [usize],
}

fn input_shape(text: &str) -> Result<[usize; 3], String> {
    let parts: Vec<usize> = text.split('x').map(str::parse).collect::<Result<_, _>>().map_err(|e| format!("{e}"))?;
    parts.try_into().map_err(|_| "expected CxHxW, e.g. 3x32x32".to_owned())
}

impl Row {
    fn new(graph: &Graph, spec: &zoo::NetworkSpec, entry: Option<&zoo::Entry>) -> Self {
        let options: Vec<&str> = entry.iter().flat_map(|entry| entry.options()).map(|option| option.name).collect();
        Self {
            name: spec.name.clone(),
            input: spec.input,
            classes: spec.classes,
            parameters: graph.parameter_count(),
            macs: graph.macs(),
            options: options.join(", "),
        }
    }

    fn cells(&self) -> Vec<String> {
        let [c, h, w] = self.input;
        vec![
            self.name.clone(),
            format!("{c}x{h}x{w}"),
            self.classes.to_string(),
            table::si(self.parameters as f64),
            table::si(self.macs as f64),
            self.options.clone(),
        ]
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.name {
        Some(name) => one(name, args),
        None => all(args.json),
    }
}

fn all(json: bool) -> Result<()> {
    let row = |entry: zoo::Entry| -> Result<Row> {
        let spec = entry.spec();
        Ok(Row::new(&zoo::build(&spec)?, &spec, Some(&entry)))
    };
    let rows: Vec<Row> = zoo::catalog().into_iter().map(row).collect::<Result<_>>()?;
    if json {
        return print(&super::versioned(&Networks { networks: rows })?);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    print(&table::render(&["network", "input", "classes", "parameters", "MACs", "options"], &cells))
}

fn one(name: &str, args: &Args) -> Result<()> {
    let entries = zoo::catalog();
    let entry = entries.iter().find(|entry| entry.name == name);
    let mut spec = entry.map_or_else(|| zoo::NetworkSpec::new(name, 10, [3, 32, 32]), zoo::Entry::spec);
    spec.classes = args.classes.unwrap_or(spec.classes);
    spec.input = args.input.unwrap_or(spec.input);
    let graph = zoo::build(&spec)?;
    let summary = Row::new(&graph, &spec, entry);
    if args.json {
        let nodes = graph.nodes().iter().map(|n| Node { name: &n.name, op: &n.op, shape: &n.shape }).collect();
        let stages = graph.stages().iter().map(|(stage, _)| stage.as_str()).collect();
        return print(&super::versioned(&Network { summary, stages, nodes })?);
    }
    print(&table::render(&["node", "shape", "MACs", "tap"], &nodes(&graph)))?;
    print(&format!(
        "\n{}: {} parameters, {} MACs",
        spec.name,
        table::si(summary.parameters as f64),
        table::si(summary.macs as f64)
    ))
}

fn nodes(graph: &Graph) -> Vec<Vec<String>> {
    let stage = |id| graph.stages().iter().find(|(_, end)| *end == id).map(|(stage, _)| stage.clone());
    let row = |(id, node): (attar_models::NodeId, &attar_models::Node)| {
        let shape = node.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        vec![node.name.clone(), shape, table::si(node.op.macs(&node.shape) as f64), stage(id).unwrap_or_default()]
    };
    graph.iter().map(row).collect()
}
