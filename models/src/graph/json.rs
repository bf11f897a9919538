//! A graph as text: versioned JSON, one node a line, whose reader runs the builder's checks.
//!
//! Shapes and parameters are not stored, they follow from the operations; so a file cannot contradict itself.

use serde::{Deserialize, Serialize};

use super::{Graph, GraphBuilder, NodeId};
use crate::error::{Error, Result};
use crate::op::Op;

/// Version of the text. Another operation is no other version: a program that does not know it says so by its `kind`.
pub const GRAPH_VERSION: u32 = 1;

/// Far beyond any classifier; a file with more is not one.
const MOST_NODES: usize = 100_000;

/// The text's own structure; nodes refer to each other by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphText {
    graph_version: u32,
    name: String,
    nodes: Vec<NodeText>,
    output: String,
    stages: Vec<StageText>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    name: String,
    op: Op,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageText {
    name: String,
    node: String,
}

impl Graph {
    /// The graph as JSON, one node a line; the same graph gives the same bytes.
    ///
    /// # Errors
    /// None for a graph that a [`GraphBuilder`] made; what `serde_json` says otherwise.
    pub fn to_json(&self) -> Result<String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let name_of = |id: NodeId| self.node(id).name.clone();
        let node = |node: &super::Node| {
            let inputs = node.inputs.iter().map(|id| name_of(*id)).collect();
            let text = NodeText { name: node.name.clone(), op: node.op.clone(), inputs };
            serde_json::to_string(&text).map_err(|error| unreadable(&error))
        };
        let nodes = self.nodes.iter().map(node).collect::<Result<Vec<_>>>()?;
        let stage = |(name, id): &(String, NodeId)| {
            format!("{{\"name\":{},\"node\":{}}}", quoted(name), quoted(&self.node(*id).name))
        };
        let stages: Vec<String> = self.stages.iter().map(stage).collect();
        Ok(format!(
            "{{\n\"graph_version\": {GRAPH_VERSION},\n\"name\": {},\n\"nodes\": [\n{}\n],\n\"output\": {},\n\"stages\": [{}]\n}}\n",
            quoted(&self.name),
            nodes.join(",\n"),
            quoted(&self.node(self.output).name),
            stages.join(", "),
        ))
    }

    /// Reads what [`to_json`](Self::to_json) writes; every node passes the builder's checks.
    ///
    /// # Errors
    /// [`Error::Setting`] for text that is no graph of this version; [`Error::Node`] for a node that does not fit.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        match value.get("graph_version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(GRAPH_VERSION) => {}
            Some(version) => {
                return refused(format!(
                    "graph_version is {version}, this program reads {GRAPH_VERSION}\n  hint: another version of attar wrote it"
                ));
            }
            None => return refused("there is no `graph_version`: this is not a graph of attar".to_owned()),
        }
        let text: GraphText = serde_json::from_value(value).map_err(|error| unreadable(&error))?;
        build(text)
    }
}

fn build(text: GraphText) -> Result<Graph> {
    if text.nodes.len() > MOST_NODES {
        return refused(format!("{} nodes, expected at most {MOST_NODES}", text.nodes.len()));
    }
    let mut builder = GraphBuilder::empty(text.name);
    for node in text.nodes {
        let is_first = builder.nodes.is_empty();
        let fail = |problem: String| Error::Node { node: node.name.clone(), problem };
        if is_first != matches!(node.op, Op::Input(_)) {
            return Err(fail("the first node, and only the first, is the input".to_owned()));
        }
        let known = |input: &String| {
            let id = builder.by_name.get(input).copied();
            id.ok_or_else(|| fail(format!("reads `{input}`, which is no earlier node")))
        };
        let inputs = node.inputs.iter().map(known).collect::<Result<Vec<_>>>()?;
        builder.add(node.name, node.op, &inputs)?;
    }
    for stage in text.stages {
        let id = existing(&builder, "stage", &stage.node)?;
        if builder.stages.iter().any(|(name, _)| *name == stage.name) {
            return refused(format!("two stages are called `{}`", stage.name));
        }
        builder.stage(stage.name, id);
    }
    let output = existing(&builder, "output", &text.output)?;
    Ok(builder.finish(output))
}

