//! Stages of a network that nobody marked: the last value before each change of size.

use crate::graph::{Graph, NodeId};
use crate::op::Op;

impl Graph {
    /// The same network with the stages that its structure shows, in place of those it had: `stage1`, `stage2`, ... from
    /// shallow to deep.
    ///
    /// A stage ends at the last image of its height and width through which all later values go. Sizes at which nothing is
    /// convolved are no stage.
    #[must_use]
    pub fn with_found_stages(mut self) -> Self {
        let ends = self.stage_ends();
        self.set_stages(ends.into_iter().enumerate().map(|(at, id)| (format!("stage{}", at + 1), id)).collect());
        self
    }

    fn stage_ends(&self) -> Vec<NodeId> {
        // The last reader of each node: an edge from before a node to behind it goes around the node.
        let mut last_reader: Vec<usize> = (0..self.nodes().len()).collect();
        for (id, node) in self.iter() {
            for input in &node.inputs {
                last_reader[input.index()] = last_reader[input.index()].max(id.index());
            }
        }
        let mut ends: Vec<NodeId> = Vec::new();
        let (mut furthest, mut convolved) = (0, false);
        for (id, node) in self.iter() {
            convolved |= matches!(node.op, Op::Conv2d(_));
            let is_gate = furthest <= id.index();
            furthest = furthest.max(last_reader[id.index()]);
            let &[_, h, w] = &node.shape[..] else { continue };
            // Zeros around an image make a size that nothing is meant to have.
            let is_padded = matches!(node.op, Op::Pad2d(_));
            if !is_gate || !convolved || is_padded || h * w == 1 {
                continue;
            }
            match ends.last().map(|end| &self.node(*end).shape[1..]) {
                Some(size) if size == [h, w] => {
                    if let Some(end) = ends.last_mut() {
                        *end = id;
                    }
                }
                _ => ends.push(id),
            }
        }
        ends.retain(|end| self.is_convolved_at(&self.node(*end).shape[1..]));
        ends
    }

    fn is_convolved_at(&self, size: &[usize]) -> bool {
        self.nodes().iter().any(|node| matches!(node.op, Op::Conv2d(_)) && node.shape[1..] == *size)
    }
}

#[cfg(test)]
mod tests {
    use crate::zoo::{NetworkSpec, build};

    #[test]
    fn the_stages_of_a_residual_network_are_those_that_the_zoo_marks() {
        let graph = build(&NetworkSpec::new("resnet18", 10, [3, 64, 64])).unwrap();
        let marked: Vec<_> = graph.stages().iter().map(|(_, id)| *id).collect();
        let found = graph.clone().with_found_stages();
        let ids: Vec<_> = found.stages().iter().map(|(_, id)| *id).collect();
        let names: Vec<_> = ids.iter().map(|id| graph.node(*id).name.as_str()).collect();
        assert!(ids.ends_with(&marked), "{names:?}");
        assert_eq!(found.stages()[0].0, "stage1");
        assert_eq!(ids.len(), marked.len() + 1, "and the stem, whose size is another");
    }

    #[test]
    fn every_network_of_the_zoo_has_stages_of_falling_size() {
        for entry in crate::zoo::catalog() {
            let graph = build(&NetworkSpec::new(entry.name, 3, [3, 64, 48])).unwrap().with_found_stages();
            assert!(graph.stages().len() >= 3, "{}: {:?}", entry.name, graph.stages());
            let areas: Vec<usize> =
                graph.stages().iter().map(|(_, id)| graph.node(*id).shape[1..].iter().product()).collect();
            assert!(areas.is_sorted_by(|a, b| a > b), "{}: {areas:?}", entry.name);
        }
    }
}
