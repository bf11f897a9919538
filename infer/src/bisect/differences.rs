//! What two files say otherwise of one node: settings, constants, what its bytes mean.

use std::collections::BTreeSet;

use attar_onnx::cut::{Graph, Node, shown};
use attar_onnx::wire::fields;

use super::party::Live;
use super::points::Levels;

/// For people, a line each.
pub(super) fn differences(a: &Live<'_>, b: &Live<'_>, node: &str, levels: [Option<Levels>; 2]) -> Vec<String> {
    let mut found = Vec::new();
    if levels[0] != levels[1] {
        let [a, b] = levels.map(meaning);
        found.push(format!("what it makes is {a} in A, {b} in B"));
    }
    let (Some(of_a), Some(of_b)) = (named(&a.graph, node), named(&b.graph, node)) else { return found };
    if of_a.op != of_b.op {
        found.push(format!("it is {} in A, {} in B", of_a.op, of_b.op));
    }
    let (settings_a, settings_b) = (of_a.attributes(), of_b.attributes());
    let names: BTreeSet<&str> = settings_a.keys().chain(settings_b.keys()).copied().collect();
    for name in names {
        let [a, b] = [settings_a.get(name), settings_b.get(name)];
        if a != b {
            let said = |setting: Option<&&[u8]>| match setting {
                None => "not said".to_owned(),
                Some(setting) => shown(setting).unwrap_or_else(|| "other numbers".to_owned()),
            };
            found.push(format!("{name} is {} in A, {} in B", said(a), said(b)));
        }
    }
    for (constant_a, constant_b) in constants(&a.graph, of_a).into_iter().zip(constants(&b.graph, of_b)) {
        if numbers(constant_a.1) != numbers(constant_b.1) {
            found.push(format!("the numbers of `{}`", constant_a.0));
        }
    }
    found
}

fn meaning(levels: Option<Levels>) -> String {
    levels.map_or("floats".to_owned(), |levels| {
        let kind = if levels.signed { "i8" } else { "u8" };
        format!("{kind} with scale {} and zero point {}", levels.scale, levels.zero)
    })
}

fn named<'g, 'm>(graph: &'g Graph<'m>, name: &str) -> Option<&'g Node<'m>> {
    let nodes = graph.nodes();
    nodes
        .iter()
        .find(|node| node.name == name)
        .or_else(|| nodes.iter().find(|node| node.outputs.first() == Some(&name)))
}

/// The constants that a node reads, also through nodes that compute constants of them.
fn constants<'m>(graph: &Graph<'m>, node: &Node<'m>) -> Vec<(&'m str, &'m [u8])> {
    let (mut found, mut open, mut seen) = (Vec::new(), vec![node], BTreeSet::new());
    while let Some(node) = open.pop() {
        for name in node.inputs.iter().copied().filter(|name| !graph.is_live(name) && seen.insert(*name)) {
            match (graph.array(name), graph.maker(name)) {
                (Some(array), _) => found.push((name, array)),
                (None, Some(maker)) => open.extend(graph.nodes().get(maker)),
                (None, None) => {}
            }
        }
    }
    found
}

/// Shape, type and numbers of an array, without its name.
fn numbers(array: &[u8]) -> Vec<&[u8]> {
    fields(array).filter(|field| field.number != 8).map(|field| field.whole).collect()
}