fn existing(builder: &GraphBuilder, what: &str, name: &str) -> Result<NodeId> {
    let id = builder.by_name.get(name).copied();
    id.ok_or_else(|| Error::Setting { setting: "graph", problem: format!("{what}: there is no node `{name}`") })
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::Setting { setting: "graph", problem: error.to_string() }
}

fn refused<T>(problem: String) -> Result<T> {
    Err(Error::Setting { setting: "graph", problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{build as build_zoo, catalog};

    #[test]
    fn every_network_survives_its_text_and_the_same_graph_gives_the_same_bytes() {
        for entry in catalog() {
            let graph = build_zoo(&entry.spec()).unwrap();
            let text = graph.to_json().unwrap();
            let read = Graph::from_json(&text).unwrap();
            assert_eq!(read, graph, "{}", entry.name);
            assert_eq!(read.to_json().unwrap(), text, "{}", entry.name);
        }
    }

    fn text() -> serde_json::Value {
        serde_json::json!({
            "graph_version": 1,
            "name": "small",
            "nodes": [
                {"name": "input", "op": {"kind": "input", "shape": [3, 8, 8]}},
                {"name": "relu", "op": {"kind": "activation", "function": "relu"}, "inputs": ["input"]},
                {"name": "sum", "op": {"kind": "add"}, "inputs": ["input", "relu"]},
                {"name": "pool", "op": {"kind": "global-avg-pool"}, "inputs": ["sum"]},
            ],
            "output": "pool",
            "stages": [{"name": "layer1", "node": "sum"}],
        })
    }

    fn read(value: &serde_json::Value) -> Result<Graph> {
        Graph::from_json(&value.to_string())
    }

    #[test]
    fn the_text_is_what_the_docs_say() {
        let graph = read(&text()).unwrap();
        assert_eq!(graph.output_shape(), [3]);
        assert_eq!(graph.tap("layer1").unwrap(), graph.tap("sum").unwrap());
        let lines = graph.to_json().unwrap();
        assert!(
            lines.contains("\n{\"name\":\"sum\",\"op\":{\"kind\":\"add\"},\"inputs\":[\"input\",\"relu\"]},\n"),
            "{lines}"
        );
    }

    #[test]
    fn what_no_builder_would_make_is_refused_by_name() {
        type Change = fn(&mut serde_json::Value);
        let broken = |change: Change| {
            let mut value = text();
            change(&mut value);
            read(&value).unwrap_err().to_string()
        };
        let cases: [(Change, &str); 12] = [
            (|v| v["graph_version"] = 2.into(), "graph_version is 2, this program reads 1"),
            (|v| v["graph_version"] = "x".into(), "no `graph_version`"),
            (|v| v["nodes"][2]["inputs"] = serde_json::json!(["input"]), "node `sum`: takes 2 inputs, was given 1"),
            (|v| v["nodes"][1]["inputs"] = serde_json::json!(["sum"]), "node `relu`: reads `sum`, which is no earlier"),
            (|v| v["nodes"][2]["name"] = "relu".into(), "node `relu`: this name is taken"),
            (|v| v["nodes"][1]["op"]["function"] = "tanh".into(), "unknown function `tanh`, expected one of relu"),
            (|v| v["nodes"][1]["op"]["kind"] = "sparkle".into(), "unknown variant `sparkle`"),
            (|v| v["nodes"][0]["op"] = serde_json::json!({"kind": "add"}), "the first node"),
            (|v| v["nodes"][3]["op"] = v["nodes"][0]["op"].clone(), "node `pool`: the first node, and only the first"),
            (|v| v["output"] = "fc".into(), "output: there is no node `fc`"),
            (|v| v["stages"][0]["node"] = "fc".into(), "stage: there is no node `fc`"),
            (|v| v["nodes"] = serde_json::json!([]), "there is no node"),
        ];
        for (change, expected) in cases {
            let message = broken(change);
            assert!(message.contains(expected), "{message}");
        }
        assert!(Graph::from_json("{").is_err());
    }
}
