//! What every rewrite of a network returns: the network after it, and where each value went.

use crate::graph::{Graph, NodeId};
use crate::weights::Weights;

/// A rewritten network.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The graph after the rewrite.
    pub graph: Graph,
    /// Its weights.
    pub weights: Weights,
    /// For each node of the graph before, the node of the graph after that has its value (up to
    /// what the rewrite changes on purpose); `None` where no node has it any more. By
    /// [`NodeId::index`].
    pub moved: Vec<Option<NodeId>>,
}

impl Rewritten {
    /// Where the value of a node of the graph before is found.
    pub fn moved(&self, before: NodeId) -> Option<NodeId> {
        self.moved.get(before.index()).copied().flatten()
    }
}
